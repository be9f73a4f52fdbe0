# SPDX-License-Identifier: MIT
"""What others do to the image file of a card that is in use: no other file is written, and nothing is lost unsaid."""

from __future__ import annotations

import contextlib
import copy
import errno
import fcntl
import gc
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cardtear.card.applet import references
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.card import CardTorn
from cardtear.card.image.store import ImageError, Store, create_image, read_image
from cardtear.card.issuing.profiles import open_card
from cardtear.card.status import SW
from cardtear.card.tables import PIN

DEADLINE = 30
RIGHT, WRONG = (bytes.fromhex(f"002000800831323334353{last}FFFF") for last in "67")
RECORD = bytes.fromhex("5C045FFF8000 538203E8") + b"\2" * 1000

DELETE = (
    f"{sys.executable} -c "
    "\"import sqlite3; sqlite3.connect('a.card', isolation_level=None).execute('DELETE FROM object')\""
)

REPLACED = [
    "mv b.card a.card",
    "cp b.card a.card",
    "cp --remove-destination b.card a.card",
    "cp --reflink=auto b.card a.card",
    "dd if=b.card of=a.card bs=512 conv=notrunc status=none",
    "cat b.card > a.card",
    "dd if=b.card of=a.card conv=notrunc status=none",
    "rm a.card",
    "rm a.card; cp b.card a.card",
    "rm a.card; mkdir a.card",
    ": > a.card",
    "truncate -s 4096 a.card",
    "truncate -s 20M a.card",
    "printf x >> a.card",
    "printf x | dd of=a.card bs=1 seek=8200 conv=notrunc status=none",
    "mv a.card c.card",
    "mv a.card c.card; mv b.card a.card",
    "ln -f b.card a.card",
    "ln -sf b.card a.card",
    "cp a.card c.card; mv c.card a.card",
    "rm -r ../cards",
    "mv ../cards ../moved; mkdir ../cards; cp ../moved/b.card a.card; rm ../moved/a.card",
    "mv ../cards ../moved; mkdir ../cards; cp ../moved/b.card ../cards/a.card",
    "mv ../cards ../moved; mkdir ../cards; ln -s ../moved/b.card ../cards/a.card",
    DELETE,
]
"""After these the file is not the card's any more."""

UNTOUCHED = [
    "touch a.card",
    "chmod 400 a.card",
    "chmod 000 a.card",
    "ln a.card c.card",
    "cp a.card c.card",
    "mv a.card c.card; mv c.card a.card",
    "cp a.card c.card; cat c.card > a.card",
    "cp a.card c.card; : > a.card; cat c.card > a.card",
    "rm b.card",
    "mv b.card c.card",
]
"""After these it is, and holds what it held."""


class Pair(NamedTuple):
    """A card in use, and the bytes of another one's image beside it."""

    card: PivCard
    other: bytes
    folder: Path

    def does(self, command: str) -> None:
        subprocess.run(["sh", "-ec", command], cwd=self.folder, check=True, timeout=DEADLINE)

    def files(self) -> dict[Path, bytes]:
        """Everything that lies there."""
        return {path: path.read_bytes() for path in self.folder.parent.glob("*/*") if path.is_file()}


@pytest.fixture
def pair(image: Callable[..., Path], tmp_path: Path) -> Pair:
    folder = tmp_path / "cards"
    folder.mkdir()
    mine, other = (Path(shutil.move(image("piv", name=name), folder / f"{name}.card")) for name in ("a", "b"))
    create_image(bigger := folder / "bigger", read_image(other))
    bigger.replace(other)
    return Pair(open_card(mine), other.read_bytes(), folder)


def changes(terminal: Any) -> list[int]:
    """The status words of a change of one row, and of one of several."""
    return [terminal.send(WRONG)[1], terminal.command(0xDB, 0x3F, 0xFF, RECORD)[1]]


@pytest.mark.parametrize("is_fresh", [True, False])
@pytest.mark.parametrize("command", REPLACED)
def test_the_file_is_another(pair: Pair, power: Callable[..., Any], command: str, is_fresh: bool) -> None:
    """The card says that its memory fails, stays what it was, and whatever lies there now is not touched."""
    terminal = power(pair.card)
    terminal.manage()
    if not is_fresh:
        assert changes(terminal) == [0x63C2, 0x9000]
    before = copy.deepcopy(pair.card.store.state)
    if command == DELETE and not is_fresh:
        with pytest.raises(subprocess.CalledProcessError):  # SQLite's own lock is held
            pair.does(command)
        return
    pair.does(command)
    content = pair.files()
    for _ in range(2):
        assert changes(terminal) == [SW.MEMORY_FAILURE] * 2
    assert terminal.send("00200080")[1] == 0x63C0 + before.references[PIN].remaining
    assert pair.card.store.state == before
    pair.card.close()
    assert pair.files() == content
    with contextlib.suppress(ImageError):
        assert read_image(pair.folder / "a.card").name in ("a", "b")


@pytest.mark.parametrize("pin", [RIGHT, WRONG])
@pytest.mark.parametrize("command", ["mv b.card a.card", "rm a.card", "rm a.card; mv b.card a.card"])
def test_replaced_between_the_count_and_the_comparison(
    pair: Pair, power: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, command: str, pin: bytes
) -> None:
    """The other file is not touched, and the card does not go on writing where nobody will find it."""
    terminal = power(pair.card)
    terminal.manage()
    assert changes(terminal) == [0x63C2, 0x9000]

    class Comparison:
        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            pair.does(command)
            return one == other

    monkeypatch.setattr(references, "hmac", Comparison)
    assert terminal.send(pin) == (b"", 0x9000 if pin == RIGHT else 0x63C1)
    monkeypatch.undo()
    content = pair.files()
    assert pair.other in content.values()
    assert changes(terminal) == [SW.MEMORY_FAILURE] * 2
    pair.card.close()
    assert pair.files() == content


@pytest.mark.parametrize("command", ["", "touch a.card"])
def test_torn_between_the_count_and_the_comparison(
    pair: Pair, power: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """The try is gone, nobody waits, and the next activation looks at the file again."""
    terminal = power(pair.card)
    terminal.manage()

    class Comparison:
        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            pair.card.deactivate()
            pair.does(command)
            return one == other

    monkeypatch.setattr(references, "hmac", Comparison)
    with pytest.raises(CardTorn):
        terminal.send(RIGHT)
    monkeypatch.undo()
    again = power(pair.card)
    again.manage()
    assert changes(again) == [0x63C1, 0x9000]
    pair.does("mv b.card a.card")
    assert changes(again) == [SW.MEMORY_FAILURE] * 2
    assert (pair.folder / "a.card").read_bytes() == pair.other


@pytest.mark.parametrize("command", UNTOUCHED)
def test_the_file_is_still_the_same(pair: Pair, power: Callable[..., Any], command: str) -> None:
    terminal = power(pair.card)
    terminal.manage()
    assert changes(terminal) == [0x63C2, 0x9000]
    pair.does(command)
    assert changes(terminal) == [0x63C1, 0x9000]
    pair.card.close()
    os.chmod(pair.folder / "a.card", 0o600)
    assert read_image(pair.folder / "a.card") == pair.card.store.state


@pytest.mark.parametrize(
    ("away", "back"),
    [
        ("mv a.card c.card", "mv c.card a.card"),
        ("cp a.card c.card; cp b.card a.card", "cp c.card a.card"),
        ("mv a.card c.card; mv b.card a.card", "mv a.card b.card; mv c.card a.card"),
        ("mv ../cards ../moved; mkdir ../cards", "mv ../moved/a.card ../cards"),
    ],
)
def test_put_back_it_goes_on(pair: Pair, power: Callable[..., Any], away: str, back: str) -> None:
    terminal = power(pair.card)
    terminal.manage()
    pair.does(away)
    assert changes(terminal) == [SW.MEMORY_FAILURE] * 2
    pair.does(back)
    assert changes(terminal) == [0x63C2, 0x9000]
    pair.card.close()
    assert read_image(pair.folder / "a.card") == pair.card.store.state


def test_what_has_happened_is_said_once(
    pair: Pair, power: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    terminal = power(pair.card)
    pair.does("mv b.card a.card")
    for _ in range(3):
        assert terminal.send(WRONG)[1] == SW.MEMORY_FAILURE
    (record,) = caplog.records
    assert "a.card is another file now" in record.message
    assert "6581" in record.message
    assert record.exc_info is None


VERIFIER = """
import sys
from pathlib import Path
from cardtear.card.issuing.profiles import open_card
activation = open_card(Path(sys.argv[1])).activate()
activation.transmit(bytes.fromhex("00A4040005A000000308"))
print("!", flush=True)
status = right = bytes.fromhex("9000")
while status == right:
    status = activation.transmit(bytes.fromhex("0020008008313233343536FFFF"))
print(status.hex(), flush=True)
"""

IN_PLACE = [
    "cp b.card a.card",
    "cat b.card > a.card",
    "dd if=b.card of=a.card conv=notrunc status=none",
    "dd if=b.card of=a.card bs=512 conv=notrunc status=none",
    "dd if=b.card of=a.card status=none",
    "until truncate -s 0 a.card 2> said; do grep -q 'temporarily unavailable' said; done; cat b.card >> a.card",
    "mv b.card a.card",
]


@pytest.mark.parametrize("command", IN_PLACE)
def test_replaced_exactly_while_a_counter_is_written(pair: Pair, command: str) -> None:
    """The other card is whole, and the one that goes on counting says that its memory fails."""
    pair.card.close()
    script = [sys.executable, "-c", VERIFIER, str(pair.folder / "a.card")]
    with subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as verifier:
        assert verifier.stdout is not None
        assert verifier.stdout.readline() == b"!\n"
        try:
            pair.does(command)
            said, log = verifier.communicate(timeout=DEADLINE)
        finally:
            verifier.kill()
    assert said == b"6581\n"
    assert b"a.card is another file now" in log or b"a.card was changed by another program" in log
    assert (pair.folder / "a.card").read_bytes() == pair.other


def test_others_read_it(pair: Pair, power: Callable[..., Any]) -> None:
    """For however long: the card is written all the same."""
    terminal = power(pair.card)
    terminal.manage()
    with (pair.folder / "a.card").open("rb"):
        assert changes(terminal) == [0x63C2, 0x9000]
    assert changes(terminal) == [0x63C1, 0x9000]


@pytest.mark.parametrize("is_fresh", [True, False])
def test_others_have_it_open_for_writing(
    pair: Pair, power: Callable[..., Any], caplog: pytest.LogCaptureFixture, is_fresh: bool
) -> None:
    """What they are about to write is not known: nothing is written until they have closed it."""
    terminal = power(pair.card)
    terminal.manage()
    if not is_fresh:
        assert changes(terminal) == [0x63C2, 0x9000]
    before = copy.deepcopy(pair.card.store.state)
    with subprocess.Popen(["sh", "-c", "exec 3<>a.card; echo; read x"], cwd=pair.folder, stdin=-1, stdout=-1) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"\n"
        assert changes(terminal) == [SW.MEMORY_FAILURE] * 2
        assert pair.card.store.state == before
        writer.stdin.close()
        writer.wait(DEADLINE)
    assert f"a.card is open for writing in another program (process {writer.pid}: sh -c" in caplog.text
    assert changes(terminal) == [0x63C0 + before.references[PIN].remaining - 1, 0x9000]


def test_a_file_system_without_leases(pair: Pair, power: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The looks at the file are all there is."""
    real = fcntl.fcntl

    def without_leases(file: int, command: int, *rest: Any) -> Any:
        if command == fcntl.F_SETLEASE:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(file, command, *rest)

    monkeypatch.setattr(fcntl, "fcntl", without_leases)
    terminal = power(pair.card)
    terminal.manage()
    assert changes(terminal) == [0x63C2, 0x9000]
    assert changes(terminal) == [0x63C1, 0x9000]
    pair.does("cp b.card a.card")
    assert changes(terminal) == [SW.MEMORY_FAILURE] * 2
    assert (pair.folder / "a.card").read_bytes() == pair.other


def descriptors(last: int) -> list[tuple[int, int] | None]:
    """What each descriptor up to `last` is open for, by device and inode; None where it is closed."""
    found: list[tuple[int, int] | None] = []
    for each in range(last + 1):
        try:
            status = os.fstat(each)
        except OSError:
            found.append(None)
        else:
            found.append((status.st_dev, status.st_ino))
    return found


@pytest.mark.parametrize("room", range(5))
def test_no_descriptors(pair: Pair, power: Callable[..., Any], room: int) -> None:
    """At the first change of a card, which opens files: it says so, loses nothing, and works when there are some."""
    terminal = power(pair.card)
    terminal.manage()
    before = copy.deepcopy(pair.card.store.state)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()
    with contextlib.ExitStack() as holes:
        greatest = max(map(int, os.listdir("/proc/self/fd")))
        while (filled := os.open(os.devnull, os.O_RDONLY)) < greatest:
            holes.callback(os.close, filled)
        holes.callback(os.close, filled)
        held = descriptors(filled)
        resource.setrlimit(resource.RLIMIT_NOFILE, (filled + 1 + room, limits[1]))
        try:
            said = changes(terminal)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        is_full = descriptors(filled) == held  # nothing was closed meanwhile by what other tests have left
    assert all(each in (SW.MEMORY_FAILURE, 0x63C2, 0x9000) for each in said)
    assert room > 0 or not is_full or said == [SW.MEMORY_FAILURE] * 2
    assert said[0] != SW.MEMORY_FAILURE or pair.card.store.state.references == before.references
    left = pair.card.store.state.references[PIN].remaining
    assert changes(terminal) == [0x63C0 + left - 1, 0x9000]
    with pytest.raises(ImageError, match="in another simulator"):
        Store(pair.card.store.path)
    pair.card.close()
    assert read_image(pair.card.store.path) == pair.card.store.state


# Killed in the middle of a change


def torn(path: Path) -> None:
    """Leave the image as a process does that is killed after a part of a change was written: with a hot journal."""
    work = path.with_name("work")
    shutil.copy(path, work)
    with contextlib.closing(sqlite3.connect(work, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN IMMEDIATE")
        for tag in range(40):
            db.execute("REPLACE INTO object VALUES (?, ?)", (tag, bytes(5000)))
        db.execute("DELETE FROM key")
        shutil.copy(work, path)
        shutil.copy(f"{work}-journal", f"{path}-journal")
    work.unlink()


def test_a_change_that_was_not_complete_is_undone(image: Callable[..., Path]) -> None:
    path = image()
    before = read_image(path)
    torn(path)
    with pytest.raises(ImageError):
        read_image(Path(shutil.copy(path, path.with_name("alone"))))
    opened = Store(path)
    assert opened.state == before
    opened.close()
    assert sorted(each.name for each in path.parent.iterdir()) == sorted([path.name, "alone"])


@pytest.mark.parametrize("is_fresh", [True, False])
@pytest.mark.parametrize(
    "plant", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("elsewhere")], ids=["FIFO", "folder", "link"]
)
def test_something_else_has_the_journals_name(
    pair: Pair, power: Callable[..., Any], plant: Callable[[Path], None], is_fresh: bool
) -> None:
    """Nobody waits for it, nothing is written there, and it is said what to do; without it the card goes on."""
    journal = pair.folder / "a.card-journal"
    terminal = power(pair.card)
    terminal.manage()
    if not is_fresh:
        assert changes(terminal) == [0x63C2, 0x9000]
    plant(journal)
    assert changes(terminal) == [SW.MEMORY_FAILURE if is_fresh else 0x63C1, SW.MEMORY_FAILURE]
    pair.card.close()
    with pytest.raises(ImageError, match="card-journal is no file; remove it"):
        read_image(pair.folder / "a.card")
    assert not (pair.folder / "elsewhere").exists()
    journal.rmdir() if journal.is_dir() else journal.unlink()
    read_image(pair.folder / "a.card")


@pytest.mark.parametrize("passphrase", [None, b"secret"])
def test_it_is_not_undone_in_another_file(image: Callable[..., Path], tmp_path: Path, passphrase: bytes | None) -> None:
    """Which has come to the name of the one that was left half done."""
    path = image()
    torn(path)
    create_image(other := tmp_path / "other.card", read_image(image("blank")), passphrase)
    content = other.read_bytes()
    other.replace(path)
    state = read_image(path, passphrase)
    assert path.read_bytes() == content
    assert state.profile == "blank"
    assert not Path(f"{path}-journal").exists()


WRITER = """
import os, sys
from pathlib import Path
from cardtear.card.issuing.profiles import open_card
from cardtear.card.status import CardError
store = open_card(Path(sys.argv[1])).store
store.own(owner := object())
while True:
    for size in range(1, 3000, 700):
        try:
            store.commit(owner, objects={0x5FFF8000: bytes(size), 0x5FFF8001: bytes(3000 - size)})
        except CardError:
            pass
        os.write(1, b".")
"""


@pytest.mark.parametrize("command", ["mv b.card a.card", "rm a.card; mv b.card a.card"])
def test_replaced_while_it_is_written_and_killed(pair: Pair, command: str) -> None:
    """The card that took its place is whole, whatever was under way."""
    pair.card.close()
    script = [sys.executable, "-c", WRITER, str(pair.folder / "a.card")]
    for _ in range(3):
        shutil.copy(pair.folder / "b.card", pair.folder / "kept")
        with subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as writer:
            assert writer.stdout is not None
            writer.stdout.read(50)
            pair.does(command)
            writer.stdout.read(20)
            writer.send_signal(signal.SIGKILL)
        assert (pair.folder / "a.card").read_bytes() == pair.other
        assert read_image(pair.folder / "a.card").name == "b"
        pair.does("mv kept b.card; cp b.card c.card; mv c.card a.card")


# Forked


def test_a_forked_process_does_not_change_the_card(pair: Pair, power: Callable[..., Any]) -> None:
    """It holds no lock either, and the parent's card goes on."""
    terminal = power(pair.card)
    terminal.manage()
    assert changes(terminal) == [0x63C2, 0x9000]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            statuses = changes(terminal)
            pair.card.close()
            os.write(write, repr(statuses).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as said:
        assert said.read() == repr([0x6581, 0x6581]).encode()
    os.waitpid(child, 0)
    assert changes(terminal) == [0x63C1, 0x9000]
    with pytest.raises(ImageError, match="in another simulator"):
        Store(pair.card.store.path)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, b"!")
            signal.pause()
        finally:
            os._exit(0)
    assert os.read(read, 1) == b"!"
    pair.card.close()
    read_image(pair.card.store.path)  # the child, which lives, has not kept it locked
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)
