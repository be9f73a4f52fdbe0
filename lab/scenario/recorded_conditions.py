# SPDX-License-Identifier: MIT
"""Conditions on what is recorded: events, calls, APDUs and signals, and how many of them there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ...p11.calls import BY_NAME
from ...p11.constants import CKR
from ...p11.number_names import name_of
from ...reader.trace import ApduEntry, CallEntry, EventEntry, ReturnEntry
from ..simulator.moments import check_call
from .condition import NOTHING, Condition, Refusal, RunState, StaticState
from .fields import EVENTS, Change, Count, Digits, HexByte, Name, ReturnValues, StatusWord
from .history import Begun, Occurrence, Signalled
from .possibilities import Possibilities

_MOST_SHOWN = 8


def check_call_pattern(pattern: str) -> str:
    """Refuse a name with * and ? that no function has. Raises ValueError."""
    check_call(pattern, (*BY_NAME, "C_Initialize"))
    return pattern


class Recorded(Condition):
    """Something that the trace shows; looked for from the mark `since`, else from the last step that did something."""

    since: Name | None = None

    def fits(self, occurrence: Occurrence) -> bool:
        """Return whether an entry is what is awaited."""
        raise NotImplementedError

    def shown(self, occurrence: Occurrence) -> str | None:
        """Return an entry of the same kind in words, None for one of another kind."""
        raise NotImplementedError

    def never_comes(self, possible: Possibilities) -> str | None:
        """Return why it cannot come, None if it can; programs that run could do anything."""
        return None

    def holds(self, run: RunState) -> Callable[[], bool]:
        return run.search(self.fits, run.position(self.since))

    def comes_from_now(self, run: RunState) -> Callable[[], bool]:
        return run.search(self.fits, run.now() if self.since is None else run.position(self.since))

    def instead(self, run: RunState) -> str:
        return _listed(filter(None, map(self.shown, run.occurrences(run.position(self.since)))))

    def check(self, static: StaticState) -> None:
        if self.since is not None:
            static.require_mark(self.since)
        self.check_absence(static)
        possible = static.possible
        reason = None if possible.runs_programs else self.never_comes(possible)
        if reason is not None:
            raise Refusal(f"this can never come: {reason}")


class EventHappens(Recorded):
    """A change of the testbed."""

    event: Change
    reader: Name | None = None

    def words(self) -> str:
        return f"the event {self.event!r}" + (f" of {self.reader}" if self.reader else "")

    def fits(self, occurrence: Occurrence) -> bool:
        entry = occurrence.entry
        return isinstance(entry, EventEntry) and entry.change == self.event and self.reader in (None, entry.reader)

    def shown(self, occurrence: Occurrence) -> str | None:
        entry = occurrence.entry
        return f"{entry.change} {entry.reader}" if isinstance(entry, EventEntry) else None

    def check_wait(self, static: StaticState) -> None:
        if static.was_just_done(self.event, self.reader):
            raise Refusal("this wait is over before it begins: the step before it does just that")

    def check_absence(self, static: StaticState) -> None:
        if self.reader is not None:
            static.require_reader(self.reader)

    def never_comes(self, possible: Possibilities) -> str | None:
        return possible.why_no_event(self.event, self.reader)


class CallHappens(Recorded):
    """A call of any program: that it was made, `when: during` that it began to work or wait, `after` that it is over.

    `when: under-way` asks for the present: it works or waits, and has not returned. With `returns` it is over and has
    returned one of these values.
    """

    call: Annotated[str, BeforeValidator(check_call_pattern)]
    application: str = "*"
    when: Literal["before", "during", "under-way", "after"] = "before"
    returns: ReturnValues | None = Field(default=None)

    @property
    def is_answered(self) -> bool:
        """Return whether the call has to have returned."""
        return self.when == "after" or "returns" in self.model_fields_set

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if "returns" in self.model_fields_set and self.model_fields_set & {"when"} and self.when != "after":
            raise ValueError(f"what has returned is over: 'returns' does not go with 'when: {self.when}'")
        return self

    def words(self) -> str:
        program = "" if self.application == "*" else f" of {self.application}"
        if not self.is_answered:
            under_way = " to be under way" if self.when in ("during", "under-way") else ""
            return f"a call of {self.call}{program}{under_way}"
        values = "any" if self.returns is None else " | ".join(name_of(CKR, value) for value in sorted(self.returns))
        return f"{self.call}{program} -> {values}"

    def holds(self, run: RunState) -> Callable[[], bool]:
        return (lambda: run.is_under_way(self._is_call)) if self.when == "under-way" else super().holds(run)

    def comes_from_now(self, run: RunState) -> Callable[[], bool]:
        return self.holds(run) if self.when == "under-way" else super().comes_from_now(run)

    def fits(self, occurrence: Occurrence) -> bool:
        entry = occurrence.entry
        if self.is_answered:
            return (
                isinstance(entry, ReturnEntry)
                and self._is_call(occurrence)
                and (self.returns is None or entry.value in self.returns)
            )
        kind = Begun if self.when == "during" else CallEntry
        return isinstance(entry, kind) and self._is_call(occurrence)

    def _is_call(self, occurrence: Occurrence) -> bool:
        return occurrence.is_call(self.call, self.application)

    def shown(self, occurrence: Occurrence) -> str | None:
        entry = occurrence.entry
        if not self.is_answered:
            return entry.name if isinstance(entry, CallEntry) else None
        if isinstance(entry, ReturnEntry) and self._is_call(occurrence):
            return f"{entry.name} -> {name_of(CKR, entry.value)}"
        return None

    def never_comes(self, possible: Possibilities) -> str | None:
        if possible.count_calls(self.call, self.application):
            return None
        return f"no step calls {self.call!r}, and no program runs that could"


class ApduHappens(Recorded):
    """An APDU to a card, with its status word."""

    apdu: HexByte | None
    status: StatusWord | None = None
    reader: Name | None = None

    def words(self) -> str:
        status = "" if self.status is None else f" -> {self.status:04X}"
        return f"an APDU {'' if self.apdu is None else f'{self.apdu:02X}'}{status}"

    def fits(self, occurrence: Occurrence) -> bool:
        entry = occurrence.entry
        return (
            isinstance(entry, ApduEntry)
            and self.reader in (None, entry.reader)
            and self.status in (None, entry.status)
            and self.apdu in (None, entry.command[1] if len(entry.command) > 1 else None)
        )

    def shown(self, occurrence: Occurrence) -> str | None:
        entry = occurrence.entry
        if not isinstance(entry, ApduEntry):
            return None
        return f"{_instruction(entry)} -> " + ("torn out" if entry.status is None else f"{entry.status:04X}")

    def check_absence(self, static: StaticState) -> None:
        if self.reader is not None:
            static.require_reader(self.reader)

    def never_comes(self, possible: Possibilities) -> str | None:
        if possible.calls or possible.sends_apdus:
            return None
        return "no step makes a call, and no program runs that could"


class SignalHappens(Recorded):
    """Somebody says a word: `cardtear signal WORD` in a program, or the verb of the control channel."""

    signal: Name

    def words(self) -> str:
        return f"the word {self.signal!r}"

    def fits(self, occurrence: Occurrence) -> bool:
        return occurrence.entry == Signalled(self.signal)

    def shown(self, occurrence: Occurrence) -> str | None:
        entry = occurrence.entry
        return repr(entry.signal) if isinstance(entry, Signalled) else None

    def never_comes(self, possible: Possibilities) -> str | None:
        return possible.why_no_signal(self.signal)

    def signals(self) -> set[str]:
        return {self.signal}


_KINDS = {"events": list(EVENTS), "apdus": [f"{each:02X}" for each in range(0x100)]}
_OF = {"events": f"one of {', '.join(EVENTS)}", "apdus": "an instruction byte, as 87"}


class CountIs(Recorded):
    """How many calls, APDUs or events there were: of a kind (a call's name with * and ?, an instruction, a change)."""

    count: Literal["calls", "apdus", "events"]
    of: Digits = "*"
    application: str = "*"
    exactly: Count | None = None
    at_least: Count | None = None
    at_most: Count | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.exactly is None and self.at_least is None and self.at_most is None:
            raise ValueError("a count is 'exactly', 'at-least' or 'at-most' a number")
        if self.exactly is not None and (self.at_least, self.at_most) != (None, None):
            raise ValueError("'exactly' says it all; leave out 'at-least' and 'at-most'")
        if None not in (self.at_least, self.at_most) and self.at_least > self.at_most:  # type: ignore[operator]
            raise ValueError(f"nothing is at least {self.at_least} and at most {self.at_most}")
        return self

    @model_validator(mode="after")
    def _of_a_kind(self) -> Self:
        if self.count == "calls":
            check_call_pattern(self.of)
        elif not any(fnmatchcase(each, self.of) for each in _KINDS[self.count]):
            raise ValueError(f"no {self.count} are of the kind {self.of!r}; it is {_OF[self.count]}")
        return self

    def words(self) -> str:
        bounds = [("exactly", self.exactly), ("at least", self.at_least), ("at most", self.at_most)]
        number = ", ".join(f"{word} {value}" for word, value in bounds if value is not None)
        return f"{number} {self.count}" + (f" of {self.of}" if self.of != "*" else "")

    def holds(self, run: RunState) -> Callable[[], bool]:
        since = run.position(self.since)
        return lambda: self.allows(self._number(run, since))

    def allows(self, number: int) -> bool:
        """Return whether so many are within the bounds."""
        least = self.at_least if self.exactly is None else self.exactly
        most = self.at_most if self.exactly is None else self.exactly
        return (least is None or number >= least) and (most is None or number <= most)

    def instead(self, run: RunState) -> str:
        return str(self._number(run, run.position(self.since)))

    def _number(self, run: RunState, since: int) -> int:
        return sum(map(self.fits, run.occurrences(since)))

    def fits(self, occurrence: Occurrence) -> bool:
        match self.count, occurrence.entry:
            case "calls", CallEntry():
                return occurrence.is_call(self.of, self.application)
            case "events", EventEntry() as event:
                return fnmatchcase(event.change, self.of)
            case "apdus", ApduEntry() as apdu:
                return fnmatchcase(_instruction(apdu), self.of) and fnmatchcase(occurrence.program, self.application)
        return False


def _instruction(entry: ApduEntry) -> str:
    """Return the instruction byte in hexadecimal, nothing of a command that has none."""
    return entry.command[1:2].hex().upper()


def _listed(words: Iterable[str]) -> str:
    """Return words in a row: repetitions are counted, of many only the last are shown."""
    runs: list[tuple[str, int]] = []
    for word in words:
        if runs and runs[-1][0] == word:
            runs[-1] = word, runs[-1][1] + 1
        else:
            runs.append((word, 1))
    shown = [word + (f" x{count}" if count > 1 else "") for word, count in runs[-_MOST_SHOWN:]]
    return ", ".join(["..."] * (len(runs) > _MOST_SHOWN) + shown) or NOTHING
