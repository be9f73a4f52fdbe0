# SPDX-License-Identifier: MIT
"""Scenarios of programs of PC/SC."""

from __future__ import annotations

from pathlib import Path

import pytest
from cardtear.lab.scenario import Status, context, in_pcsc, play_file
from cardtear.lab.simulator import own_pcscd

SCENARIO = """\
cards: {alice: {}, bob: {protocol: t0}}
pcsc: Test Reader
triggers:
  pull: {on: {ins: CB}, do: {remove: front}}
steps:
- run: opensc-tool --send-apdu 00:A4:04:00:05:A0:00:00:03:08 --send-apdu 00:CB:3F:FF:05:5C:03:5F:C1:05:00
  errors: APDU transmit failed
  exits: any
- insert: {front: bob}
- run: opensc-tool --list-readers
  output: Yes +Test Reader
- swap: {front: alice}
- run: opensc-tool --name
  output: Personal Identity
- expect: {count: events, of: remove, since: start, exactly: 2}
"""


TRANSACTION = """\
pcsc: true
files:
  holder.py: |
    from smartcard import scard
    _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    _, names = scard.SCardListReaders(context, [])
    _, card, _ = scard.SCardConnect(context, names[0], scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_ANY)
    print(scard.SCardBeginTransaction(card), flush=True)
    input()
    scard.SCardEndTransaction(card, scard.SCARD_LEAVE_CARD)
    input()
steps:
- call: session = C_OpenSession(front)
- run: ["${python}", holder.py]
  name: holder
  background: true
- wait: {program: holder, output: ^0$}
- call: C_Login(session, CKU_USER, "123456")
  background: login
- wait: {call: C_Login, when: under-way}
- expect: {call: C_Login, when: during}
- expect: {nothing: {background: login}, for: 100ms}
- send: {holder: "\\n"}
- wait: {background: login}
"""


def test_a_call_that_waits_for_a_transaction_is_under_way(tmp_path: Path) -> None:
    pytest.importorskip("smartcard")
    path = tmp_path / "transaction.yaml"
    path.write_text(TRANSACTION)
    outcome = play_file(path)
    if outcome.status is Status.SKIPPED:
        pytest.skip(outcome.message)
    assert outcome.passed, outcome.message


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A scenario whose programs find the card as they would any other."""
    path = tmp_path / "pull.yaml"
    path.write_text(SCENARIO)
    return path


@pytest.mark.needs("opensc-tool")
def test_a_scenario_in_pcsc(file: Path) -> None:
    outcome = play_file(file)
    if outcome.status is Status.SKIPPED:
        pytest.skip(outcome.message)
    assert outcome.passed, outcome.message


def test_without_pcscd(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is skipped, with what is missing."""
    monkeypatch.setattr(in_pcsc, "why_not", lambda: "only root can start a pcscd")
    monkeypatch.setattr(in_pcsc, "vpcd_listens", lambda: False)
    outcome = play_file(file)
    assert outcome.status is Status.SKIPPED
    assert outcome.message == "needs PC/SC: only root can start a pcscd, and no pcscd with vpcd is running"


@pytest.mark.needs("opensc-tool")
def test_as_many_readers_as_it_has(tmp_path: Path) -> None:
    """With the name that the programs of the cards' maker look for."""
    if in_pcsc.why_not() is not None:  # type: ignore[attr-defined]
        pytest.skip(str(in_pcsc.why_not()))  # type: ignore[attr-defined]
    path = tmp_path / "three.yaml"
    path.write_text(
        "cards: {key: {profile: yubikey}}\nreaders: {a: null, b: null, c: key}\npcsc: true\n"
        "steps:\n- run: opensc-tool --list-readers\n  output: Yes +Yubico YubiKey CCID 2 00 00\n"
    )
    outcome = play_file(path)
    assert outcome.passed, outcome.message


def test_a_pcscd_that_does_not_take_the_card(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what pcscd said."""
    if in_pcsc.why_not() is not None:  # type: ignore[attr-defined]
        pytest.skip(str(in_pcsc.why_not()))  # type: ignore[attr-defined]
    monkeypatch.setattr(context, "_PCSCD_PATIENCE", 0.3)
    monkeypatch.setattr(own_pcscd, "configuration", lambda *_, **__: "")
    outcome = play_file(file)
    assert outcome.status is Status.ERROR
    taken = "pcscd has not taken the cards within 0 s. "
    assert taken in outcome.message
    # Newer versions speak of every client.
    assert outcome.message.partition(taken)[2].startswith(("It has said nothing.", "It said:\n"))
