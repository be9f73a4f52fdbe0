# SPDX-License-Identifier: MIT
"""Slips of the pen in a scenario: each gives one line that says where it is, what is wrong and what was meant."""

from __future__ import annotations

import pytest
from cardtear.lab.scenario import ScenarioError, loads
from cardtear.lab.scenario.conditions import CONDITIONS
from cardtear.lab.scenario.steps import STEPS
from cardtear.lab.simulator.verbs import TABLE, Type

LONG = 5
"""Letters of a word of which one may be left out."""


def refusal(text: str) -> str:
    with pytest.raises(ScenarioError) as refused:
        loads(text, "x.yaml")
    message = str(refused.value)
    assert "\n" not in message
    return message


def without_last_letter(word: str) -> str:
    return word[:-1]


def without_middle_letter(word: str) -> str:
    return word[: len(word) // 2] + word[len(word) // 2 + 1 :]


@pytest.mark.parametrize("slip", [without_last_letter, without_middle_letter])
def test_a_wrong_step_names_the_one_that_was_meant(slip: object) -> None:
    assert callable(slip)
    for key in (key for key in STEPS if len(key) >= LONG and slip(key) not in STEPS):
        message = refusal(f"steps:\n- {slip(key)}: front\n")
        assert message.startswith(f"x.yaml:2: steps[0]: a step has no field {slip(key)!r}; did you mean '"), message
        assert len(message) < 100


@pytest.mark.parametrize("slip", [without_last_letter, without_middle_letter])
def test_a_wrong_condition_names_the_one_that_was_meant(slip: object) -> None:
    assert callable(slip)
    for key in (key for key in CONDITIONS if len(key) >= LONG and slip(key) not in CONDITIONS):
        message = refusal(f"steps:\n- expect: {{{slip(key)}: x}}\n")
        assert f"an expectation has no field {slip(key)!r}; did you mean {key!r}?" in message


def test_a_word_that_resembles_none_is_told_all() -> None:
    message = refusal("steps:\n- abracadabra: front\n")
    assert all(key in message for key in STEPS)


OF_A_READER = [key for key in STEPS if key in TABLE and [each.type for each in TABLE[key].parameters] == [Type.READER]]


@pytest.mark.parametrize(
    ("value", "found"), [("", "; there is none"), (" {}", ", not a mapping"), (" [front]", ", not a list")]
)
def test_a_verb_without_its_reader(value: str, found: str) -> None:
    assert {"remove", "reset", "logout"} <= set(OF_A_READER)
    for key in set(OF_A_READER) - {"insert", "detach-pcsc"}:
        message = refusal(f"steps:\n- {key}:{value}\n")
        assert message == (f"x.yaml:2: steps[0].{key}: the name of a reader is wanted, as {key}: front{found}"), message


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("{on: {event: remove}, do: {insert: front}}", "NAME"),
        ("{name: a, on: {event: remove}, do: {insert: front}}", "a"),
        ("{on: {event: remove}, do: {insert: front}, nth: 2}", "NAME"),
        ("{on: {call: C_Sign}}", "NAME"),
        ("{do: crash}", "NAME"),
    ],
)
def test_a_trigger_without_a_name(written: str, name: str) -> None:
    meant = f"a trigger stands under its name: {{{name}: {{on: ..., do: ...}}}}"
    assert refusal(f"steps:\n- arm: {written}\n") == f"x.yaml:2: steps[0].arm: {meant}"
    assert refusal(f"triggers: {written}\nsteps:\n- remove: front\n") == f"x.yaml:1: triggers: {meant}"


def test_a_trigger_may_be_called_on_or_do() -> None:
    trigger = "{on: {event: remove}, do: {insert: front}}"
    loads(f"steps:\n- arm: {{on: {trigger}, do: {trigger}}}\n- remove: front\n")


def test_triggers_in_a_list() -> None:
    message = refusal("triggers: [{on: {event: remove}, do: crash}]\nsteps:\n- remove: front\n")
    assert message == "x.yaml:1: triggers: triggers are written by their names: {NAME: {on: ..., do: ...}}"


@pytest.mark.parametrize("value", ["{}", "[]", "5"])
def test_a_reader_with_something_else_than_a_card(value: str) -> None:
    message = refusal(f"readers: {{front: {value}}}\nsteps:\n- remove: front\n")
    assert message.startswith("x.yaml:1: readers.front: the name of a card under `cards` is wanted, or `empty`, not a ")


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("triggers: {a: x}", "triggers.a: a mapping of its fields is wanted"),
        ("clients: {a: }", "clients.a: a mapping of its fields is wanted"),
        ("cards: []", "cards: a mapping is wanted, as {NAME: ...}"),
        ("quirks: x", "quirks: a list is wanted"),
    ],
)
def test_no_class_of_python_is_named(written: str, wanted: str) -> None:
    assert refusal(f"{written}\nsteps: [crash]\n") == f"x.yaml:1: {wanted}"
