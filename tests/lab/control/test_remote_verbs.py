# SPDX-License-Identifier: MIT
"""Every verb of the control channel is a method of the plugin's objects, with all that it takes."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import pytest
from cardtear.lab.control.remote import RemoteReader, RemoteSimulator
from cardtear.lab.simulator.verbs import VERBS

OTHERWISE = {"ping", "later", "events", "shutdown"}
"""What has another way: `do`, `trace`, `close`."""

ARGUMENTS = {"arm": {"trigger"}, "trace": {"after"}}
"""Of methods that take something else than the request has."""


def methods(verb: str) -> list[Callable[..., Any]]:
    name = verb.replace("-", "_")
    found = (getattr(each, name, None) for each in (RemoteSimulator, RemoteReader))
    return [each for each in found if each is not None]


@pytest.mark.parametrize("verb", sorted(VERBS.keys() - OTHERWISE))
def test_every_verb_is_a_method(verb: str) -> None:
    assert methods(verb)
    for method in methods(verb):
        takes = set(signature(method).parameters) - {"self"}
        assert takes | {"reader"} == ARGUMENTS.get(verb, {each.name for each in VERBS[verb].parameters}) | {"reader"}
