# SPDX-License-Identifier: MIT
"""The steps of a scenario beside the verbs of verbs.py: calls, programs, waits, expectations, triggers, repetition.

Values only; execution.py carries them out.
"""

from __future__ import annotations

import shlex
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from .alternatives import one_of
from .conditions import START, AnyCondition, AnyHappening
from .expressions import CallText, read_call
from .fields import Command, Duration, Environment, ExitCodes, Model, Name, Pattern, SignalNumber, StatusWords
from .state_conditions import ProgramDoes
from .triggers import TriggerModel, named
from .verbs import VERBS, AttachPcsc, DetachPcsc, Signal, Step, word

MAIN = "main"
"""The thread of a client in which calls are made that name none."""
APP = "app"
"""The client that makes calls that name none; it is there without being declared."""


def _inside(name: str) -> str:
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts or path == PurePath("."):
        raise ValueError(f"a file lies in the scenario's own folder, so {name!r} cannot be its name")
    return name


Files = dict[Annotated[str, Field(min_length=1, max_length=200), BeforeValidator(_inside)], str]
"""Names in the scenario's own folder, and what is in the files; ${...} is filled in."""


class Call(Step):
    """A call in the built-in client, as `[key] = C_FindObjects(session, 1) -> CKR_OK`.

    With `background` it is under way when the next step begins, and known by that name.
    """

    call: str
    client: Name = APP
    thread: Name = MAIN
    background: Name | None = None
    within: Duration | None = None

    @field_validator("call")
    @classmethod
    def _readable(cls, text: str) -> str:
        read_call(text)
        return text

    @cached_property
    def text(self) -> CallText:
        """The call, taken apart."""
        return read_call(self.call)

    @property
    def names(self) -> set[str]:
        """The saved names, or readers, that it wants."""
        return self.text.names

    @property
    def targets(self) -> set[str]:
        """The names under which its result is saved."""
        return set(self.text.targets)

    @property
    def children(self) -> set[str]:
        """The clients that it forks."""
        return self.text.children

    @property
    def has_to_fail(self) -> bool:
        """Whether it has to return something else than CKR_OK, or not at all."""
        return self.text.dies or bool(self.text.values - {0})


class Run(Step):
    """Start a program: its words, or a line that is split into words as a shell does, without a shell.

    It runs to its end, unless it is in the `background`. `handles` names readers at which it may lay hands itself.
    """

    run: Annotated[list[str], Field(min_length=1)] | Annotated[str, Field(min_length=1)]
    name: Name | None = None
    background: bool = False
    input: str | None = None
    environment: Environment = Field(default_factory=dict)
    files: Files = Field(default_factory=dict)
    exits: ExitCodes = frozenset({0})
    output: Pattern | None = None
    errors: Pattern | None = None
    handles: list[Name] = Field(default_factory=list)
    within: Duration | None = None

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if not self.words:
            raise ValueError("there is no program to run")
        if self.background and (self.output or self.errors or self.model_fields_set & {"exits", "within"}):
            raise ValueError("what is expected of a program in the background is said by 'wait' and 'expect'")
        return self

    @property
    def words(self) -> list[str]:
        """The program and its arguments. Raises ValueError for quotes that do not close."""
        return shlex.split(self.run) if isinstance(self.run, str) else self.run

    @property
    def known_as(self) -> str:
        """Its name in the scenario: the given one, or the program's."""
        return self.name or PurePath(self.words[0]).name

    @property
    def end(self) -> ProgramDoes:
        """What is expected of it in the foreground."""
        return ProgramDoes(program=self.known_as, exits=self.exits, output=self.output, errors=self.errors)


class Apdu(Step):
    """Send an APDU to the card, as another program would: `apdu: {front: 00A40400}`, `status: 9000`.

    Its data, in hexadecimal, are held against a pattern, whose named groups are saved.
    """

    apdu: Annotated[dict[Name, Command], Field(min_length=1, max_length=1)]
    status: StatusWords = frozenset({0x9000})
    data: Pattern | None = None
    within: Duration | None = None

    @model_validator(mode="after")
    def _has_data(self) -> Self:
        if self.data is not None and self.status == frozenset({None}):
            raise ValueError("no answer ('status: none') has no 'data'")
        return self

    @property
    def reader(self) -> str:
        """The reader."""
        return next(iter(self.apdu))

    @property
    def command(self) -> str:
        """What is sent."""
        return self.apdu[self.reader]


class Send(Step):
    """Write text to a program in the background: `send: {shell: "C-Login\\n"}`."""

    send: Annotated[dict[Name, str], Field(min_length=1, max_length=1)]


class Ask(Step):
    """Write a line to a program in the background, and read one: `ask: {java: "sign 9A"}`, `answer: ok`.

    Named groups of the pattern are saved under their names.
    """

    ask: Annotated[dict[Name, str], Field(min_length=1, max_length=1)]
    answer: Pattern
    within: Duration | None = None

    @property
    def program(self) -> str:
        """Whom."""
        return next(iter(self.ask))

    @property
    def question(self) -> str:
        """What."""
        return self.ask[self.program]


class Stop(Step):
    """Send a signal to a program or client, and wait for its end."""

    stop: Name
    with_: SignalNumber = 9
    within: Duration | None = None


class Exit(Step):
    """A client ends by itself, as a program that returns from main."""

    exit: Name
    within: Duration | None = None


class Mark(Step):
    """A point in time with a name, for `since`."""

    mark: Name

    @field_validator("mark")
    @classmethod
    def _free(cls, name: str) -> str:
        if name == START:
            raise ValueError(f"{START!r} is the mark at the beginning of every scenario; choose another name")
        return name


class Wait(Step):
    """Wait until something happens; it has to, in time."""

    wait: AnyHappening
    within: Duration | None = None


class Expect(Step):
    """Something has to be so, or become so in time."""

    expect: AnyCondition
    within: Duration | None = None


class Arm(Step):
    """Arm triggers, by name."""

    arm: Annotated[dict[Name, TriggerModel], Field(min_length=1), BeforeValidator(named)]


class Disarm(Step):
    """A trigger will not fire any more."""

    disarm: Name


class Repeat(Step):
    """Steps that are carried out so many times."""

    repeat: Annotated[int, Field(ge=1, le=100_000, strict=True)]
    steps: Annotated[list[AnyStep], Field(min_length=1)]


_OTHERS: dict[str, type[Model]] = {
    "call": Call,
    "run": Run,
    "apdu": Apdu,
    "send": Send,
    "ask": Ask,
    "stop": Stop,
    "exit": Exit,
    "mark": Mark,
    "wait": Wait,
    "expect": Expect,
    "arm": Arm,
    "disarm": Disarm,
    "repeat": Repeat,
    "signal": Signal,
    "attach-pcsc": AttachPcsc,
    "detach-pcsc": DetachPcsc,
}
STEPS: dict[str, type[Model]] = {**VERBS, **_OTHERS}
"""Steps by the key by which they are known."""

if TYPE_CHECKING:
    AnyStep = Step
else:
    AnyStep = one_of(STEPS, "a step", BeforeValidator(word))
Repeat.model_rebuild()
