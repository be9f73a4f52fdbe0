# SPDX-License-Identifier: MIT
"""Frames that no module of ours sends: the connection ends, the simulator and everybody else go on."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any

import pytest
from cardtear.lab.simulator import Simulator
from cardtear.p11.calls import BY_NAME
from cardtear.p11.wire import CODECS, VERSION, WireError, decode_hello
from hypothesis import given
from hypothesis import strategies as st


def hello(application: bytes = b"a" * 16, version: int = VERSION, ulong: int = 8, name: bytes = b"test") -> bytes:
    """The first frame of a module."""
    body = struct.pack("=II16sI", version, ulong, application, 1) + struct.pack("=Q", len(name)) + name
    body += struct.pack("=I", 0)
    return struct.pack("=I", len(body)) + body


def request(number: int, arguments: bytes = b"", length: int | None = None) -> bytes:
    """A request frame."""
    body = struct.pack("=HHI", number, 0, 1) + arguments
    return struct.pack("=I", len(body) if length is None else length) + body


def ends(simulator: Simulator, *parts: bytes) -> bool:
    """Whether the simulator ends a connection that sends this."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(simulator.module_socket))
        with contextlib.suppress(OSError):
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
        try:
            while connection.recv(4096):
                pass
        except ConnectionResetError:
            pass
        return True


HOSTILE = {
    "nothing": [b""],
    "cut in the length": [b"\x08\x00"],
    "cut in the hello": [hello()[:20]],
    "another version": [hello(version=VERSION - 1)],
    "32 bits": [hello(ulong=4)],
    "4 GiB": [struct.pack("=I", 2**32 - 1)],
    "over the limit": [hello(), struct.pack("=I", (64 << 20) + 1)],
    "no such call": [hello(), request(9999)],
    "no arguments": [hello(), request(BY_NAME["C_OpenSession"].number)],
    "too many": [hello(), request(BY_NAME["C_GetSlotInfo"].number, bytes(800))],
    "string beyond the frame": [hello(), request(BY_NAME["C_SeedRandom"].number, struct.pack("=QQ", 1, 2**63))],
    "template beyond the frame": [hello(), request(BY_NAME["C_FindObjectsInit"].number, struct.pack("=QI", 1, 2**31))],
    "shorter than a header": [hello(), struct.pack("=I", 4) + b"abcd"],
    "two at once": [hello(), 2 * request(BY_NAME["C_GetSlotInfo"].number, bytes(8))],
    "noise": [bytes(range(256)) * 64],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_frames(simulator: Simulator, host: Any, user_session: int, kind: str) -> None:
    """An application that is logged in meanwhile notices nothing."""
    assert ends(simulator, *HOSTILE[kind])
    assert len(host.eval("sign(m, s, key(m, s, b'\\1'))", s=user_session)) == 256
    assert simulator.status()["readers"][0]["card"] == "Alice"


@given(st.sampled_from(sorted(CODECS)), st.binary(max_size=200))
def test_decoders_take_anything(number: int, noise: bytes) -> None:
    """Arguments or WireError, never another exception, for any call."""
    with contextlib.suppress(WireError):
        CODECS[number].decode(request(number, noise))


@given(st.binary(max_size=200))
def test_hello_takes_anything(noise: bytes) -> None:
    """Likewise."""
    with contextlib.suppress(WireError):
        decode_hello(noise)


def test_hello_whole_truncated_and_with_more() -> None:
    """The whole is understood, every part of it and anything behind it refused."""
    whole = hello()
    assert decode_hello(whole).name == "test"
    for cut in range(len(whole)):
        with pytest.raises(WireError):
            decode_hello(whole[:cut])
    with pytest.raises(WireError):
        decode_hello(whole + b"\0")


@given(
    st.integers(0, 2**64 - 1),
    st.lists(st.tuples(st.integers(0, 2**29), st.binary(max_size=30)), max_size=5),
)
def test_templates_round_trip(session: int, template: list[tuple[int, bytes]]) -> None:
    """What the module packs is what the server reads; a byte less or more is refused."""
    packed = struct.pack("=QI", session, len(template))
    for kind, value in template:
        packed += struct.pack("=QQ", kind, len(value)) + value
    codec = CODECS[BY_NAME["C_FindObjectsInit"].number]
    frame = request(BY_NAME["C_FindObjectsInit"].number, packed)
    assert codec.decode(frame) == (session, template)
    for wrong in (frame[:-1], frame + b"\0"):
        with pytest.raises(WireError):
            codec.decode(wrong)
