# SPDX-License-Identifier: MIT
"""Stand-ins for modules that older releases of cryptography lack.

Their classes can be named in types and in isinstance(), and have no instances. The mechanisms that need the real ones
are not in the mechanism list.
"""

from __future__ import annotations


class _AbsentModule:
    def __getattr__(self, name: str) -> type:
        made = type(name, (), {})
        setattr(self, name, made)
        return made


mldsa, mlkem = _AbsentModule(), _AbsentModule()


def is_absent(module: object) -> bool:
    """Return whether a module is one of the stand-ins."""
    return isinstance(module, _AbsentModule)
