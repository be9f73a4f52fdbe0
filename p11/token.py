# SPDX-License-Identifier: MIT
"""Token: a card while it is in its reader, shared by all applications."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol

from ..card import tlv
from ..card.tables import CHUID, LABEL_OBJECT, PIN, PUK, TRAITS_OBJECT
from ..card.token_traits import Traits
from ..reader.errors import CardRemoved
from ..reader.events import Change
from ..reader.reader import Event, Insertion
from ..reader.testbed import Testbed
from . import management
from .attributes import Attributes
from .card_objects import CardObjects
from .constants import CKF, CKR, CKU
from .errors import P11Error
from .key_kinds import CardKind
from .login import Logins, Right
from .mechanisms import MechanismRule
from .objects import P11Object, mechanism_object, user_interface_object
from .operations import Operation
from .operations.kinds import OperationKind
from .piv_client import PivClient
from .token_mechanisms import token_mechanisms

_PUK_LENGTHS = (6, 8)


class TokenSession(Protocol):
    """The part of a session that its token uses."""

    operations: dict[OperationKind, Operation]


class Token:
    """What is known of a card, the logins to it, and all applications' sessions with it.

    `logins` and `sessions` change under the testbed's lock only.
    """

    def __init__(self, insertion: Insertion) -> None:
        self.insertion = insertion
        self.piv = PivClient(insertion)
        self.logins = Logins()
        self.sessions: set[TokenSession] = set()
        self._lock = threading.Lock()
        self._names: tuple[object, str, str] | None = None  # as of a revision of the card
        self._traits: Traits | None = None
        self._objects: CardObjects | None = None
        self._retries: dict[int, tuple[int | None, int | None]] = {}
        self._refused: set[int] = set()  # PIN and PUK, while the last one that was given was wrong
        self._features: list[P11Object] | None = None
        self._mechanisms: Mapping[int, MechanismRule] | None = None

    @property
    def is_present(self) -> bool:
        """Return whether the card has not been removed; False stays False."""
        return not self.insertion.removed.is_set()

    def require_recognised(self) -> None:
        """Raise P11Error(TOKEN_NOT_RECOGNIZED) for a card without PIV, CardRemoved for a removed one."""
        if not self.piv.select():
            raise P11Error(CKR.TOKEN_NOT_RECOGNIZED)

    # What it is

    def names(self) -> tuple[str, str]:
        """Return label and serial number: the card's name, and the end of its CHUID's GUID or the device's number."""
        with self._lock:
            revision = self.piv.revision
            if self._names is None or self._names[0] != revision:
                self.require_recognised()
                chuid = _fields(self.piv.read_object(CHUID))
                serial = chuid.get(0x34, b"")[-8:].hex().upper() or str(self.piv.serial() or "")
                label = _fields(self.piv.read_object(LABEL_OBJECT)).get(0x80, b"").decode("utf-8", "replace")
                self._names = (revision, label or f"PIV {serial}", serial)
            return self._names[1:]

    def traits(self) -> Traits:
        """Return the token's properties as written on the card."""
        if self._traits is None:
            self.require_recognised()
            self._traits = Traits.decode(self.piv.read_object(TRAITS_OBJECT))
        return self._traits

    def mechanisms(self) -> Mapping[int, MechanismRule]:
        """Return the token's mechanisms by number."""
        if self._mechanisms is None:
            self._mechanisms = token_mechanisms(self.traits())
        return self._mechanisms

    def mechanism(self, number: int) -> MechanismRule:
        """Return one of the token's mechanisms. Raises P11Error(MECHANISM_INVALID)."""
        mechanisms = self._mechanisms if self._mechanisms is not None else self.mechanisms()
        try:
            return mechanisms[number]
        except KeyError:
            raise P11Error(CKR.MECHANISM_INVALID) from None

    def flags(self) -> int:
        """Return the flags of CK_TOKEN_INFO, with the retry counters read from the card."""
        traits = self.traits()
        flags = int(CKF.LOGIN_REQUIRED | CKF.DUAL_CRYPTO_OPERATIONS)
        is_ready = traits.pin_initialised and not traits.uninitialised
        for set_, flag in (
            (not traits.uninitialised, CKF.TOKEN_INITIALIZED),
            (is_ready, CKF.USER_PIN_INITIALIZED),
            # Its random numbers are to be had always; NSS locks itself out for ever when it sees them before there is
            # a PIN (PK11_ResetToken, which asks for some with its lock held).
            (is_ready, CKF.RNG),
            (traits.read_only, CKF.WRITE_PROTECTED),
            (traits.pin_pad, CKF.PROTECTED_AUTHENTICATION_PATH),
        ):
            flags |= flag if set_ else 0
        if not self._awaits_signature:
            self._retries = {reference: self.piv.retries(reference) for reference in (PIN, PUK)}
        for reference, low, final, locked in _COUNTERS:
            left, most = self._retries.get(reference, (None, None))
            if left == 0:
                flags |= locked if reference == PUK or flags & CKF.USER_PIN_INITIALIZED else 0
            elif reference in self._refused or (left is not None and left < (most or 3)):
                flags |= low | (final if left == 1 else 0)
        return flags

    @property
    def _awaits_signature(self) -> bool:
        """Return whether a PIN was verified for a signature still to come: another command would use it up."""
        operations = (each for session in tuple(self.sessions) for each in tuple(session.operations.values()))
        return any(operation.context_login for operation in operations)

    def pin_lengths(self) -> tuple[int, int]:
        """Return the least and the most characters of a PIN."""
        traits = self.traits()
        return traits.pin_min, traits.pin_max

    # PIN and PUK

    def log_in(self, role: CKU, pin: bytes) -> Right:
        """Verify the PIN, or as the SO the PUK. Raises P11Error."""
        traits = self.traits()
        if role is CKU.SO:
            with self._proving(PUK):
                _check_length(pin, _PUK_LENGTHS, CKR.PIN_INCORRECT)
                self.piv.check_puk(pin)
            return Right(CKU.SO, pin)
        if not traits.pin_initialised or traits.uninitialised:
            raise P11Error(CKR.USER_PIN_NOT_INITIALIZED)
        with self._proving(PIN):
            _check_length(pin, self.pin_lengths(), CKR.PIN_INCORRECT)
            self.piv.verify(pin)
        self.logins.pin = pin
        return Right(CKU.USER)

    def change_pin(self, right: Right, old: bytes, new: bytes) -> Right:
        """Change the PUK as the SO, else the PIN (CHANGE REFERENCE DATA); return the new right. Raises P11Error."""
        traits = self.traits()
        if right.role is not CKU.SO:
            if not traits.pin_initialised or traits.uninitialised:
                raise P11Error(CKR.USER_PIN_NOT_INITIALIZED)
            with self._proving(PIN), self.piv.lock:
                _check_length(old, self.pin_lengths(), CKR.PIN_INCORRECT)
                _check_length(new, self.pin_lengths(), CKR.PIN_LEN_RANGE)
                try:
                    management.change_reference(self.piv, traits, PIN, old, new)
                finally:
                    if not self.logins.rights:
                        self.piv.give_up_verification()
                self.logins.pin = new if self.logins.rights else b""
            return right
        with self._proving(PUK), self.piv.lock:
            _check_length(old, _PUK_LENGTHS, CKR.PIN_INCORRECT)
            _check_length(new, _PUK_LENGTHS, CKR.PIN_LEN_RANGE)
            management.change_reference(self.piv, traits, PUK, old, new)
        return Right(CKU.SO, new)

    def initialise_pin(self, right: Right, pin: bytes) -> None:
        """Set the user's PIN as the SO, by RESET RETRY COUNTER. Raises P11Error."""
        _check_length(pin, self.pin_lengths(), CKR.PIN_LEN_RANGE)
        with self.piv.lock:
            self.piv.reset_pin(right.secret, pin)
            if not self.traits().pin_initialised:
                self._with_pin(pin, replace(self.traits(), pin_initialised=True))

    def initialise(self, puk: bytes, label: str) -> None:
        """Erase the token and set its label; the user has no PIN afterwards. Raises P11Error.

        The PIN is the PUK; on a token that has never been initialised it becomes the PUK. After a removal in between
        the same can be done again.
        """
        traits = self.traits()
        self.require_writable()
        management.require_without_pin(self.piv, traits)
        with self.piv.lock:
            nobody_knows = "".join(str(digit % 10) for digit in os.urandom(traits.pin_max)).encode()
            with self._proving(PUK):
                _check_length(puk, _PUK_LENGTHS, CKR.PIN_INCORRECT)
                if traits.uninitialised:
                    with contextlib.suppress(P11Error):  # its PUK may be another one already
                        self.change_pin(Right(CKU.SO, _FACTORY_PUK), _FACTORY_PUK, puk)
                self.piv.reset_pin(puk, nobody_knows)
            try:
                self.piv.verify(nobody_knows)
                self._write_traits(replace(traits, pin_initialised=False))
                right = Right(CKU.SO, puk) if traits.management == "so" else Right(CKU.USER)
                management.require(self.piv, traits, right)
                management.keep_for_so(self.piv, traits, right, puk)
                self._card_objects().erase()
                self.piv.write_object(LABEL_OBJECT, tlv.encode(0x80, label.encode()))
                self._write_traits(replace(traits, pin_initialised=False, uninitialised=False))
            finally:
                self.piv.give_up_verification()

    @contextlib.contextmanager
    def _proving(self, reference: int) -> Iterator[None]:
        """Note a wrong PIN or PUK for the flags, also one that was not sent to the card."""
        try:
            yield
        except P11Error as error:
            if error.value is CKR.PIN_INCORRECT:
                self._refused.add(reference)
            raise
        self._refused.discard(reference)

    # Logins

    def follow_card(self) -> None:
        """End all user logins if the card has no PIN verified any more.

        A wrong PIN ends the verification, also one by another application, or for another purpose than login.
        """
        with contextlib.suppress(CardRemoved, P11Error), self.piv.lock:
            if self.logins.rights and not self.piv.is_verified():
                self.logins.report_loss()

    def follow(self, error: BaseException) -> None:
        """Ask the card about its PIN verification after an error that says that it is missing."""
        if isinstance(error, P11Error) and error.value is CKR.USER_NOT_LOGGED_IN:
            self.follow_card()

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Call follow() for an error within the block."""
        try:
            yield
        except P11Error as error:
            self.follow(error)
            raise

    def give_up(self) -> None:
        """End the card's PIN verification if no application is logged in; a removed card has none."""
        with contextlib.suppress(CardRemoved, P11Error), self.piv.lock:
            if not self.logins.rights:
                self.logins.pin = b""
                self.piv.give_up_verification()

    # Objects

    def objects(self, logged_in: bool = False) -> list[P11Object]:
        """Return the objects on the card; they are read again only when it has changed."""
        self.require_recognised()
        try:
            return self._card_objects().visible(logged_in)
        except P11Error as error:
            if not logged_in or error.value is not CKR.USER_NOT_LOGGED_IN:
                raise
        self.follow_card()  # the PIN is not verified any more
        return self._card_objects().visible(logged_in=False)

    def features(self) -> list[P11Object]:
        """Return the objects that are found only by their class: mechanisms, and the PIN pad as a user interface."""
        if self._features is None:
            pad = [user_interface_object()] if self.traits().pin_pad else []
            self._features = [*map(mechanism_object, self.mechanisms()), *pad]
        return self._features

    def require_writable(self) -> None:
        """Raise P11Error(TOKEN_WRITE_PROTECTED) for a read-only token."""
        if self.traits().read_only:
            raise P11Error(CKR.TOKEN_WRITE_PROTECTED)

    @property
    def is_fresh(self) -> bool:
        """Return whether no other program has changed the card since it was read."""
        return self._objects is None or self._objects.is_fresh

    def create(self, item: P11Object, right: Right) -> P11Object:
        """Create an object on the card. Raises P11Error, CardRemoved."""
        with self._writing(right) as card:
            return card.create(item)

    def generate(
        self, kind: CardKind, public: Attributes, private: Attributes, right: Right
    ) -> tuple[P11Object, P11Object]:
        """Generate a key pair on the card. Raises P11Error, CardRemoved."""
        with self._writing(right) as card:
            return card.generate(kind, public, private)

    def change(self, item: P11Object, change: Callable[[Attributes], Attributes], right: Right) -> None:
        """Change an object on the card; `change` returns its new attributes. Raises P11Error, CardRemoved."""
        with self._writing(right) as card:
            card.change(item, change)

    def destroy(self, item: P11Object, right: Right) -> None:
        """Delete an object from the card. Raises P11Error, CardRemoved."""
        with self._writing(right) as card:
            card.destroy(item)

    @contextlib.contextmanager
    def _writing(self, right: Right) -> Iterator[CardObjects]:
        """Hold the card's lock and authenticate for writing, within the block. Raises P11Error, CardRemoved."""
        with self.piv.lock, self.following():
            self.require_writable()
            management.require(self.piv, self.traits(), right._replace(secret=right.secret or self.logins.pin))
            yield self._card_objects()

    def _card_objects(self) -> CardObjects:
        if self._objects is None:
            self._objects = CardObjects(self.piv, self.traits())
        return self._objects

    def _with_pin(self, pin: bytes, traits: Traits) -> None:
        """Write the traits with a PIN that has just been set, and end its verification."""
        self.piv.verify(pin)
        try:
            self._write_traits(traits)
        finally:
            self.piv.give_up_verification()

    def _write_traits(self, traits: Traits) -> None:
        self.piv.write_object(TRAITS_OBJECT, traits.encode())
        self._traits = traits
        if self._objects is not None:
            self._objects.traits = traits


_FACTORY_PUK = b"12345678"
_COUNTERS = (
    (PIN, CKF.USER_PIN_COUNT_LOW, CKF.USER_PIN_FINAL_TRY, CKF.USER_PIN_LOCKED),
    (PUK, CKF.SO_PIN_COUNT_LOW, CKF.SO_PIN_FINAL_TRY, CKF.SO_PIN_LOCKED),
)


class Tokens:
    """The tokens of a testbed, one for each card that is in a reader."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed
        self._tokens: dict[Insertion, Token] = {}
        self._unsubscribe = testbed.add_part(self._hear)

    def of(self, insertion: Insertion) -> Token:
        """Return the token of an insertion. The caller holds the testbed's lock."""
        token = self._tokens.get(insertion)
        if token is None:
            token = self._tokens[insertion] = Token(insertion)
        return token

    def close(self) -> None:
        """Stop listening to the testbed."""
        self._unsubscribe()

    def _hear(self, event: Event) -> None:
        if event.insertion is not None and event.change is Change.REMOVE:
            self._tokens.pop(event.insertion, None)


def _check_length(pin: bytes, lengths: tuple[int, int], error: CKR) -> None:
    """Raise P11Error(error) for a length that cannot be right, without using a retry."""
    shortest, longest = lengths
    if not shortest <= len(pin) <= longest:
        raise P11Error(error)


def _fields(value: bytes | None) -> dict[int, bytes]:
    try:
        return dict(tlv.decode(value or b""))
    except tlv.TlvError:
        return {}
