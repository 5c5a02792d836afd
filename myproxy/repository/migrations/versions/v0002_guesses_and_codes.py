"""What judging pass phrases needs on all servers: counts of wrong tries, secrets of one-time codes.

Keys of the first are hashes; times there are Unix milliseconds, elsewhere seconds, in UTC.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "guesses",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("guesses_expires_ms", "guesses", ["expires_ms"])
    op.create_table(
        "one_time_secrets",
        sa.Column("username", sa.Text(), primary_key=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    """Refuse: it would drop the users' secrets."""
    raise NotImplementedError("going back would delete the secrets of one-time codes")
