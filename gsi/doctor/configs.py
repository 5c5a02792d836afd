"""Reading a service's configuration for its look: where it is, that it is not here, what is wrong with it.

config = yield from read_config(
    visit, "kca", variable="KCA_CONFIG", default=DEFAULT_CONFIG, what="a Kerberos authority", load=load_config
)
if config is None:
    return
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from gsi.doctor.visit import absent
from gsi.errors import GridError
from gsi.system.environ import get_variable
from gsi.trust.diagnose import Finding, Severity, finding_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from gsi.doctor.visit import Visit

__all__ = ["read_config"]

_C = TypeVar("_C")


def read_config(
    visit: Visit, section: str, *, variable: str, default: str, what: str, load: Callable[[str], _C]
) -> Generator[Finding, None, _C | None]:
    """Find and read the configuration of a service; yield what there is to say of it.

    Args:
        visit: What is asked.
        section: The section of the look.
        variable: Of the environment, which names the file.
        default: Its usual place.
        what: The service, with its article.
        load: Reads it.

    Returns:
        What was read; None where there is nothing further to look at.
    """
    path = visit.configs.get(section) or get_variable(variable) or default
    if not os.path.exists(path) and section not in visit.configs:
        yield absent(path, what)
        return None
    try:
        config = load(os.path.abspath(path))
    except GridError as error:
        yield finding_of(error, path, check="configuration")
        return None
    yield Finding(Severity.OK, "configuration", path, "can be used")
    return config
