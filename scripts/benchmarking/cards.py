# SPDX-License-Identifier: MIT
"""Measurements of the card alone, in this process: APDUs, its image, and many cards at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any

from cardtear.card import tlv
from cardtear.card.image.store import create_image, read_image
from cardtear.card.issuing.profiles import CardRequest, create, open_card
from cardtear.card.tables import SLOTS
from cardtear.lab.processes import paths
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_private_key

from .rows import BenchmarkRun, ResultRow, at_most

_SELECT = bytes.fromhex("00A4040005A000000308")
_VERIFY = bytes.fromhex("0020008008313233343536FFFF")
_GET_CERTIFICATE = bytes.fromhex("00CB3FFF0000055C035FC1050000")
_DIGEST_INFO = bytes.fromhex("3031300D060960864801650304020105000420")
_BLOCK = b"\0\1" + b"\xff" * 202 + b"\0" + _DIGEST_INFO + bytes(32)
_SIGN = b"\0\x87\x07\x9a\0\1\x0a\x7c\x82\1\6\x82\0\x81\x82\1\0" + _BLOCK + b"\0\0"
_OK = b"\x90\0"
_CERTIFICATE_LENGTH = 2000
_CARD_MEMORY = 100_000


def cards(run: BenchmarkRun) -> Iterator[ResultRow]:
    """Measure a card with an RSA key and a certificate object of 2 kB, and copies of it."""
    with TemporaryDirectory(dir=run.equipment.folder) as folder:
        image = _image(Path(folder))
        yield from _apdus(run, image)
        yield _opening(run, image)
        yield from _crowd(run, image, Path(folder))


def _image(folder: Path) -> Path:
    made, image = folder / "made.card", folder / "image.card"
    create(CardRequest(), made, paths.test_ca())
    state = read_image(made)
    padding = tlv.encode(0x70, bytes(_CERTIFICATE_LENGTH)) + b"\x71\1\0\xfe\0"
    state.objects[SLOTS[0x9A].certificate] = padding
    create_image(image, state)
    return image


def _apdus(run: BenchmarkRun, image: Path) -> Iterator[ResultRow]:
    """Measure the kinds of APDUs in turn, so that the load of the machine is the same for all."""
    card = open_card(image)
    activation = card.activate()
    activation.transmit(_SELECT)
    key: Any = load_der_private_key(card.store.state.keys[0x9A].value, None)
    padding, prehashed = PKCS1v15(), Prehashed(SHA256())

    def transmit(command: bytes) -> None:
        if activation.transmit(command)[-2:] != _OK:
            raise SystemExit(f"the card does not answer {command[:4].hex()} as it should")

    kinds: dict[str, tuple[int, Callable[[], object]]] = {
        "verify": (10, lambda: transmit(_VERIFY)),
        "get": (10, lambda: transmit(_GET_CERTIFICATE)),
        "sign": (1, lambda: transmit(_SIGN)),
        "bare": (1, lambda: key.sign(bytes(32), padding, prehashed)),
    }
    times: dict[str, list[int]] = {name: [] for name in kinds}
    for _ in range(max(run.amount.windows // 10, 20)):
        for name, (count, once) in kinds.items():
            for _ in range(count):
                start = perf_counter_ns()
                once()
                times[name].append(perf_counter_ns() - start)
    card.close()
    yield at_most("APDU in-process: VERIFY", times["verify"], "", 25, {})
    yield at_most("APDU in-process: GET DATA of 2 kB", times["get"], "", 25, {})
    bare = median(times["bare"]) / 1000
    what = "APDU in-process: GENERAL AUTHENTICATE, RSA-2048"
    yield at_most(what, times["sign"], "1.1 x cryptography", 1.1 * bare, {"cryptography": bare})


def _opening(run: BenchmarkRun, image: Path) -> ResultRow:
    times = []
    for _ in range(max(run.amount.removals, 20)):
        start = perf_counter_ns()
        card = open_card(image)
        times.append(perf_counter_ns() - start)
        card.close()
    return at_most("opening a card image", times, "", 5000, {})


def _crowd(run: BenchmarkRun, image: Path, folder: Path) -> Iterator[ResultRow]:
    count = run.amount.removals
    command = [sys.executable, "-m", f"{__package__}.crowd", str(image), str(folder), str(count)]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300).stdout)
    memory, alone = found["memory"] / 1000, median(found["alone"]) / 1000
    yield ResultRow(
        f"memory for each of {count} idle cards", memory, None, "kB", {}, "<= 100", memory, _CARD_MEMORY / 1000
    )
    what = f"insertion beside {count} other cards"
    yield at_most(what, found["crowd"], "1.5 x alone", 1.5 * alone, {"alone": alone})
