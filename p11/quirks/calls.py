# SPDX-License-Identifier: MIT
"""The functions of a module with quirks: each quirk of a call is a layer around its handler.

A layer is made for a function only where it has something to do: a module without quirks has no layers. Layers get
the handle of a session; the innermost handler gets the session itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from ...reader.errors import CardRemoved
from ..caller import Caller
from ..calls import BY_NAME, OF_SESSIONS, OF_SLOTS
from ..constants import CKF, CKR, CKU
from ..dispatch import Handler
from ..errors import P11Error
from .module import QuirkyModule, module_of
from .outcomes import OutcomeReached, bring_about, wait_for_ever
from .slots import quirky
from .table import Quirks
from .values import CallFailure, CallOutcome, is_among, lookup

Layer = Callable[[Quirks, str, Handler], Handler]

_OF_TOKENS = OF_SLOTS - {"C_GetSlotInfo", "C_CloseAllSessions"}

_TICK = 0.05
"""Seconds between two events that come by the clock."""

_FLAG_IS_LOOKED_AT = 0.2
"""Seconds between two looks of a waiter at the flag that says whether the module is initialised."""


def layered(handlers: Mapping[str, Handler], quirks: Quirks) -> dict[str, Handler]:
    """Return the handlers with the layers of their quirks around them."""
    return {name: _around(quirks, name, handler) for name, handler in handlers.items()}


def _around(quirks: Quirks, name: str, handler: Handler) -> Handler:
    for layer in _LAYERS:
        handler = layer(quirks, name, handler)
    return handler


def _wait(caller: Caller, seconds: float) -> None:
    caller.prepare_to_wait()
    deadline = monotonic() + seconds
    while (left := deadline - monotonic()) > 0:
        caller.wait(left)


# Layers from the inside out


def _recognition(quirks: Quirks, name: str, handler: Handler) -> Handler:
    """Fail while a card is not recognised yet, or for one that never is."""
    if name not in _OF_TOKENS or not (quirks.tokeninfo_rv or quirks.recognition_delay or quirks.recognition_failures):
        return handler
    not_yet = quirks.recognition_rv or CKR.TOKEN_NOT_RECOGNIZED

    def call(caller: Caller, number: int, *arguments: Any) -> Any:
        slot = module_of(caller).slot_of(True, number)
        if slot is not None and slot.token is not None:
            if monotonic() < slot.inserted_at + quirks.recognition_delay:
                raise OutcomeReached(not_yet)
            if slot.failures_left:
                slot.failures_left -= 1
                raise OutcomeReached(not_yet)
        try:
            return handler(caller, number, *arguments)
        except P11Error as error:
            if error.value is CKR.TOKEN_NOT_RECOGNIZED and quirks.tokeninfo_rv is not None:
                raise OutcomeReached(quirks.tokeninfo_rv) from None
            raise

    return call


def _session_info(quirks: Quirks, name: str, handler: Handler) -> Handler:
    """Send APDUs at each C_GetSessionInfo."""
    if name != "C_GetSessionInfo" or not quirks.session_info_apdus:
        return handler

    def call(caller: Caller, handle: int) -> Any:
        session = caller.application.session(handle)
        for _ in range(quirks.session_info_apdus):
            session.token.piv.is_verified()
        return handler(caller, handle)

    return call


def _login(quirks: Quirks, name: str, handler: Handler) -> Handler:
    """Keep the PIN, to verify it again after a removal."""
    if name != "C_Login" or quirks.stale_login != "works":
        return handler

    def call(caller: Caller, handle: int, user: int, pin: bytes | None) -> Any:
        result = handler(caller, handle, user, pin)
        session = caller.application.session(handle)
        if user == CKU.USER and pin is not None:
            module_of(caller).pins[session.token] = pin
        return result

    return call


def _waiting(quirks: Quirks, name: str, handler: Handler) -> Handler:
    """Change what C_WaitForSlotEvent does."""
    if name != "C_WaitForSlotEvent":
        return handler

    def call(caller: Caller, flags: int) -> Any:
        match quirks.wfse_mode, bool(flags & CKF.DONT_BLOCK):
            case ("notsupp", _) | ("dontblock", False):
                raise P11Error(CKR.FUNCTION_NOT_SUPPORTED)
            case "error", _:
                raise P11Error(CKR.GENERAL_ERROR)
            case ("no_event", _) | ("deaf", True):
                raise P11Error(CKR.NO_EVENT)
            case "deaf", False:
                return _hear_nothing(caller)
            case "ticking", _:
                return _tick(caller)
        return handler(caller, flags)

    return call


def _tick(caller: Caller) -> int:
    """Return an event after a fixed time."""
    _wait(caller, _TICK)
    application = caller.application
    with application.testbed.lock:
        slot = next(map(quirky, application.slots.values()), None)
        if slot is None:
            raise P11Error(CKR.NO_EVENT)
        slot.is_hidden = not slot.is_hidden
        return slot.number


def _hear_nothing(caller: Caller) -> None:
    """Wait until C_Finalize."""
    with caller.woken_by_application():
        while not caller.application.finalized:
            caller.wait()
    raise P11Error(CKR.CRYPTOKI_NOT_INITIALIZED)


def _released_waiter(quirks: Quirks, name: str, handler: Handler) -> Handler:
    """Change what a waiter does when C_Finalize is called."""
    if name != "C_WaitForSlotEvent" or quirks.finalize_mode == "clean":
        return handler

    def call(caller: Caller, flags: int) -> Any:
        module = module_of(caller)
        try:
            return handler(caller, flags)
        except P11Error as error:
            if error.value is not CKR.CRYPTOKI_NOT_INITIALIZED:
                raise
            if quirks.finalize_mode == "no_event":
                raise P11Error(CKR.NO_EVENT) from None
            if quirks.finalize_mode == "flag_only":
                _wait(caller, _FLAG_IS_LOOKED_AT)
                if not module.is_latest:
                    wait_for_ever(caller)  # the flag that this module looks at is set again
            raise
        finally:
            with caller.application.testbed.lock:
                for finalizer in module.finalizers:
                    finalizer.wake()

    return call


def _finalize(quirks: Quirks, name: str, handler: Handler) -> Handler:
    """Let C_Finalize wait for the waiters, or crash."""
    if name != "C_Finalize" or quirks.finalize_mode not in ("hang", "crash"):
        return handler

    def call(caller: Caller) -> Any:
        application, module = caller.application, module_of(caller)
        if quirks.finalize_mode == "crash":
            if application.waiters:
                bring_about(CallFailure.CRASH, caller)
            return handler(caller)
        caller.prepare_to_wait()
        with application.testbed.lock:
            module.finalizers.add(caller)
        try:
            while application.waiters:
                caller.wait()
        finally:
            with application.testbed.lock:
                module.finalizers.discard(caller)
        return handler(caller)

    return call


def _events(quirks: Quirks, name: str, handler: Handler) -> Handler:
    """Clear event flags at some calls, and release delayed events at login."""
    eats = is_among(quirks.event_eaters, name)
    releases = quirks.event_held == "until-login" and name in ("C_Login", "C_CloseSession", "C_CloseAllSessions")
    if not eats and not releases:
        return handler
    subject = _subject(name)

    def call(caller: Caller, *arguments: Any) -> Any:
        application, module = caller.application, module_of(caller)
        slot = subject(module, arguments)
        try:
            return handler(caller, *arguments)
        finally:
            with application.testbed.lock:
                if eats:
                    for each in application.slots.values() if slot is None else (slot,):
                        each.event = False
                    application.record_slots()
                if releases:
                    module.release_events(application)

    return call


def _reinserted(quirks: Quirks, name: str, handler: Handler) -> Handler:
    """Fail calls on a slot from which a card has been removed before."""
    outcome: CallOutcome | None = lookup(quirks.reinserted_rv, name)
    if outcome is None:
        return handler
    subject = _subject(name)

    def call(caller: Caller, *arguments: Any) -> Any:
        slot = subject(module_of(caller), arguments)
        if slot is not None and slot.was_emptied and slot.token is not None:
            raise OutcomeReached(outcome)
        return handler(caller, *arguments)

    return call


def _idle(quirks: Quirks, name: str, handler: Handler) -> Handler:
    """Note the use of sessions, which end when they are idle; none ends within a call."""
    if not quirks.idle_timeout or not (name in OF_SESSIONS or name == "C_OpenSession"):
        return handler

    def call(caller: Caller, number: int, *arguments: Any) -> Any:
        clock = module_of(caller).idle_clock
        assert clock is not None
        if name == "C_OpenSession":
            handle = handler(caller, number, *arguments)
            clock.end_use(handle)
            return handle
        clock.begin_use(number)
        try:
            return handler(caller, number, *arguments)
        finally:
            clock.end_use(number)

    return call


def _time(quirks: Quirks, name: str, handler: Handler) -> Handler:
    """Delay calls, or never return from them."""
    seconds: float | None = lookup(quirks.latency, name)
    hangs = is_among(quirks.hang, name)
    if not seconds and not hangs and quirks.forked_child == "works":
        return handler

    def call(caller: Caller, *arguments: Any) -> Any:
        if hangs or (quirks.forked_child == "hang" and module_of(caller).is_child):
            wait_for_ever(caller)
        _wait(caller, seconds or 0)
        return handler(caller, *arguments)

    return call


def _outermost(quirks: Quirks, _name: str, handler: Handler) -> Handler:
    """Notice removals, carry out the call, and bring about the outcome that a quirk has set."""

    def call(caller: Caller, *arguments: Any) -> Any:
        try:
            module_of(caller).catch_up()
            return handler(caller, *arguments)
        except OutcomeReached as doomed:
            bring_about(doomed.outcome, caller)
        except CardRemoved:
            if quirks.torn_call is None:
                raise
            bring_about(quirks.torn_call, caller)

    return call


_LAYERS: tuple[Layer, ...] = (
    _recognition,
    _session_info,
    _login,
    _waiting,
    _released_waiter,
    _finalize,
    _events,
    _reinserted,
    _time,
    _idle,
    _outermost,
)


def _subject(name: str) -> Callable[[QuirkyModule, tuple[Any, ...]], Any]:
    """Return a function that finds the slot of a call, None for calls that concern all slots."""
    if not BY_NAME[name].signature.startswith("u") or name == "C_WaitForSlotEvent":
        return lambda _module, _arguments: None
    is_slot = name in OF_SLOTS
    return lambda module, arguments: module.slot_of(is_slot, arguments[0])
