"""The books: certificates, whose each subject is, how fast principals ask, and the numbers of revocation lists.

Times are Unix seconds in UTC (of rates, milliseconds), the same number in every database. Revisions begin with `kca`,
so that a database of another service is never taken for one of ours.
"""

import sqlalchemy as sa
from alembic import op

revision = "kca0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # one order in every locale


def upgrade() -> None:
    """Create the tables and their indexes."""
    op.create_table(
        "issued",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("authority", TEXT, nullable=False),
        sa.Column("serial", TEXT, nullable=False),
        sa.Column("principal", TEXT, nullable=False),
        sa.Column("realm", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("not_after", sa.BigInteger(), nullable=False),
        sa.Column("issued", sa.BigInteger(), nullable=False),
        sa.Column("authenticated", sa.BigInteger(), nullable=False),
        sa.Column("request_id", TEXT, nullable=False),
        sa.Column("request_hash", TEXT),
        sa.Column("decision", TEXT, nullable=False),
        sa.Column("rule", TEXT, nullable=False),
        sa.Column("peer", TEXT, nullable=False),
        sa.Column("transport", TEXT, nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("revoked", sa.BigInteger()),
        sa.Column("reason", sa.Integer()),
        sa.Column("revoked_by", TEXT),
        sa.UniqueConstraint("authority", "serial", name="issued_authority_serial"),
        sa.UniqueConstraint("request_hash", name="issued_request_hash"),
    )
    op.create_index("issued_principal", "issued", ["principal", "id"])
    op.create_index("issued_not_after", "issued", ["not_after"])
    op.create_index("issued_revoked", "issued", ["authority", "revoked"])
    op.create_table(
        "subjects",
        sa.Column("name_key", TEXT, primary_key=True),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("principal", TEXT, nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
    )
    op.create_index("subjects_principal", "subjects", ["principal"])
    op.create_table(
        "rates",
        sa.Column("principal", TEXT, primary_key=True),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("rates_until_ms", "rates", ["until_ms"])
    op.create_table(
        "crls",
        sa.Column("authority", TEXT, primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("made", sa.BigInteger(), nullable=False),
        sa.Column("next_update", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    """Refuse: it would drop the books."""
    raise NotImplementedError("going back would delete the books")
