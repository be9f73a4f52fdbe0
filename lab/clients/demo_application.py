# SPDX-License-Identifier: MIT
"""The application of the demonstration: another process that loads the module and carries out steps."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ...csrc import module_path
from ...p11.constants import CKA, CKM, CKO, CKR, CKU
from .pkcs11 import Failed, Module, rv_name

DEADLINE = 10.0
"""Seconds that any step may take."""

NAME = "app"
MESSAGE = b"pull me out"


class ApplicationFailed(Exception):
    """The application died, or did not finish a step in time."""


class DemoApplication:
    """Handle of the application's process. A step that fails in PKCS #11 returns the name of its CK_RV."""

    def __init__(self, socket: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, str(socket)), daemon=True)
        self._process.start()
        there.close()

    def do(self, step: str, *arguments: Any) -> Any:
        """Carry out a step (a method of Steps) in the process, and return its result. Raises ApplicationFailed."""
        try:
            self._pipe.send((step, arguments))
            if self._pipe.poll(DEADLINE):
                return self._pipe.recv()
        except (OSError, EOFError):
            raise ApplicationFailed("the application died") from None
        raise ApplicationFailed(f"the application does not come back from {step!r}")

    def close(self) -> None:
        """End the process; kill it if it does not end by itself."""
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        self._process.join(DEADLINE)
        if self._process.is_alive():
            self._process.kill()


class Steps:
    """The steps of the application, run in its process."""

    def __init__(self, socket: str) -> None:
        self._module = Module(module_path())
        self._module.initialize(socket)
        self._slot = self._module.slots()[0]
        self._session = 0
        self._keys: dict[bytes, int] = {}
        self._waiter: threading.Thread | None = None
        self._woken: int | str | None = None

    def wait_in_a_thread(self) -> None:
        """Start a thread that waits in C_WaitForSlotEvent."""

        def wait() -> None:
            try:
                self._woken = self._module.wait_for_slot_event()
            except Failed as failure:
                self._woken = rv_name(failure.value)

        self._waiter = threading.Thread(target=wait, daemon=True)
        self._waiter.start()

    def woken(self) -> int | str | None:
        """Return the number of the slot that C_WaitForSlotEvent reported, or the name of its CK_RV."""
        if self._waiter is not None:
            self._waiter.join(DEADLINE / 2)
        return self._woken

    def open_session(self) -> int:
        """Open the session that the other steps use, and return its handle."""
        self._session, self._keys = self._module.open_session(self._slot), {}
        return self._session

    def state(self) -> int:
        """Return the session's state (CKS_...)."""
        return self._module.session_state(self._session)

    def log_in(self, user: int = CKU.USER) -> str:
        """Call C_Login with the PIN of ready-made cards."""
        self._module.login(self._session, user=user)
        return rv_name(CKR.OK)

    def sees_key(self, identity: bytes) -> bool:
        """Return whether the private key of a CKA_ID can be found."""
        return bool(self._module.find(self._session, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.ID: identity}))

    def certificate(self, identity: bytes) -> bytes:
        """Return the certificate of a CKA_ID, DER."""
        (found,) = self._module.find(self._session, {CKA.CLASS: CKO.CERTIFICATE, CKA.ID: identity})
        return self._module.attribute(self._session, found, CKA.VALUE)

    def sign_init(self, identity: bytes, mechanism: int) -> str:
        """Call C_SignInit with the private key of a CKA_ID."""
        if identity not in self._keys:
            (self._keys[identity],) = self._module.find(self._session, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.ID: identity})
        self._module.sign_init(self._session, self._keys[identity], mechanism)
        return rv_name(CKR.OK)

    def sign(self) -> bytes:
        """Call C_Sign over MESSAGE."""
        return self._module.sign(self._session, MESSAGE)

    def use_everywhere(self, session: int) -> list[str]:
        """Call functions with this session, and return the names of their CK_RV."""
        return [rv_name(value) for value in self._use(session)]

    def token_is_present(self) -> bool:
        """Return CKF_TOKEN_PRESENT of C_GetSlotInfo."""
        return self._module.is_present(self._slot)

    def label(self) -> str:
        """Return the token's label."""
        return self._module.token_info(self._slot)[0]

    def _use(self, session: int) -> Iterator[int]:
        ffi, call = self._module.ffi, self._module.call
        mechanism, _keep = self._module.mechanism(CKM.SHA256_RSA_PKCS)
        number, buffer = ffi.new("CK_ULONG *", 16), ffi.new("unsigned char[16]")
        yield call("C_GetSessionInfo", session, ffi.new("CK_SESSION_INFO *"))
        yield call("C_FindObjectsInit", session, ffi.NULL, 0)
        yield call("C_SignInit", session, mechanism, next(iter(self._keys.values()), 1))
        yield call("C_Sign", session, buffer, 16, buffer, number)
        yield call("C_GenerateRandom", session, buffer, 16)
        yield call("C_Logout", session)
        yield call("C_CloseSession", session)


def _serve(pipe: Connection, socket: str) -> None:
    """Run the main loop of the process."""
    Path("/proc/self/comm").write_text(NAME)  # the name under which the time line shows it
    steps = Steps(socket)
    while (asked := pipe.recv()) is not None:
        step, arguments = asked
        try:
            pipe.send(getattr(steps, step)(*arguments))
        except Failed as failure:
            pipe.send(rv_name(failure.value))
