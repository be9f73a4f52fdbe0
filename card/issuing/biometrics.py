# SPDX-License-Identifier: MIT
"""Biometric records of no person: formats and sizes as on real cards (SP 800-76-2), random content.

Each is a CBEFF structure: a header (table 14), the record, and the issuer's signature over both.
"""

from __future__ import annotations

import datetime
import random
import struct
import zlib
from typing import NamedTuple

from .cms import Signer, octets

_CONTENT_TYPE, _FASC_N, _UUID = "2.16.840.1.101.3.6.2", "2.16.840.1.101.3.6.6", "1.3.6.1.1.16.4"
_HEADER_VERSION, _SIGNED_NOT_ENCRYPTED = 3, 0x0D
_CREATOR = b"cardtear"


class _Kind(NamedTuple):
    """A kind of record: the codes in its header."""

    owner: int
    format: int
    type: int
    processing: int


_FINGERS = _Kind(0x001B, 0x0201, 0x000008, 0x80)
_FACE = _Kind(0x001B, 0x0501, 0x000002, 0x20)
_IRIS = _Kind(0x0101, 0x0009, 0x000010, 0x40)


class Holder(NamedTuple):
    """The identity in the records: FASC-N and card UUID, and the years of validity."""

    fasc_n: bytes
    uuid: bytes
    begin: datetime.date
    end: datetime.date


def fingerprints(holder: Holder, signer: Signer, chance: random.Random) -> bytes:
    """Make minutiae of two index fingers (INCITS 378)."""
    views = [_finger(position, chance) for position in (2, 7)]
    certified_scanner = 0x8001
    head = struct.pack(">HHHHHHHBB", 0x001B, 0x0001, certified_scanner, 300, 400, 197, 197, len(views), 0)
    body = head + b"".join(views)
    return _wrap(_FINGERS, b"FMR\0 20\0" + struct.pack(">H", 10 + len(body)) + body, holder, signer)


def face(holder: Holder, signer: Signer, chance: random.Random) -> bytes:
    """Make a frontal image with the positions of the eyes (INCITS 385): a grey JPEG of 420 by 560 dots."""
    image = _jpeg(420, 560, chance)
    eyes = b"".join(struct.pack(">BBHHH", 1, code, x, 240, 0) for code, x in ((0xC1, 260), (0xC2, 160)))
    nothing_said = bytes(14)
    face = struct.pack(">IH", 20 + len(eyes) + 12 + len(image), 2) + nothing_said
    jpeg, srgb, static_photograph = 0, 1, 2
    about = struct.pack(">BBHHBBHH", 1, jpeg, 420, 560, srgb, static_photograph, 0, 0)
    body = face + eyes + about + image
    return _wrap(_FACE, b"FAC\x00010\0" + struct.pack(">IH", 14 + len(body), 1) + body, holder, signer)


def irises(holder: Holder, signer: Signer, chance: random.Random) -> bytes:
    """Make two images (ISO/IEC 19794-6), each a grey PNG of 96 by 96 dots."""
    images = [_iris(eye, holder.begin, chance) for eye in (1, 2)]
    length = 16 + sum(map(len, images))
    return _wrap(_IRIS, b"IIR\x00020\0" + struct.pack(">IHBB", length, 2, 0, 2) + b"".join(images), holder, signer)


def _wrap(kind: _Kind, record: bytes, holder: Holder, signer: Signer) -> bytes:
    attributes = {_FASC_N: octets(holder.fasc_n), _UUID: octets(holder.uuid)}
    # The header tells the length of the signature over it, which varies by some bytes: signed until it fits.
    length = 0
    while True:
        content = _header(kind, len(record), length, holder) + record
        signature = signer.sign(_CONTENT_TYPE, content, attributes)
        if len(signature) == length:
            return content + signature
        length = len(signature)


def _header(kind: _Kind, record: int, signature: int, holder: Holder) -> bytes:
    """Return a header of 88 bytes."""
    head = struct.pack(">BBIHHH", _HEADER_VERSION, _SIGNED_NOT_ENCRYPTED, record, signature, kind.owner, kind.format)
    dates = _date(holder.begin) + _date(holder.begin) + _date(holder.end)
    about = kind.type.to_bytes(3, "big") + bytes((kind.processing, 80))
    return head + dates + about + _CREATOR.ljust(18, b"\0") + holder.fasc_n + bytes(4)


def _date(day: datetime.date) -> bytes:
    """Return century, year, month, day and midnight, a byte each, and the Z of universal time (table 14)."""
    return bytes((day.year // 100, day.year % 100, day.month, day.day, 0, 0, 0)) + b"Z"


def _finger(position: int, chance: random.Random) -> bytes:
    minutiae = [
        struct.pack(
            ">HHBB",
            chance.choice((0x4000, 0x8000)) | chance.randrange(300),
            chance.randrange(400),
            chance.randrange(180),
            chance.randint(40, 100),
        )
        for _ in range(chance.randint(30, 60))
    ]
    no_extended_data = b"\0\0"
    return struct.pack(">BBBB", position, 0, 80, len(minutiae)) + b"".join(minutiae) + no_extended_data


def _iris(eye: int, day: datetime.date, chance: random.Random) -> bytes:
    width, height, cropped_and_masked, png = 96, 96, 7, 0x0E
    rows = b"".join(b"\0" + bytes(chance.choices(range(96, 100), k=width)) for _ in range(height))
    image = (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        + _chunk(b"IDAT", zlib.compress(rows, 9))
        + _chunk(b"IEND", b"")
    )
    taken = struct.pack(">HBBBBBH", day.year, day.month, day.day, 0, 0, 0, 0)
    about = struct.pack(">BHHBHBBBBHHB", 0, 0, 0, 0, eye, eye, cropped_and_masked, png, 0, width, height, 8)
    about += struct.pack(">HHHHHHHHHI", 0, 0, 0, 0, 0, 0, 0, 0, 0, len(image))
    body = taken + about + image
    return struct.pack(">I", 4 + len(body)) + body


def _chunk(name: bytes, body: bytes) -> bytes:
    """Encode a PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


# A baseline JPEG (ISO/IEC 10918-1) of three components: blocks of one brightness each, and of no colour. The DC table
# codes 0 to 3 bits of difference, the AC table the end of a block only.
_DC_CODES = ("000", "001", "010", "011")
_END_OF_BLOCK = "0"
_NO_COLOUR = 2 * (_DC_CODES[0] + _END_OF_BLOCK)


def _jpeg(width: int, height: int, chance: random.Random) -> bytes:
    bits = []
    for _ in range(-(-width // 8) * -(-height // 8)):
        size = chance.randrange(len(_DC_CODES))
        bits.append(_DC_CODES[size] + "".join(chance.choices("01", k=size)) + _END_OF_BLOCK + _NO_COLOUR)
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    data = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\0")
    counts_dc, counts_ac = bytes((0, 0, 4)).ljust(16, b"\0"), bytes((1,)).ljust(16, b"\0")
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
            _segment(0xDB, b"\0" + bytes((16,)) * 64),
            _segment(0xC0, struct.pack(">BHHB", 8, height, width, 3) + b"\1\x11\0\2\x11\0\3\x11\0"),
            _segment(0xC4, b"\0" + counts_dc + bytes((0, 1, 2, 3))),
            _segment(0xC4, b"\x10" + counts_ac + b"\0"),
            _segment(0xDA, b"\3\1\0\2\0\3\0\0\x3f\0"),
            data,
            b"\xff\xd9",
        )
    )


def _segment(marker: int, body: bytes) -> bytes:
    """Encode a JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body
