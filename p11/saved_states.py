# SPDX-License-Identifier: MIT
"""Copies of operations that C_GetOperationState has saved, by the name that the application holds (5.6.5, 5.6.6)."""

from __future__ import annotations

import threading

from .constants import CKR
from .errors import P11Error
from .operations.digests import Digest, Mac
from .operations.kinds import OperationKind
from .token import Token

SavedOperation = Digest | Mac

_MOST_STATES = 1000


class SavedStates:
    """The saved operations of one application. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[bytes, tuple[Token, OperationKind, SavedOperation]] = {}

    def add(self, name: bytes, token: Token, kind: OperationKind, operation: SavedOperation) -> None:
        """Keep an operation; drop the oldest one when there are too many."""
        with self._lock:
            self._states[name] = (token, kind, operation)
            while len(self._states) > _MOST_STATES:
                del self._states[next(iter(self._states))]

    def find(self, name: bytes, token: Token) -> tuple[OperationKind, SavedOperation]:
        """Return a saved operation.

        Raises P11Error(SAVED_STATE_INVALID), also for a state of another token or one whose card has been removed.
        """
        with self._lock:
            state = self._states.get(name)
        if state is None or state[0] is not token:
            raise P11Error(CKR.SAVED_STATE_INVALID)
        return state[1], state[2]
