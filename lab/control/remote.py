# SPDX-License-Identifier: MIT
"""A simulator in another process, with the verbs of Simulator. All of it goes over the control channel."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from .client import Control, ControlFailure

if TYPE_CHECKING:
    from ...card.issuing.profiles import CardRequest
    from ..simulator.trigger import Trigger
    from ..trace.records import Record

DEADLINE = 30.0
"""Seconds that something may be waited for, unless a test says otherwise."""


class RemoteSimulator:
    """The simulator that `environment` names, until `close`; `end` is called then. Threads may share it.

    What a verb refuses is a ControlFailure, and has changed nothing.
    """

    def __init__(self, environment: Mapping[str, str], end: Callable[[], None] | None = None) -> None:
        self.environment = dict(environment)
        """The variables by which programs find the module and this simulator."""
        self._path = Path(environment["CARDTEAR_CONTROL"])
        self._control = Control(self._path)
        self._lock = threading.Lock()
        self._end = end

    def close(self) -> None:
        """End it, if it is ours to end."""
        self._control.close()
        if self._end is not None:
            self._end()

    def do(self, verb: str, **arguments: Any) -> Any:
        """Any verb of the control channel (docs/control.md); returns when it has taken effect."""
        with self._lock:
            return self._control.do(verb, **arguments)

    def plug(self, reader: str, contactless: bool = False) -> RemoteReader:
        """Plug a reader in, for cards with contacts or for contactless ones."""
        self.do("plug", reader=reader, contactless=contactless)
        return RemoteReader(self, reader)

    def unplug(self, reader: str) -> None:
        """Pull a reader out, with the card that is in it."""
        self.do("unplug", reader=reader)

    def reader(self, name: str) -> RemoteReader:
        """A reader that is, or will be, plugged in."""
        return RemoteReader(self, name)

    def insert(self, reader: str, card: Path | CardRequest | None = None, atr: bytes | None = None) -> None:
        """Put a card into a reader, by default the one that was last in it; the standard one where none was.

        With `atr` (1 to 33 bytes) that one arrives instead of the card's own, as over a bad contact.
        """
        self.do("insert", reader=reader, **({} if card is None else {"card": _as_card(card)}), **_with_atr(atr))

    def remove(self, reader: str) -> None:
        """Pull the card out; when this returns, no application has anything left of it."""
        self.do("remove", reader=reader)

    def swap(self, reader: str, card: Path | CardRequest, atr: bytes | None = None) -> None:
        """Remove the card and insert another in one step; `atr` as for `insert`."""
        self.do("swap", reader=reader, card=_as_card(card), **_with_atr(atr))

    def attach_pcsc(self, reader: str, name: str = "", exclusive: bool = False) -> str | None:
        """From now on the card in the first PC/SC reader that has `name` in its own lies in this reader, too.

        The name of the card if there is one now.
        """
        card: str | None = self.do("attach-pcsc", reader=reader, name=name, exclusive=exclusive)["card"]
        return card

    def detach_pcsc(self, reader: str) -> bool:
        """The end of that; the card leaves the reader. Returns False if it was not attached."""
        return bool(self.do("detach-pcsc", reader=reader)["changed"])

    def signal(self, signal: str) -> int:
        """Fire the triggers that wait for a word, and return how many wait for it."""
        return int(self.do("signal", signal=signal)["heard"])

    def release(self, gate: str = "") -> int:
        """Let go on what hangs at a gate, and return how much that is."""
        return int(self.do("release", gate=gate)["released"])

    def crash(self) -> bool:
        """Be gone for every application, as a simulator that died. Returns False if it was so already."""
        return bool(self.do("crash")["changed"])

    def restart(self) -> bool:
        """Be there again after `crash`. Returns False if it was there."""
        return bool(self.do("restart")["changed"])

    def pcscd(self, action: str) -> bool:
        """Stop the pcscd that is its own, or start it again: `stop`, `start`; returns when that is done, False if it
        was so already."""
        return bool(self.do("pcscd", action=action)["changed"])

    def arm(self, trigger: Trigger) -> int:
        """Do what the trigger says when its moment comes; a number for `disarm`. The trigger itself stays here: how
        often it has fired, `status` says."""
        from ..simulator.trigger_encoding import as_request

        return int(self.do("arm", **as_request(trigger))["trigger"])

    def disarm(self, trigger: int) -> bool:
        """Take the trigger of this number back, and return whether it was not over yet."""
        return bool(self.do("disarm", trigger=trigger)["armed"])

    def status(self) -> dict[str, Any]:
        """Readers, applications, and what is armed."""
        found: dict[str, Any] = self.do("status")
        return found

    def trace(self, after: int = 0) -> list[Record]:
        """The entries of the trace with a number above `after`: calls, APDUs and events in their order."""
        with Control(self._path) as control:
            control.limit(DEADLINE)
            return list(control.stream("trace", after=after, follow=False))

    def wait_for(self, kind: str, *, after: int = 0, deadline: float = DEADLINE, **fields: Any) -> Record:
        """The first entry of the trace with a number above `after` that has these fields, as soon as it is there:
        `wait_for("call", name="C_WaitForSlotEvent")`. Raises TimeoutError, ValueError for what no entry has."""
        from ..trace.records import check

        check(kind, fields)
        end = monotonic() + deadline
        with Control(self._path) as control, contextlib.suppress(TimeoutError):
            records = control.stream("trace", after=after)
            control.limit(deadline)
            for record in records:
                if record["kind"] == kind and all(record.get(name) == value for name, value in fields.items()):
                    return record
                control.limit(max(end - monotonic(), 0.001))
        wanted = ", ".join([kind, *(f"{name} {value}" for name, value in fields.items())])
        raise TimeoutError(f"waited {deadline:g} s for: {wanted}")


class RemoteReader:
    """One reader of a simulator in another process."""

    def __init__(self, simulator: RemoteSimulator, name: str) -> None:
        self.simulator = simulator
        self.name = name

    @property
    def card(self) -> str | None:
        """The name of the card in it, or None."""
        for each in self.simulator.status()["readers"]:
            if each["name"] == self.name:
                return each["card"]  # type: ignore[no-any-return]
        raise ControlFailure("no-such-reader", f"there is no reader {self.name!r}")

    def insert(self, card: Path | CardRequest | None = None, atr: bytes | None = None) -> None:
        """Put a card in, by default the one that was last in it; the standard one where none was. `atr`: its ATR."""
        self.simulator.insert(self.name, card, atr)

    def wait_for_pcsc(self, deadline: float = DEADLINE) -> None:
        """Until pcscd has the card that is in it. Raises TimeoutError."""
        end = monotonic() + deadline
        while not self._is_in_pcscd():
            if monotonic() > end:
                raise TimeoutError(f"waited {deadline:g} s for pcscd to have the card in {self.name}")
            sleep(0.02)  # pcscd itself looks every 0.4 s

    def _is_in_pcscd(self) -> bool:
        readers = self.simulator.status()["readers"]
        return any(each["name"] == self.name and each["pcsc"] and each["pcsc"]["shown"] for each in readers)

    def remove(self) -> None:
        """Pull the card out; when this returns, no application has anything left of it."""
        self.simulator.remove(self.name)

    def swap(self, card: Path | CardRequest, atr: bytes | None = None) -> None:
        """Remove the card and insert another in one step; `atr` as for `insert`."""
        self.simulator.swap(self.name, card, atr)

    def unplug(self) -> None:
        """Pull the reader out, with the card that is in it."""
        self.simulator.unplug(self.name)

    def plug(self, contactless: bool = False) -> None:
        """Plug the reader in again, for cards with contacts or for contactless ones."""
        self.simulator.plug(self.name, contactless)

    def reset(self) -> None:
        """Reset the card, as another program could: logins are lost."""
        self.simulator.do("reset", reader=self.name)

    def logout(self) -> None:
        """Take the PIN's verification back, as another program could."""
        self.simulator.do("logout", reader=self.name)

    def close_sessions(self) -> None:
        """End every session on the card, which stays; logins end with them."""
        self.simulator.do("close-sessions", reader=self.name)

    def apdu(self, command: bytes) -> bytes:
        """Send a command APDU as another program would; returns the response, status word included."""
        answer = self.simulator.do("apdu", reader=self.name, command=command.hex())
        return bytes.fromhex(answer["response"])

    def mute(self) -> None:
        """The card does not answer any more until it is reset or taken out."""
        self.simulator.do("mute", reader=self.name)

    def kill(self) -> None:
        """The card does not answer any more, in any reader."""
        self.simulator.do("kill", reader=self.name)

    def block_pin(self, left: int = 0, puk: bool = False) -> None:
        """Leave so many tries to the PIN (or PUK)."""
        self.simulator.do("block-pin", reader=self.name, left=left, puk=puk)

    def pin_pad(self, pin: str | None = None) -> bool:
        """Type a PIN at the PIN pad, or press its red key. Returns False if the card in it has none asked for there."""
        given = {} if pin is None else {"pin": pin}
        return bool(self.simulator.do("pin-pad", reader=self.name, **given)["changed"])

    def touch(self) -> bool:
        """Lay a finger on the card. Returns False if no key on it asks for one."""
        return bool(self.simulator.do("touch", reader=self.name)["changed"])


def _as_card(card: Path | CardRequest) -> str | dict[str, Any]:
    from ..simulator.value_types import as_card

    return as_card(card)


def _with_atr(atr: bytes | None) -> dict[str, str]:
    return {} if atr is None else {"atr": atr.hex()}
