# SPDX-License-Identifier: MIT
"""An NSS database with the module in it, and the tools of NSS that work on it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

DEADLINE = 60.0
"""Seconds that a tool may take."""

_TOOLS = ("certutil", "modutil")


def missing_tools() -> list[str]:
    """Return the programs that are needed and not installed."""
    return [name for name in _TOOLS if shutil.which(name) is None]


@dataclass(frozen=True)
class NssDatabase:
    """A database in `folder`, where the file `pin` has the card's PIN. Programs find it by its `name`."""

    folder: Path

    @classmethod
    def create(cls, folder: Path, module: Path, pin: str) -> Self:
        """Create a database with the module in an empty folder. Raises NssToolError, TimeoutExpired."""
        database = cls(folder)
        database.pin_file.touch(mode=0o600)
        database.pin_file.write_text(f"{pin}\n")
        database.run("certutil", "-N", "-d", database.name, "--empty-password")
        database.run("modutil", "-force", "-dbdir", database.name, "-add", "cardtear", "-libfile", str(module))
        return database

    @property
    def name(self) -> str:
        """Name of the database for the option -d of NSS's tools."""
        return f"sql:{self.folder}"

    @property
    def pin_file(self) -> Path:
        """Return the file with the PIN, for the option -f."""
        return self.folder / "pin"

    def run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program in the folder. Raises TimeoutExpired; NssToolError if it fails and `check` is set."""
        done = subprocess.run(
            [program, *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=DEADLINE,
            check=False,
        )
        if check and done.returncode != 0:
            raise NssToolError(f"{program} {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}")
        return done


class NssToolError(Exception):
    """A tool failed; the message has what it printed."""
