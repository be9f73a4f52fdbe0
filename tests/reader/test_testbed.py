# SPDX-License-Identifier: MIT
"""Readers and cards: what each verb does and refuses, who hears of it and when, and threads against each other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from cardtear.reader import (
    ApduMoment,
    CardElsewhere,
    CardRemoved,
    Change,
    Event,
    Moment,
    NoSuchReader,
    Reader,
    ReaderEmpty,
    ReaderExists,
    ReaderOccupied,
    Testbed,
    When,
)

COMMAND = bytes.fromhex("00CB3FFF")
ANSWER = COMMAND + b"\x90\x00"


def heard(bench: Testbed) -> list[tuple[str, str]]:
    """What a listener is told, as (change, reader)."""
    changes: list[tuple[str, str]] = []
    bench.subscribe(lambda event: changes.append((event.change.value, event.reader.name)))
    return changes


# Readers


def test_readers_keep_the_order_of_plugging(bench: Testbed) -> None:
    readers = [bench.plug(name) for name in ("z", "a", "m")]
    assert bench.readers == readers
    bench.unplug("a")
    assert [reader.name for reader in bench.readers] == ["z", "m"]
    assert bench.plug("a") is readers[1]
    assert [reader.name for reader in bench.readers] == ["z", "a", "m"]


def test_a_name_is_plugged_in_once(bench: Testbed, front: Reader) -> None:
    with pytest.raises(ReaderExists):
        bench.plug("front")
    assert bench.reader("front") is front


@pytest.mark.parametrize("name", ["", " front", "front ", "fr\nont", "x" * 65, "é" * 33])
def test_unusable_names(bench: Testbed, name: str) -> None:
    with pytest.raises(ValueError, match="not a reader name"):
        bench.plug(name)
    assert bench.readers == []


def test_longest_name(bench: Testbed) -> None:
    assert bench.plug("é" * 32).plugged


def test_unknown_reader_names_those_that_are_there(bench: Testbed, front: Reader) -> None:
    with pytest.raises(NoSuchReader, match="front"):
        bench.reader("back")
    with pytest.raises(NoSuchReader):
        bench.unplug("back")
    bench.unplug("front")
    with pytest.raises(NoSuchReader, match="plug one in"):
        bench.reader("front")


def test_unplug_takes_the_card_out_first(bench: Testbed, front: Reader, echo: Any) -> None:
    insertion = front.insert(echo)
    changes = heard(bench)
    bench.unplug("front")
    assert changes == [("remove", "front"), ("unplug", "front")]
    assert insertion.removed.is_set()
    assert not front.plugged


def test_unplugged_reader_takes_no_card(bench: Testbed, front: Reader, echo: Any) -> None:
    bench.unplug("front")
    with pytest.raises(NoSuchReader):
        front.insert(echo)
    with pytest.raises(NoSuchReader):
        front.remove()
    with pytest.raises(NoSuchReader):
        front.swap(echo)
    assert echo.active is None


# Cards


def test_insert_transmit_remove(front: Reader, echo: Any) -> None:
    insertion = front.insert(echo)
    assert front.insertion is insertion
    assert insertion.transmit(COMMAND) == ANSWER
    assert front.remove() is echo
    assert front.insertion is None
    assert echo.active is None
    with pytest.raises(CardRemoved):
        insertion.transmit(COMMAND)


def test_one_card_in_a_reader(front: Reader, echo: Any, new_card: Any) -> None:
    insertion = front.insert(echo)
    with pytest.raises(ReaderOccupied):
        front.insert(new_card())
    assert front.insertion is insertion


def test_one_reader_for_a_card(bench: Testbed, front: Reader, echo: Any, new_card: Any) -> None:
    back = bench.plug("back")
    front.insert(echo)
    with pytest.raises(CardElsewhere):
        back.insert(echo)
    other = new_card()
    back.insert(other)
    with pytest.raises(CardElsewhere):
        back.swap(echo)
    with pytest.raises(CardElsewhere):
        back.swap(other)
    assert back.insertion is not None
    assert back.insertion.card is other


def test_empty_reader(front: Reader, echo: Any) -> None:
    for verb in (front.remove, front.reset, lambda: front.swap(echo)):
        with pytest.raises(ReaderEmpty):
            verb()
    assert front.insertion is None


def test_an_old_insertion_stays_dead_when_its_card_is_back(front: Reader, echo: Any) -> None:
    old = front.insert(echo)
    front.remove()
    new = front.insert(echo)
    with pytest.raises(CardRemoved):
        old.transmit(COMMAND)
    with pytest.raises(CardRemoved):
        old.reset()
    assert new.transmit(COMMAND) == ANSWER
    assert echo.activations == 2


def test_swap_is_a_removal_and_an_insertion_at_one_instant(
    bench: Testbed, front: Reader, echo: Any, new_card: Any
) -> None:
    front.insert(echo)
    changes = heard(bench)
    other = new_card("other")
    with bench.lock:
        assert front.swap(other) is echo
    assert changes == [("remove", "front"), ("insert", "front")]
    assert front.insertion is not None
    assert front.insertion.card is other


def test_reset_is_a_new_activation_of_the_same_stay(bench: Testbed, front: Reader, echo: Any) -> None:
    insertion = front.insert(echo)
    before = insertion.atr
    changes = heard(bench)
    front.reset()
    assert changes == [("reset", "front")]
    assert front.insertion is insertion
    assert insertion.atr != before
    assert insertion.transmit(COMMAND) == ANSWER


# Listeners


def test_listeners_hear_in_the_same_thread_under_the_lock_when_all_is_done(
    bench: Testbed, front: Reader, echo: Any
) -> None:
    seen: list[tuple[Change, bool]] = []

    def listen(event: Event) -> None:
        assert threading.current_thread() is caller
        free: list[bool] = []
        other = threading.Thread(target=lambda: free.append(bench.lock.acquire(blocking=False)))
        other.start()
        other.join(10)
        assert free == [False]
        seen.append((event.change, front.insertion is not None))

    caller = threading.current_thread()
    bench.subscribe(listen)
    insertion = front.insert(echo)
    insertion.reset()
    front.remove()
    assert seen == [(Change.INSERT, True), (Change.RESET, True), (Change.REMOVE, False)]


def test_events_carry_the_stay(bench: Testbed, front: Reader, echo: Any) -> None:
    events: list[Event] = []
    bench.subscribe(events.append)
    insertion = front.insert(echo)
    front.remove()
    bench.unplug("front")
    assert [event.insertion for event in events] == [insertion, insertion, None]
    assert {event.reader for event in events} == {front}


def test_unsubscribed_listeners_hear_nothing(bench: Testbed, front: Reader, echo: Any) -> None:
    events: list[Event] = []
    stop = bench.subscribe(events.append)
    front.insert(echo)
    stop()
    stop()
    front.remove()
    assert [event.change for event in events] == [Change.INSERT]


def test_a_listener_may_use_the_bench(bench: Testbed, front: Reader, echo: Any) -> None:
    """The lock is re-entrant: a card can be pushed back as soon as it is pulled."""
    changes: list[Change] = []

    def push_back(event: Event) -> None:
        changes.append(event.change)
        if event.change is Change.REMOVE and len(changes) < 3:
            front.insert(echo)

    bench.subscribe(push_back)
    front.insert(echo)
    front.remove()
    assert changes == [Change.INSERT, Change.REMOVE, Change.INSERT]
    assert front.insertion is not None


# Watchers


def test_watchers_see_both_sides_of_an_apdu(bench: Testbed, front: Reader, echo: Any) -> None:
    moments: list[Moment] = []
    insertion = front.insert(echo)
    with bench.watching(moments.append):
        insertion.transmit(COMMAND)
    insertion.transmit(COMMAND)
    assert moments == [
        ApduMoment(When.BEFORE, insertion, COMMAND),
        ApduMoment(When.AFTER, insertion, COMMAND, ANSWER),
    ]


def test_a_method_can_be_unwatched(bench: Testbed) -> None:
    """Every access to a method makes a new object; watching has to end all the same."""

    class Watcher:
        def see(self, moment: Moment) -> None: ...

    watcher = Watcher()
    bench.watch(watcher.see)
    bench.unwatch(watcher.see)
    bench.unwatch(watcher.see)
    assert bench.watchers == ()


@pytest.mark.parametrize(("when", "reached"), [(When.BEFORE, 0), (When.AFTER, 1)])
def test_a_watcher_may_remove_the_card(bench: Testbed, front: Reader, echo: Any, when: When, reached: int) -> None:
    insertion = front.insert(echo)
    activation = insertion.activation

    def pull(moment: Moment) -> None:
        if moment.when is when:
            front.remove()

    with bench.watching(pull), pytest.raises(CardRemoved):
        insertion.transmit(COMMAND)
    assert len(activation.commands) == reached  # type: ignore[attr-defined]


# Threads


class Doer(threading.Thread):
    """Runs a function; `finish` gives its result or raises what it raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._result: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error

    def finish(self) -> Any:
        self.join(10)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error
        return self._result


def test_removal_does_not_wait_for_a_card_at_work(front: Reader, echo: Any) -> None:
    insertion = front.insert(echo)
    echo.paused = True
    command = Doer(lambda: insertion.transmit(COMMAND))
    assert echo.busy.wait(10)
    assert Doer(front.remove).finish() is echo
    assert insertion.removed.is_set()
    assert command.is_alive()
    echo.go_on.set()
    with pytest.raises(CardRemoved):
        command.finish()
    assert insertion.activation.commands == []  # type: ignore[attr-defined]


def test_removal_in_the_middle_and_back_again(front: Reader, echo: Any) -> None:
    """The command of the old stay is torn although its card is under power again when it ends."""
    insertion = front.insert(echo)
    echo.paused = True
    command = Doer(lambda: insertion.transmit(COMMAND))
    assert echo.busy.wait(10)
    front.remove()
    again = front.insert(echo)
    echo.paused = False
    echo.go_on.set()
    with pytest.raises(CardRemoved):
        command.finish()
    assert again.transmit(COMMAND) == ANSWER
    assert again.activation.commands == [COMMAND]  # type: ignore[attr-defined]


def test_reset_waits_for_the_command_before_it(front: Reader, echo: Any) -> None:
    insertion = front.insert(echo)
    echo.paused = True
    command = Doer(lambda: insertion.transmit(COMMAND))
    assert echo.busy.wait(10)
    reset = Doer(insertion.reset)
    reset.join(0.02)
    assert reset.is_alive()
    echo.go_on.set()
    assert command.finish() == ANSWER
    reset.finish()
    assert echo.activations == 2


def test_reset_ends_when_the_card_goes_first(front: Reader, echo: Any) -> None:
    insertion = front.insert(echo)
    echo.paused = True
    command = Doer(lambda: insertion.transmit(COMMAND))
    assert echo.busy.wait(10)
    reset = Doer(insertion.reset)
    front.remove()
    echo.go_on.set()
    for doer in (command, reset):
        with pytest.raises(CardRemoved):
            doer.finish()


def test_a_transaction_keeps_others_out(front: Reader, echo: Any) -> None:
    insertion = front.insert(echo)
    with insertion.lock:
        other = Doer(lambda: insertion.transmit(b"\0\0\0\2"))
        for _ in range(3):
            insertion.transmit(b"\0\0\0\1")
        assert other.is_alive()
    other.finish()
    assert insertion.activation.commands == 3 * [b"\0\0\0\1"] + [b"\0\0\0\2"]  # type: ignore[attr-defined]


def test_threads_hammering(bench: Testbed, new_card: Any) -> None:
    """Cards move between readers that come and go while others speak to them: every stay begins and ends once."""
    cards = [new_card(name) for name in "abc"]
    names = ("one", "two")
    for name in names:
        bench.plug(name)
    stays: dict[Any, list[Change]] = {}
    misfits: list[Event] = []

    def listen(event: Event) -> None:
        if event.insertion is None:
            return
        stays.setdefault(event.insertion, []).append(event.change)
        inside = event.reader.insertion
        if (event.change is Change.REMOVE) != (inside is not event.insertion):
            misfits.append(event)

    bench.subscribe(listen)
    refusals = (NoSuchReader, ReaderExists, ReaderOccupied, ReaderEmpty, CardElsewhere, CardRemoved)
    rounds = 300

    def attempt(verb: Callable[..., object], *arguments: object) -> int:
        """1 if the verb was carried out, 0 if it was refused."""
        try:
            verb(*arguments)
        except refusals:
            return 0
        return 1

    def ask(name: str, command: bytes) -> None:
        insertion = bench.reader(name).insertion
        if insertion is not None:
            assert insertion.transmit(command) == command + b"\x90\x00"

    def speak(name: str) -> int:
        return sum(attempt(ask, name, number.to_bytes(4, "big")) for number in range(2 * rounds))

    def move(card: Any) -> int:
        verbs: tuple[tuple[Callable[..., object], tuple[object, ...]], ...] = (
            (Reader.insert, (card,)),
            (Reader.swap, (card,)),
            (Reader.reset, ()),
            (Reader.remove, ()),
        )
        return sum(
            attempt(lambda verb, name, arguments: verb(bench.reader(name), *arguments), verb, name, arguments)
            for _ in range(rounds)
            for name in names
            for verb, arguments in verbs
        )

    def replug() -> int:
        return sum(attempt(bench.unplug, name) + attempt(bench.plug, name) for name in names * rounds)

    doers = [Doer(partial(speak, name)) for name in names] + [Doer(partial(move, card)) for card in cards]
    doers.append(Doer(replug))
    assert all(doer.finish() for doer in doers)
    for reader in bench.readers:
        if reader.insertion is not None:
            reader.remove()
    assert misfits == []
    assert len(stays) > rounds
    for changes in stays.values():
        assert changes[0] is Change.INSERT
        assert changes[-1] is Change.REMOVE
        assert set(changes[1:-1]) <= {Change.RESET}
    assert all(card.active is None for card in cards)
