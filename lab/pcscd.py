# SPDX-License-Identifier: MIT
"""What pcscd has to be told of vpcd: its reader.conf, in either mode and for any number of readers.

vpcd keeps its connections by slot number, two of them in Debian's build. pcscd loads a driver once for each path, so a
further copy of the driver under another name is two further slots.
"""

from __future__ import annotations

from pathlib import Path

from ..reader.vpcd_slots import SLOTS_OF_VPCD
from ..reader.vpcd_wire import PORT

READER = "Virtual PCD"
"""What pcscd calls the slots, with numbers behind it; a further copy of the driver has a further word."""

_DRIVERS = ("pcsc/drivers/serial/libifdvpcd.so", "*/pcsc/drivers/serial/libifdvpcd.so")

_ENTRY = """\
FRIENDLYNAME "{name}"
DEVICENAME   {place}:{port}
LIBPATH      {driver}
CHANNELID    {port}
"""


def find_driver(root: Path = Path("/usr/lib")) -> str | None:
    """Where the distribution has put vpcd; None: nowhere."""
    return next((str(path) for place in _DRIVERS for path in root.glob(place)), None)


def configuration(
    driver: str, port: int = PORT, readers: int = SLOTS_OF_VPCD, is_reversed: bool = False, name: str = READER
) -> str:
    """The text of a reader.conf for so many readers; `copies` says which copies of the driver it names."""
    place = "127.0.0.1" if is_reversed else "/dev/null"
    entries = []
    for number, path in enumerate([driver, *copies(driver, readers)]):
        title = name if number == 0 else f"{name} {number + 1}"
        entries.append(_ENTRY.format(name=title, place=place, port=port + SLOTS_OF_VPCD * number, driver=path))
    return "\n".join(entries)


def copies(driver: str, readers: int) -> list[str]:
    """The copies of the driver that so many readers need, beside the original."""
    needed = -(-readers // SLOTS_OF_VPCD)
    return [str(Path(driver).with_name(f"libifdvpcd-{number}.so")) for number in range(2, needed + 1)]
