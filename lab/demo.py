# SPDX-License-Identifier: MIT
"""The demonstration: an application in a process of its own, and somebody who pulls its card out.

Everything that is shown is also checked; the exit code is 1 when something is not as it has to be.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from rich.console import Console

from ..card.profiles import CardRequest
from ..csrc import module_path
from ..p11.constants import CKA, CKM, CKO, CKR, CKS, CKU
from ..reader.trace import Entry
from .client import Failed, Module, rv_name
from .simulator import Simulator
from .timeline import FoldedLines, as_record
from .trigger import Trigger

DEADLINE = 10.0
"""Seconds that any step may take."""

MESSAGE = b"pull me out"
READER = "front"


class Wrong(Exception):
    """Something is not as it has to be."""


class Application:
    """The other process: it has the module loaded and does what it is told."""

    def __init__(self, socket: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_application, args=(there, str(socket)), daemon=True)
        self._process.start()
        there.close()

    def do(self, step: str, *arguments: Any) -> Any:
        """Carry out a step there and return its result. Raises Wrong when it takes too long."""
        self.start(step, *arguments)
        return self.result()

    def start(self, step: str, *arguments: Any) -> None:
        """Let a step begin."""
        self._pipe.send((step, arguments))

    def result(self) -> Any:
        """What the step has come to."""
        if not self._pipe.poll(DEADLINE):
            raise Wrong("the application does not answer")
        return self._pipe.recv()

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        self._process.join(DEADLINE)
        if self._process.is_alive():
            self._process.kill()


def _application(pipe: Connection, socket: str) -> None:
    """The main loop of the other process."""
    steps = _Steps(Module(module_path()), socket)
    while (asked := pipe.recv()) is not None:
        step, arguments = asked
        try:
            pipe.send(getattr(steps, step)(*arguments))
        except Failed as failure:
            pipe.send(rv_name(failure.value))


class _Steps:
    """What the application can be told to do; a PKCS #11 failure is a result like any other."""

    def __init__(self, module: Module, socket: str) -> None:
        self._module = module
        self._waiter: threading.Thread | None = None
        self._event: int | str | None = None
        self.session = 0
        self.keys: dict[bytes, int] = {}
        module.initialize(socket)
        self._slot = module.slots()[0]

    def wait_in_thread(self) -> str:
        def wait() -> None:
            try:
                self._event = self._module.wait_for_slot_event()
            except Failed as failure:
                self._event = rv_name(failure.value)

        self._waiter = threading.Thread(target=wait, daemon=True)
        self._waiter.start()
        return "waiting"

    def waited(self) -> int | str | None:
        if self._waiter is not None:
            self._waiter.join(DEADLINE)
        return self._event

    def log_in(self) -> list[bytes]:
        """A session, login, and the certificates that are there."""
        self.session = self._module.open_session(self._slot)
        self._module.login(self.session)
        found = self._module.find(self.session, {CKA.CLASS: CKO.PRIVATE_KEY})
        self.keys = {self._module.attribute(self.session, key, CKA.ID): key for key in found}
        certificates = self._module.find(self.session, {CKA.CLASS: CKO.CERTIFICATE})
        return [self._module.attribute(self.session, each, CKA.VALUE) for each in certificates]

    def begin_signature(self, identity: bytes, mechanism: int) -> str:
        self._module.sign_init(self.session, self.keys[identity], mechanism)
        return rv_name(CKR.OK)

    def finish_signature(self) -> bytes | str:
        return self._module.sign(self.session, MESSAGE)

    def authenticate_again(self) -> str:
        self._module.login(self.session, user=CKU.CONTEXT_SPECIFIC)
        return rv_name(CKR.OK)

    def old_handles(self, session: int) -> list[str]:
        """What every function says that is given a session of a card that is gone."""
        return [rv_name(value) for value in _use_everywhere(self._module, session, next(iter(self.keys.values())))]

    def handle(self) -> int:
        return self.session

    def present(self) -> bool:
        return self._module.is_present(self._slot)

    def state(self) -> int:
        self.session = self._module.open_session(self._slot)
        return self._module.session_state(self.session)

    def label(self) -> str:
        return self._module.token_info(self._slot)[0]


def _use_everywhere(module: Module, session: int, key: int) -> Iterator[int]:
    ffi = module.ffi
    mechanism, _keep = module.mechanism(CKM.RSA_PKCS)
    number, buffer = ffi.new("CK_ULONG *", 16), ffi.new("unsigned char[16]")
    yield module.call("C_GetSessionInfo", session, ffi.new("CK_SESSION_INFO *"))
    yield module.call("C_SignInit", session, mechanism, key)
    yield module.call("C_Sign", session, buffer, 16, buffer, number)
    yield module.call("C_FindObjectsInit", session, ffi.NULL, 0)
    yield module.call("C_GenerateRandom", session, buffer, 16)
    yield module.call("C_Logout", session)
    yield module.call("C_CloseSession", session)


class Demonstration:
    """The story, told on a console while it happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines = FoldedLines()
        self._printing = threading.Lock()

    def play(self) -> None:
        """All of it. Raises Wrong."""
        started = time.monotonic()
        with Simulator() as simulator:
            simulator.bench.trace.subscribe(self._show)
            simulator.plug(READER)
            application = Application(simulator.module_socket)
            try:
                self._story(simulator, application)
            finally:
                application.close()
        self._console.print(f"\n[bold green]All as it has to be[/], in {time.monotonic() - started:.1f} s.")

    def _story(self, simulator: Simulator, application: Application) -> None:
        self._say("An application waits in C_WaitForSlotEvent. Alice's card goes in.")
        application.do("wait_in_thread")
        simulator.insert(READER, CardRequest(name="Alice"))
        self._require("the waiter wakes with slot 0", application.do("waited"), 0)

        self._say("Login, and signatures that are checked against the certificates on the card.")
        alice = [x509.load_der_x509_certificate(each) for each in application.do("log_in")]
        self._require("RSA-2048 signature verifies", self._signed(application, b"\1", alice[0]), True)
        self._require("P-256 signature verifies", self._signed(application, b"\2", alice[1]), True)

        self._say("The card is pulled between C_SignInit and C_Sign.")
        old = application.do("handle")
        application.do("begin_signature", b"\1", CKM.SHA256_RSA_PKCS)
        simulator.remove(READER)
        self._require("C_Sign fails", application.do("finish_signature"), "CKR_SESSION_HANDLE_INVALID")
        self._require("a card in the slot", application.do("present"), False)

        self._say("The card goes in again: every old handle is dead, and nobody is logged in.")
        simulator.insert(READER, CardRequest(name="Alice"))
        self._require("old handles", set(application.do("old_handles", old)), {"CKR_SESSION_HANDLE_INVALID"})
        self._require("a new session is public", application.do("state"), int(CKS.RO_PUBLIC_SESSION))

        self._say("Login again, and the card is torn out in the middle of a chained GENERAL AUTHENTICATE.")
        application.do("log_in")
        application.do("begin_signature", b"\1", CKM.SHA256_RSA_PKCS)
        simulator.arm(Trigger("remove", {"reader": READER}, ins=0x87, nth=2))
        self._require("C_Sign, caught in the act", application.do("finish_signature"), "CKR_DEVICE_REMOVED")

        self._say("Another card goes in: another identity.")
        simulator.insert(READER, CardRequest(name="Bob"))
        self._require("the token's label", application.do("label"), "Bob")
        bob = [x509.load_der_x509_certificate(each) for each in application.do("log_in")]
        self._require("Bob's key signs", self._signed(application, b"\1", bob[0]), True)
        self._require("it is not Alice's", bob[0].public_key() != alice[0].public_key(), True)

    def _signed(self, application: Application, identity: bytes, certificate: x509.Certificate) -> bool:
        """Whether the application can sign with a key, and the certificate confirms it."""
        public = certificate.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            application.do("begin_signature", identity, CKM.SHA256_RSA_PKCS)
            signature = application.do("finish_signature")
            public.verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())
            return True
        if not isinstance(public, ec.EllipticCurvePublicKey):
            return False
        application.do("begin_signature", identity, CKM.ECDSA_SHA256)
        application.do("authenticate_again")
        signature = application.do("finish_signature")
        half = len(signature) // 2
        r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        public.verify(encode_dss_signature(r, s), MESSAGE, ec.ECDSA(hashes.SHA256()))
        return True

    def _say(self, text: str) -> None:
        with self._printing:
            self._lines.flush(self._console)
            self._console.print(f"\n[bold]{text}[/]")

    def _require(self, what: str, found: object, wanted: object) -> None:
        with self._printing:
            self._lines.flush(self._console)
            shown = ", ".join(sorted(found)) if isinstance(found, set) else found
            mark = "[bold green]ok[/]" if found == wanted else "[bold red]WRONG[/]"
            self._console.print(f"  {mark} {what}: {shown}")
        if found != wanted:
            raise Wrong(f"{what}: {found!r}, wanted {wanted!r}")

    def _show(self, entry: Entry) -> None:
        record = as_record(entry)
        with self._printing:
            self._lines.print(self._console, record)


def main() -> int:
    """Play it; with --svg FILE also export the picture."""
    options = argparse.ArgumentParser(prog="demo", description="A card is pulled out of a running application.")
    options.add_argument("--svg", type=Path, metavar="FILE", help="export what was shown as a picture")
    chosen = options.parse_args()
    console = Console(record=chosen.svg is not None, highlight=False, width=110 if chosen.svg else None)
    try:
        Demonstration(console).play()
    except Wrong as wrong:
        console.print(f"[bold red]{wrong}[/]")
        return 1
    finally:
        if chosen.svg is not None:
            console.save_svg(str(chosen.svg), title="cardtear")
    return 0


if __name__ == "__main__":
    sys.exit(main())
