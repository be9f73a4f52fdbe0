# SPDX-License-Identifier: MIT
"""Files that a user names for a command's output: replaced at once if they are regular files, else written through."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cardtear.card.files import output_file
from cardtear.lab.cli.main import app
from cardtear.reader.pcsc.reader_conf import find_driver
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

DEADLINE = 30.0
CARDTEAR = (sys.executable, "-m", "cardtear.lab.cli.main")
OLD = "what was there before\n"
WRITERS = (output_file.write, output_file.write_new)


class Target:
    """A path of one kind, and `content`, what has come out there; `check` holds that it is what it was."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.kind, self.path, self.descriptors = kind, folder / "target", ()
        self._file, self._found, self._thread = folder / "file", b"", None
        getattr(self, f"_make_{kind.replace(' ', '_')}")()

    def content(self) -> str:
        """What has been written, when the writer has ended."""
        if self._thread is not None:
            for each in self.descriptors:
                os.close(each)
            self._thread.join(DEADLINE)
            assert not self._thread.is_alive()
            return self._found.decode()
        return "" if self.kind == "device" else self._file.read_text()

    def check(self) -> None:
        """The path is still of its kind, and no draft lies beside it."""
        mode = self.path.lstat().st_mode if self.path.is_symlink() or self.path.exists() else 0
        if "link" in self.kind:
            assert stat.S_ISLNK(mode)
        if self.kind == "device":
            assert stat.S_ISCHR(mode)
            assert self.path.stat().st_rdev == os.makedev(1, 3)
        if self.kind == "fifo":
            assert stat.S_ISFIFO(mode)
        if self.kind in ("old file", "link", "link to a link"):
            assert stat.S_IMODE(self._file.stat().st_mode) == 0o604
        assert not [each for each in self._file.parent.iterdir() if each.name.startswith(".")]

    def _make_new_file(self) -> None:
        self.path = self._file

    def _make_old_file(self) -> None:
        self._file.write_text(OLD)
        self._file.chmod(0o604)
        self.path = self._file

    def _make_link(self) -> None:
        self._make_old_file()
        self.path = self._file.with_name("target")
        self.path.symlink_to("file")

    def _make_link_to_nothing(self) -> None:
        self.path.symlink_to(self._file)

    def _make_link_to_a_link(self) -> None:
        self._make_link()
        other = self.path.with_name("deep")
        other.mkdir()
        self.path = other / "target"
        self.path.symlink_to("../target")

    def _make_device(self) -> None:
        try:
            os.mknod(self.path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            self.path.write_bytes(b"")
        except PermissionError:
            pytest.skip("needs to be root, and a folder that may have devices")

    def _make_fifo(self) -> None:
        os.mkfifo(self.path)
        self._read(lambda: os.open(self.path, os.O_RDONLY))

    def _make_descriptor_of_a_pipe(self) -> None:
        reading, writing = os.pipe()
        self.path, self.descriptors = Path(f"/proc/self/fd/{writing}"), (writing,)
        self._read(lambda: reading)

    def _make_descriptor_of_a_socket(self) -> None:
        here, there = socket.socketpair()
        self.path, self.descriptors = Path(f"/dev/fd/{there.fileno()}"), (there.detach(),)
        self._read(here.detach)

    def _make_descriptor_of_a_file(self) -> None:
        number = os.open(self._file, os.O_CREAT | os.O_WRONLY)
        os.write(number, OLD.encode())
        self.path, self.descriptors = Path(f"/proc/self/fd/{number}"), (number,)

    def _read(self, opened: Callable[[], int]) -> None:
        def read() -> None:
            with os.fdopen(opened(), "rb") as file:
                self._found = file.read()

        self._thread = threading.Thread(target=read, daemon=True)
        self._thread.start()  # type: ignore[attr-defined]


REPLACED = ("new file", "old file", "link", "link to nothing", "link to a link")
THROUGH = ("device", "fifo", "descriptor of a pipe", "descriptor of a socket", "descriptor of a file")
KINDS = REPLACED + THROUGH
NEW = ("new file", "link to nothing", *THROUGH)
"""Where a command writes that makes new files only."""


def awaited(kind: str, text: str) -> str:
    """What is there after `text` has been written."""
    return {"device": "", "descriptor of a file": OLD + text}.get(kind, text)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_target(tmp_path: Path, kind: str) -> None:
    """The content arrives, whole, and the target stays what it is."""
    target, text = Target(tmp_path, kind), "ä" * 300_000
    output_file.check(target.path)
    assert output_file.is_replaced(target.path) == (kind in REPLACED)
    output_file.write(target.path, text)
    assert target.content() == awaited(kind, text)
    target.check()


@pytest.mark.parametrize("kind", KINDS)
def test_new_files_only(tmp_path: Path, kind: str) -> None:
    """A regular file that is there stays as it is; a new one is the user's alone."""
    target = Target(tmp_path, kind)
    if kind in NEW:
        output_file.write_new(target.path, "secret")
        assert target.content() == awaited(kind, "secret")
        if kind in ("new file", "link to nothing"):
            assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    else:
        with pytest.raises(FileExistsError) as refused:
            output_file.write_new(target.path, "secret")
        assert refused.value.filename == str(target.path)
        assert (tmp_path / "file").read_text() == OLD
    target.check()


@pytest.mark.parametrize("kind", ["old file", "link", "device", "fifo", "descriptor of a file"])
@pytest.mark.parametrize(
    "command",
    [
        ("card", "ca", "--out"),
        ("card", "export", "front.card", "-o"),
        ("card", "export", "front.card", "--with-keys", "-o"),
        ("play", "remove.yaml", "--junit"),
        ("play", "remove.yaml", "--trace"),
        ("pcsc", "--write"),
    ],
    ids=lambda command: "-".join(each.strip("-") for each in command if "." not in each),
)
def test_commands(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], kind: str
) -> None:
    """All commands write in the same way."""
    target = Target(tmp_path, kind)
    monkeypatch.chdir(scene)
    done = CliRunner().invoke(app, [*command, str(target.path)])
    text = target.content()
    if command[1] == "export" and kind not in NEW:
        assert done.exit_code == 1
        assert f"{target.path}: File exists" in done.output
        assert text == OLD
    elif command[0] != "pcsc" or find_driver() is not None:
        assert done.exit_code == 0, done.output
        assert (kind == "device") or text.removeprefix(OLD)[:1] in ("-", "{", "<", "F")
        assert text.startswith(OLD) == (kind == "descriptor of a file")
    target.check()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a card image and a scenario."""
    folder = tmp_path_factory.mktemp("scene")
    subprocess.run([*CARDTEAR, "card", "new", "front.card"], cwd=folder, check=True, timeout=DEADLINE)
    (folder / "remove.yaml").write_text("about: A card is pulled.\nsteps:\n  - remove: front\n")
    return folder


def test_standard_output_that_is_a_file(tmp_path: Path) -> None:
    """What goes to /dev/stdout comes after what has been printed, and takes nothing of it away."""
    out = tmp_path / "out"
    script = "print('first'); from pathlib import Path; from cardtear.card.files import output_file;"
    script += "output_file.write(Path('/dev/stdout'), 'second\\n'); print('third')"
    with out.open("w") as file:
        file.write("before\n")
        file.flush()
        subprocess.run([sys.executable, "-c", script], stdout=file, check=True, timeout=DEADLINE)
    assert out.read_text() == "before\nfirst\nsecond\nthird\n"


def test_a_descriptor_of_another_process(tmp_path: Path) -> None:
    """It is written through, also where its file has no name any more."""
    out = tmp_path / "out"
    with out.open("w") as file, subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file) as other:
        out.unlink()
        output_file.write(Path(f"/proc/{other.pid}/fd/1"), "here")
        assert os.pread(os.open(f"/proc/{other.pid}/fd/1", os.O_RDONLY), 10, 0) == b"here"
        assert other.stdin is not None
        other.stdin.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("name", "number"),
    [("folder", errno.EISDIR), ("nowhere/file", errno.ENOENT), ("loop", errno.ELOOP), ("file/file", errno.ENOTDIR)],
)
def test_what_cannot_be_written(tmp_path: Path, write: Callable[..., None], name: str, number: int) -> None:
    """An OSError with the name that was given, before the work and at its end; nothing is left behind."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text(OLD)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match=name.partition("/")[0]) as refused:
        write(tmp_path / name, "text")
    assert (refused.value.errno, refused.value.filename) == (number, str(tmp_path / name))
    with pytest.raises(OSError, match=name.partition("/")[0]):
        output_file.check(tmp_path / name)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder", "loop"]
    assert (tmp_path / "file").read_text() == OLD


def test_a_device_that_is_full(tmp_path: Path) -> None:
    """The error has the path."""
    try:
        os.mknod(tmp_path / "full", 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    except PermissionError:
        pytest.skip("needs to be root")
    with pytest.raises(OSError, match="full") as refused:
        output_file.write(tmp_path / "full", "text")
    assert refused.value.errno == errno.ENOSPC
    done = subprocess.run(
        [*CARDTEAR, "card", "ca", "--out", tmp_path / "full"], capture_output=True, text=True, timeout=DEADLINE
    )
    assert (done.returncode, done.stderr) == (1, f"cardtear: {tmp_path}/full: No space left on device\n")


def test_a_fifo_that_nobody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, not for ever."""
    monkeypatch.setattr(output_file, "_NO_READER_PATIENCE", 0.1)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="no program reads"):
        output_file.write(tmp_path / "fifo", "text")


@pytest.mark.parametrize("failing", ["write", "fchmod", "link", "rename"])
def test_a_failure_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """A regular file is as it was, and no draft is left; without a right to replace it, it is written in place."""
    file = tmp_path / "file"
    file.write_text(OLD)

    def fail(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(errno.EPERM, "not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises(OSError, match="full"):
            output_file.write(file, "text")
        assert file.read_text() == OLD
        if failing != "write":
            patch.setattr(os, failing, refuse)
            output_file.write(file, "text")
            assert file.read_text() == "text"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_file_systems_without_unnamed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The draft has a name until it is done."""
    opened = os.open

    def without(path: str, flags: int, *args: int, **options: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not here")
        return opened(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", without)
    for write in (*WRITERS, output_file.write):
        name = "new" if write is output_file.write_new else "file"
        write(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"
    with pytest.raises(FileExistsError):
        output_file.write_new(tmp_path / "new", "other")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "new"]


def test_killed_while_writing(tmp_path: Path) -> None:
    """The old file is there, whole, and nothing beside it."""
    file = tmp_path / "file"
    file.write_text(OLD)
    script = "import os, sys; from pathlib import Path; from cardtear.card.files import output_file;"
    script += "output_file._keep_attributes = lambda *_: os.kill(os.getpid(), 9);"
    script += "output_file.write(Path(sys.argv[1]), 'new')"
    done = subprocess.run([sys.executable, "-c", script, file], timeout=DEADLINE, check=False)
    assert done.returncode == -9
    assert file.read_text() == OLD
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_owner_and_attributes_are_kept(tmp_path: Path) -> None:
    """As another user's file in a folder of root's."""
    file = tmp_path / "file"
    file.write_text(OLD)
    if os.getuid() == 0:
        os.chown(file, 12345, 23456)
    try:
        os.setxattr(file, "user.kind", b"report")
    except OSError:
        pytest.skip("no extended attributes here")
    before = file.stat()
    output_file.write(file, "new")
    after = file.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert after.st_ino != before.st_ino
    assert os.getxattr(file, "user.kind") == b"report"


PLANTED = {
    "link to a file": lambda path: path.symlink_to(path.parent.with_name("victim")),
    "link to nothing": lambda path: path.symlink_to(path.parent.with_name("nothing")),
    "FIFO": lambda path: os.mkfifo(path, 0o666),
    "file": lambda path: path.write_text(OLD),
}
"""What another user may put where a file of ours is expected."""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make things that are others'")
@pytest.mark.parametrize("by_link", [False, True])
@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("write", WRITERS)
def test_what_another_user_has_planted(tmp_path: Path, write: Callable[..., None], kind: str, by_link: bool) -> None:
    """In a folder as /tmp it is refused, and nothing comes out of it; in one where only we may write it is not."""
    public, victim = tmp_path / "public", tmp_path / "victim"
    public.mkdir()
    public.chmod(0o1777)
    victim.write_text(OLD)
    path = public / "out"
    PLANTED[kind](path)
    os.chown(path, 12345, 12345, follow_symlinks=False)
    named = tmp_path / "link" if by_link else path
    if by_link:
        named.symlink_to(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if kind == "FIFO" else None
    before = path.lstat()
    for trial in (output_file.check, output_file.is_replaced, lambda path: write(path, "secret")):
        with pytest.raises(PermissionError, match="user 12345 has put it there"):
            trial(named)
    assert path.lstat().st_ino == before.st_ino
    assert victim.read_text() == OLD
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link", "public", "victim"][not by_link :]
    if reader is not None:
        assert os.read(reader, 1) == b""
    if write is output_file.write and kind != "FIFO":
        public.chmod(0o755)
        write(named, "report")
        assert path.read_text() == "report"
    if reader is not None:
        os.close(reader)


def test_folders_are_the_users_alone(tmp_path: Path) -> None:
    """Those above it, too: where others may write they could put another in its place."""
    folder = tmp_path / "share" / "cardtear" / "ca"
    before = os.umask(0)
    try:
        for _ in range(2):
            output_file.make_folder(folder)
    finally:
        os.umask(before)
    for each in (folder, *folder.parents[:2]):
        assert stat.S_IMODE(each.stat().st_mode) == 0o700
    (tmp_path / "file").touch()
    for impossible in (tmp_path / "file", tmp_path / "file" / "ca"):
        with pytest.raises(OSError, match="file"):
            output_file.make_folder(impossible)


@settings(max_examples=30)
@given(text=st.text())
def test_any_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Also what is no UTF-8 in a program's name, which Python has as lone surrogates."""
    file = tmp_path_factory.getbasetemp() / "any"
    output_file.write(file, text)
    assert file.read_bytes() == text.encode(errors="backslashreplace")
    output_file.write(file, json.dumps(text))
    assert json.loads(file.read_text()) == text
