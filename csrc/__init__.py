# SPDX-License-Identifier: MIT
"""The PKCS #11 module that applications load, and its path."""

import functools
import os
import re
from pathlib import Path

_PLAIN = re.compile(r"[A-Za-z0-9/._+@=~,-]+")
"""A path that LD_PRELOAD can have: ld.so(8) takes blanks and colons for its end, and a $ for a token."""


def module_path() -> Path:
    """Return the absolute path of libcardtear-pkcs11.so."""
    return Path(__file__).resolve().parent / "libcardtear-pkcs11.so"


def module_sources() -> list[Path]:
    """Return the C files of the module: those that include shim.h."""
    return [file for file in sorted(Path(__file__).parent.glob("*.c")) if '"shim.h"' in file.read_text()]


def only_us_path() -> Path:
    """Return the absolute path of the library that lets only its user, and root, reach a program (only_us.c)."""
    return Path(__file__).resolve().parent / "libcardtear-only-us.so"


def only_us_preload() -> str:
    """Return the value of LD_PRELOAD for that library, whatever its path; a program without it is open to all."""
    path = str(only_us_path())
    return path if _PLAIN.fullmatch(path) else f"/proc/{os.getpid()}/fd/{_held(path, os.getpid())}"


@functools.cache
def _held(path: str, _process: int) -> int:
    """Open a file for as long as the process lives."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
