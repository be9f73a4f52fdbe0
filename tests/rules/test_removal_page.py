# SPDX-License-Identifier: MIT
"""docs/removal.md says what programs are told after a removal and its like; every cell of its tables is tried here."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKA, CKO, CKR, CKS
from cardtear.p11.number_names import name_of
from cardtear.reader.errors import TestbedError
from cardtear.reader.trace import ReturnEntry

from ..shared.host import probes
from ..shared.host.host import Host

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "removal.md").read_text()
FRONT = {"reader": "front"}


def _table(heading: str) -> list[dict[str, str]]:
    """The rows of the table under a heading, by the words of its first row."""
    part = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line.strip("| \n").split(" | ") for line in part.splitlines() if line.startswith("|")]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


CALLS: dict[str, tuple[str, Callable[..., object]]] = {
    "C_GetSlotList": ("", lambda m, **_: m.slots()),
    "C_GetSlotInfo": ("", lambda m, **_: m.slot_info(0)),
    "C_WaitForSlotEvent": ("", lambda m, **_: m.wait_for_slot_event(False)),
    "C_GetTokenInfo": ("", lambda m, **_: m.token_info(0)),
    "C_GetMechanismList": ("", lambda m, **_: m.mechanisms(0)),
    "C_OpenSession": ("", lambda m, **_: m.open_session(0)),
    "C_CloseAllSessions": ("", lambda m, **_: m.check("C_CloseAllSessions", 0)),
    "C_CloseSession": ("s", lambda m, s, **_: m.close_session(s)),
    "C_GetSessionInfo": ("s", lambda m, s, **_: m.session_state(s)),
    "C_Login": ("s", lambda m, s, **_: m.login(s)),
    "C_FindObjectsInit": ("s", lambda m, s, **_: m.find(s)),
    "C_GenerateRandom": ("s", lambda m, s, **_: m.random(s, 8)),
    "C_SetPIN": ("s", lambda m, s, **_: m.set_pin(s, "123456", "123456")),
    "C_Logout": ("su", lambda m, s, **_: m.logout(s)),
    "C_GetAttributeValue": ("sk", lambda m, s, k, **_: m.attribute(s, k, 0)),
    "C_SignInit": ("sk", lambda m, s, k, **_: m.sign_init(s, k)),
    "C_Sign": ("ski", lambda m, s, **_: m.sign(s, b"data")),
    "C_InitToken": ("", lambda m, **_: m.init_token(0)),
}
"""How each call is made, and what has to be there before: a session, the user logged in, a key, C_SignInit."""


class Trial:
    """One call, with the card removed at some time before, in or after it."""

    def __init__(self, simulator: Simulator, host: Host, name: str) -> None:
        self._simulator, self._host, self._name = simulator, host, name
        needs, self._expression = CALLS[name]
        if simulator.testbed.reader("front").insertion is None:
            simulator.insert("front")
        host.call(Module.check, "C_CloseAllSessions", 0)
        host.call(probes.events)
        self._names: dict[str, int] = {}
        if needs:
            self._names["s"] = host.call(Module.open_session, 0, True)
        if set(needs) & set("uk"):
            host.call(Module.login, self._names["s"])
        if "k" in needs:
            self._names["k"] = host.call(probes.key, self._names["s"], b"\1")
        if "i" in needs:
            host.call(Module.sign_init, self._names["s"], self._names["k"])

    def at(self, when: str) -> str:
        """What the call says, - if it has no such moment: it sends no APDU."""
        trigger = Trigger("remove", FRONT, call=self._name, when=when)
        try:
            number = self._simulator.arm(trigger)
        except ValueError:
            return "-"
        said = self.now()
        self._simulator.disarm(number)
        return said if trigger.fired else "-"

    def now(self) -> str:
        """What the call says, the first time that it is made."""
        trace = self._simulator.testbed.trace
        before = max((entry.number for entry in trace.entries()), default=0)
        self._host.rv(self._expression, **self._names)
        answers = (each for each in trace.entries(before) if isinstance(each, ReturnEntry) and each.name == self._name)
        return name_of(CKR, next(answers).value).removeprefix("CKR_")

    def earlier(self, back: bool) -> str:
        """What it says after a removal, with the card away or back."""
        self._simulator.remove("front")
        if back:
            self._simulator.insert("front")
        return self.now()


COLUMNS: dict[str, Callable[[Trial], str]] = {
    "before it": lambda trial: trial.at("before"),
    "in it": lambda trial: trial.at("during"),
    "after it": lambda trial: trial.at("after"),
    "the card is away": lambda trial: trial.earlier(back=False),
    "the card is back": lambda trial: trial.earlier(back=True),
}


def test_a_removal_by_function(simulator: Simulator, host: Host) -> None:
    table = _table("A removal, by function")
    said = {name: row for row in table for name in row.pop("function").split(", ")}
    assert said == {
        name: {column: play(Trial(simulator, host, name)) for column, play in COLUMNS.items()} for name in CALLS
    }


VERBS: dict[str, Callable[[Simulator], object]] = {
    "remove": lambda simulator: simulator.remove("front"),
    "swap": lambda simulator: simulator.swap("front", CardRequest(name="Bob")),
    "unplug": lambda simulator: simulator.unplug("front"),
    "close-sessions": lambda simulator: simulator.close_sessions("front"),
    "reset": lambda simulator: simulator.reset("front"),
    "logout": lambda simulator: simulator.logout("front"),
    "mute": lambda simulator: simulator.mute("front"),
    "crash": lambda simulator: simulator.crash(),
}
"""What can happen to a card, as the page names it."""

QUESTIONS: dict[str, Callable[..., object]] = {
    "C_GetSessionInfo": lambda m, s, **_: m.session_state(s),
    "C_GetAttributeValue of a certificate": lambda m, s, c, **_: m.attribute(s, c, 0),
    "of a private key": lambda m, s, k, **_: m.attribute(s, k, 0),
    "of a session object": lambda m, s, o, **_: m.attribute(s, o, 0),
    "of a private session object": lambda m, s, po, **_: m.attribute(s, po, 0),
    "C_SignInit": lambda m, s, k, **_: m.sign_init(s, k),
}
_LOGIN = {int(CKS.RW_USER_FUNCTIONS): "stays", int(CKS.RW_PUBLIC_SESSION): "lost"}


def effects(simulator: Simulator, host: Host, verb: str) -> dict[str, str]:
    """What a program finds afterwards, by column."""
    session = host.call(probes.user_session, 0, True)
    template = {CKA.CLASS: CKO.DATA, CKA.TOKEN: b"\0", CKA.VALUE: b"x"}
    names = {
        "s": session,
        "k": host.call(probes.key, session, b"\1"),
        "c": host.call(Module.find, session, {CKA.CLASS: CKO.CERTIFICATE})[0],
        "o": host.call(Module.create, session, {**template, CKA.PRIVATE: b"\0"}),
        "po": host.call(Module.create, session, {**template, CKA.PRIVATE: b"\1"}),
    }
    host.call(probes.events)
    VERBS[verb](simulator)
    found = {
        column: name_of(CKR, host.rv(expression, **names)).removeprefix("CKR_")
        for column, expression in QUESTIONS.items()
    }
    state = host.call(Module.session_state, session) if found["C_GetSessionInfo"] == "OK" else 0
    found["login"] = _LOGIN.get(state, "lost")
    found["slot event"] = "one" if host.call(probes.events) else "none"
    return found


def test_what_is_left(simulator: Simulator, host: Host) -> None:
    """The card is put in anew after each; the page leaves none of them out."""
    table = _table("What happens, and what is left")
    said = {verb: row for row in table for verb in re.findall(r"`([a-z-]+)`", row.pop("verb"))}
    found = {}
    card = simulator.testbed.reader("front").insertion.card  # type: ignore[union-attr]
    for verb in VERBS:
        found[verb] = effects(simulator, host, verb)
        with contextlib.suppress(TestbedError):
            simulator.remove("front")
        with contextlib.suppress(TestbedError):
            simulator.plug("front")
        if verb == "crash":
            simulator.restart()
        simulator.insert("front", card)
    assert said == found
