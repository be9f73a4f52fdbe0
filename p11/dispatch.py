# SPDX-License-Identifier: MIT
"""The way from a request frame to a reply frame: decode, call the handler, encode.

This is the one place where exceptions become return values.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..reader.errors import CardRemoved
from ..reader.events import CallMoment, When
from ..reader.testbed import Testbed
from ..reader.trace import Hidden
from .caller import Caller, CallerGone
from .calls import OF_SESSIONS
from .constants import CKR
from .errors import ForcedValue, P11Error
from .return_values import returned
from .sessions import Session
from .wire import CODECS, REQUEST_HEADER, Codec, Mechanism, MessageParameter, NullPointer, WireError

LOG = logging.getLogger(__name__)

Handler = Callable[..., Any]
"""Carries out one function: called with the caller and the decoded arguments, returns the results."""

_LACKS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Errors of a temporary lack of descriptors or memory: the application may call again."""


_SESSION_MAY_CLOSE = OF_SESSIONS - {"C_CloseSession"}
"""Functions that return CKR_SESSION_CLOSED when the session ends during the call and the card is present (5.1.2)."""


def in_session(name: str, handler: Handler) -> Handler:
    """Give a handler the open session in place of its handle, if the function's first parameter is a session."""
    if name not in OF_SESSIONS:
        return handler

    def call(caller: Caller, handle: int, *arguments: Any) -> Any:
        application = caller.application
        session = application.sessions.get(handle)
        return handler(caller, session if session is not None else application.session(handle), *arguments)

    return call


class Dispatcher:
    """Carries out the calls of all applications of one testbed, with the given handlers by function name."""

    def __init__(self, testbed: Testbed, handlers: Mapping[str, Handler]) -> None:
        self._testbed = testbed
        self._table: dict[int, tuple[Codec, Handler | None]] = {
            number: (codec, handlers.get(codec.name)) for number, codec in CODECS.items()
        }

    def __call__(self, caller: Caller, frame: bytes) -> bytes:
        """Carry out a whole request frame and return the reply. Raises WireError for a malformed frame, CallerGone."""
        _, number, _, caller.thread = REQUEST_HEADER.unpack_from(frame)
        try:
            codec, handler = self._table[number]
        except KeyError:
            raise WireError(f"there is no call number {number}") from None
        try:
            arguments = codec.decode(frame)
        except NullPointer as missing:
            return self._refuse(caller, codec, missing.first)
        testbed = self._testbed
        name, application = codec.name, caller.application.name
        shown = _shown(arguments, codec.secret) if codec.secret else arguments
        call = testbed.trace.call(application, caller.thread, name, shown)
        value: int = CKR.FUNCTION_NOT_SUPPORTED
        results: tuple[Any, ...] = ()
        moment = live = None
        sessions = caller.application.sessions
        try:
            if testbed.watchers:
                moment = CallMoment(When.BEFORE, application, caller.thread, name, arguments, 0, call, caller)
                forced = testbed.begin_call(moment)
                if isinstance(forced, int):
                    value, handler = forced, None
            if name in _SESSION_MAY_CLOSE:
                live = sessions.get(arguments[0])
            if handler is not None:
                result = handler(caller, *arguments)
                results = () if result is None else result if type(result) is tuple else (result,)
                value = 0
        except ForcedValue as error:
            value = error.value
        except P11Error as error:
            value, results = returned(name, error.value), error.results
        except CardRemoved:
            value = CKR.DEVICE_REMOVED
        except CallerGone:
            testbed.trace.returned(call, name, CKR.FUNCTION_CANCELED)
            testbed.end_call()
            raise
        except Exception as error:
            LOG.exception("%s failed for %s", name, application)
            is_lack = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _LACKS)
            value = CKR.FUNCTION_FAILED if is_lack else CKR.GENERAL_ERROR
        if live is not None and live.handle not in sessions and _ended_by_itself(caller, live):
            value, results = CKR.SESSION_CLOSED, ()
        if moment is not None:
            value, results = self._finish(moment, value, results)
        if value and value != CKR.BUFFER_TOO_SMALL:
            _end_operation(caller, name, arguments)
        testbed.trace.returned(call, name, value)
        return codec.encode(value, results, arguments)

    def _refuse(self, caller: Caller, codec: Codec, session: int) -> bytes:
        """Return CKR_ARGUMENTS_BAD for a NULL pointer, and end the function's operation as any error does."""
        trace, name = self._testbed.trace, codec.name
        call = trace.call(caller.application.name, caller.thread, name, ())
        _end_operation(caller, name, (session,))
        value = returned(name, CKR.ARGUMENTS_BAD)
        trace.returned(call, name, value)
        return codec.encode(value, (), ())

    def _finish(self, moment: CallMoment, value: int, results: tuple[Any, ...]) -> tuple[int, tuple[Any, ...]]:
        """Notify the watchers after the call; return what it returns, or what they force. Raises CallerGone."""
        testbed = self._testbed
        try:
            forced = testbed.notify(replace(moment, when=When.AFTER, value=value))
        except CallerGone:
            testbed.trace.returned(moment.number, moment.name, CKR.FUNCTION_CANCELED)
            raise
        finally:
            testbed.end_call()
        return (forced, ()) if isinstance(forced, int) else (value, results)


def _end_operation(caller: Caller, name: str, arguments: tuple[Any, ...]) -> None:
    """End the operation that a failed function works on (5.2)."""
    live = caller.application.sessions.get(arguments[0]) if arguments else None
    if live is not None:
        live.end_by_failure(name)


def _ended_by_itself(caller: Caller, session: Session) -> bool:
    """Return whether a session has ended other than by the card's removal or C_Finalize."""
    return session.token.is_present and not caller.application.finalized


def _shown(arguments: tuple[Any, ...], secret: list[int]) -> tuple[Any, ...]:
    """Return the arguments without the contents of byte strings, templates and mechanism parameters."""
    shown = list(arguments)
    for position in secret:
        value = shown[position]
        kind = type(value)
        if kind is bytes:
            shown[position] = Hidden(len(value))
        elif kind is Mechanism:
            shown[position] = value.type
        elif kind is MessageParameter:
            shown[position] = Hidden(len(value.parameter))
        elif kind is list:
            shown[position] = [each for each, _ in value]
        else:
            shown[position] = None
    return tuple(shown)
