# SPDX-License-Identifier: MIT
"""A card behind PC/SC in a virtual reader: our module, pcscd, vpcd, and a card of another simulator at the far end.

`simulator` is the far end, `near` the one that applications see.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.scenario import play_file
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKR
from cardtear.reader import ApduMoment, CardMute, CardRemoved, Change, Insertion, Moment, TestbedError, When
from cardtear.reader.pcsc.pcsc_reader import PcscReader
from cardtear.reader.pcsc.reader_conf import configuration, find_driver
from cardtear.reader.pcsc.vpcd import VpcdAdapter
from cardtear.reader.trace import ApduEntry
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ...shared.host import probes
from ...shared.host.host import Host, NewHost
from ...shared.programs import Run, Succeed
from ...shared.waiting import call_with_deadline, wait_until
from . import pcsc
from .daemon import OwnPcscd
from .pcsc import DEADLINE, READER, SECOND_READER

pytestmark = pytest.mark.needs("smartcard")

CARDTEAR = str(Path(sys.executable).with_name("cardtear"))
SELECT = bytes.fromhex("00A4040005A000000308")
VERIFY = bytes.fromhex("0020008008") + b"123456\xff\xff"
PIN_STATUS = bytes.fromhex("00200080")
NOT_VERIFIED = b"\x63\xc3"
OK = b"\x90\x00"


class Near:
    """A simulator with the reader `front` and what happens there."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.reader = simulator.plug("front")
        self._changes: queue.SimpleQueue[Change] = queue.SimpleQueue()
        simulator.testbed.subscribe(lambda event: self._changes.put(event.change))

    def next(self) -> Change:
        """The next change that has not been asked for."""
        return self._changes.get(timeout=DEADLINE)

    def nothing_happened(self) -> bool:
        return self._changes.empty()

    @property
    def stay(self) -> Insertion:
        assert self.reader.insertion is not None
        return self.reader.insertion


@pytest.fixture
def empty() -> Iterator[Near]:
    """A reader that is not attached to anything yet."""
    with Simulator() as simulator:
        yield Near(simulator)


@pytest.fixture
def near(empty: Near, adapter: VpcdAdapter) -> Near:
    """A reader in which the card from PC/SC lies."""
    empty.simulator.attach_pcsc("front")
    assert empty.next() is Change.INSERT
    return empty


@pytest.fixture
def host(near: Near, new_host: NewHost) -> Any:
    return new_host(near.simulator)


def torn_at(simulator: Simulator, ins: int) -> Callable[[Moment], None]:
    """A watcher that pulls the card of the far end when it gets a command."""

    def pull(moment: Moment) -> None:
        if isinstance(moment, ApduMoment) and moment.when is When.BEFORE and moment.command[1] == ins:
            simulator.remove("front")

    return pull


def test_module_lists_and_signs(near: Near, succeed: Succeed, tmp_path: Path) -> None:
    environment = near.simulator.environment
    tool = ("pkcs11-tool", "--module", environment["CARDTEAR_MODULE"])
    login = ("--login", "--pin", "123456")
    assert "PIV AUTH key" in succeed(*tool, "--list-objects", *login, **environment)
    (tmp_path / "data").write_bytes(b"something")
    sign = ("--sign", "--mechanism", "SHA256-RSA-PKCS", "--id", "01", "-i", "data", "-o", "signature")
    succeed(*tool, *login, *sign, **environment)
    succeed(*tool, "--read-object", "--type", "cert", "--id", "01", "-o", "certificate", **environment)
    key = x509.load_der_x509_certificate((tmp_path / "certificate").read_bytes()).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify((tmp_path / "signature").read_bytes(), b"something", padding.PKCS1v15(), hashes.SHA256())


def test_module_writes(near: Near, simulator: Simulator, host: Host) -> None:
    """What is written through PC/SC is on the card at the far end."""
    session = host.call(probes.user_session, 0, True)
    host.call(probes.data, session, b"note", b"kept")
    near.simulator.detach_pcsc("front")
    assert near.next() is Change.REMOVE
    card = simulator.remove("front")
    near.simulator.insert("front", card)
    session = host.call(probes.user_session)
    assert host.call(lambda m: [value for _, value in probes.objects(m, session, LABEL=b"note")]) == [b"note"]


def test_card_comes_and_goes(near: Near, simulator: Simulator, host: Host, context: pcsc.Context) -> None:
    waiting = host.start(Module.wait_for_slot_event)
    simulator.remove("front")
    assert near.next() is Change.REMOVE
    assert waiting.result(DEADLINE) == 0
    assert host.call(Module.slots, present=True) == []
    waiting = host.start(Module.wait_for_slot_event)
    simulator.insert("front")
    assert near.next() is Change.INSERT
    assert waiting.result(DEADLINE) == 0
    assert len(host.call(probes.sign_with, host.call(probes.user_session), b"\1")) == 256


def test_a_swap_is_another_card(near: Near, simulator: Simulator) -> None:
    """Faster than pcscd looks: when its look comes, it can take the new card for another one once more."""
    stay = near.stay
    simulator.swap("front", CardRequest(name="Bob"))
    assert [near.next(), near.next()] == [Change.REMOVE, Change.INSERT]
    assert stay.removed.is_set()
    try:
        answer = near.stay.transmit(SELECT)
    except CardRemoved:
        assert [near.next(), near.next()] == [Change.REMOVE, Change.INSERT]
        answer = near.stay.transmit(SELECT)
    assert answer[-2:] == OK


def test_torn_in_the_middle_of_a_command(near: Near, simulator: Simulator, host: Host) -> None:
    session = host.call(probes.user_session)
    key = host.call(probes.key, session, b"\1")
    with simulator.testbed.watching(torn_at(simulator, 0x87)):
        assert host.rv(probes.sign, session, key) == CKR.DEVICE_REMOVED
    assert near.next() is Change.REMOVE
    assert host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID
    simulator.insert("front")
    assert near.next() is Change.INSERT
    assert len(host.call(probes.sign_with, host.call(probes.user_session), b"\1")) == 256


def test_removal_is_played_on_top(near: Near, simulator: Simulator, host: Host) -> None:
    """The card stays where it is, but not for our applications; and it forgets the PIN, as one that was pulled."""
    session = host.call(probes.user_session)
    key = host.call(probes.key, session, b"\1")
    near.simulator.arm(Trigger("remove", {"reader": "front"}, call="C_Sign", when="during"))
    assert host.rv(probes.sign, session, key) == CKR.DEVICE_REMOVED
    assert near.next() is Change.REMOVE
    assert simulator.testbed.reader("front").insertion is not None
    near.simulator.insert("front")
    assert near.next() is Change.INSERT
    assert near.stay.transmit(SELECT)[-2:] == OK
    assert near.stay.transmit(PIN_STATUS) == NOT_VERIFIED
    assert len(host.call(probes.sign_with, host.call(probes.user_session), b"\1")) == 256


def test_removal_wakes_who_waits_for_a_busy_card(near: Near, simulator: Simulator) -> None:
    """It does not wait for the command that is under way; the next stay does."""
    busy, go_on = threading.Event(), threading.Event()

    def hold(moment: Moment) -> None:
        if isinstance(moment, ApduMoment) and moment.when is When.BEFORE:
            busy.set()
            assert go_on.wait(DEADLINE)

    failed: list[Exception] = []

    def send() -> None:
        try:
            near.stay.transmit(SELECT)
        except CardRemoved as error:
            failed.append(error)

    with simulator.testbed.watching(hold):
        sender = threading.Thread(target=send)
        sender.start()
        assert busy.wait(DEADLINE)
        near.simulator.remove("front")
        sender.join(DEADLINE)
        assert len(failed) == 1
        go_on.set()
        near.simulator.insert("front")
        assert near.stay.transmit(SELECT)[-2:] == OK


def test_faults_and_the_trace(near: Near, host: Host) -> None:
    """The answer is a script's, the card never gets the command."""
    near.simulator.arm(Trigger("answer", {"status": 0x6983}, ins=0x20))
    session = host.call(Module.open_session, 0)
    assert host.rv(Module.login, session) == CKR.PIN_LOCKED
    entries = [each for each in near.simulator.testbed.trace.entries() if isinstance(each, ApduEntry)]
    assert (READER, 0x6983) in {(each.card, each.status) for each in entries}
    host.call(Module.login, session)


CERTIFICATE = bytes.fromhex("00CB3FFF055C035FC10500")


@pytest.mark.parametrize(
    ("verb", "arguments", "change"),
    [
        ("answer", {"status": 0x6F00}, lambda right: b"\x6f\x00"),
        ("garble", {"count": 3}, lambda right: right),
        ("cut", {"length": 10}, lambda right: right[:10]),
        ("delay", {"seconds": 0.05}, lambda right: right),
    ],
    ids=["answer", "garble", "cut", "delay"],
)
def test_faults_on_an_answer_of_the_card(
    near: Near, verb: str, arguments: dict[str, Any], change: Callable[[bytes], bytes]
) -> None:
    """At the second of its kind, once; the card has done the command, and the next answer is right again."""
    assert near.stay.transmit(SELECT)[-2:] == OK
    right = near.stay.transmit(CERTIFICATE)
    near.simulator.arm(Trigger(verb, arguments, ins=0xCB, when="after", nth=2))
    assert near.stay.transmit(CERTIFICATE) == right
    start = monotonic()
    wrong = near.stay.transmit(CERTIFICATE)
    if verb == "garble":
        assert sum(a != b for a, b in zip(wrong, right, strict=True)) == 3
    else:
        assert wrong == change(right)
    assert monotonic() - start >= (0.05 if verb == "delay" else 0)
    assert near.stay.transmit(CERTIFICATE) == right


def test_a_swap_at_an_apdu(near: Near, simulator: Simulator, host: Host) -> None:
    """Ours goes in where PC/SC's was, in the middle of its signature; then PC/SC's again."""
    session = host.call(probes.user_session)
    key = host.call(probes.key, session, b"\1")
    near.simulator.arm(Trigger("swap", {"reader": "front", "card": CardRequest(name="Bob")}, ins=0x87, nth=2))
    assert host.rv(probes.sign, session, key) == CKR.DEVICE_REMOVED
    assert near.stay.card.name == "Bob"
    near.simulator.remove("front")
    near.simulator.insert("front")
    assert near.stay.card.name == READER
    assert len(host.call(probes.sign_with, host.call(probes.user_session), b"\1")) == 256


def test_reset_by_another_program(near: Near, host: Host, context: pcsc.Context) -> None:
    """Its reset takes the login of our applications; their sessions stay."""
    session = host.call(probes.user_session)
    key = host.call(probes.key, session, b"\1")
    other = context.connect(READER)
    other.reconnect(pcsc.RESET)
    assert host.rv(probes.sign, session, key) == CKR.USER_NOT_LOGGED_IN
    assert near.next() is Change.RESET
    host.call(Module.login, session)
    assert host.call(lambda m: len(probes.sign(m, session, key))) == 256
    other.disconnect(pcsc.LEAVE)


def test_our_reset_is_felt_by_another_program(near: Near, context: pcsc.Context) -> None:
    other = context.connect(READER)
    assert other.transmit(SELECT)[-2:] == OK
    assert other.transmit(VERIFY) == OK
    assert near.stay.transmit(PIN_STATUS) == OK
    near.simulator.reset("front")
    assert near.stay.transmit(SELECT)[-2:] == OK
    assert near.stay.transmit(PIN_STATUS) == NOT_VERIFIED
    with pytest.raises(pcsc.PcscError):
        other.transmit(PIN_STATUS)
    other.disconnect(pcsc.LEAVE)


def test_our_lock_keeps_another_program_away(near: Near, context: pcsc.Context) -> None:
    other = context.connect(READER)
    answers: list[bytes] = []
    with near.stay.lock:
        assert near.stay.transmit(SELECT)[-2:] == OK
        sender = threading.Thread(target=lambda: answers.append(other.transmit(PIN_STATUS)))
        sender.start()
        sender.join(0.3)
        assert not answers
        assert near.stay.transmit(VERIFY) == OK
    sender.join(DEADLINE)
    assert answers == [OK]
    other.disconnect(pcsc.LEAVE)


def test_another_programs_transaction_is_waited_for(near: Near, context: pcsc.Context) -> None:
    """Until the script pulls the card: then nobody waits any more."""
    other = context.connect(READER)
    other.begin()
    outcomes: queue.SimpleQueue[object] = queue.SimpleQueue()

    def send() -> None:
        try:
            outcomes.put(near.stay.transmit(SELECT)[-2:])
        except CardRemoved as error:
            outcomes.put(type(error))

    sender = threading.Thread(target=send)
    sender.start()
    sender.join(0.3)
    assert outcomes.empty()
    other.end()
    assert outcomes.get(timeout=DEADLINE) == OK
    other.begin()
    sender = threading.Thread(target=send)
    sender.start()
    near.simulator.remove("front")
    assert outcomes.get(timeout=DEADLINE) is CardRemoved
    other.end()
    other.disconnect(pcsc.LEAVE)


def test_exclusive(empty: Near, adapter: VpcdAdapter, context: pcsc.Context) -> None:
    """A card that another program has for itself comes when that lets go; then nobody else gets it."""
    other = context.connect(READER, exclusive=True)
    empty.simulator.attach_pcsc("front", exclusive=True)
    assert empty.nothing_happened()
    other.disconnect(pcsc.LEAVE)
    assert empty.next() is Change.INSERT
    with pytest.raises(pcsc.PcscError):
        context.connect(READER)
    empty.simulator.detach_pcsc("front")
    assert empty.next() is Change.REMOVE
    context.connect(READER).disconnect(pcsc.LEAVE)


def test_a_card_that_is_not_powered_up_yet(
    empty: Near, adapter: VpcdAdapter, new_host: NewHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pcscd tells of it, without an ATR, before it counts it: it comes once, when that is done."""
    wait, tell_early = PcscReader._wait, [True]

    def wait_and_tell(near_door: PcscReader, states: list[tuple[str, int]], milliseconds: int) -> Any:
        seen = wait(near_door, states, milliseconds)
        if tell_early and seen and seen[0][0] == READER:
            tell_early.clear()
            return [(READER, seen[0][1] + (1 << 16), b"")]  # another counter
        return seen

    monkeypatch.setattr(PcscReader, "_wait", wait_and_tell)
    empty.simulator.attach_pcsc("front")
    assert empty.next() is Change.INSERT
    host = new_host(empty.simulator)
    assert len(host.call(probes.sign_with, host.call(probes.user_session), b"\1")) == 256
    assert not tell_early
    assert empty.nothing_happened()


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_pcscd_ends_and_comes_back(near: Near, pcscd: OwnPcscd, host: Host, context: pcsc.Context, way: str) -> None:
    """In good order, or of kill -9, which leaves its socket behind."""
    session = host.call(probes.user_session)
    getattr(pcscd, way)()
    assert near.next() is Change.REMOVE
    assert host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID
    assert host.call(Module.slots, present=True) == []
    with pytest.raises(TestbedError, match="no card for reader 'front'"):
        near.simulator.insert("front")
    pcscd.start()
    assert near.next() is Change.INSERT
    assert len(host.call(probes.sign_with, host.call(probes.user_session), b"\1")) == 256
    near.simulator.detach_pcsc("front")
    context.reopen()


def test_its_reader_goes_and_comes_back(near: Near, pcscd: OwnPcscd, context: pcsc.Context) -> None:
    """As one that is unplugged: the one that PC/SC has meanwhile is another, with the same card in it."""
    driver = find_driver()
    assert driver is not None
    near.simulator.detach_pcsc("front")
    near.simulator.attach_pcsc("front", READER)
    assert [near.next(), near.next()] == [Change.REMOVE, Change.INSERT]
    try:
        for name, change in (("Other", Change.REMOVE), (None, Change.INSERT)):
            pcscd.stop()
            pcscd.configure(configuration(driver, pcscd.place.port, **({} if name is None else {"name": name})))  # type: ignore[arg-type]
            pcscd.start()
            context.reopen()
            context.wait(f"{name} 00 00" if name else READER, pcsc.PRESENT, DEADLINE)
            assert near.next() is change
            assert near.nothing_happened()
    finally:
        near.simulator.detach_pcsc("front")


def test_no_pcscd_yet(empty: Near, pcscd: OwnPcscd) -> None:
    pcscd.stop()
    try:
        empty.simulator.attach_pcsc("front")
        assert empty.nothing_happened()
        empty.simulator.detach_pcsc("front")
    finally:
        pcscd.start()


def test_a_mute_card(near: Near, simulator: Simulator) -> None:
    """There, but it does not answer: an error, and soon. A reset wakes it."""
    simulator.mute("front")
    with pytest.raises((CardMute, CardRemoved)):
        call_with_deadline(near.stay.transmit, SELECT)


def test_scripts_have_the_last_word(near: Near, simulator: Simulator) -> None:
    """A card of the bench in the reader stays there, whatever happens in PC/SC."""
    near.simulator.swap("front", CardRequest(name="Bob"))
    assert [near.next(), near.next()] == [Change.REMOVE, Change.INSERT]
    simulator.remove("front")
    simulator.insert("front")
    assert near.stay.card.name == "Bob"
    near.simulator.detach_pcsc("front")
    assert near.stay.card.name == "Bob"
    assert near.nothing_happened()


def test_faults_for_other_programs_of_pcsc(near: Near, pcscd: OwnPcscd, context: pcsc.Context) -> None:
    """The card goes through our reader back into PC/SC, as another one: pulled there, it is still in the first."""
    adapter = VpcdAdapter(near.simulator.testbed, pcscd.place.port + 1, near.reader, inside=pcscd.place.inside)
    atr = context.wait(SECOND_READER, pcsc.PRESENT, DEADLINE)
    assert atr == context.wait(READER, pcsc.PRESENT, DEADLINE)
    program = context.connect(SECOND_READER)
    assert program.transmit(SELECT)[-2:] == OK
    near.simulator.arm(Trigger("answer", {"status": 0x6983}, ins=0x20))
    assert program.transmit(VERIFY) == b"\x69\x83"
    assert program.transmit(VERIFY) == OK
    near.simulator.arm(Trigger("remove", {"reader": "front"}, ins=0x20))
    with pytest.raises(pcsc.PcscError):
        program.transmit(PIN_STATUS)
    context.wait(SECOND_READER, pcsc.EMPTY, DEADLINE)
    context.wait(READER, pcsc.PRESENT, DEADLINE)
    near.simulator.insert("front")
    context.wait(SECOND_READER, pcsc.PRESENT, DEADLINE)
    adapter.close()
    context.wait(SECOND_READER, pcsc.EMPTY, DEADLINE)


def test_command_line(adapter: VpcdAdapter, run: Run) -> None:
    tool = ("--", "sh", "-c", 'pkcs11-tool --module "$CARDTEAR_MODULE" --list-token-slots')
    listed = run(CARDTEAR, "run", "--from-pcsc", "PCD 00 00", *tool)
    assert listed.code == 0, listed.output
    assert "cardtear" in listed.output
    refused = run(CARDTEAR, "run", "--from-pcsc", "any", "--from-pcsc", "any", *tool)
    assert refused.code == 2
    assert "give more --reader" in refused.output


def test_commands_pull_it_and_put_it_back(near: Near, succeed: Succeed) -> None:
    environment = near.simulator.environment
    succeed(CARDTEAR, "remove", "front", **environment)
    assert near.next() is Change.REMOVE
    assert READER in succeed(CARDTEAR, "insert", "front", **environment)
    assert near.next() is Change.INSERT
    assert near.stay.transmit(SELECT)[-2:] == OK
    succeed(CARDTEAR, "swap", "front", "--name", "Bob", **environment)
    assert near.stay.card.name == "Bob"
    assert "Bob" in succeed(CARDTEAR, "status", **environment)


def test_a_running_simulator_is_attached(empty: Near, adapter: VpcdAdapter, run: Run, succeed: Succeed) -> None:
    """By commands, which `status` then knows of; the card is found behind a reader that is unplugged meanwhile."""
    simulator, environment = empty.simulator, empty.simulator.environment
    assert "no reader 'back'" in run(CARDTEAR, "attach-pcsc", "back", **environment).output
    assert READER in succeed(CARDTEAR, "attach-pcsc", "front", "PCD 00 00", **environment)
    assert empty.next() is Change.INSERT
    assert "from PCD 00 00" in succeed(CARDTEAR, "status", **environment)
    simulator.unplug("front")
    simulator.plug("front")
    assert simulator.insert("front").name == READER
    (status,) = simulator.status()["readers"]
    assert (status["card"], status["from_pcsc"], status["pcsc"]) == (READER, "PCD 00 00", None)
    succeed(CARDTEAR, "detach-pcsc", "front", **environment)
    (status,) = simulator.status()["readers"]
    assert (status["card"], status["from_pcsc"]) == (None, None)


@pytest.mark.needs("pkcs11-tool")
def test_a_scenario_plays_on_it(adapter: VpcdAdapter, tmp_path: Path) -> None:
    """The card is pulled from the application and given back; it never leaves its reader in PC/SC."""
    (tmp_path / "pull.yaml").write_text(SCENARIO)
    outcome = play_file(tmp_path / "pull.yaml")
    assert outcome.passed, outcome.message


SCENARIO = """\
readers: {front: empty}
triggers:
  pull: {on: {ins: 87}, do: {remove: front}}
steps:
- attach-pcsc: {front: PCD 00 00}
- wait: {event: insert, reader: front, since: start}
- run: pkcs11-tool --module ${module} --login --pin 123456 --sign --mechanism SHA256-RSA-PKCS --id 01 -i data -o out
  name: pulled
  files: {data: something}
  exits: 1
- expect: {call: C_Sign, returns: CKR_DEVICE_REMOVED}
- insert: {front: pcsc}
- run: pkcs11-tool --module ${module} --login --pin 123456 --sign --mechanism SHA256-RSA-PKCS --id 01 -i data -o out
"""


def test_readers_are_chosen_by_name(empty: Near, adapter: VpcdAdapter) -> None:
    empty.simulator.attach_pcsc("front", "no such")
    assert empty.nothing_happened()
    with pytest.raises(TestbedError, match="already"):
        empty.simulator.attach_pcsc("front")
    with pytest.raises(TestbedError, match="no reader 'back'"):
        empty.simulator.attach_pcsc("back")
    empty.simulator.detach_pcsc("front")
    empty.simulator.attach_pcsc("front", "PCD 00 00")
    assert empty.next() is Change.INSERT


def test_a_card_that_speaks_t0(
    empty: Near, simulator: Simulator, adapter: VpcdAdapter, context: pcsc.Context, new_host: NewHost
) -> None:
    """No command has both Lc and Le then (ISO/IEC 7816-3, 12.2.1)."""
    atr = bytes.fromhex("3B6500000102030405")
    simulator.swap("front", CardRequest(name="Bob"), atr=atr)
    wait_until(lambda: context.wait(READER, pcsc.PRESENT, DEADLINE) == atr)
    commands: list[bytes] = []

    def note(moment: Moment) -> None:
        if isinstance(moment, ApduMoment) and moment.when is When.BEFORE:
            commands.append(moment.command)

    with simulator.testbed.watching(note):
        empty.simulator.attach_pcsc("front")
        while not empty.reader.insertion or empty.stay.card.is_dead or empty.stay.atr[1] != 0x65:
            empty.next()
        host = new_host(empty.simulator)
        assert len(host.call(probes.sign_with, host.call(probes.user_session), b"\1")) == 256
    assert commands
    assert all(len(each) <= 5 or len(each) == 5 + each[4] for each in commands)
