"""Names that look alike: I, l and 1, O and 0, rn and m, vv and w count as one from now on.

What looks alike already stays; whoever came first keeps the look, so that nothing new can be enrolled beside it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

LOOK = "skeleton"
for old, new in (("rn", "m"), ("vv", "w"), ("i", "l"), ("1", "l"), ("0", "o")):
    LOOK = f"replace({LOOK}, '{old}', '{new}')"


def upgrade() -> None:
    """Store how things look."""
    connection = op.get_bind()
    twins = (
        f"SELECT e.id FROM (SELECT id, kind, {LOOK} AS look FROM entities WHERE skeleton IS NOT NULL) e"
        f" JOIN (SELECT kind, {LOOK} AS look, MIN(id) AS first FROM entities WHERE skeleton IS NOT NULL"
        f" GROUP BY kind, {LOOK} HAVING COUNT(*) > 1) f ON f.kind = e.kind AND f.look = e.look AND f.first <> e.id"
    )
    for number in connection.execute(sa.text(twins)).scalars().all():
        # No name has a stroke in it.
        query = f"UPDATE entities SET skeleton = {LOOK} || '|' || id WHERE id = :id"
        connection.execute(sa.text(query), {"id": number})
    rest = f"UPDATE entities SET skeleton = {LOOK} WHERE skeleton <> {LOOK} AND skeleton NOT LIKE '%|%'"
    connection.execute(sa.text(rest))
