# SPDX-License-Identifier: MIT
"""The machine's pcscd and vpcd, and the reader.conf between them: either mode, any readers.

vpcd keeps its connections by slot number, two of them in Debian's build. pcscd loads a driver once for each path, so a
further copy of the driver under another name is two further slots.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

from .vpcd_slots import SLOTS_OF_VPCD
from .vpcd_wire import PORT

READER = "Virtual PCD"
"""What pcscd calls the slots, with numbers behind it; a further copy of the driver has a further word."""

YUBIKEY = "Yubico YubiKey CCID"
"""What Yubico's programs look for in the name of a reader."""

LONGEST_NAME = 116
"""Bytes that a name may have: pcscd has 128, with the numbers of a copy, reader and slot behind it."""

_DRIVERS = ("pcsc/drivers/serial/libifdvpcd.so", "*/pcsc/drivers/serial/libifdvpcd.so")

_NO_POLKIT = "--disable-polkit"

_ENTRY = """\
FRIENDLYNAME "{name}"
DEVICENAME   {device}:{port}
LIBPATH      {driver}
CHANNELID    {port}
"""


def find_driver(root: Path = Path("/usr/lib")) -> str | None:
    """Return the path of the distribution's vpcd; None if it is not installed."""
    return next((str(path) for pattern in _DRIVERS for path in root.glob(pattern)), None)


def find_daemon() -> str | None:
    """Return the path of pcscd; None if it is not installed."""
    return shutil.which("pcscd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


@functools.cache
def options(daemon: str) -> tuple[str, ...]:
    """Return the options that let root's programs use this pcscd: from 2.3 on it may ask polkit, which refuses them.

    It is asked itself, for that depends on how it was built, too.
    """
    try:
        usage = subprocess.run((daemon, "--help"), capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return (_NO_POLKIT,) if _NO_POLKIT in usage.stdout + usage.stderr else ()


def check_name(name: str) -> str:
    """Return the name if pcscd's reader.conf can have it for a reader. Raises ValueError.

    A quotation mark ends the name there, and a file with what follows makes pcscd end at once.
    """
    if not name or name != name.strip() or not name.isprintable() or '"' in name:
        raise ValueError(
            f"a reader in PC/SC cannot be called {name!r}: a name is printable, and has no quotation marks"
        )
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"a reader in PC/SC cannot be called {name!r}: {LONGEST_NAME} bytes are the most")
    return name


def usual_name(profile: str) -> str:
    """Return the reader name for a card profile, by which the manufacturer's programs find the card."""
    return YUBIKEY if profile == "yubikey" else READER


def configuration(
    driver: str, port: int = PORT, readers: int = SLOTS_OF_VPCD, is_reversed: bool = False, name: str = READER
) -> str:
    """Return the text of a reader.conf for so many readers; `copies` are the copies of the driver to use.

    Raises ValueError for a name that no reader can have.
    """
    check_name(name)
    device = "127.0.0.1" if is_reversed else "/dev/null"
    entries = []
    for number, path in enumerate([driver, *copies(driver, readers)]):
        title = name if number == 0 else f"{name} {number + 1}"
        entries.append(_ENTRY.format(name=title, device=device, port=port + SLOTS_OF_VPCD * number, driver=path))
    return "\n".join(entries)


def copies(driver: str, readers: int) -> list[str]:
    """Return the copies of the driver that so many readers need, beside the original."""
    needed = -(-readers // SLOTS_OF_VPCD)
    return [str(Path(driver).with_name(f"libifdvpcd-{number}.so")) for number in range(2, needed + 1)]
