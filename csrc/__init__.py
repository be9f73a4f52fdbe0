# SPDX-License-Identifier: MIT
"""The PKCS #11 module that applications load, and where it lies."""

from pathlib import Path


def module_path() -> Path:
    """The absolute path of libcardtear-pkcs11.so, as applications want it."""
    return Path(__file__).resolve().parent / "libcardtear-pkcs11.so"


def module_sources() -> list[Path]:
    """The C files of the module, for who builds it in another way: those that know shim.h."""
    return [file for file in sorted(Path(__file__).parent.glob("*.c")) if '"shim.h"' in file.read_text()]


def only_us_path() -> Path:
    """The absolute path of the library that lets only its user, and root, reach a program (only_us.c)."""
    return Path(__file__).resolve().parent / "libcardtear-only-us.so"
