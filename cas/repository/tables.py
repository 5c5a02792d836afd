"""The tables of a policy; no statements (`view`, `changing`), no meaning (`cas.policy`).

Everything that has a name is a row of `entities`, so that one table of members serves the groups of users, objects and
actions, and a statement names any two of them by number. What is looked for is found by an index whatever the size: the
groups around something by `members_up`, a user by the key of the name in the certificate, the objects around a name by
the names themselves, of which there are as many as the path is deep, and those below a place by the range of names.

Times are Unix seconds in UTC. The schema is made by the migrations; one test compares the two.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from cas.policy.model import Effect, Kind
from gsi.sql.columns import NUMBER, TEXT

__all__ = [
    "CAS_TYPE_ID",
    "CODES",
    "DEFAULT_NAMESPACE_ID",
    "EFFECTS",
    "ENROLMENTS",
    "ENTITIES",
    "EVERYONE_ID",
    "FEEDS",
    "FIRST_ACTION_ID",
    "FQANS",
    "HISTORY",
    "HISTORY_OF",
    "KINDS",
    "MEMBERS",
    "METADATA",
    "NAMESPACES",
    "POLICY",
    "SERVER_ID",
    "STATEMENTS",
    "TRUST_ANCHORS",
    "USERS",
    "WITHDRAWN",
]

METADATA: Final = sa.MetaData()

CODES: Final = {
    Kind.SERVER: 0,
    Kind.TRUST_ANCHOR: 1,
    Kind.USER: 2,
    Kind.USER_GROUP: 3,
    Kind.NAMESPACE: 4,
    Kind.OBJECT: 5,
    Kind.OBJECT_GROUP: 6,
    Kind.SERVICE_TYPE: 7,
    Kind.SERVICE_ACTION: 8,
    Kind.SERVICE_ACTION_GROUP: 9,
}
"""Kinds as they are stored."""

KINDS: Final = {code: kind for kind, code in CODES.items()}

EFFECTS: Final = {Effect.PERMIT: 1, Effect.DENY: 0}
"""Effects as they are stored."""

SERVER_ID: Final = 1
EVERYONE_ID: Final = 2
DEFAULT_NAMESPACE_ID: Final = 3
CAS_TYPE_ID: Final = 4
FIRST_ACTION_ID: Final = 5
"""CAS's own actions have this number and those behind it, in the order of `needs.CAS_ACTIONS`."""


def _entity(name: str, *, primary_key: bool = False) -> sa.Column[int]:
    return sa.Column(name, NUMBER, sa.ForeignKey("entities.id"), nullable=False, primary_key=primary_key)


POLICY: Final = sa.Table(
    "policy",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("revision", sa.BigInteger(), nullable=False),
    sa.Column("next_id", sa.BigInteger(), nullable=False),
    sa.Column("latest", sa.BigInteger(), nullable=False),
)
"""One row, which every change writes first: so changes follow one another, and each has a revision.

`latest` is the time of the newest change: a clock that is behind it has gone back.
"""

ENTITIES: Final = sa.Table(
    "entities",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("kind", sa.SmallInteger(), nullable=False),
    sa.Column("scope", sa.BigInteger(), nullable=False),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("skeleton", TEXT),
    sa.Column("version", sa.BigInteger(), nullable=False),
    sa.UniqueConstraint("kind", "scope", "name", name="entities_name"),
    sa.UniqueConstraint("kind", "skeleton", name="entities_skeleton"),
)
"""Whatever has a name. `scope` is the number of an object's namespace or an action's service type, else 0."""

TRUST_ANCHORS: Final = sa.Table(
    "trust_anchors",
    METADATA,
    _entity("id", primary_key=True),
    sa.Column("method", TEXT, nullable=False),
    sa.Column("data", TEXT, nullable=False),
    sa.Column("data_key", sa.String(64), nullable=False),
    sa.Column("strength", sa.SmallInteger(), nullable=False),
    sa.UniqueConstraint("data_key", name="trust_anchors_data_key"),
)
"""`data_key` is the key of the CA's name, see `caller.name_key`."""

USERS: Final = sa.Table(
    "users",
    METADATA,
    _entity("id", primary_key=True),
    sa.Column("subject", TEXT, nullable=False),
    sa.Column("subject_key", sa.String(64), nullable=False),
    _entity("anchor_id"),
    sa.UniqueConstraint("subject_key", "anchor_id", name="users_subject"),
    sa.Index("users_anchor", "anchor_id"),
)
"""`subject_key` is the key of the user's name, see `caller.name_key`."""

NAMESPACES: Final = sa.Table(
    "namespaces",
    METADATA,
    _entity("id", primary_key=True),
    sa.Column("base", TEXT, nullable=False),
    sa.Column("comparison", TEXT, nullable=False),
)

FQANS: Final = sa.Table(
    "fqans",
    METADATA,
    _entity("group_id", primary_key=True),
    sa.Column("fqan", TEXT, nullable=False),
    sa.UniqueConstraint("fqan", name="fqans_fqan"),
)

FEEDS: Final = sa.Table(
    "feeds",
    METADATA,
    sa.Column("source", TEXT, primary_key=True),
    sa.Column("value", TEXT, primary_key=True),
    _entity("group_id", primary_key=True),
    sa.Index("feeds_group", "group_id"),
)

MEMBERS: Final = sa.Table(
    "members",
    METADATA,
    _entity("container_id", primary_key=True),
    sa.Column("member_kind", sa.SmallInteger(), primary_key=True, autoincrement=False),
    _entity("member_id", primary_key=True),
    sa.Column("container_kind", sa.SmallInteger(), nullable=False),
    sa.Index("members_up", "member_id", "container_kind", "container_id"),
)
"""What is in which group, directly. The primary key finds what is in a group, groups apart from the rest."""

STATEMENTS: Final = sa.Table(
    "statements",
    METADATA,
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
    sa.Index("statements_object", "object_id", "action_id"),
    sa.Index("statements_action", "action_id"),
    sa.Index(
        "statements_denials", "object_id", sqlite_where=sa.text("effect = 0"), postgresql_where=sa.text("effect = 0")
    ),
)
"""`terms` is a text of the four columns before it, in which nothing is NULL, for the constraint."""

HISTORY: Final = sa.Table(
    "history",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("revision", sa.BigInteger(), nullable=False),
    sa.Column("time", sa.BigInteger(), nullable=False),
    sa.Column("actor", TEXT, nullable=False),
    sa.Column("reason", TEXT, nullable=False),
    sa.Column("request_id", TEXT, nullable=False),
    sa.Column("token", TEXT, nullable=False),
    sa.Column("change", TEXT, nullable=False),
    sa.Index("history_revision", "revision"),
)
"""Every change as JSON: who, when, why. `token` is of one transaction, so that a lost one is known again."""

HISTORY_OF: Final = sa.Table(
    "history_of",
    METADATA,
    sa.Column("about", TEXT, primary_key=True),
    sa.Column("history_id", NUMBER, sa.ForeignKey("history.id"), primary_key=True),
)
"""The things that a change is about, by a text that stays when they are gone."""

ENROLMENTS: Final = sa.Table(
    "enrolments",
    METADATA,
    sa.Column("digest", TEXT, primary_key=True),
    sa.Column("done", sa.BigInteger(), nullable=False),
    sa.Column("updated", sa.BigInteger(), nullable=False),
)
"""How many lines of a file of users have been dealt with."""

WITHDRAWN: Final = sa.Table(
    "withdrawn",
    METADATA,
    sa.Column("identifier", TEXT, primary_key=True),
    sa.Column("until", sa.BigInteger(), nullable=False),
)
"""Capabilities that were withdrawn, in hex, with the time at which each ends by itself."""
