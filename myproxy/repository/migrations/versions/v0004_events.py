"""What happened to credentials, for their owners.

Refused tries that have something in common are one row: `source` is a hash of it, and NULL in all other rows.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table and its indexes."""
    op.create_table(
        "events",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("username", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("owner", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("permitted", sa.BigInteger(), nullable=False),
        sa.Column("address", TEXT, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(64), unique=True),
    )
    op.create_index("events_username_name", "events", ["username", "name"])
    op.create_index("events_at", "events", ["at"])


def downgrade() -> None:
    """Take the table away; nothing but the users' view of the past is in it."""
    op.drop_table("events")
