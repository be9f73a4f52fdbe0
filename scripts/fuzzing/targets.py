# SPDX-License-Identifier: MIT
"""The decoders of input from outside, each as a function of bytes that raises only if the decoder is wrong."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import NamedTuple

from cardtear.card import apdu, certificate_reader, certificates, tlv
from cardtear.card.applet import commands, extensions
from cardtear.card.applet.chaining import Chaining
from cardtear.card.issuing import certificate_text, key_files
from cardtear.card.status import CardError
from cardtear.lab.simulator import requests
from cardtear.p11 import greeting, records, wire
from cardtear.reader.pcsc import vpcd_wire

_PARSERS = {**commands.PARSERS, **extensions.PARSERS}


class Target(NamedTuple):
    """A function to fuzz, and its first inputs."""

    feed: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def _apdu(data: bytes) -> None:
    with contextlib.suppress(CardError):
        command = apdu.parse(data)
        assert (command.cla, command.ins, command.p1, command.p2) == tuple(data[:4])
        assert command.data in data
        assert 0 <= command.le <= apdu.EXTENDED_LIMIT


def _tlv(data: bytes) -> None:
    """Check that decoded TLVs, encoded and decoded again, are the same, and not longer than the input."""
    with contextlib.suppress(tlv.TlvError):
        found = tlv.decode(data)
        again = b"".join(tlv.encode(tag, value) for tag, value in found)
        assert len(again) <= len(data)
        assert tlv.decode(again) == found


def _command(data: bytes) -> None:
    with contextlib.suppress(CardError, tlv.TlvError):
        ins, p1, p2 = data[:3].ljust(3, b"\0")
        if ins in _PARSERS:
            _PARSERS[ins](apdu.Command(0, ins, p1, p2, data[3:]))


def _chain(data: bytes) -> None:
    """Check that each APDU of a chain gets a status word; each begins with its length."""
    transmit = Chaining(lambda command: command.data).transmit
    while data:
        length, data = data[0], data[1:]
        response = transmit(data[:length])
        assert response[-2] >> 4 in (6, 9)
        data = data[length:]


def _call(data: bytes) -> None:
    """Decode the arguments of a call; the first two bytes choose the call."""
    numbers = sorted(wire.CODECS)
    codec = wire.CODECS[numbers[int.from_bytes(data[:2], "big") % len(numbers)]]
    with contextlib.suppress(wire.WireError, wire.NullPointer):
        codec.decode(bytes(wire.REQUEST_HEADER.size) + data[2:])


def _hello(data: bytes) -> None:
    with contextlib.suppress(wire.WireError):
        greeting.decode_hello(data)


def _record(data: bytes) -> None:
    with contextlib.suppress(records.RecordError):
        again = records.encode_attributes(records.decode_attributes(data))
        assert records.encode_attributes(records.decode_attributes(again)) == again


def _vpcd(data: bytes) -> None:
    """Check that vpcd's messages are the same in two pieces as in one."""
    half = len(data) // 2
    whole, parts = vpcd_wire.Decoder(), vpcd_wire.Decoder()
    messages = list(whole.feed(data))
    assert messages == [*parts.feed(data[:half]), *parts.feed(data[half:])]
    for message in messages:
        vpcd_wire.control(message)
    assert b"".join(map(vpcd_wire.encode, messages)) == data[: sum(len(each) + 2 for each in messages)]


def _request(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        requests.decode(requests.parse(data))


def _certificate(data: bytes) -> None:
    """Check that a certificate that is read can be described in JSON."""
    read = certificate_reader.read(certificates.decode(data))
    if read is not None:
        assert read.public_key is None or read.public_key_info
        json.dumps(certificate_text.describe(read))


def _key_file(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        found = key_files.read(data, None, "file")
        assert found.keys or found.certificates


_NAME = tlv.encode(0x30, tlv.encode(0x31, tlv.encode(0x30, bytes.fromhex("0603550403 0C0141"))))
_DATES = tlv.encode(0x30, 2 * tlv.encode(0x17, b"260101000000Z"))
_FIELDS = bytes.fromhex("A003020102 020105 3000"), _NAME, _DATES, _NAME, tlv.encode(0x30)
_SKELETON = tlv.encode(0x30, tlv.encode(0x30, *_FIELDS), tlv.encode(0x30), tlv.encode(0x03, b"\0"))
"""A certificate with little in it."""

TARGETS = {
    "apdu": Target(_apdu, (bytes.fromhex("00CB3FFF055C035FC10500"), bytes.fromhex("00CB3FFF0000055C035FC1050000"))),
    "tlv": Target(_tlv, (bytes.fromhex("7C0482008101AA"), bytes.fromhex("5C045FFF8000538201001122"))),
    "command": Target(
        _command,
        (
            bytes.fromhex("DB3FFF5C035FC105530101"),
            bytes.fromhex("47009AAC03800111"),
            bytes.fromhex("FE119A0601FFAA0102"),
            bytes.fromhex("87119A7C0482008100"),
            bytes.fromhex("2000803132333435"),
        ),
    ),
    "chain": Target(_chain, (bytes.fromhex("07 10DB3FFF021122 06 00DB3FFF0111 05 00C0000001"),)),
    "call": Target(_call, (bytes(34), b"\0\3" + bytes(100))),
    "hello": Target(
        _hello, (greeting._HELLO.pack(44, greeting.VERSION, wire.ULONG_SIZE, bytes(16), 1, 0) + bytes(12),)
    ),
    "record": Target(_record, (records.encode_attributes({0: bytes(8), 3: b"label", 0x40000211: [(1, b"\1")]}),)),
    "vpcd": Target(_vpcd, (b"\0\1\4\0\5\0\xa4\4\0\0",)),
    "certificate": Target(_certificate, (_SKELETON, tlv.encode(0x70, _SKELETON) + b"\x71\1\0")),
    "key-file": Target(
        _key_file,
        (
            _SKELETON,
            b"-----BEGIN CERTIFICATE-----\nMAAwADAA\n-----END CERTIFICATE-----\n",
            bytes.fromhex("3013020100300506032B6570040704050102030405"),
        ),
    ),
    "request": Target(
        _request,
        (
            json.dumps({"do": "insert", "reader": "front", "card": {"name": "Bob", "pin_tries": 4}}).encode(),
            json.dumps({"do": "arm", "on": {"ins": "87"}, "then": {"do": "later", "seconds": 1}}).encode(),
        ),
    ),
}
