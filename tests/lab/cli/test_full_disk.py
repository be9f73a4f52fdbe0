# SPDX-License-Identifier: MIT
"""What commands do when nothing more can be written, and what they leave behind when they are killed."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cardtear.card.files import output_file
from cardtear.card.image.store import ImageError, copy_image, create_image, read_image
from cardtear.card.issuing.ca import TestCA
from cardtear.card.issuing.profiles import CardRequest, ready_image
from cardtear.lab.cards import export
from cardtear.lab.control.simulator import Simulator

DEADLINE = 60


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    ca = TestCA.load_or_create(folder / "data" / "cardtear" / "ca")
    shutil.copy(ready_image(CardRequest("piv-ec"), folder, ca), folder / "a.card")
    state = read_image(folder / "a.card")
    (folder / "a.json").write_text(export.as_json(state, with_keys=True))
    end = "-----END PRIVATE KEY-----\n"
    (folder / "key.pem").write_text(export.as_pem(state, with_keys=True).partition(end)[0] + end)
    (folder / "words").write_text("correct horse\n")
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """A folder with a card, its exports, and everything that commands want to keep."""
    return Path(shutil.copytree(prepared, tmp_path / "folder"))


def run(folder: Path, *words: str, most: int | None = None) -> subprocess.CompletedProcess[str]:
    """The command line, which can write files of `most` bytes."""

    def limit() -> None:
        if most is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    return subprocess.run(
        [sys.executable, "-m", "cardtear.lab.cli.main", *words],
        cwd=folder,
        env={**os.environ, "XDG_DATA_HOME": str(folder / "data"), "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        preexec_fn=limit,
    )


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


COMMANDS = [
    ("card", "new", "new.card", "--profile", "piv-ec"),
    ("card", "new", "new.card", "--profile", "blank", "--passphrase-file", "words"),
    ("card", "copy", "a.card", "new.card"),
    ("card", "copy", "a.card", "new.card", "--new-passphrase-file", "words"),
    ("card", "export", "a.card", "-o", "new.json", "--with-keys"),
    ("card", "export", "a.card", "-o", "new.pem", "--pem"),
    ("card", "import", "new.card", "a.json"),
    ("card", "import", "a.card", "key.pem", "--slot", "9A"),
    ("card", "ca", "--out", "new.pem"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_room(folder: Path, command: tuple[str, ...]) -> None:
    """One line with the file and the reason, nothing new, and what is there is as it was."""
    before, state = names(folder), read_image(folder / "a.card")
    result = run(folder, *command, most=100)
    assert (result.returncode in (1, 2), result.stdout) == (True, ""), result
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    assert "damaged" not in result.stderr
    named = "a.card" if "key.pem" in command else command[-1] if "ca" in command else "new"
    assert named in result.stderr
    assert names(folder) == before
    assert read_image(folder / "a.card") == state


def test_no_room_for_what_is_kept(tmp_path: Path) -> None:
    """The CA is the first thing that a first card makes."""
    result = run(tmp_path, "card", "new", "a.card", most=50)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "the test CA cannot be kept here: File too large" in result.stderr
    assert names(tmp_path) == set()
    assert run(tmp_path, "card", "new", "a.card", "--profile", "blank").returncode == 0


def test_no_room_in_a_simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For its own copy of a ready-made card: an error, and the card is there when there is room."""
    with Simulator() as simulator:
        simulator.plug("front")
        simulator.insert("front", CardRequest("blank"))
        simulator.remove("front")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        ready = CardRequest("blank", name="Carol")
        for most in (0, 5000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
            try:
                with pytest.raises((OSError, ImageError), match=r"blank|too large"):
                    simulator.insert("front", ready)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert simulator.insert("front", ready).name == "Carol"


@pytest.mark.needs("unshare --user true")
def test_a_disk_that_is_full(folder: Path) -> None:
    """A file system of its own without room."""
    (folder / "full").mkdir()
    script = (
        "mount -t tmpfs -o size=16k tmpfs full; head -c 12k /dev/zero > full/filler; "
        f"{sys.executable} -m cardtear.lab.cli.main card copy a.card full/b.card; echo $?; ls -A full"
    )
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.stdout == "1\nfiller\n", done
    assert done.stderr == "cardtear: cannot write full/b.card: No space left on device\n"


@pytest.mark.needs("unshare")
def test_a_disk_that_can_only_be_read(folder: Path) -> None:
    """A card on it can be looked at; why it cannot be changed is said."""
    (folder / "disk").mkdir()
    commands = ["card show disk/a.card", "card put disk/a.card 5FC102 words", "card ca --out disk/ca.pem"]
    script = "mount -t tmpfs tmpfs disk; cp a.card disk; mount -o remount,ro disk\n" + "\n".join(
        f"{sys.executable} -m cardtear.lab.cli.main {each} > out; echo $?" for each in commands
    )
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.stdout == "0\n1\n1\n", done
    assert done.stderr.splitlines() == [
        "cardtear: cannot open the card image disk/a.card: Read-only file system",
        "cardtear: disk/ca.pem: Read-only file system",
    ]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_whatever_the_reason_is(folder: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A copy that cannot be written says nothing against the card, and an unfinished one is not left."""
    before = names(folder)

    def fails(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fails)
        with pytest.raises(ImageError, match=f"cannot write .*b.card: {os.strerror(number)}"):
            copy_image(folder / "a.card", folder / "b.card")
        with pytest.raises(ImageError, match=f"cannot write .*b.card: {os.strerror(number)}"):
            create_image(folder / "b.card", read_image(folder / "a.card"))
    assert names(folder) == before


# A file system without links


@pytest.fixture(scope="session")
def no_links(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("no_links") / "no_links.so"
    source = Path(__file__).with_name("no_links.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True, timeout=DEADLINE)
    return library


@pytest.mark.needs("cc")
@pytest.mark.parametrize("kernel", [{}, {"NO_RENAMEAT2": "1"}], ids=["new", "old"])
def test_a_file_system_without_links(
    folder: Path, no_links: Path, monkeypatch: pytest.MonkeyPatch, kernel: dict[str, str]
) -> None:
    """As FAT. New files come whole, and never in the place of another one."""
    for name, value in {"LD_PRELOAD": str(no_links), **kernel}.items():
        monkeypatch.setenv(name, value)
    before = names(folder)
    for command in (("copy", "a.card", "b.card"), ("export", "a.card", "-o", "b.json"), ("import", "c.card", "a.json")):
        assert run(folder, "card", *command).returncode == 0
    assert names(folder) == {*before, "b.card", "b.json", "c.card"}
    assert read_image(folder / "b.card") == read_image(folder / "c.card") == read_image(folder / "a.card")
    assert (folder / "b.card").stat().st_mode & 0o777 == 0o600
    (folder / "b.card").write_text("mine")
    script = (
        "import sys; from pathlib import Path; from cardtear.card.files import output_file; "
        "output_file.write_new(Path('b.card'), 'other')"  # without the look before it that commands make
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert "FileExistsError" in done.stderr
    assert (folder / "b.card").read_text() == "mine"
    assert names(folder) == {*before, "b.card", "b.json", "c.card"}


# Killed while a file is written

SLOW_WRITER = """
import os, sys
from pathlib import Path
from cardtear.card.files import output_file
from cardtear.card.issuing.ca import TestCA
from cardtear.card.image.store import copy_image, create_image, read_image
if sys.argv[2] == "named":
    output_file._NO_UNNAMED_FILES = {*output_file._NO_UNNAMED_FILES, 0}
    opened = os.open
    def without_unnamed(path, flags, *arguments, **more):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return opened(path, flags, *arguments, **more)
    os.open = without_unnamed
write = os.write
def partly(file, data):
    write(file, data[: len(data) // 2])
    write(1, b"!")
    sys.stdin.read()
os.write = partly
folder = Path(sys.argv[1])
{
    "copy": lambda: copy_image(folder / "a.card", folder / "b.card"),
    "new": lambda: create_image(folder / "b.card", read_image(folder / "a.card")),
    "export": lambda: output_file.write_new(folder / "b.json", "PRIVATE"),
    "ca": lambda: TestCA.load_or_create(folder / "another"),
}[sys.argv[3]]()
"""


@pytest.fixture
def killed() -> Callable[..., None]:
    def kill(*words: object) -> None:
        command = [sys.executable, "-c", SLOW_WRITER, *map(str, words)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.read(1) == b"!"
            process.send_signal(signal.SIGKILL)

    return kill


@pytest.mark.parametrize("what", ["copy", "new", "export", "ca"])
def test_nothing_is_left_by_a_killed_command(folder: Path, killed: Callable[..., None], what: str) -> None:
    before = names(folder)
    killed(folder, "unnamed", what)
    assert names(folder) == before


def test_a_draft_that_was_left_is_removed_by_the_next(folder: Path, killed: Callable[..., None]) -> None:
    """Where a file system has no files without a name; one that somebody still writes stays."""
    before = names(folder)
    killed(folder, "named", "copy")
    (left,) = names(folder) - before
    assert left.startswith(".cardtear-")
    assert (folder / left).stat().st_mode & 0o77 == 0
    command = [sys.executable, "-c", SLOW_WRITER, str(folder), "named", "new"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"!"
        (own,) = names(folder) - before
        assert own != left
        handle = os.open(folder, os.O_RDONLY)
        output_file._remove_left_drafts(handle)
        os.close(handle)
        assert names(folder) - before == {own}
        process.send_signal(signal.SIGKILL)
