# SPDX-License-Identifier: MIT
"""The PKCS #11 module that applications load, and where it lies."""

from pathlib import Path


def module_path() -> Path:
    """The absolute path of libcardtear-pkcs11.so, as applications want it."""
    return Path(__file__).resolve().parent / "libcardtear-pkcs11.so"
