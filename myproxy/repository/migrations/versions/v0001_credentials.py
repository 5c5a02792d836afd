"""The table of stored credentials.

Names are kept as they were given; an unnamed credential has the empty name, which no named one can have, so that the
pair (username, name) is never ambiguous. Times are Unix seconds in UTC, the same number in every database.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # one order in every locale


def upgrade() -> None:
    """Create the table and its indexes."""
    op.create_table(
        "credentials",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("username", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("owner", TEXT, nullable=False),
        sa.Column("description", TEXT),
        sa.Column("retrievers", TEXT),
        sa.Column("renewers", TEXT),
        sa.Column("key_retrievers", TEXT),
        sa.Column("trusted_retrievers", TEXT),
        sa.Column("lifetime_seconds", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("not_after", sa.BigInteger(), nullable=False),
        sa.Column("certificates", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
        sa.Column("lock_message", TEXT),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("username", "name", name="credentials_username_name"),
    )
    op.create_index("credentials_owner", "credentials", ["owner"])
    op.create_index("credentials_not_after", "credentials", ["not_after"])


def downgrade() -> None:
    """Refuse: it would drop every stored credential."""
    raise NotImplementedError("going back would delete the stored credentials")
