# SPDX-License-Identifier: MIT
"""Make lab/control/remote_verbs.py: the verbs as methods of a simulator and a reader in another process."""

from __future__ import annotations

from cardtear.lab.simulator.verbs import Parameter, Result, Type, Use, Verb, usable

_HEAD = '''# SPDX-License-Identifier: MIT
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
'''

_READER = '''

class ReaderVerbs:
    """The verbs of one reader."""

    def __init__(self, simulator: SimulatorVerbs[Any], name: str) -> None:
        self.simulator = simulator
        self.name = name
'''

_TYPES = {
    Type.READER: "str",
    Type.NEW_READER: "str",
    Type.CARD: "CardSource",
    Type.ATR: "bytes",
    Type.COMMAND: "bytes",
    Type.PIN: "str",
    Type.TEXT: "str",
    Type.WORD: "str",
    Type.FLAG: "bool",
    Type.NUMBER: "int",
    Type.SECONDS: "float",
    Type.PCSCD_ACTION: "str",
}

_RESULTS = {
    Result.NOTHING: ("None", "{}"),
    Result.CARD: ("None", "{}"),
    Result.CARD_NAME: ("str | None", 'card: str | None = {}["card"]\n        return card'),
    Result.CHANGED: ("bool", 'return bool({}["changed"])'),
    Result.ARMED: ("bool", 'return bool({}["armed"])'),
    Result.RELEASED: ("int", 'return int({}["released"])'),
    Result.HEARD: ("int", 'return int({}["heard"])'),
    Result.RESPONSE: ("bytes", 'return bytes.fromhex({}["response"])'),
    Result.READER: ("R", "{}\n        return self.reader(reader)"),
}
"""The type of each result in Python, and how it is made of the request's."""


def text() -> str:
    """Return the file's content."""
    rows = usable(Use.METHOD).values()
    of_readers = filter(is_of_readers, rows)
    return _HEAD + "".join(map(_of_simulator, rows)) + _READER + "".join(map(_of_reader, of_readers))


def is_of_readers(row: Verb) -> bool:
    """Return whether the verb is one of a reader."""
    return row.parameters[:1] != () and row.parameters[0].type in (Type.READER, Type.NEW_READER)


def _of_simulator(row: Verb) -> str:
    kind, result = _RESULTS[row.result]
    words = "".join(f", {each.name}={each.name}" for each in row.parameters)
    return _method(row, row.parameters, kind, result.format(f'self.carry_out("{row.name}"{words})'))


def _of_reader(row: Verb) -> str:
    kind = "None" if row.result is Result.READER else _RESULTS[row.result][0]
    more = row.parameters[1:]
    words = "".join(f", {each.name}" for each in more)
    call = f"self.simulator.{row.method}(self.name{words})"
    return _method(row, more, kind, call if kind == "None" else f"return {call}")


def _method(row: Verb, parameters: tuple[Parameter, ...], kind: str, body: str) -> str:
    signature = ", ".join(("self", *map(_parameter, parameters)))
    return f'\n    def {row.method}({signature}) -> {kind}:\n        """{row.help}"""\n        {body}\n'


def _parameter(parameter: Parameter) -> str:
    kind = _TYPES[parameter.type]
    if parameter.needed:
        return f"{parameter.name}: {kind}"
    default = f'"{parameter.default}"' if isinstance(parameter.default, str) else repr(parameter.default)
    return f"{parameter.name}: {kind}{' | None' if parameter.default is None else ''} = {default}"
