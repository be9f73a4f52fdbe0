# SPDX-License-Identifier: MIT
"""What works on this machine, and what to install for the rest."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
from pathlib import Path
from typing import NamedTuple

from ..csrc import module_path
from . import places


class Finding(NamedTuple):
    """One thing looked at: `needed` ones have to work for cardtear to be of any use."""

    what: str
    works: bool
    detail: str
    needed: bool = False


_CLIENTS = {
    "firefox-esr": "firefox-esr",
    "certutil": "libnss3-tools",
    "pkcs11-tool": "opensc",
    "p11tool": "gnutls-bin",
    "openssl": "openssl",
    "ssh-keygen": "openssh-client",
    "softhsm2-util": "softhsm2",
    "java": "openjdk-17-jre-headless",
}
"""Programs that use PKCS #11, and the Debian packages that bring them."""


def examine() -> list[Finding]:
    """The module, the folder of the sockets, and the client programs."""
    return [_module(), _folder(), *(_client(program, package) for program, package in _CLIENTS.items())]


def _module() -> Finding:
    path = module_path()
    try:
        ctypes.CDLL(str(path)).C_GetFunctionList  # noqa: B018 - found or not is the question
    except (OSError, AttributeError) as error:
        return Finding("PKCS #11 module", False, f"{error}; install cardtear again with a C compiler at hand", True)
    return Finding("PKCS #11 module", True, str(path), True)


def _folder() -> Finding:
    folder = places.runtime_folder()
    if not folder.exists():
        parent: Path = next(each for each in folder.parents if each.exists())
        works = os.access(parent, os.W_OK)
        return Finding("socket folder", works, f"{folder} {'will be made' if works else 'cannot be made'}", True)
    status = folder.stat()
    safe = status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o077
    return Finding("socket folder", safe, f"{folder}{'' if safe else ' is not private to you: remove it'}", True)


def _client(program: str, package: str) -> Finding:
    path = shutil.which(program)
    return Finding(program, path is not None, path or f"for tests with it: apt-get install {package}")
