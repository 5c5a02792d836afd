"""Whose sessions, events and grants are: the identity beside the account, for a name may get another owner.

What is there keeps an empty one, for it is sealed: such a session or grant is given its own at its next use, and an
event stays without, so that nobody is shown it. The default is for nodes that still run the version before.
"""

import sqlalchemy as sa
from alembic import op

revision = "portal0003"
down_revision = "portal0002"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # one order in every locale


def upgrade() -> None:
    """Add the column."""
    for table in ("sessions", "activity", "grants"):
        op.add_column(table, sa.Column("identity", TEXT, nullable=False, server_default=""))


def downgrade() -> None:
    """Refuse: it would show users what is not theirs."""
    raise NotImplementedError("going back would show users what others did")
