"""Names that look alike: letters of Persian, Kurdish and Urdu beside the Arabic ones; as in 0005."""

from cas.repository.migrations.versions import v0005_looks

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Store how things look."""
    v0005_looks.upgrade()
