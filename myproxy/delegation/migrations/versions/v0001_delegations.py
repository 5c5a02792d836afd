"""Delegations with the requests that wait. Times are Unix seconds in UTC.

Revisions begin with `delegation`, so that a database of another service is never taken for one of ours.
"""

import sqlalchemy as sa
from alembic import op

revision = "delegation0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # one order in every locale


def upgrade() -> None:
    """Create the table and its index."""
    op.create_table(
        "delegations",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("identity", TEXT, nullable=False),
        sa.Column("fqans", TEXT, nullable=False),
        sa.Column("asked", sa.LargeBinary(), nullable=False),
        sa.Column("asked_until", sa.BigInteger(), nullable=False),
        sa.Column("proxy", sa.LargeBinary(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=False),
        sa.Column("fetched", sa.BigInteger(), nullable=False),
    )
    op.create_index("delegations_identity", "delegations", ["identity"])


def downgrade() -> None:
    """Refuse: it would drop the delegations."""
    raise NotImplementedError("going back would delete the delegations")
