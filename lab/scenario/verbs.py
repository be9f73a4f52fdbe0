# SPDX-License-Identifier: MIT
"""What hands, the simulator and triggers can do: `remove: front` is Remove(remove="front"). Values only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from .alternatives import kind_of, one_of
from .fields import Duration, Model, Name, Pin, ReturnValue, StatusWord


class Step(Model):
    """What all steps have: a note for the reader of the report."""

    note: str | None = None


# The testbed


class OnReader(Step):
    """A verb that needs nothing but a reader."""

    @property
    def reader(self) -> str:
        """The reader."""
        return str(getattr(self, type(self).__name__.lower()))


class Plug(OnReader):
    """`plug: front`; on one that is `contactless` cards are laid."""

    plug: Name
    contactless: bool = False


class Unplug(OnReader):
    unplug: Name


class Remove(OnReader):
    remove: Name


class Reset(OnReader):
    reset: Name


class Logout(OnReader):
    logout: Name


class CloseSessions(Step):
    close_sessions: Name

    @property
    def reader(self) -> str:
        """The reader."""
        return self.close_sessions


class Touch(OnReader):
    touch: Name


class Mute(OnReader):
    mute: Name


class Kill(OnReader):
    kill: Name


def _placing(value: Any) -> Any:
    if not isinstance(value, dict) or len(value) != 1:
        what = f"{value}: CARD" if isinstance(value, str) else "READER: CARD"
        raise ValueError(f"a reader and the card that goes into it are written {{{what}}}")
    return value


Placing = Annotated[dict[Name, Name], BeforeValidator(_placing)]
"""A reader and the card that goes into it."""

PCSC = "pcsc"
"""In place of a card's name: the one that PC/SC has for an attached reader."""


Atr = Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{2}){1,33}$")]
"""An answer to reset, hexadecimal (ISO/IEC 7816-3, 8.2.1)."""


def _placing_or_reader(value: Any) -> Any:
    return value if isinstance(value, str) else _placing(value)


class Insert(Step):
    """`insert: {front: alice}`, or `insert: front` for the card that was last in the reader, as it was left.

    With `atr` that one arrives instead of the card's own, as over a bad contact.
    """

    insert: Annotated[
        Annotated[dict[Name, Name], Field(min_length=1, max_length=1)] | Name, BeforeValidator(_placing_or_reader)
    ]
    atr: Atr | None = None

    @property
    def reader(self) -> str:
        """The reader."""
        return self.insert if isinstance(self.insert, str) else next(iter(self.insert))

    @property
    def card(self) -> str | None:
        """The card, by the name that the scenario gives it; None for the one that was last in the reader."""
        return None if isinstance(self.insert, str) else next(iter(self.insert.values()))


class Swap(Step):
    """`swap: {front: bob}`; with `atr` as `insert`."""

    swap: Placing
    atr: Atr | None = None

    @property
    def reader(self) -> str:
        """The reader."""
        return next(iter(self.swap))

    @property
    def card(self) -> str:
        """The card that goes in."""
        return next(iter(self.swap.values()))


class AttachPcsc(Step):
    """`attach-pcsc: {front: YubiKey}`: the card in the first reader of PC/SC with this in its name, or in `any`."""

    attach_pcsc: Annotated[dict[Name, str], Field(min_length=1, max_length=1)]
    exclusive: bool = False

    @property
    def reader(self) -> str:
        """The reader."""
        return next(iter(self.attach_pcsc))

    @property
    def name(self) -> str:
        """What is in the name of PC/SC's reader, nothing for any."""
        wanted = next(iter(self.attach_pcsc.values()))
        return "" if wanted == "any" else wanted


class DetachPcsc(Step):
    """`detach-pcsc: front`: the end of that."""

    detach_pcsc: Name

    @property
    def reader(self) -> str:
        """The reader."""
        return self.detach_pcsc


class PinPad(Step):
    """`pin-pad: {front: "123456"}`; without a PIN (`pin-pad: front`) the red key is pressed."""

    pin_pad: Annotated[dict[Name, Pin], Field(min_length=1, max_length=1)] | Name

    @property
    def reader(self) -> str:
        """The reader."""
        return self.pin_pad if isinstance(self.pin_pad, str) else next(iter(self.pin_pad))

    @property
    def pin(self) -> str | None:
        """What is typed."""
        return None if isinstance(self.pin_pad, str) else next(iter(self.pin_pad.values()))


class BlockPin(Step):
    """`block-pin: front`, with the tries that are `left`, or of the PUK."""

    block_pin: Name
    left: Annotated[int, Field(ge=0, le=15, strict=True)] = 0
    puk: bool = False

    @property
    def reader(self) -> str:
        """The reader."""
        return self.block_pin


# The simulator


class Signal(Step):
    """Say a word, for which triggers wait."""

    signal: Name


class Release(Step):
    """Let go on what hangs at a gate."""

    release: str | None

    @field_validator("release")
    @classmethod
    def _gate(cls, gate: str | None) -> str:
        return gate or ""


class Crash(Step):
    """The simulator is gone for every program."""

    crash: None


class Restart(Step):
    """It is there again."""

    restart: None


class Pcscd(Step):
    """`pcscd: stop` ends the scenario's pcscd, `pcscd: start` starts it again."""

    pcscd: Literal["stop", "start"]


class Later(Step):
    """Do something in so long; `later: 500ms`, `do: {insert: {front: alice}}`."""

    later: Duration
    do: Action


# Faults, which only triggers can do


class Answer(Step):
    """A status word instead of the card's answer, with data (hexadecimal)."""

    answer: StatusWord
    data: Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{2})*$")] = ""


class Garble(Step):
    """So many bytes of the answer are others."""

    garble: Annotated[int, Field(ge=1, le=65536, strict=True)] | None
    seed: int = 0


class Cut(Step):
    """Only so many bytes of the answer arrive."""

    cut: Annotated[int, Field(ge=0, le=65536, strict=True)] | None


class Return(Step):
    """The call returns this."""

    return_: ReturnValue


class Delay(Step):
    """It takes so much longer."""

    delay: Duration


class Hang(Step):
    """It does not go on until the gate is released."""

    hang: str | None

    @field_validator("hang")
    @classmethod
    def _gate(cls, gate: str | None) -> str:
        return gate or ""


class CrashApplication(Step):
    """The program dies in it."""

    crash_application: None


VERBS: dict[str, type[Model]] = {
    "plug": Plug,
    "unplug": Unplug,
    "insert": Insert,
    "remove": Remove,
    "swap": Swap,
    "reset": Reset,
    "logout": Logout,
    "close-sessions": CloseSessions,
    "touch": Touch,
    "pin-pad": PinPad,
    "block-pin": BlockPin,
    "mute": Mute,
    "kill": Kill,
    "release": Release,
    "crash": Crash,
    "restart": Restart,
    "pcscd": Pcscd,
    "later": Later,
}
FAULTS: dict[str, type[Model]] = {
    "answer": Answer,
    "garble": Garble,
    "cut": Cut,
    "return": Return,
    "delay": Delay,
    "hang": Hang,
    "crash-application": CrashApplication,
}


def word(value: Any) -> Any:
    """`crash` is short for `crash:`."""
    return {value: None} if isinstance(value, str) else value


if TYPE_CHECKING:
    Action = Step
else:
    Action = one_of(VERBS | FAULTS, "what a trigger does", BeforeValidator(word))
Later.model_rebuild()


def verb_of(action: Step) -> str:
    """The verb by which a trigger's action is known."""
    return kind_of(action, VERBS | FAULTS, "what a trigger does")
