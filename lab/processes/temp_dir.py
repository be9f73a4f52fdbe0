# SPDX-License-Identifier: MIT
"""TempDir: a simulator's temporary folder, with the cards made for it, which is removed at the simulator's end.

Each folder holds a file that its simulator has locked. If the simulator is killed, the lock is released, and a guard
process (temp_dir_guard.py) removes the folder; if that was killed, too, the next simulator of the same user does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from . import paths, temp_dir_guard
from .closable import Closable
from .temp_dir_guard import LOCK, PREFIX


class TempDir(Closable):
    """A new folder of mode 0700 in `parent`, else in TMPDIR, from construction to `close`; a context manager."""

    def __init__(self, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        temp_dir_guard.remove_left(parent)
        _guard(parent)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            self._lock = temp_dir_guard.locked(self.path / LOCK, os.O_CREAT | os.O_EXCL)
            if self._lock is not None:
                return
            # Another simulator has swept it away between the two.

    def close(self) -> None:
        """Remove the folder with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def for_sockets(folder: Path, longest: str, undo: contextlib.ExitStack) -> Path:
    """Return a folder, which need not exist yet, for sockets of names up to `longest`.

    It is `folder`, or one in /tmp until `undo` closes if the path of `folder` is too long for sockets.
    """
    if paths.can_be_socket(folder / longest):
        return folder
    return undo.enter_context(TempDir(paths.SHORT_FOLDER)).path / folder.name


_GUARDS: dict[tuple[int, Path], subprocess.Popen[bytes]] = {}
"""Guards by process (a fork has none) and folder."""

_STARTING = threading.Lock()


def _guard(parent: Path) -> None:
    """Start a guard that removes the temporary folders in `parent` when this process has ended.

    A process that has changed its user may be unable to start Python; then the next simulator removes them.
    """
    with _STARTING, contextlib.suppress(OSError):
        if (os.getpid(), parent) not in _GUARDS:
            _GUARDS[os.getpid(), parent] = subprocess.Popen(
                [sys.executable, "-I", "-S", temp_dir_guard.__file__, str(parent), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                start_new_session=True,  # Ctrl-C, and what kills a process group, is not for it
            )
