# SPDX-License-Identifier: MIT
"""Programs that have more rights than their caller: his environment does not say where the simulator is."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cardtear.lab.control.simulator import Simulator

pytestmark = [
    pytest.mark.needs("cc"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make programs of other users"),
]

OWNER, CALLER = 61_701, 61_702
"""Users whom no system has made: the one as whom a program runs, and the one who starts it."""

_CAP_CHOWN = struct.pack("<IIIII", 0x0200_0001, 1, 0, 0, 0)
"""A file capability, effective (linux/capability.h, VFS_CAP_REVISION_2)."""


class Place(NamedTuple):
    """A folder that every user may enter, and the program in it."""

    folder: Path
    program: Path

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the program as the user CALLER, with nothing but these variables."""
        return subprocess.run(
            [str(self.program), *arguments],
            user=CALLER,
            group=CALLER,
            extra_groups=[],
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@pytest.fixture
def place(new_program: Path) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="cardtear-users-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        program = Path(shutil.copy(new_program, folder / "program"))
        program.chmod(0o755)
        yield Place(folder, program)


@pytest.fixture
def simulator_of() -> Iterator[Callable[[int, Path, str], None]]:
    """Starts a simulator of a user, with an empty reader of that name, in a folder that is made for it."""
    children = []

    def start(user: int, folder: Path, reader: str) -> None:
        folder.mkdir(mode=0o700, parents=True)
        os.chown(folder, user, user)
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                os.close(ours)
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                with Simulator(folder) as simulator:
                    simulator.plug(reader)
                    os.write(theirs, b"!")
                    signal.pause()
            os._exit(1)
        children.append(child)
        os.close(theirs)
        assert os.read(ours, 1) == b"!"
        os.close(ours)

    yield start
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.fixture
def standard_folder() -> Iterator[Callable[[int], Path]]:
    """The folder of a user's simulator where there is no other; it is removed afterwards."""
    made = []

    def name(user: int) -> Path:
        folder = Path(f"/tmp/cardtear-{user}")
        if folder.exists():
            pytest.fail(f"{folder} is there already")
        made.append(folder)
        return folder

    yield name
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("owner", [0, OWNER])
def test_a_set_uid_program_does_not_ask_its_callers_environment(
    place: Place, simulator_of: Callable[..., None], standard_folder: Callable[[int], Path], owner: int
) -> None:
    """Neither for the socket nor for the folder, whoever is there; it finds the simulator of the user it runs as."""
    simulator_of(CALLER, place.folder / "caller" / "cardtear", "callers")
    simulator_of(owner, place.folder / "owner" / "cardtear", "owners")
    os.chown(place.program, owner, owner)
    runtimes = [str(place.folder / name) for name in ("caller", "owner")]
    environments = [{"XDG_RUNTIME_DIR": each} for each in runtimes]
    environments += [{"CARDTEAR_SOCKET": f"{each}/cardtear/p11.sock"} for each in runtimes]
    before = [place.run(**each) for each in environments]
    assert [each.stdout for each in before][::2] == ["1 slots callers\n"] * 2  # without the bit they count
    place.program.chmod(0o4755)
    for environment in environments:
        result = place.run(**environment)
        assert (result.stdout, result.stderr) == ("0 slots\n", "")
    simulator_of(owner, standard_folder(owner), "standard")
    for environment in environments:
        assert place.run(**environment).stdout == "1 slots standard\n"


def test_the_simulator_has_to_be_of_the_user_as_whom_the_program_runs(
    place: Place, simulator_of: Callable[..., None]
) -> None:
    """Also where the program itself says which one: that of its caller could read the PIN."""
    simulator_of(CALLER, place.folder / "caller", "callers")
    (place.folder / "caller").chmod(0o755)
    (place.folder / "caller" / "p11.sock").chmod(0o777)
    path = str(place.folder / "caller" / "p11.sock")
    assert place.run(path).stdout == "1 slots callers\n"
    os.chown(place.program, OWNER, OWNER)
    place.program.chmod(0o4755)
    assert place.run(path).stdout == "0 slots\n"


def test_a_link_in_a_folder_of_somebody_else_leads_nowhere(
    place: Place, simulator_of: Callable[..., None], standard_folder: Callable[[int], Path]
) -> None:
    """The caller makes the standard folder first, with a link to another simulator of the user."""
    simulator_of(OWNER, place.folder / "owner", "owners")
    folder = standard_folder(OWNER)
    folder.mkdir(mode=0o755)
    os.chown(folder, CALLER, CALLER)
    (folder / "p11.sock").symlink_to(place.folder / "owner" / "p11.sock")
    os.chown(place.program, OWNER, OWNER)
    place.program.chmod(0o4755)
    assert place.run().stdout == "0 slots\n"


def test_a_program_with_capabilities(
    place: Place, simulator_of: Callable[..., None], standard_folder: Callable[[int], Path]
) -> None:
    """The same for rights that are no other user's."""
    simulator_of(CALLER, place.folder / "cardtear", "elsewhere")
    environment = {"XDG_RUNTIME_DIR": str(place.folder)}
    assert place.run(**environment).stdout == "1 slots elsewhere\n"
    os.setxattr(place.program, "security.capability", _CAP_CHOWN)
    result = place.run(**environment)
    assert (result.stdout, result.stderr) == ("0 slots\n", "")
    simulator_of(CALLER, standard_folder(CALLER), "standard")
    assert place.run(**environment).stdout == "1 slots standard\n"
