"""What users have allowed applications: codes and grants. Times are Unix seconds in UTC."""

import sqlalchemy as sa
from alembic import op

revision = "portal0002"
down_revision = "portal0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # one order in every locale


def upgrade() -> None:
    """Create the table and its indexes."""
    op.create_table(
        "grants",
        sa.Column("row", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("username", TEXT, nullable=False),
        sa.Column("application", TEXT, nullable=False),
        sa.Column("scope", TEXT, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("begun", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=False),
        sa.Column("address", TEXT, nullable=False),
        sa.Column("made", sa.String(64), nullable=False),
    )
    op.create_index("grants_username", "grants", ["username"])
    op.create_index("grants_ends", "grants", ["ends"])


def downgrade() -> None:
    """Refuse: it would end what users have allowed."""
    raise NotImplementedError("going back would end what users have allowed")
