# SPDX-License-Identifier: MIT
"""What can happen at all in a scenario, and why something cannot; possible.py gathers it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ...card.wording import counted


@dataclass
class Possibilities:
    """Events, calls and signals that steps and triggers bring about, whatever their order."""

    readers: set[str]
    """Every reader that is plugged in at some time."""
    runs_programs: bool = False
    """Whether a program runs, which may do anything."""
    sends_apdus: bool = False
    """Whether a step sends one."""
    has_pcsc: bool = False
    """Whether the cards of a reader come from PC/SC at some time."""
    crashes: bool = False
    """Whether the simulator is crashed at some time."""
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often there is a change of a reader, at most."""
    signals: Counter[str] = field(default_factory=Counter)
    """How often a step sends a signal."""
    awaited: set[str] = field(default_factory=set)
    """The signals for which a trigger or a step waits."""
    gates: set[str] = field(default_factory=set)
    """Those at which a trigger lets something hang."""
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often a client (by name) makes a call, at most."""
    clients: set[str] = field(default_factory=set)
    """The built-in clients that make calls."""
    threads: dict[str, set[str]] = field(default_factory=dict)
    """The threads in which a client makes calls."""
    programs: set[str] = field(default_factory=set)
    """The programs that are run, by the names by which they are known."""
    spoken_to: set[str] = field(default_factory=set)
    """Those that are sent or asked something at some time."""

    def count_calls(self, pattern: str, application: str = "*") -> int:
        """Return how many calls that fit the built-in clients make at most."""
        return sum(
            count
            for (client, name), count in self.calls.items()
            if fnmatchcase(name, pattern) and fnmatchcase(client[:15], application)
        )

    def count_threads(self, application: str) -> int:
        """Return in how many threads a client that fits makes calls at most."""
        return max(len(each) for client, each in self.threads.items() if fnmatchcase(client[:15], application))

    def why_no_event(self, change: str, reader: str | None, nth: int = 1) -> str | None:
        """Return why there are not so many such events, None if there can be."""
        found = {each: count for each, count in self.events.items() if each[0] == change and reader in (None, each[1])}
        if found:
            return too_few(f"there is a {change!r}", sum(found.values()), nth)
        where = f"reader {reader!r}" if reader is not None else "any reader"
        return f"no step or trigger makes a {change!r} of {where}, and no program runs that could"

    def why_no_signal(self, signal: str, nth: int = 1) -> str | None:
        """Return why a signal is not sent so often, None if it can be."""
        if signal not in self.signals:
            return f"nobody says {signal!r}, and no program runs that could"
        return too_few(f"{signal!r} is said", self.signals[signal], nth)


def too_few(what: str, count: int, nth: int) -> str | None:
    """Return a message if something happens fewer than `nth` times."""
    return f"{what} {counted(count, 'time')} at most, not {nth}" if count < nth else None
