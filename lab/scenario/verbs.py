# SPDX-License-Identifier: MIT
"""What hands, the simulator and triggers can do: `remove: front` is Remove(remove="front"). Values only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, create_model, field_validator

from ..simulator.verbs import FAULTS as TABLE_OF_FAULTS
from ..simulator.verbs import LONGEST_RESPONSE, PCSCD_ACTIONS, Parameter, Type, Use, Verb, usable
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
        """The reader, which is under the verb's own name."""
        return str(next(getattr(self, name) for name in type(self).model_fields if name != "note"))


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


class CloseSessions(OnReader):
    close_sessions: Name


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


class DetachPcsc(OnReader):
    """`detach-pcsc: front`: the end of that."""

    detach_pcsc: Name


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


class BlockPin(OnReader):
    """`block-pin: front`, with the tries that are `left`, or of the PUK."""

    block_pin: Name
    left: Annotated[int, Field(ge=0, le=15, strict=True)] = 0
    puk: bool = False


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


if TYPE_CHECKING:
    _PcscdAction = str
else:
    _PcscdAction = Literal[PCSCD_ACTIONS]


class Pcscd(Step):
    """`pcscd: stop` ends the scenario's pcscd, `pcscd: start` starts it again."""

    pcscd: _PcscdAction


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

    garble: Annotated[int, Field(ge=1, le=LONGEST_RESPONSE, strict=True)] | None
    seed: int = 0


class Cut(Step):
    """Only so many bytes of the answer arrive."""

    cut: Annotated[int, Field(ge=0, le=LONGEST_RESPONSE, strict=True)] | None


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


_FIELDS: dict[Type, Any] = {
    Type.READER: Name,
    Type.NEW_READER: Name,
    Type.TEXT: str,
    Type.WORD: Name,
    Type.FLAG: bool,
    Type.NUMBER: Annotated[int, Field(strict=True)],
    Type.SECONDS: Duration,
}
"""The fields that a step can have without a class of its own above."""


def _field(parameter: Parameter) -> Any:
    """Return the type of a field, with the limits of a number."""
    return Annotated[_FIELDS[parameter.type], Field(ge=parameter.least, le=parameter.most)]


def _model(row: Verb) -> type[Model]:
    """Return the class above that has the name of the row, or make one: its first parameter is under its own name."""
    name = row.name.title().replace("-", "")
    if name in globals():
        found: type[Model] = globals()[name]
        return found
    first, *others = row.parameters or (None,)
    fields: dict[str, Any] = {row.method: (type(None) if first is None else _field(first), ...)}
    fields |= {each.name: (_field(each), ... if each.needed else each.default) for each in others}
    base = OnReader if first is not None and first.type in (Type.READER, Type.NEW_READER) else Step
    return create_model(name, __base__=base, **fields)


VERBS: dict[str, type[Model]] = {name: _model(row) for name, row in usable(Use.ARM).items()}
FAULTS: dict[str, type[Model]] = {name: _model(row) for name, row in TABLE_OF_FAULTS.items()}


def word(value: Any) -> Any:
    """`crash` is short for `crash:`."""
    return {value: None} if isinstance(value, str) else value


if TYPE_CHECKING:
    Action = Step
else:
    Action = one_of(VERBS | FAULTS, "what a trigger does", BeforeValidator(word))
Later.model_rebuild()


def verb_of(action: Step) -> str:
    """Return the verb of a trigger's action."""
    return kind_of(action, VERBS | FAULTS, "what a trigger does")
