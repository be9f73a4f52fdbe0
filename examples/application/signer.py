# SPDX-License-Identifier: MIT
"""A small application: it signs documents with the key of a smart card, for as long as it is the user's card."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from PyKCS11 import (
    CKA_CLASS,
    CKA_ID,
    CKA_VALUE,
    CKM_SHA256_RSA_PKCS,
    CKO_CERTIFICATE,
    CKO_PRIVATE_KEY,
    CKR_DEVICE_REMOVED,
    CKR_SESSION_HANDLE_INVALID,
    CKR_TOKEN_NOT_PRESENT,
    Mechanism,
    PyKCS11Error,
    PyKCS11Lib,
    Session,
)

KEY = (1,)
GONE = {CKR_DEVICE_REMOVED, CKR_SESSION_HANDLE_INVALID, CKR_TOKEN_NOT_PRESENT}
"""What a module says when the card is not there any more. A program that knows only one of them has a bug."""


class CardGone(Exception):
    """The card has been pulled out. With the same card back, `sign` works again."""


class AnotherCard(Exception):
    """There is a card, but not the one with which this began: it gets no PIN."""


class Signer:
    """Signs with the first card that it meets, and with no other. `ask_pin` is asked at each login."""

    def __init__(self, module: Path, ask_pin: Callable[[], str]) -> None:
        self._library = PyKCS11Lib()
        self._library.load(str(module))
        self._ask_pin = ask_pin
        self._session: Session | None = None
        self._certificate: bytes | None = None

    def sign(self, document: bytes) -> bytes:
        """The signature (RSA, PKCS #1 v1.5, SHA-256). Raises CardGone, AnotherCard, PyKCS11Error."""
        try:
            if self._session is None:
                self._session = self._log_in()
            (key,) = self._session.findObjects([(CKA_CLASS, CKO_PRIVATE_KEY), (CKA_ID, KEY)])
            return bytes(self._session.sign(key, document, Mechanism(CKM_SHA256_RSA_PKCS, None)))
        except PyKCS11Error as error:
            if error.value not in GONE:
                raise
            self._session = None
            raise CardGone from error

    def _log_in(self) -> Session:
        slots = self._library.getSlotList(tokenPresent=True)
        if not slots:
            raise CardGone
        session = self._library.openSession(slots[0])
        (found,) = session.findObjects([(CKA_CLASS, CKO_CERTIFICATE), (CKA_ID, KEY)])
        (value,) = session.getAttributeValue(found, [CKA_VALUE])
        certificate = bytes(value)
        if self._certificate not in (None, certificate):
            session.closeSession()
            raise AnotherCard
        session.login(self._ask_pin())
        self._certificate = certificate
        return session


def main() -> None:
    """signer.py MODULE FILE... with the PIN on standard input; writes FILE.sig."""
    pin = sys.stdin.readline().rstrip("\n")
    signer = Signer(Path(sys.argv[1]), lambda: pin)
    for name in sys.argv[2:]:
        Path(f"{name}.sig").write_bytes(signer.sign(Path(name).read_bytes()))


if __name__ == "__main__":
    main()
