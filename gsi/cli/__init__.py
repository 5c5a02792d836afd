"""The commands: read arguments, call the library, show the result. No rule of the grid lives here.

One file per command (`proxy_init`, `proxy_info`, ...), each with `build_parser()` and `main()`. What they share:
`arguments` (options in the C tools' spelling), `prompt` (pass phrases), `run` (errors to exit codes) and `manual` (man
pages and completions, made from the same parsers).
"""

from __future__ import annotations

__all__: list[str] = []
