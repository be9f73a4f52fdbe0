# SPDX-License-Identifier: MIT
"""The verbs as methods, for a simulator in another process (remote.py).

Made by scripts/verb_table from the table of verbs; do not edit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from ..simulator.value_types import CardSource

R = TypeVar("R")


class SimulatorVerbs(Generic[R]):
    """The verbs of a simulator. What a verb refuses is a ControlFailure, and has changed nothing."""

    def carry_out(self, verb: str, **arguments: Any) -> Any:
        """Send a verb with its arguments, those without None, and return the result."""
        raise NotImplementedError

    def reader(self, name: str) -> R:
        """Return a reader that is, or will be, plugged in."""
        raise NotImplementedError

    def plug(self, reader: str, contactless: bool = False) -> R:
        """Plug a reader in, without a card."""
        self.carry_out("plug", reader=reader, contactless=contactless)
        return self.reader(reader)

    def unplug(self, reader: str) -> None:
        """Unplug a reader, with the card in it."""
        self.carry_out("unplug", reader=reader)

    def insert(self, reader: str, card: CardSource | None = None, atr: bytes | None = None) -> None:
        """Insert a card. Default: the card that was last in this reader, else Alice's ready-made card."""
        self.carry_out("insert", reader=reader, card=card, atr=atr)

    def remove(self, reader: str) -> None:
        """Remove the card from a reader."""
        self.carry_out("remove", reader=reader)

    def swap(self, reader: str, card: CardSource, atr: bytes | None = None) -> None:
        """Remove the card and insert another in one step."""
        self.carry_out("swap", reader=reader, card=card, atr=atr)

    def reset(self, reader: str) -> None:
        """Reset the card, as another program could: logins are lost, sessions stay."""
        self.carry_out("reset", reader=reader)

    def logout(self, reader: str) -> None:
        """Log out of the card, as another program could: logins are lost, sessions stay."""
        self.carry_out("logout", reader=reader)

    def close_sessions(self, reader: str) -> None:
        """Close all sessions on the card, as the idle time-out of a module does: logins are lost, the card stays."""
        self.carry_out("close-sessions", reader=reader)

    def touch(self, reader: str) -> bool:
        """Touch the card, for a key that needs a touch now or next."""
        return bool(self.carry_out("touch", reader=reader)["changed"])

    def pin_pad(self, reader: str, pin: str | None = None) -> bool:
        """Type a PIN at a reader's PIN pad; it is kept until a program asks for a PIN there."""
        return bool(self.carry_out("pin-pad", reader=reader, pin=pin)["changed"])

    def block_pin(self, reader: str, left: int = 0, puk: bool = False) -> None:
        """Use up tries of the PIN, as wrong PINs would. Logins are lost."""
        self.carry_out("block-pin", reader=reader, left=left, puk=puk)

    def mute(self, reader: str) -> None:
        """Make the card stop answering until it is reset or removed."""
        self.carry_out("mute", reader=reader)

    def kill(self, reader: str) -> None:
        """Make the card stop answering for good, in any reader of this simulator."""
        self.carry_out("kill", reader=reader)

    def apdu(self, reader: str, command: bytes) -> bytes:
        """Send an APDU to the card, as another program could; the response ends with the status word."""
        return bytes.fromhex(self.carry_out("apdu", reader=reader, command=command)["response"])

    def attach_pcsc(self, reader: str, name: str = "", exclusive: bool = False) -> str | None:
        """Mirror the card of a PC/SC reader, real or virtual, in this reader (docs/pcsc.md)."""
        card: str | None = self.carry_out("attach-pcsc", reader=reader, name=name, exclusive=exclusive)["card"]
        return card

    def detach_pcsc(self, reader: str) -> bool:
        """Undo attach-pcsc; the mirrored card is removed."""
        return bool(self.carry_out("detach-pcsc", reader=reader)["changed"])

    def signal(self, signal: str) -> int:
        """Send a named signal to triggers armed with --signal."""
        return int(self.carry_out("signal", signal=signal)["heard"])

    def release(self, gate: str = "") -> int:
        """Resume what `arm hang GATE` has stopped."""
        return int(self.carry_out("release", gate=gate)["released"])

    def crash(self) -> bool:
        """Simulate a dead simulator: applications cannot reach it; readers and cards stay as they are."""
        return bool(self.carry_out("crash")["changed"])

    def restart(self) -> bool:
        """Bring the simulator back after `cardtear crash`."""
        return bool(self.carry_out("restart")["changed"])

    def pcscd(self, action: str) -> bool:
        """Stop the pcscd of `run --own-pcscd`, or start it again; all connections to it are lost."""
        return bool(self.carry_out("pcscd", action=action)["changed"])

    def disarm(self, trigger: int) -> bool:
        """Cancel a trigger. A trigger that has fired for the last time is no error."""
        return bool(self.carry_out("disarm", trigger=trigger)["armed"])


class ReaderVerbs:
    """The verbs of one reader."""

    def __init__(self, simulator: SimulatorVerbs[Any], name: str) -> None:
        self.simulator = simulator
        self.name = name

    def plug(self, contactless: bool = False) -> None:
        """Plug a reader in, without a card."""
        self.simulator.plug(self.name, contactless)

    def unplug(self) -> None:
        """Unplug a reader, with the card in it."""
        self.simulator.unplug(self.name)

    def insert(self, card: CardSource | None = None, atr: bytes | None = None) -> None:
        """Insert a card. Default: the card that was last in this reader, else Alice's ready-made card."""
        self.simulator.insert(self.name, card, atr)

    def remove(self) -> None:
        """Remove the card from a reader."""
        self.simulator.remove(self.name)

    def swap(self, card: CardSource, atr: bytes | None = None) -> None:
        """Remove the card and insert another in one step."""
        self.simulator.swap(self.name, card, atr)

    def reset(self) -> None:
        """Reset the card, as another program could: logins are lost, sessions stay."""
        self.simulator.reset(self.name)

    def logout(self) -> None:
        """Log out of the card, as another program could: logins are lost, sessions stay."""
        self.simulator.logout(self.name)

    def close_sessions(self) -> None:
        """Close all sessions on the card, as the idle time-out of a module does: logins are lost, the card stays."""
        self.simulator.close_sessions(self.name)

    def touch(self) -> bool:
        """Touch the card, for a key that needs a touch now or next."""
        return self.simulator.touch(self.name)

    def pin_pad(self, pin: str | None = None) -> bool:
        """Type a PIN at a reader's PIN pad; it is kept until a program asks for a PIN there."""
        return self.simulator.pin_pad(self.name, pin)

    def block_pin(self, left: int = 0, puk: bool = False) -> None:
        """Use up tries of the PIN, as wrong PINs would. Logins are lost."""
        self.simulator.block_pin(self.name, left, puk)

    def mute(self) -> None:
        """Make the card stop answering until it is reset or removed."""
        self.simulator.mute(self.name)

    def kill(self) -> None:
        """Make the card stop answering for good, in any reader of this simulator."""
        self.simulator.kill(self.name)

    def apdu(self, command: bytes) -> bytes:
        """Send an APDU to the card, as another program could; the response ends with the status word."""
        return self.simulator.apdu(self.name, command)

    def attach_pcsc(self, name: str = "", exclusive: bool = False) -> str | None:
        """Mirror the card of a PC/SC reader, real or virtual, in this reader (docs/pcsc.md)."""
        return self.simulator.attach_pcsc(self.name, name, exclusive)

    def detach_pcsc(self) -> bool:
        """Undo attach-pcsc; the mirrored card is removed."""
        return self.simulator.detach_pcsc(self.name)
