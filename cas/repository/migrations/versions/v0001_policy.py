"""The tables of a policy, and what is in every one: the server, the whole community, CAS's own actions.

`cas.repository.tables` says what is in which table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # one order in every locale
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

KINDS = {"server": 0, "userGroup": 3, "namespace": 4, "serviceType": 7, "serviceAction": 8}
ACTIONS = (
    "enroll_trustAnchor",
    "enroll_user",
    "enroll_namespace",
    "enroll_object",
    "enroll_serviceType",
    "create_user_group",
    "create_object_group",
    "create_serviceAction_group",
    "query",
    "superuser",
    "grantAll",
    "grant",
    "revoke",
    "remove",
    "add_group_entry",
    "remove_group_entry",
    "create_group_entry",
    "delete_group_entry",
    "delete_user_group",
)


def _entity(name: str) -> "sa.Column[int]":
    return sa.Column(name, NUMBER, sa.ForeignKey("entities.id"), nullable=False)


def upgrade() -> None:
    """Create the tables and fill in what is always there."""
    _create_things()
    _create_relations()
    _create_records()
    op.create_index("users_anchor", "users", ["anchor_id"])
    op.create_index("feeds_group", "feeds", ["group_id"])
    op.create_index("members_up", "members", ["member_id", "container_kind", "container_id"])
    op.create_index("statements_object", "statements", ["object_id", "action_id"])
    op.create_index("statements_action", "statements", ["action_id"])
    few = sa.text("effect = 0")
    op.create_index("statements_denials", "statements", ["object_id"], sqlite_where=few, postgresql_where=few)
    op.create_index("history_revision", "history", ["revision"])
    _fill()


def _create_things() -> None:
    op.create_table(
        "entities",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("scope", sa.BigInteger(), nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("skeleton", TEXT),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("kind", "scope", "name", name="entities_name"),
        sa.UniqueConstraint("kind", "skeleton", name="entities_skeleton"),
    )
    op.create_table(
        "trust_anchors",
        _entity("id"),
        sa.Column("method", TEXT, nullable=False),
        sa.Column("data", TEXT, nullable=False),
        sa.Column("data_key", sa.String(64), nullable=False),
        sa.Column("strength", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("data_key", name="trust_anchors_data_key"),
    )
    op.create_table(
        "users",
        _entity("id"),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("subject_key", sa.String(64), nullable=False),
        _entity("anchor_id"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("subject_key", "anchor_id", name="users_subject"),
    )
    op.create_table(
        "namespaces",
        _entity("id"),
        sa.Column("base", TEXT, nullable=False),
        sa.Column("comparison", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _create_relations() -> None:
    op.create_table(
        "fqans",
        _entity("group_id"),
        sa.Column("fqan", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("group_id"),
        sa.UniqueConstraint("fqan", name="fqans_fqan"),
    )
    op.create_table(
        "feeds",
        sa.Column("source", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        _entity("group_id"),
        sa.PrimaryKeyConstraint("source", "value", "group_id"),
    )
    op.create_table(
        "members",
        _entity("container_id"),
        sa.Column("member_kind", sa.SmallInteger(), nullable=False),
        _entity("member_id"),
        sa.Column("container_kind", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("container_id", "member_kind", "member_id"),
    )
    op.create_table(
        "statements",
        sa.Column("id", NUMBER, primary_key=True),
        _entity("group_id"),
        sa.Column("effect", sa.SmallInteger(), nullable=False),
        _entity("action_id"),
        _entity("object_id"),
        sa.Column("not_before", sa.BigInteger()),
        sa.Column("not_after", sa.BigInteger()),
        sa.Column("proxies", TEXT, nullable=False),
        sa.Column("strength", sa.SmallInteger(), nullable=False),
        sa.Column("terms", TEXT, nullable=False),
        sa.UniqueConstraint("group_id", "object_id", "action_id", "effect", "terms", name="statements_what"),
    )


def _create_records() -> None:
    op.create_table(
        "policy",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("next_id", sa.BigInteger(), nullable=False),
        sa.Column("latest", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "history",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("request_id", TEXT, nullable=False),
        sa.Column("token", TEXT, nullable=False),
        sa.Column("change", TEXT, nullable=False),
    )
    op.create_table(
        "history_of",
        sa.Column("about", TEXT, nullable=False),
        sa.Column("history_id", NUMBER, sa.ForeignKey("history.id"), nullable=False),
        sa.PrimaryKeyConstraint("about", "history_id"),
    )
    op.create_table(
        "enrolments",
        sa.Column("digest", TEXT, primary_key=True),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
    )


def _fill() -> None:
    entities = sa.table(
        "entities",
        sa.column("id", sa.BigInteger()),
        sa.column("kind", sa.SmallInteger()),
        sa.column("scope", sa.BigInteger()),
        sa.column("name", sa.Text()),
        sa.column("skeleton", sa.Text()),
        sa.column("version", sa.BigInteger()),
    )
    rows = [
        (1, "server", 0, "casServer", None),
        (2, "userGroup", 0, "everyone", "everyone"),
        (3, "namespace", 0, "casDefaultNS", "casdefaultns"),
        (4, "serviceType", 0, "cas", "cas"),
        *((number, "serviceAction", 4, name, None) for number, name in enumerate(ACTIONS, start=5)),
    ]
    op.bulk_insert(
        entities,
        [
            {"id": number, "kind": KINDS[kind], "scope": scope, "name": name, "skeleton": skeleton, "version": 1}
            for number, kind, scope, name, skeleton in rows
        ],
    )
    namespaces = sa.table(
        "namespaces", sa.column("id", sa.BigInteger()), sa.column("base", sa.Text()), sa.column("comparison", sa.Text())
    )
    op.bulk_insert(namespaces, [{"id": 3, "base": "", "comparison": "ExactComparison"}])
    policy = sa.table("policy", *(sa.column(name, sa.BigInteger()) for name in ("id", "revision", "next_id", "latest")))
    op.bulk_insert(policy, [{"id": 1, "revision": 0, "next_id": 100, "latest": 0}])


def downgrade() -> None:
    """Refuse: it would drop the community's policy."""
    raise NotImplementedError("going back would delete the policy")
