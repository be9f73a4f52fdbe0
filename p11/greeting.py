# SPDX-License-Identifier: MIT
"""The frames that begin a connection: the module's hello and the simulator's welcome (csrc/greeting.c). No I/O.

Integers are native-endian, as in wire.py.
"""

from __future__ import annotations

import struct
from enum import IntFlag, unique
from typing import NamedTuple

from .wire import ULONG_SIZE, WireError, read_string

VERSION = 5
_HELLO = struct.Struct("=III16sII")
_SLOT = struct.Struct("=QI64s")
_U32 = struct.Struct("=I")


class KnownSlot(NamedTuple):
    """A slot that an application has from an earlier simulator; `event`: its event has not been returned yet."""

    number: int
    name: str
    listed: bool = True
    event: bool = False


@unique
class HelloFlag(IntFlag):
    """What a hello tells of the application."""

    CONTINUES = 1
    """This simulator has sent it a welcome; another one does not know its name."""
    COMES_LATER = 2
    """There was no simulator for some time since C_Initialize."""


@unique
class WelcomeFlag(IntFlag):
    """What the reply to a hello tells; with IS_UNKNOWN and IS_BUSY the connection ends."""

    LEAVES_CALLS = 1
    """Calls under way go on after C_Finalize."""
    IS_UNKNOWN = 2
    """The simulator does not know the application, which has used another one."""
    IS_BUSY = 4
    """The simulator has no descriptors or threads left for another connection."""


class Hello(NamedTuple):
    """The first frame on a connection: an application, and the slots that it has been shown."""

    application: bytes
    pid: int
    name: str
    slots: tuple[KnownSlot, ...] = ()
    flags: HelloFlag = HelloFlag(0)


def decode_hello(frame: bytes) -> Hello:
    """Decode the hello in a whole frame. Raises WireError, also for another version of the module."""
    try:
        _, version, ulong_size, application, pid, flags = _HELLO.unpack_from(frame)
        if version != VERSION or ulong_size != ULONG_SIZE:
            raise WireError(f"a module of wire version {version} with {8 * ulong_size}-bit CK_ULONG; this is {VERSION}")
        name, at = read_string(frame, _HELLO.size)
        (count,) = _U32.unpack_from(frame, at)
        at += 4
        slots = []
        for _ in range(count):
            number, state, description = _SLOT.unpack_from(frame, at)
            text = description.decode("utf-8", "replace").rstrip()
            slots.append(KnownSlot(number, text, bool(state & 1), bool(state & 2)))
            at += _SLOT.size
    except struct.error as error:
        raise WireError(f"hello: {error}") from None
    if at != len(frame):
        raise WireError(f"hello: {len(frame) - at} bytes too many")
    return Hello(application, pid, name.decode("utf-8", "replace"), tuple(slots), HelloFlag(flags))


def encode_welcome(flags: int = 0) -> bytes:
    """Encode the reply to a hello; a descriptor of the application's SlotRecord is sent with it."""
    return struct.pack("=III", 8, VERSION, flags)
