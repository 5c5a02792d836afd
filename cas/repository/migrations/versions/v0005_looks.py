"""Names that look alike: more letters of Greek, Cyrillic and Armenian, and kana beside what looks like them.

As in 0004 what looks alike already stays, and whoever came first keeps the look.
"""

import sqlalchemy as sa
from alembic import op

from cas.policy.nicknames import skeleton

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Store how things look."""
    connection = op.get_bind()
    query = "SELECT id, kind, name, skeleton FROM entities WHERE skeleton IS NOT NULL ORDER BY id"
    for number, kind, name, stored in connection.execute(sa.text(query)).all():
        if name.isascii():  # looks as before
            continue
        look = skeleton(name)
        if look == stored.partition("|")[0]:
            continue
        taken = connection.execute(
            sa.text("SELECT 1 FROM entities WHERE kind = :kind AND skeleton = :look"), {"kind": kind, "look": look}
        ).first()
        connection.execute(
            sa.text("UPDATE entities SET skeleton = :look WHERE id = :id"),
            {"look": look if taken is None else f"{look}|{number}", "id": number},
        )
