"""Who is asking: what a proof is (`base`), pass phrases (`passphrase`); may they do it is `myproxy.policy`."""

from __future__ import annotations

__all__: list[str] = []
