# SPDX-License-Identifier: MIT
"""The calls of a scenario: from their text to a client; what comes back is held against what was expected and saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..clients.pkcs11 import rv_name
from . import steps as s
from .clients import ClientProcess, Pending
from .context import Context
from .expressions import DIED, ExpressionError, evaluate
from .failure import StepFailed
from .fields import in_words


class Calling:
    """Make PKCS #11 calls in the clients of a scenario."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def call(self, step: s.Call) -> None:
        """Make a call, and wait for its end unless it is one in the background. Raises StepFailed."""
        text = step.text
        client = self._client(step.client, initialize=text.function != "C_Initialize")
        try:
            arguments = [self._value(argument) for argument in text.arguments]
        except ExpressionError as error:
            raise StepFailed(str(error)) from None
        if text.function == "fork":
            clients = self._context.clients
            arguments.append(clients.await_child(arguments[0]))
        pending = client.call(step.thread, text.function, arguments)
        if text.function in ("C_Initialize", "C_Finalize"):
            client.initialized = True  # from now on it is the scenario's business
        if step.background is not None:
            self._context.background[step.background] = step, pending
            return
        self._context.wait(lambda: pending.is_over, self._context.until(step.within))
        self.settle(step, pending, self._context.seconds(step.within))
        if text.function == "fork":
            child = arguments[0]
            if not self._context.wait(lambda: self._context.has_client(child), self._context.until(step.within)):
                raise StepFailed(f"the child {child!r} does not begin")
            clients.begin_child(child, pending.answer[1] if isinstance(pending.answer, tuple) else 0)

    def settle(self, step: s.Call, pending: Pending, within: float) -> None:
        """Hold what came of a call against what was expected, and save the result. Raises StepFailed."""
        text = step.text
        awaited = _awaited(step)
        if not pending.is_over:
            raise StepFailed(f"awaited {awaited}, but it has not returned within {in_words(within)}")
        if isinstance(pending.answer, str):
            raise StepFailed(pending.answer)
        if text.dies or pending.answer is None:
            if not (text.dies and pending.is_lost):
                raise StepFailed(f"awaited {awaited}, but {_came(pending)}")
            return
        value, result = pending.answer
        if text.values and value not in text.values:
            raise StepFailed(f"awaited {awaited}, but {_came(pending)}")
        self._save(step, result if value == 0 else None)

    def _save(self, step: s.Call, result: Any) -> None:
        text = step.text
        if not text.unpacks:
            self._context.save(dict.fromkeys(text.targets, result))
            return
        values = result if isinstance(result, list) else []
        if len(values) != len(text.targets):
            raise StepFailed(f"awaited {len(text.targets)} values from {text.function}, but came {result!r}")
        self._context.save(dict(zip(text.targets, values, strict=True)))

    def _value(self, argument: Any) -> Any:
        return evaluate(argument, _Names(self._context))

    def value(self, tree: Any) -> Any:
        """Return the value of an expression. Raises StepFailed."""
        try:
            return self._value(tree)
        except ExpressionError as error:
            raise StepFailed(str(error)) from None

    def _client(self, name: str, initialize: bool) -> ClientProcess:
        """Return a client; start and initialise it where that has not been done."""
        client = self._context.running_client(name)
        if client is None:
            try:
                client = self._context.start_client(name)
            except OSError as error:
                raise StepFailed(f"the client {name!r} cannot load the module: {error}") from None
        if initialize and not client.initialized:
            client.initialized = True
            pending = client.call(s.MAIN, "C_Initialize", [])
            self._context.wait(lambda: pending.is_over, self._context.until(None))
            if not isinstance(pending.answer, tuple) or pending.answer[0] != 0:
                raise StepFailed(f"awaited C_Initialize -> CKR_OK in {name!r}, but {_came(pending)}")
        return client


class _Names(Mapping[str, Any]):
    """Saved values; a reader's name stands for the number of its slot, as a new application has it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __getitem__(self, name: str) -> Any:
        return self._context.lookup(name)

    def __contains__(self, name: object) -> bool:
        try:
            self[str(name)]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Any:
        return iter(self._context.saved)

    def __len__(self) -> int:
        return len(self._context.saved)


def _awaited(step: s.Call) -> str:
    """Return what was expected of a call, in words."""
    text = step.text
    if text.dies:
        return f"{text.function} -> {DIED}"
    return f"{text.function} -> {' | '.join(map(rv_name, sorted(text.values))) or 'any'}"


def _came(pending: Pending) -> str:
    return f"{pending}" if pending.is_lost or pending.answer is None else f"came {pending}"
