# SPDX-License-Identifier: MIT
"""The PKCS #11 module that applications load, and where it lies."""

from pathlib import Path


def module_path() -> Path:
    """The absolute path of libcardtear-pkcs11.so, as applications want it."""
    return Path(__file__).resolve().parent / "libcardtear-pkcs11.so"


def only_us_path() -> Path:
    """The absolute path of the library that lets only its user, and root, reach a pcscd (only_us.c)."""
    return Path(__file__).resolve().parent / "libcardtear-only-us.so"
