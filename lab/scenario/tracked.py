# SPDX-License-Identifier: MIT
"""What the static check knows before each step: states of readers, background calls, programs and triggers.

Every method raises Refusal for what cannot be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from .condition import Refusal

if TYPE_CHECKING:
    from .steps import Call
    from .triggers import TriggerModel

Path = tuple[str | int, ...]

UNPLUGGED = object()
UNCERTAIN = object()
"""The state of a reader that a trigger or a program may have changed."""


class ReaderStates:
    """The card in each reader by name, None in an empty one, or UNPLUGGED, or UNCERTAIN."""

    def __init__(self, readers: Collection[str], cards: Collection[str], standard: str) -> None:
        self._known = readers
        self._cards = cards
        self._standard = standard
        self._states: dict[str, Any] = {}
        self._last: dict[str, str] = {}
        self._uncertain: set[str] = set()

    def state(self, reader: str) -> Any:
        """Return the state of a reader."""
        if reader not in self._known:
            raise Refusal(f"there is no reader {reader!r}; there are: {', '.join(sorted(self._known)) or 'none'}")
        return UNCERTAIN if reader in self._uncertain else self._states.get(reader, UNPLUGGED)

    def set(self, reader: str, state: Any) -> None:
        """Set the state of a reader."""
        self._states[reader] = state
        if isinstance(state, str):
            self._last[reader] = state

    def make_uncertain(self, reader: str) -> None:
        """Record that a reader's state is uncertain from now on."""
        self.state(reader)
        self._uncertain.add(reader)

    def plugged(self, reader: str) -> Any:
        """Return the state of a reader that has to be plugged in."""
        state = self.state(reader)
        if state is UNPLUGGED:
            raise Refusal(f"reader {reader!r} is not plugged in here")
        return state

    def require_card(self, reader: str) -> None:
        """Refuse an empty reader."""
        if self.plugged(reader) is None:
            raise Refusal(f"reader {reader!r} is empty here; insert a card first")

    def plug(self, reader: str) -> None:
        """Plug a reader in."""
        if self.state(reader) not in (UNPLUGGED, UNCERTAIN):
            raise Refusal(f"reader {reader!r} is plugged in already")
        self.set(reader, None)

    def unplug(self, reader: str) -> bool:
        """Unplug a reader; return whether that removes a card."""
        before = self.plugged(reader)
        self.set(reader, UNPLUGGED)
        return before not in (None, UNCERTAIN)

    def insert(self, reader: str, card: str | None) -> None:
        """Insert a card into an empty reader, without a name the last one that was in it."""
        state = self.plugged(reader)
        if card is not None:
            self.require_known(card)
        if state not in (None, UNCERTAIN):
            raise Refusal(f"reader {reader!r} holds the card {state!r} already; remove or swap it")
        inserted = card if card is not None else self._last.get(reader, self._standard)
        if card is not None or state is not UNCERTAIN:
            self._require_free(inserted, reader)
        self.set(reader, inserted)

    def begin_with(self, reader: str, card: str | None) -> None:
        """Set the state at the beginning of the scenario."""
        if card is not None:
            self.require_known(card)
            self._require_free(card, reader)
        self.set(reader, card)

    def swap(self, reader: str, card: str) -> None:
        """Replace the card in a reader by another one."""
        self.require_known(card)
        self._require_free(card, reader)
        if self.state(reader) == card:
            raise Refusal(f"the card {card!r} is in reader {reader!r} already")
        self.set(reader, card)

    def attach(self, reader: str) -> None:
        """Attach an empty reader to PC/SC."""
        if isinstance(card := self.plugged(reader), str):
            raise Refusal(f"reader {reader!r} holds the card {card!r} here; remove it first")
        self._uncertain.add(reader)

    def require_known(self, card: str) -> None:
        """Refuse a card that the scenario does not have."""
        if card not in self._cards:
            raise Refusal(f"there is no card {card!r}; there are: {', '.join(self._cards) or 'none'}")

    def _require_free(self, card: str, reader: str) -> None:
        for other, state in self._states.items():
            if state == card and other != reader and other not in self._uncertain:
                raise Refusal(f"the card {card!r} is in reader {other!r}; remove it there first")


class CallStates:
    """The clients that run, and the calls under way in their threads."""

    def __init__(self, clients: set[str]) -> None:
        self.clients = clients
        self._unseen: dict[str, Path] = {}
        """Calls in the background that have to return something else than CKR_OK, and that no step has waited for."""
        self._started: set[str] = set()
        self._background: dict[str, Call] = {}
        self._busy: dict[tuple[str, str], str] = {}

    def require_free(self, client: str, thread: str) -> None:
        """Refuse an unknown client, and a thread in which a call may be under way."""
        if client not in self.clients:
            raise Refusal(f"there is no client {client!r}; there are: {', '.join(sorted(self.clients))}")
        if (client, thread) in self._busy:
            raise Refusal(
                f"thread {thread!r} of {client!r} may still be in {self._busy[client, thread]!r}: wait for it first, "
                "or name another thread"
            )

    def start(self, client: str) -> None:
        """Record that a client runs."""
        self.clients.add(client)
        self._started.add(client)

    def begin(self, step: Call, name: str, path: Path) -> None:
        """Record a call in the background, made by the step at `path`."""
        if name in self._background:
            raise Refusal(f"another call in the background is known as {name!r}")
        self._background[name] = step
        if step.has_to_fail:
            self._unseen[name] = path
        self._busy[step.client, step.thread] = name

    def require_background(self, name: str) -> None:
        """Refuse a call that is not under way in the background; its result counts as looked at."""
        self._unseen.pop(name, None)
        if name not in self._background:
            raise Refusal(f"no call {name!r} is under way in the background here")

    def returned(self, name: str) -> set[str]:
        """Record that a call in the background has returned; return the names under which its result is saved."""
        self.require_background(name)
        self._busy = {place: busy for place, busy in self._busy.items() if busy != name}
        return self._background.pop(name).targets

    def never_seen(self) -> Iterable[tuple[str, Path]]:
        """Return the calls whose results are never looked at, with the paths of their steps."""
        return self._unseen.items()

    def exit(self, client: str) -> None:
        """End a client, and what is under way in it."""
        if client not in self._started:
            raise Refusal(f"the client {client!r} does not run here: it makes no call before, or has been ended")
        self._started.discard(client)
        for place in [place for place in self._busy if place[0] == client]:
            name = self._busy.pop(place)
            self._background.pop(name)
            self._unseen.pop(name, None)


class ProgramStates:
    """The programs that were started, and whether they run in the background."""

    def __init__(self) -> None:
        self._running: dict[str, bool] = {}

    def start(self, name: str, background: bool) -> None:
        """Start a program; one in the foreground ends within its step."""
        if self._running.get(name):
            raise Refusal(f"{name!r} is running already; give this one another 'name'")
        self._running[name] = background

    def end(self, name: str) -> None:
        """Record that a program has ended."""
        self._running[name] = False

    def has_ended(self, name: str) -> bool:
        """Return whether a program is known to have ended."""
        return self._running.get(name) is False

    def require_started(self, name: str) -> None:
        """Refuse a program that no step before starts."""
        if name not in self._running:
            known = ", ".join(self._running) or "none"
            raise Refusal(f"no program {name!r} has been started here; there are: {known}")

    def require_running(self, name: str) -> None:
        """Refuse a program that does not run in the background."""
        if not self._running.get(name):
            raise Refusal(f"no program {name!r} runs in the background here")


class TriggerStates:
    """The armed triggers, and how often each has been waited for."""

    def __init__(self) -> None:
        self._armed: dict[str, TriggerModel] = {}
        self._awaited: dict[str, int] = {}

    def arm(self, name: str, trigger: TriggerModel) -> None:
        """Arm a trigger, in place of the one of that name."""
        self._armed[name] = trigger
        self._awaited.pop(name, None)

    def require(self, name: str) -> int | None:
        """Refuse a trigger that is not armed; return how often it fires at most."""
        if name not in self._armed:
            known = ", ".join(self._armed) or "none"
            raise Refusal(f"no trigger {name!r} is armed here; there are: {known}")
        return self._armed[name].times

    def wait(self, name: str, fired: int) -> None:
        """Record how often a trigger has been waited for."""
        self._awaited[name] = fired

    def awaited(self, name: str) -> int:
        """Return how often a trigger has been waited for."""
        return self._awaited.get(name, 0)
