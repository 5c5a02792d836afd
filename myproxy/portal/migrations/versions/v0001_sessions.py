"""Sessions, what happened, terminals that wait, counts of wrong tries.

Times are Unix seconds in UTC (of tries, milliseconds), the same number in every database. Revisions begin with
`portal`, so that a database of another service is never taken for one of ours. Before there were revisions the portal
made the same tables without any: what is there is taken as it is.
"""

import sqlalchemy as sa
from alembic import op

revision = "portal0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # one order in every locale


def upgrade() -> None:
    """Create the tables and their indexes, where they are missing."""
    op.create_table(
        "sessions",
        sa.Column("row", sa.String(64), primary_key=True),
        sa.Column("username", TEXT, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("begun", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=False),
        sa.Column("address", TEXT, nullable=False),
        sa.Column("browser", TEXT, nullable=False),
        if_not_exists=True,
    )
    op.create_index("sessions_username", "sessions", ["username"], if_not_exists=True)
    op.create_index("sessions_ends", "sessions", ["ends"], if_not_exists=True)
    op.create_table(
        "activity",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("username", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("address", TEXT, nullable=False),
        sa.Column("detail", TEXT, nullable=False),
        if_not_exists=True,
    )
    op.create_index("activity_username", "activity", ["username", "id"], if_not_exists=True)
    op.create_index("activity_at", "activity", ["at"], if_not_exists=True)
    op.create_table(
        "terminals",
        sa.Column("device", sa.String(64), primary_key=True),
        sa.Column("code", sa.String(64), nullable=False, unique=True),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("address", TEXT, nullable=False),
        sa.Column("begun", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=False),
        sa.Column("polled", sa.BigInteger(), nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("username", TEXT, nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        if_not_exists=True,
    )
    op.create_index("terminals_ends", "terminals", ["ends"], if_not_exists=True)
    op.create_table(
        "guesses",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Refuse: it would drop the sessions."""
    raise NotImplementedError("going back would delete the sessions")
