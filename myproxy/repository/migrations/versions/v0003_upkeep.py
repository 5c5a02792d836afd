"""The form of each key in a column with an index; tables for quarantine, leases and imports.

The form is what `sealforms.describe_form` said when this step was written. It is told here once more, because a step
must not change with the code.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BATCH = 500


def upgrade() -> None:
    """Add the column, fill it, and create the tables."""
    op.add_column("credentials", sa.Column("key_form", TEXT, nullable=False, server_default=""))
    _fill_forms()
    op.create_index("credentials_key_form", "credentials", ["key_form"])
    op.create_table(
        "quarantine",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("moved", sa.BigInteger(), nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("origin", TEXT, nullable=False),
        sa.Column("content", TEXT, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("holder", TEXT, nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "imports",
        sa.Column("source", TEXT, primary_key=True),
        sa.Column("file", TEXT, primary_key=True),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("username", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("imported", sa.BigInteger(), nullable=False),
    )
    op.create_index("imports_username_name", "imports", ["username", "name"])


def _fill_forms() -> None:
    connection = op.get_bind()
    last = 0
    table = sa.table("credentials", sa.column("id"), sa.column("sealed_key"), sa.column("key_form"))
    while True:
        query = sa.select(table.c.id, table.c.sealed_key).where(table.c.id > last).order_by(table.c.id).limit(BATCH)
        rows = connection.execute(query).all()
        if not rows:
            return
        for number, blob in rows:
            change = sa.update(table).where(table.c.id == number).values(key_form=_form(bytes(blob)))
            connection.execute(change)
        last = rows[-1][0]


def _form(blob: bytes) -> str:
    """Tell the form of a blob; in the schema before this one there were three methods and no server keys."""
    if blob[:6] != b"MPSK\x01\x00" or len(blob) < 7 or blob[6] not in {0, 1, 2}:
        return "?"
    if blob[6] == 1 and len(blob) >= 16:
        memory, iterations, lanes = (int.from_bytes(blob[a:b], "big") for a, b in ((7, 11), (11, 15), (15, 16)))
        return f"1:{memory}/{iterations}/{lanes}"
    return "2:0" if blob[6] == 2 else str(blob[6])


def downgrade() -> None:
    """Refuse: it would drop what lies in quarantine."""
    raise NotImplementedError("going back would delete what lies in quarantine")
