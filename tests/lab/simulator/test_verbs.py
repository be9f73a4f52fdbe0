# SPDX-License-Identifier: MIT
"""The table of verbs: one check for requests, triggers, `later` and scenarios, and every row at every interface."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from cardtear.card.issuing.profiles import ProfileError
from cardtear.lab.cli import main
from cardtear.lab.control.client import Control
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.scenario.steps import STEPS
from cardtear.lab.scenario.verbs import FAULTS as STEP_FAULTS
from cardtear.lab.simulator import faults
from cardtear.lab.simulator.requests import RequestError, decode
from cardtear.lab.simulator.simulator import SimulatorCore
from cardtear.lab.simulator.trigger import Trigger
from cardtear.lab.simulator.value_types import TYPES
from cardtear.lab.simulator.verbs import FAULTS, TABLE, VERBS, Request, Type, Use, Verb, commands, usable
from cardtear.lab.trace import timeline
from cardtear.reader.events import Change
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

OWN = {"ping", "shutdown", "trace", "events"}
"""What the control channel answers itself."""

NAMES = sorted({each.name for row in TABLE.values() for each in row.parameters} | {"x"})
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["front", "stop", "CKR_OK", "6F00", "3B00", "\x1b", 70000, 1e9, b"", b"\x3b", (), ("remove", {})]),
    st.binary(max_size=40),
)
ACTIONS = st.tuples(st.sampled_from(sorted(TABLE)), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4))
NESTED = ACTIONS.flatmap(
    lambda action: st.fixed_dictionaries({"seconds": VALUES, "then": st.just(Request(*action))}).map(
        lambda arguments: ("later", arguments)
    )
)


def moment_of(verb: str) -> dict[str, Any]:
    """A moment at which that can be."""
    row = TABLE[verb]
    if not row.is_fault:
        return {"signal": "go"}
    return {"call": "C_Sign"} if row.calls else {"ins": None, "when": row.apdus[0]}


@given(ACTIONS | NESTED)
def test_what_no_request_can_have_no_trigger_can(action: tuple[str, dict[str, Any]]) -> None:
    """Whatever Python gives: a trigger, or a ValueError and nothing else; `status` can show each trigger."""
    verb, arguments = action
    with contextlib.suppress(ValueError):
        trigger = Trigger(verb, arguments, **moment_of(verb))
        assert verb in usable(Use.ARM) | FAULTS
        assert all(TABLE[verb].parameter(name) for name in arguments)
        for parameter in TABLE[verb].parameters:
            assert parameter.name in arguments or not parameter.needed
        with pytest.raises(ValueError, match="does not take 'y'"):
            Trigger(verb, {**trigger.arguments, "y": 1}, **moment_of(verb))


@given(
    st.sampled_from(sorted(usable(Use.ARM) | FAULTS)),
    st.dictionaries(st.sampled_from(NAMES), VALUES.filter(lambda value: not isinstance(value, bytes | tuple))),
)
def test_the_channel_and_python_refuse_the_same(verb: str, arguments: dict[str, Any]) -> None:
    """A request that is decoded makes a trigger; of one that is refused for its value no trigger is made."""
    try:
        request = decode({"do": verb, **arguments})
    except (RequestError, ProfileError):
        if not any(_is_read(each.type) for each in TABLE[verb].parameters):
            with pytest.raises(ValueError):  # noqa: PT011 - any
                Trigger(verb, arguments, **moment_of(verb))
        return
    if any(each.type is Type.SECONDS and not request.arguments[each.name] for each in TABLE[verb].parameters):
        return  # a delay of no time does nothing
    Trigger(verb, request.arguments, **moment_of(verb))


def _is_read(kind: Type) -> bool:
    """Whether JSON has another form of it."""
    return kind in (Type.CARD, Type.ATR, Type.COMMAND, Type.DATA, Type.RETURN_VALUE, Type.STATUS, Type.REQUEST)


LATER = {"do": "later", "seconds": 1}


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ({"do": "block-pin", "reader": "front", "left": 99}, "'left' of 'block-pin' is 0 to 15, not 99"),
        ({"do": "later", "seconds": -5, "then": {"do": "crash"}}, "'seconds' of 'later' is 0 to 1000000, not -5"),
        ({"do": "disarm", "trigger": 0}, "'trigger' of 'disarm' is 1 or more, not 0"),
        ({"do": "apdu", "reader": "front", "command": ""}, "an APDU has at least one byte"),
        ({"do": "pcscd", "action": "dance"}, "'action' of 'pcscd' is one of stop, start, not 'dance'"),
    ],
)
def test_what_can_never_be_done_later_is_refused_at_once(then: dict[str, Any], message: str) -> None:
    """By each way: a `later`, one in another, and one that is armed."""
    nested = {**LATER, "then": then}
    asked: list[dict[str, Any]] = [
        nested,
        {**LATER, "then": nested},
        {"do": "arm", "on": {"signal": "x"}, "then": then},
    ]
    for request in asked:
        with pytest.raises(RequestError, match=message):
            decode(request)


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("block-pin", {"reader": "front", "left": True}),
        ("block-pin", {"reader": "front", "left": 1.5}),
        ("pcscd", {"action": "dance"}),
        ("kill", {"reader": "front", "x": 1}),
        ("plug", {"reader": 5}),
        ("plug", {"reader": " "}),
        ("later", {"seconds": -5, "then": Request("remove", {"reader": "front"})}),
        ("later", {"seconds": 1, "then": Request("block-pin", {"reader": "front", "left": 99})}),
        ("later", {"seconds": 1, "then": Request("later", {"seconds": 1, "then": ("status", {})})}),
    ],
)
def test_what_python_gave_wrongly(simulator: Simulator, verb: str, arguments: dict[str, Any]) -> None:
    problem = "'(seconds|left)'|cannot do 'status'"
    with pytest.raises(ValueError, match=verb if verb != "later" else problem):
        Trigger(verb, arguments, signal="go")
    if verb == "later":
        with pytest.raises(ValueError, match=problem):
            simulator.later(**arguments)
    assert simulator.status()["triggers"] == []


def test_status_shows_an_armed_command_without_its_bytes(simulator: Simulator) -> None:
    """It may be VERIFY; and bytes are no JSON."""
    then = {"do": "apdu", "reader": "front", "command": "0020008008313233343536ffff"}
    with Control(simulator.control_socket) as control:
        control.do("arm", on={"signal": "go"}, then={**LATER, "then": then})
        (armed,) = control.do("status")["triggers"]
    assert armed["then"] == {**LATER, "then": {"do": "apdu", "reader": "front"}}
    assert "3132" not in json.dumps(armed)


def test_every_row_has_what_carries_it_out() -> None:
    """A method of the simulator, or a function of faults.py; and each of those takes what the row says."""
    for name, row in VERBS.items():
        assert hasattr(SimulatorCore, row.method) == (name not in OWN), name
    assert set(faults.ACTS) == set(FAULTS)
    for name, row in TABLE.items():
        if name in OWN or name == "arm":
            continue
        code = (faults.ACTS[name] if row.is_fault else getattr(SimulatorCore, row.method)).__code__
        taken = code.co_varnames[2 if row.is_fault else 1 : code.co_argcount]
        assert taken == tuple(each.name for each in row.parameters), name


def test_every_type_is_handled() -> None:
    assert set(TYPES) == set(Type)


def test_every_event_is_brought_about_by_a_verb() -> None:
    """And no row speaks of another one."""
    assert {change for row in TABLE.values() for change in row.changes} == {str(each) for each in Change}


def test_every_row_has_its_step() -> None:
    """With the parameters of the row, those that the step's own form does not name."""
    for name, row in {**usable(Use.STEP), **FAULTS}.items():
        fields = set(STEPS.get(name, STEP_FAULTS.get(name)).model_fields)  # type: ignore[union-attr]
        named = {each.name for each in row.parameters} & fields
        assert fields - {"note"} == {row.method} | named | ({"do"} if name == "later" else set()), name


@pytest.mark.parametrize("row", [row for row in TABLE.values() if row.method in {"block_pin", "garble", "cut"}])
def test_steps_have_the_limits_of_the_table(row: Verb) -> None:
    """Both ends are taken, and nothing beyond them."""
    (limited,) = [each for each in row.parameters if each.most is not None]
    assert limited.least is not None
    assert limited.most is not None
    model = {**STEPS, **STEP_FAULTS}[row.name]
    key = row.method if limited is row.parameters[0] else limited.name
    others = {} if limited is row.parameters[0] else {row.method: "front"}
    for value in (limited.least, limited.most):
        assert getattr(model(**others, **{key: value}), key) == value
    for value in (limited.least - 1, limited.most + 1):
        with pytest.raises(ValidationError):
            model(**others, **{key: value})


def test_every_command_and_event_is_in_the_help() -> None:
    """The commands of the table are those of its files, and each has the help of its row."""
    for file in ("readers", "simulators", "triggers"):
        for name in commands(file):
            command = main._commands(file)[name]
            assert command.help.partition("\n")[0].startswith(TABLE[name].help), name
    (event,) = [each for each in main._commands("triggers")["arm"].params if each.name == "event"]
    assert all(str(change) in str(event.help) for change in Change)  # type: ignore[attr-defined]


def test_every_event_has_its_words() -> None:
    assert set(timeline.EVENTS) == set(Change)
    signs = [sign for sign, _, _ in (timeline.EVENTS[each] for each in (*Change,)[:4])]
    assert len(set(signs)) == 4, "plug, unplug, insert and remove are told apart without colour"
