"""Judging options that grid-proxy-* and voms-proxy-* have in common; what they then do with them is theirs.

    check_proxy_options(PROG, arguments, no_policy=UsageError("..."))      # commands that make a proxy
    required = required_lifetime(PROG, arguments)                          # commands that test one

Loaded before anything is done, so it imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsi.cli.arguments import REFUSED_BITS, UsageError

if TYPE_CHECKING:
    from datetime import timedelta

    from gsi.cli.arguments import Namespace

__all__ = ["check_proxy_options", "required_lifetime", "usage_error"]


def usage_error(prog: str, message: str, *, hint: str | None = None) -> UsageError:
    """Return the error for options that contradict one another; without a hint it names the list of options."""
    return UsageError(message, hint=hint or f"'{prog} -help' lists the options")


def check_proxy_options(prog: str, arguments: Namespace, *, no_policy: UsageError) -> None:
    """Refuse options of policy, lifetime and key that contradict one another.

    Args:
        prog: The command.
        arguments: Its command line.
        no_policy: What to raise for a policy language without a policy, in the words of the command's C original.

    Raises:
        UsageError: With what to write instead.
    """
    if arguments.policy is not None and arguments.policy_language is None:
        raise usage_error(prog, "-policy needs the policy's language", hint="name it with -policy-language OID")
    if arguments.policy_language is not None and arguments.policy is None:
        raise no_policy
    if arguments.valid is not None and arguments.hours is not None:
        raise usage_error(prog, "-valid and -hours are mutually exclusive", hint="use -valid; -hours is deprecated")
    if arguments.bits in REFUSED_BITS:
        raise usage_error(
            prog, f"-bits {arguments.bits}: such a key is not safe", hint="use -bits 2048, the default, or more"
        )
    if arguments.bits is not None and arguments.key_type != "rsa":
        raise usage_error(prog, f"-bits is for RSA keys; -key-type {arguments.key_type} says the size already")


def required_lifetime(prog: str, arguments: Namespace) -> timedelta:
    """Return the lifetime that -exists asks for.

    Raises:
        UsageError: An option of -exists without it; otherwise a test that the caller relies on would not happen.
    """
    from datetime import timedelta

    for option in ("valid", "hours", "bits"):
        if getattr(arguments, option) is not None and not arguments.exists:
            raise UsageError(f"-{option} goes with -exists", hint=f"{prog} -exists -{option} ...")
    if arguments.valid is not None:
        lifetime: timedelta = arguments.valid
        return lifetime
    return timedelta(hours=arguments.hours or 0)
