# SPDX-License-Identifier: MIT
"""The object handles of one application: which object of which token each stands for."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .objects import P11Object
from .sessions import Session
from .token import Token


def unique_handles() -> Iterator[int]:
    """Return handles none of which comes back, not even in another simulator: a counter below a random number."""
    epoch = int.from_bytes(os.urandom(4), "big") >> 1 or 1
    return itertools.count((epoch << 32) + 1)


class KnownObject(NamedTuple):
    """An object that has a handle; `session` is the one that it belongs to, None for an object on the token."""

    token: Token
    item: P11Object
    session: Session | None


class ObjectHandles:
    """The objects of one application by handle, and back. Changes under the testbed's lock only."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self.known: dict[int, KnownObject] = {}
        self._numbers = numbers
        self._handle_of: dict[P11Object, int] = {}

    def of(self, token: Token, item: P11Object) -> int:
        """Return the handle of an object on a token, a new one if it has none."""
        handle = self._handle_of.get(item)
        if handle is None:
            handle = self._handle_of[item] = next(self._numbers)
            self.known[handle] = KnownObject(token, item, None)
        return handle

    def add_session_object(self, session: Session, item: P11Object) -> int:
        """Return a handle for an object that lives as long as the session."""
        handle = self.of(session.token, item)
        self.known[handle] = KnownObject(session.token, item, session)
        return handle

    def session_objects(self, token: Token) -> list[P11Object]:
        """Return the objects of this application's sessions with a token."""
        return [each.item for each in self.known.values() if each.session and each.token is token]

    def remove(self, handle: int) -> None:
        """Make a handle invalid, for good."""
        known = self.known.pop(handle, None)
        if known is not None:
            self._handle_of.pop(known.item, None)

    def remove_where(self, condition: Callable[[KnownObject], bool]) -> None:
        """Make invalid the handles of all objects for which the condition holds."""
        for handle, known in list(self.known.items()):
            if condition(known):
                self.remove(handle)

    def move(self, old: Token, new: Token) -> None:
        """Let the handles of one token's objects stand for the same objects of another."""
        for handle, known in self.known.items():
            if known.token is old:
                self.known[handle] = known._replace(token=new)
