"""Objects whose URL was written in a way of its own: a host in capitals or with a final dot means the same host.

Such objects get the one name that the resource has. Where this name is enrolled already, the two become one: members
and statements go over to the one that stays.
"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

OBJECT = 5
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([A-Za-z0-9_.-]+)(:[0-9]{1,5})?(/.*)\Z", re.DOTALL)
ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
MAX_PARTS = 64


def normal(name: str, comparison: str) -> str:
    """Return the name as this version stores it."""
    found = URL.match(name)
    if found is None:
        return name
    scheme, host, port, path = found.groups()
    parts = path[1:].split("/")
    odd = path != "/" and (any(part in {"", ".", ".."} for part in parts) or len(parts) > MAX_PARTS)
    if comparison == "ExactComparison" and (odd or "*" in name or ESCAPE.search(path)):
        return name
    host = host.lower().rstrip(".")
    return f"{scheme.lower()}://{host}{port or ''}{path}" if host else name


def upgrade() -> None:
    """Rename the objects."""
    connection = op.get_bind()

    def run(query: str, **values: object) -> sa.CursorResult[tuple[object, ...]]:
        return connection.execute(sa.text(query), values)

    query = (
        "SELECT e.id, e.scope, e.name, n.comparison FROM entities e JOIN namespaces n ON n.id = e.scope"
        " WHERE e.kind = :kind AND e.name LIKE '%://%'"
    )
    for row in run(query, kind=OBJECT).mappings().all():
        number, scope, name, comparison = row["id"], row["scope"], row["name"], row["comparison"]
        wanted = normal(str(name), str(comparison))
        if wanted == name:
            continue
        other = run(
            "SELECT id FROM entities WHERE kind = :kind AND scope = :scope AND name = :name",
            kind=OBJECT,
            scope=scope,
            name=wanted,
        ).scalar()
        if other is None:
            run("UPDATE entities SET name = :name, version = version + 1 WHERE id = :id", name=wanted, id=number)
            continue
        run(
            "DELETE FROM members WHERE member_id = :id AND container_id IN"
            " (SELECT container_id FROM members WHERE member_id = :other)",
            id=number,
            other=other,
        )
        run("UPDATE members SET member_id = :other WHERE member_id = :id", id=number, other=other)
        run(
            "DELETE FROM statements WHERE object_id = :id AND EXISTS (SELECT 1 FROM statements o WHERE"
            " o.object_id = :other AND o.group_id = statements.group_id AND o.action_id = statements.action_id"
            " AND o.effect = statements.effect AND o.terms = statements.terms)",
            id=number,
            other=other,
        )
        run("UPDATE statements SET object_id = :other WHERE object_id = :id", id=number, other=other)
        run("UPDATE entities SET version = version + 1 WHERE id = :id", id=other)
        run("DELETE FROM entities WHERE id = :id", id=number)
