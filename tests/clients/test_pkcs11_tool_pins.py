# SPDX-License-Identifier: MIT
"""OpenSC's pkcs11-tool with the options that write tokens and PINs; and with the card torn out in each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.card.tables import INS
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger

pytestmark = pytest.mark.needs("pkcs11-tool")

Run = Callable[..., Any]
Succeed = Callable[..., str]
USER = ("--login", "--pin", "123456")
SO = ("--session-rw", "--login", "--login-type", "so", "--so-pin")


@pytest.fixture(autouse=True)
def _data(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"a card that can be pulled out")


class TestPins:
    """Tokens and PINs."""

    @pytest.fixture
    def uninitialised(self, simulator: Simulator) -> Simulator:
        """A card that has a PUK and no PIN yet."""
        simulator.swap("front", CardRequest(profile="uninitialised"))
        return simulator

    def test_from_uninitialised_to_use(self, uninitialised: Simulator, succeed: Succeed, run: Run, module: str) -> None:
        """Label, user PIN, its change by the user, the SO PIN's change by the SO; the old ones are wrong then."""
        tool = ("pkcs11-tool", "--module", module)
        assert "uninitialized" in succeed(*tool, "--list-slots")
        succeed(*tool, "--init-token", "--slot-index", "0", "--label", "Fresh", "--so-pin", "12345678")
        assert "token label        : Fresh" in succeed(*tool, "--list-slots")
        succeed(*tool, "--init-pin", *SO[1:], "12345678", "--new-pin", "654321")
        assert "PIN initialized" in succeed(*tool, "--list-slots")
        succeed(*tool, "--change-pin", "--pin", "654321", "--new-pin", "111222")
        succeed(*tool, "--change-pin", *SO[1:], "12345678", "--new-pin", "87654321")
        succeed(*tool, *SO, "87654321", "--list-objects")
        assert "CKR_PIN_INCORRECT" in run(*tool, *SO, "12345678", "--list-objects").output
        assert "CKR_PIN_INCORRECT" in run(*tool, "--login", "--pin", "654321", "--list-objects").output
        keygen = ("--keypairgen", "--key-type", "EC:prime256v1", "--id", "01")
        succeed(*tool, "--login", "--pin", "111222", *keygen)

    def test_so_reads_only(self, simulator: Simulator, run: Run, module: str) -> None:
        """Without --session-rw there is no SO (5.6.8)."""
        listed = run("pkcs11-tool", "--module", module, *SO[1:], "12345678", "--list-objects")
        assert listed.code != 0
        assert "CKR_SESSION_READ_ONLY_EXISTS" in listed.output

    def test_locked_and_set_anew(self, simulator: Simulator, succeed: Succeed, run: Run, module: str) -> None:
        """Three wrong PINs lock; the SO sets another; the keys are what they were."""
        tool = ("pkcs11-tool", "--module", module)
        for _ in range(3):
            assert run(*tool, "--login", "--pin", "000000", "--list-objects").code != 0
        assert "CKR_PIN_LOCKED" in run(*tool, *USER, "--list-objects").output
        assert "user PIN locked" in succeed(*tool, "--list-slots")
        succeed(*tool, "--init-pin", *SO[1:], "12345678", "--new-pin", "654321")
        sign = ("--sign", "--id", "01", "-m", "SHA256-RSA-PKCS", "-i", "data", "-o", "signature")
        succeed(*tool, "--login", "--pin", "654321", *sign)

    def test_unlock_with_the_puk(self, simulator: Simulator, run: Run, module: str) -> None:
        """--unlock-pin without login is C_SetPIN in a public session: it wants the user's PIN, not the PUK (5.6.7)."""
        tool = ("pkcs11-tool", "--module", module, "--unlock-pin", "--new-pin", "654321", "--puk")
        assert "CKR_PIN_INCORRECT" in run(*tool, "12345678").output
        assert run(*tool, "123456").code == 0

    def test_bad_pins(self, simulator: Simulator, succeed: Succeed, run: Run, module: str) -> None:
        """A new PIN that the card does not take is refused, and the old one stays."""
        tool = ("pkcs11-tool", "--module", module)
        for new in ("12", "123456789", "abcdef"):
            ended = run(*tool, "--change-pin", "--pin", "123456", "--new-pin", new)
            assert ended.code != 0, ended.output
            assert "CKR_PIN_LEN_RANGE" in ended.output or "CKR_PIN_INVALID" in ended.output
        succeed(*tool, *USER, "--list-objects")


class TestCardGoes:
    """Torn out at the command that changes something: either PIN is right afterwards, and no try is lost."""

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize(
        ("options", "ins", "pins"),
        [
            (("--change-pin", "--pin", "123456"), INS.CHANGE_REFERENCE_DATA, USER[:-1]),
            (("--unlock-pin", "--puk", "123456"), INS.CHANGE_REFERENCE_DATA, USER[:-1]),
            (("--init-pin", *SO[1:], "12345678"), INS.RESET_RETRY_COUNTER, USER[:-1]),
        ],
        ids=["change-pin", "unlock-pin", "init-pin"],
    )
    def test_pin(
        self, simulator: Simulator, run: Run, module: str, options: Any, ins: int, pins: tuple[str, ...], when: str
    ) -> None:
        """The old PIN before, the new one after; the same works with the card back."""
        tool = ("pkcs11-tool", "--module", module)
        change = (*tool, *options, "--new-pin", "654321")
        simulator.arm(Trigger("remove", {"reader": "front"}, ins=ins, when=when))
        ended = run(*change)
        assert simulator.testbed.reader("front").insertion is None
        assert ended.code != 0
        assert "CKR_DEVICE_REMOVED" in ended.output
        simulator.insert("front")
        right, wrong = ("123456", "654321") if when == "before" else ("654321", "123456")
        assert "low" not in run(*tool, "--list-slots").output
        assert run(*tool, *pins, right, "--list-objects").code == 0
        assert "CKR_PIN_INCORRECT" in run(*tool, *pins, wrong, "--list-objects").output
        if when == "before":
            assert run(*change).code == 0

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_so_pin(self, simulator: Simulator, run: Run, module: str, when: str) -> None:
        """The SO's PIN, which is the card's PUK."""
        tool = ("pkcs11-tool", "--module", module)
        change = ("--change-pin", *SO[1:], "12345678", "--new-pin", "87654321")
        # The first of these commands proves the PUK at the login.
        simulator.arm(Trigger("remove", {"reader": "front"}, ins=INS.CHANGE_REFERENCE_DATA, nth=2, when=when))
        ended = run(*tool, *change)
        assert simulator.testbed.reader("front").insertion is None
        assert ended.code != 0
        simulator.insert("front")
        assert run(*tool, *SO, "12345678" if when == "before" else "87654321", "--list-objects").code == 0

    @pytest.mark.parametrize("ins", [INS.RESET_RETRY_COUNTER, INS.PUT_DATA, INS.MOVE_KEY])
    def test_init_token(self, simulator: Simulator, run: Run, module: str, ins: int) -> None:
        """Nobody logs in to half a token; the same again makes it whole."""
        tool = ("pkcs11-tool", "--module", module)
        start = (*tool, "--init-token", "--label", "Fresh", "--so-pin", "12345678")
        simulator.arm(Trigger("remove", {"reader": "front"}, ins=ins, when="after"))
        ended = run(*start)
        assert simulator.testbed.reader("front").insertion is None
        assert ended.code != 0
        simulator.insert("front")
        assert run(*tool, *USER, "--list-objects").code != 0
        assert run(*start).code == 0
        assert run(*tool, "--init-pin", *SO[1:], "12345678", "--new-pin", "654321").code == 0
        listed = run(*tool, "--login", "--pin", "654321", "--list-objects")
        assert listed.code == 0
        assert "Certificate Object" not in listed.output
