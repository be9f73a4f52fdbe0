# SPDX-License-Identifier: MIT
"""The demonstration: an application in a process of its own, and somebody who pulls its card out.

Everything that is shown is also checked; the exit code is 1 when something is not as it has to be.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from rich.console import Console
from rich.text import Text

from ...card.files import output_file
from ...card.issuing.profiles import CardRequest
from ...card.tables import INS
from ...p11.constants import CKM, CKS, CKU
from ...p11.number_names import name_of
from ...reader.trace import CallEntry, Entry
from ..control.simulator import Simulator
from ..processes.library_warnings import silence_library_warnings
from ..simulator.trigger import Trigger
from ..trace.records import as_record
from ..trace.timeline import Timeline
from .demo_application import DEADLINE, MESSAGE, ApplicationFailed, DemoApplication

READER = "front"
ALICE, BOB = CardRequest(name="Alice"), CardRequest(name="Bob")
RSA_KEY, EC_KEY = b"\1", b"\2"
_DEAD = "CKR_SESSION_HANDLE_INVALID"
_PICTURE_WIDTH = 98


class Wrong(Exception):
    """Something is not as it has to be."""


class Demonstration:
    """The story, told on a console while it happens; the console records the scenes that make the picture."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._timeline = Timeline(console, most_apdus=3, folds=True)
        self._printing = threading.Lock()
        self._waiting = threading.Event()

    def play(self) -> None:
        """Play the whole demonstration. Raises Wrong, ApplicationFailed."""
        started = time.monotonic()
        with Simulator() as simulator:
            stop = simulator.testbed.trace.add_part(self._show)
            simulator.plug(READER)
            application = DemoApplication(simulator.module_socket)
            try:
                self._story(simulator, application)
            finally:
                stop()
                application.close()
        self._console.print(f"\n[bold green]✓ All as it has to be[/], in {time.monotonic() - started:.1f} s.")

    def _story(self, simulator: Simulator, application: DemoApplication) -> None:
        do = application.do
        self._say("An application waits in C_WaitForSlotEvent. Alice's card goes in.")
        self._wait_for_event(application)
        simulator.insert(READER, ALICE)
        self._require("the waiting thread wakes, with slot", do("woken"), 0)

        self._say("It logs in and signs; the signatures fit the certificates on the card.")
        old = do("open_session")
        self._require("the PIN is accepted", do("log_in"), "CKR_OK")
        alice = self._certificate(application, RSA_KEY)
        self._require("RSA-2048 signature verifies", self._rsa_fits(application, alice), True)
        self._require("P-256 signature verifies", self._ec_fits(application), True)

        self._say("The card is pulled between C_SignInit and C_Sign, while a thread waits.", in_picture=True)
        do("sign_init", RSA_KEY, CKM.SHA256_RSA_PKCS)
        self._wait_for_event(application)
        simulator.remove(READER)
        self._require("C_Sign", do("sign"), _DEAD)
        self._require("the waiting thread wakes, with slot", do("woken"), 0)
        self._require("the slot holds a card", do("token_is_present"), False)

        self._say("The same card goes in again: every old handle is dead, and nobody is logged in.", in_picture=True)
        simulator.insert(READER, ALICE)
        self._require("what the old session is good for", set(do("use_everywhere", old)), {_DEAD})
        do("open_session")
        self._require("a new session", name_of(CKS, do("state")), "CKS_RO_PUBLIC_SESSION")
        self._require("the RSA key is in sight", do("sees_key", RSA_KEY), False)

        self._say("Login again; the card is torn out in the middle of a chained GENERAL AUTHENTICATE.", in_picture=True)
        do("log_in")
        do("sign_init", RSA_KEY, CKM.SHA256_RSA_PKCS)
        simulator.arm(Trigger("remove", {"reader": READER}, ins=INS.GENERAL_AUTHENTICATE, nth=2))
        self._require("C_Sign, caught in the act", do("sign"), "CKR_DEVICE_REMOVED")

        self._say("Alice's card goes in again, and is swapped for Bob's: another identity.")
        simulator.insert(READER, ALICE)
        do("open_session")
        simulator.swap(READER, BOB)
        self._require("the session on Alice's card", do("state"), _DEAD)
        self._require("the token's label", do("label"), BOB.name)
        do("open_session")
        do("log_in")
        bob = self._certificate(application, RSA_KEY)
        self._require("its signature fits Bob's certificate", self._rsa_fits(application, bob), True)
        self._require("and Alice's", self._rsa_fits(application, alice), False)

    # What the application does, and what has to come of it

    def _wait_for_event(self, application: DemoApplication) -> None:
        """Start a thread of the application that waits in C_WaitForSlotEvent; return when it waits."""
        self._waiting.clear()
        application.do("wait_in_a_thread")
        if not self._waiting.wait(DEADLINE):
            raise Wrong("no call of C_WaitForSlotEvent arrives")

    def _certificate(self, application: DemoApplication, identity: bytes) -> x509.Certificate:
        return x509.load_der_x509_certificate(application.do("certificate", identity))

    def _rsa_fits(self, application: DemoApplication, certificate: x509.Certificate) -> bool:
        """Return whether a signature made now verifies with the certificate."""
        public = certificate.public_key()
        assert isinstance(public, rsa.RSAPublicKey)
        application.do("sign_init", RSA_KEY, CKM.SHA256_RSA_PKCS)
        try:
            public.verify(application.do("sign"), MESSAGE, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def _ec_fits(self, application: DemoApplication) -> bool:
        """Return the same for the signature key, which needs the PIN for every signature."""
        public = self._certificate(application, EC_KEY).public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        application.do("sign_init", EC_KEY, CKM.ECDSA_SHA256)
        application.do("log_in", CKU.CONTEXT_SPECIFIC)
        signature = application.do("sign")
        half = len(signature) // 2
        r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        try:
            public.verify(encode_dss_signature(r, s), MESSAGE, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    # What is printed

    def _say(self, text: str, *, in_picture: bool = False) -> None:
        with self._printing:
            self._timeline.flush()
            self._console.record = in_picture
            self._console.print(f"\n[bold]{text}[/]")

    def _require(self, what: str, found: object, wanted: object) -> None:
        is_right = found == wanted
        with self._printing:
            self._timeline.flush()
            mark = ("  ✓ ", "bold green") if is_right else ("  ✗ ", "bold red")
            self._console.print(Text.assemble(mark, f"{what}: ", (_shown(found), "bold")))
        if not is_right:
            raise Wrong(f"{what}: {found!r}, but it has to be {wanted!r}")

    def _show(self, entry: Entry) -> None:
        with self._printing:
            self._timeline.add(as_record(entry))
        if isinstance(entry, CallEntry) and entry.name == "C_WaitForSlotEvent":
            self._waiting.set()


def _shown(found: object) -> str:
    if isinstance(found, bool):
        return "yes" if found else "no"
    return ", ".join(map(str, found)) if isinstance(found, set) else str(found)


def main() -> int:
    """Play it; with --svg FILE also export the scenes with a removal as a picture."""
    silence_library_warnings()
    options = argparse.ArgumentParser(prog="demo", description="A card is pulled out of a running application.")
    options.add_argument("--svg", type=Path, metavar="FILE", help="export the scenes with a removal as a picture")
    svg: Path | None = options.parse_args().svg
    console = Console(highlight=False, width=_PICTURE_WIDTH if svg else None)
    try:
        Demonstration(console).play()
    except (Wrong, ApplicationFailed) as error:
        console.print(Text(f"✗ {error}", "bold red"))
        return 1
    finally:
        if svg is not None:
            output_file.write(svg, console.export_svg(title="scripts/demo"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
