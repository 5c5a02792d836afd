"""Capabilities that were withdrawn, for all nodes.

`cas.repository.tables` says what is in which table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "withdrawn",
        sa.Column("identifier", TEXT, primary_key=True),
        sa.Column("until", sa.BigInteger(), nullable=False),
    )
