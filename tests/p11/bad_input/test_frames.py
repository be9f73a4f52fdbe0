# SPDX-License-Identifier: MIT
"""Frames that no module of ours sends: the connection ends, the simulator and everybody else go on."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from time import monotonic

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11 import server
from cardtear.p11.calls import BY_NAME
from cardtear.p11.greeting import VERSION, decode_hello
from cardtear.p11.wire import CODECS, WireError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ...shared.host import probes
from ...shared.host.host import Host
from ...shared.waiting import wait_until


def hello(application: bytes = b"a" * 16, version: int = VERSION, ulong: int = 8, name: bytes = b"test") -> bytes:
    """The first frame of a module."""
    body = struct.pack("=II16sII", version, ulong, application, 1, 0) + struct.pack("=Q", len(name)) + name
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
    "an empty frame": [bytes(4)],
    "empty frames": [bytes(4), bytes(4)],
    "an empty frame behind the hello": [hello(), bytes(4)],
    "a hello of 64 MB": [struct.pack("=I", 64 << 20), bytes(1 << 20)],
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
def test_hostile_frames(simulator: Simulator, host: Host, user_session: int, kind: str) -> None:
    """An application that is logged in meanwhile notices nothing."""
    assert ends(simulator, *HOSTILE[kind])
    assert len(host.call(probes.sign_with, user_session, b"\1")) == 256
    assert simulator.status()["readers"][0]["card"] == "Alice"


def dribble_to_its_end(connection: socket.socket) -> None:
    """Send a byte now and then, until the other end closes the connection."""

    def has_ended() -> bool:
        try:
            connection.send(b"\x20")
            return connection.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    wait_until(has_ended)


@pytest.mark.parametrize("begun", [b"", b"\x50", bytes(3), hello()[:30], struct.pack("=I", server.GREETING_LIMIT)])
def test_a_greeting_that_is_never_whole(simulator: Simulator, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    """The connection ends by itself, also if a byte comes now and then."""
    monkeypatch.setattr(server, "GREETING_SECONDS", 0.2)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(0.02)
        connection.connect(str(simulator.module_socket))
        connection.sendall(begun)
        dribble_to_its_end(connection)


def test_a_frame_that_is_never_whole(simulator: Simulator, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Likewise after the greeting, and what it costs is what has come; who only says nothing stays for ever."""
    monkeypatch.setattr(server, "FRAME_SECONDS", 0.6)
    with socket.socket(socket.AF_UNIX) as idle, socket.socket(socket.AF_UNIX) as connection:
        for number, each in enumerate((idle, connection)):
            each.settimeout(0.02)
            each.connect(str(simulator.module_socket))
            each.sendall(hello(bytes([number] * 16)))
            with contextlib.suppress(TimeoutError):
                while each.recv(4096):
                    pass
        begun = monotonic()
        connection.sendall(struct.pack("=I", 64 << 20))
        dribble_to_its_end(connection)
        assert begun + 0.6 <= monotonic()
        for _ in range(2):  # the second one as long after the first as a frame may take
            idle.settimeout(10)
            idle.sendall(request(BY_NAME["C_GetSlotInfo"].number, struct.pack("=Q", 0))[:9])
            idle.sendall(request(BY_NAME["C_GetSlotInfo"].number, struct.pack("=Q", 0))[9:])
            assert idle.recv(4096)
            idle.settimeout(0.65)
            with pytest.raises(TimeoutError):  # it has not ended
                idle.recv(1)
    assert host.call(Module.is_present, 0)


SENT = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.builds(bytes, st.integers(0, 40)),
        st.builds(hello, st.binary(min_size=16, max_size=16), name=st.binary(max_size=20)),
        st.builds(request, st.sampled_from(sorted(CODECS)), st.binary(max_size=60)),
        st.builds(request, st.integers(0, 2**16 - 1), st.binary(max_size=8), st.integers(0, 2**32 - 1)),
    ),
    max_size=6,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SENT, st.integers(1, 50))
def test_whatever_comes_the_connection_ends_with_its_sender(
    simulator: Simulator, parts: list[bytes], size: int
) -> None:
    """In pieces of any size, with the thread around the decoders: nothing spins, and no thread stays."""
    sent = b"".join(parts)
    assert ends(simulator, *(sent[at : at + size] for at in range(0, len(sent), size)))
    wait_until(
        lambda: not any(thread.name == "p11-call" for thread in threading.enumerate()),
        "no thread is busy with a connection that has ended",
    )


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
