# SPDX-License-Identifier: MIT
"""GnuPG's scdaemon through pcscd. It knows PIV from 2.3 on; an older one says that this is no card of its kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cardtear.card.tables import INS
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger

from ...shared.programs import Run
from . import pcsc
from .pcsc import DEADLINE, READER

pytestmark = pytest.mark.needs("gpg", "gpgconf", "gpg-connect-agent")

STATUS = ("gpg", "--card-status")


@pytest.fixture
def home(shown: Simulator, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A home of GnuPG's own, whose daemons end with the test."""
    folder = tmp_path_factory.mktemp("gnupg")
    folder.chmod(0o700)
    (folder / "scdaemon.conf").write_text("disable-ccid\n")
    environment = {"GNUPGHOME": str(folder)}
    yield environment
    run("gpgconf", "--kill", "all", **environment)


@pytest.fixture
def knows_piv(home: dict[str, str], run: Run) -> bool:
    """Whether this version has it."""
    applications = run("gpg-connect-agent", "scd getinfo app_list", "/bye", **home)
    assert "openpgp" in applications.output, f"scdaemon is missing (Debian: scdaemon): {applications.output}"
    return "piv" in applications.output


def test_card_status(home: dict[str, str], run: Run, knows_piv: bool) -> None:
    ended = run(*STATUS, **home)
    if knows_piv:
        assert ended.code == 0, ended.output
        assert "PIV" in ended.output.upper()
    else:
        assert ended.code != 0
        assert "not available" in ended.output


def test_a_card_that_is_pulled(
    home: dict[str, str], run: Run, shown: Simulator, context: pcsc.Context, knows_piv: bool
) -> None:
    """While scdaemon looks at it: an error, no hang; and the same as before when the card is back."""
    shown.arm(Trigger("remove", {"reader": "front"}, ins=INS.SELECT))
    pulled = run(*STATUS, **home)
    assert shown.testbed.reader("front").insertion is None
    assert pulled.code != 0
    context.wait(READER, pcsc.EMPTY, DEADLINE)
    shown.insert("front")
    context.wait(READER, pcsc.PRESENT, DEADLINE)
    assert (run(*STATUS, **home).code == 0) == knows_piv
