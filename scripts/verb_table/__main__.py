# SPDX-License-Identifier: MIT
"""Write the files that are made from the table of verbs, or with `--check` say which are stale."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cardtear

from . import pages, remote

ROOT = Path(cardtear.__file__).resolve().parent

FILES: dict[str, Callable[[str], str]] = {
    "lab/control/remote_verbs.py": lambda _: remote.text(),
    **pages.FILES,
}
"""Each file with what makes its new text of the old one."""


def main() -> int:
    """Write the files, or say which are stale."""
    stale = []
    for name, make in FILES.items():
        file = ROOT / name
        old = file.read_text() if file.exists() else ""
        if (new := make(old)) != old:
            stale.append(name)
            if "--check" not in sys.argv[1:]:
                file.write_text(new)
    if stale and "--check" in sys.argv[1:]:
        names = ", ".join(stale)
        print(f"stale: {names}; make anew with: PYTHONPATH=scripts python -m verb_table", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
