# SPDX-License-Identifier: MIT
"""Images of earlier formats, written here as the programs of their time wrote them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.image import image_format
from cardtear.card.image.encryption import UNENCRYPTED, Wrapped, unwrap
from cardtear.card.image.state import CardState
from cardtear.card.image.store import ImageEncrypted, ImageError, Store, copy_image, create_image, read_image
from cardtear.card.issuing.profiles import open_card
from cardtear.card.tables import MANAGEMENT_KEY, PIN, PinRule

FORMAT_1 = """
PRAGMA application_id = 0x63617264;
PRAGMA user_version = 1;
CREATE TABLE property (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE reference (
    number INTEGER PRIMARY KEY, value BLOB NOT NULL, tries INTEGER NOT NULL, maximum INTEGER NOT NULL
) STRICT;
CREATE TABLE key (
    slot INTEGER PRIMARY KEY, algorithm INTEGER NOT NULL, value BLOB NOT NULL, imported INTEGER NOT NULL
) STRICT;
CREATE TABLE object (tag INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE digest (only INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""


def in_format_1(state: CardState, path: Path) -> Path:
    """The same card as the first cardtear wrote it."""
    with sqlite3.connect(path) as db:
        db.executescript(FORMAT_1)
        texts = {"name": state.name.encode(), "profile": state.profile.encode()}
        db.executemany(
            "INSERT INTO property VALUES (?, ?)", {**texts, "atr": state.atr, "serial": state.serial}.items()
        )
        for number, each in state.references.items():
            db.execute("INSERT INTO reference VALUES (?, ?, ?, ?)", (number, each.value, each.remaining, each.maximum))
        for slot, key in state.keys.items():
            db.execute("INSERT INTO key VALUES (?, ?, ?, ?)", (slot, key.algorithm, key.value, key.imported))
        db.executemany("INSERT INTO object VALUES (?, ?)", state.objects.items())
        digest = hashlib.sha256()
        for table in ("property", "reference", "key", "object"):
            for row in db.execute(f"SELECT * FROM {table} ORDER BY 1"):
                digest.update(repr(row).encode())
        db.execute("INSERT INTO digest VALUES (0, ?)", (digest.digest(),))
    db.close()
    return path


FORMAT_2 = (
    FORMAT_1.replace("user_version = 1", "user_version = 2")
    + """
ALTER TABLE key ADD COLUMN pin_rule INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key ADD COLUMN touch INTEGER NOT NULL DEFAULT 0;
"""
)
PIN_RULES = {PinRule.NEVER: 1, PinRule.ONCE: 2, PinRule.ALWAYS: 3}


def in_format_2(state: CardState, path: Path) -> Path:
    """The same card as cardtear wrote it next."""
    rules = state.pin_rules
    texts = {"name": state.name, "profile": state.profile, "capacity": state.capacity, "pin_min": rules.minimum}
    texts |= {"pin_max": rules.maximum, "pin_format": rules.form}
    rows: dict[str, list[tuple[Any, ...]]] = {
        "property": [(name, str(text).encode()) for name, text in texts.items()]
        + [("atr", state.atr), ("serial", state.serial)],
        "reference": [(number, each.value, each.remaining, each.maximum) for number, each in state.references.items()],
        "key": [
            (slot, int(key.algorithm), key.value, int(key.imported), PIN_RULES[key.pin_rule], int(key.touch))
            for slot, key in state.keys.items()
        ],
        "object": list(state.objects.items()),
    }
    total = 0
    with sqlite3.connect(path) as db:
        db.executescript(FORMAT_2)
        for table, each in rows.items():
            db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(each[0]))})", each)
            for row in each:
                digest = hashlib.sha256(table.encode())
                for value in row:
                    part = value if isinstance(value, bytes) else str(value).encode()
                    digest.update(f"{type(value).__name__}{len(part)}:".encode() + part)
                total += int.from_bytes(digest.digest(), "big")
        db.execute("INSERT INTO digest VALUES (0, ?)", ((total % 2**256).to_bytes(32, "big"),))
    db.close()
    return path


FORMAT_3 = """
PRAGMA application_id = 0x63617264;
PRAGMA user_version = 3;
CREATE TABLE property (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE reference (
        number INTEGER PRIMARY KEY, value BLOB NOT NULL, maximum INTEGER NOT NULL, tries BLOB NOT NULL
    ) STRICT;
CREATE TABLE key (
        slot INTEGER PRIMARY KEY, algorithm INTEGER NOT NULL, value BLOB NOT NULL, imported INTEGER NOT NULL,
        pin_rule INTEGER NOT NULL, touch INTEGER NOT NULL
    ) STRICT;
CREATE TABLE object (tag INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE digest (only INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE seal (
        salt BLOB NOT NULL, cost INTEGER NOT NULL, block INTEGER NOT NULL, lanes INTEGER NOT NULL,
        key BLOB NOT NULL, digest BLOB NOT NULL
    ) STRICT;
"""


def in_format_3(state: CardState, path: Path, passphrase: bytes | None = None) -> Path:
    """The same card as cardtear 0.4 wrote it: the present format, but for the tries, which stood in `reference`."""
    create_image(path.with_name("present"), state, passphrase)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(FORMAT_3)
        db.execute("ATTACH ? AS present", (str(path.with_name("present")),))
        for table in ("property", "key", "object", "digest", "seal"):
            db.execute(f"INSERT INTO {table} SELECT * FROM present.{table}")
        wrapped = db.execute("SELECT * FROM seal").fetchall()
        own = unwrap(Wrapped(*wrapped[0]), passphrase) if wrapped else UNENCRYPTED
        for number, value, maximum in db.execute("SELECT * FROM present.reference").fetchall():
            count = state.references[number].remaining.to_bytes(4, "big")
            record = count + own.tag(b"tries %d %s" % (number, count))[:12]
            db.execute("INSERT INTO reference VALUES (?, ?, ?, ?)", (number, value, maximum, record))
    path.with_name("present").unlink()
    return path


WRITERS = {1: in_format_1, 2: in_format_2, 3: in_format_3}


@pytest.fixture(params=WRITERS)
def old_image(image: Callable[..., Path], tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, CardState]:
    """An image of an earlier format, and what it should be."""
    state = read_image(image())
    state.keys[MANAGEMENT_KEY] = dataclasses.replace(state.keys[MANAGEMENT_KEY], pin_rule=PinRule.ALWAYS)
    state.references[PIN] = state.references[PIN]._replace(remaining=2)
    return WRITERS[request.param](state, tmp_path / "old.card"), state


def test_an_image_of_an_earlier_format(old_image: tuple[Path, CardState], power: Callable[..., Any]) -> None:
    """It opens as before, is of the new format from then on, and works."""
    path, state = old_image
    for _ in range(2):
        opened = Store(path)
        opened.close()
        assert opened.state == state
        with contextlib.closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA user_version").fetchone() == (image_format.FORMAT,)
    card = open_card(path)
    terminal = power(card)
    assert terminal.use_key(0x11, 0x9C, bytes(32))[1] == 0x6982
    assert terminal.verify() == 0x9000
    assert terminal.use_key(0x11, 0x9C, bytes(32))[1] == 0x9000
    assert terminal.use_key(0x11, 0x9C, bytes(32))[1] == 0x6982
    assert terminal.use_key(0x11, 0x9E, bytes(32))[1] == 0x9000
    card.close()


def test_a_damaged_image_of_an_earlier_format(old_image: tuple[Path, CardState]) -> None:
    path, _ = old_image
    with sqlite3.connect(path) as db:
        db.execute("UPDATE reference SET tries = (SELECT tries FROM reference WHERE number = 129)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(ImageError, match="damaged"):
        Store(path)
    assert path.read_bytes() == before


def test_interrupted_on_the_way_to_another_format(
    old_image: tuple[Path, CardState], file_size: Callable[[int], contextlib.AbstractContextManager[None]]
) -> None:
    """It stays what it was, to the last statement."""
    path, state = old_image
    before = path.read_bytes()
    with file_size(2 * 4096), pytest.raises(ImageError, match="cannot write"):
        Store(path)
    assert path.read_bytes() == before
    opened = Store(path)
    opened.close()
    assert opened.state == state


def test_an_encrypted_image_of_an_earlier_format(image: Callable[..., Path], tmp_path: Path) -> None:
    """It stays encrypted under the same passphrase, and is copied as it is by who does not know that."""
    state = read_image(image())
    state.references[PIN] = state.references[PIN]._replace(remaining=1)
    path = in_format_3(state, tmp_path / "old.card", b"secret")
    before = path.read_bytes()
    copy_image(path, tmp_path / "copy.card")
    assert (tmp_path / "copy.card").read_bytes() == before
    for passphrase in (None, b"another"):
        with pytest.raises(ImageEncrypted):
            Store(path, passphrase)
        assert path.read_bytes() == before
    for _ in range(2):
        assert read_image(path, b"secret") == state
        with pytest.raises(ImageEncrypted):
            read_image(path)
    assert b"123456" not in path.read_bytes()
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (image_format.FORMAT,)


def test_an_image_of_an_earlier_format_that_can_only_be_read(
    old_image: tuple[Path, CardState], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read, and stays as it is."""
    path, state = old_image
    before = path.read_bytes()
    real = os.open

    def refuse(name: object, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise PermissionError(13, "Permission denied")
        return real(name, flags, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    assert read_image(path) == state
    assert path.read_bytes() == before
