# SPDX-License-Identifier: MIT
"""Import of keys, certificates and data objects into a card image, all of a file or nothing.

A key and its certificate go into a key slot; certificates of others, such as CAs, into further data objects, where the
module finds them. A slot never has a key and a certificate that do not belong together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...card import certificate_reader, certificates, tlv
from ...card.applet import keys
from ...card.applet.variants import variant_of_state
from ...card.certificate_reader import Certificate
from ...card.image.state import CardState, StoredKey
from ...card.image.store import CardFull, ImageError, NotWritten, Store
from ...card.issuing import certificate_text, data_objects
from ...card.issuing.key_files import Contents
from ...card.status import CardError
from ...card.tables import DSA_BITS, OBJECT_LIMIT, SELF_TAGGED, SLOTS, Algorithm, object_rules
from ...p11 import image_objects

_DATA = 0x53
LONGEST = 1 << 20
"""Most bytes of a file that is read; the limit of a data object is far below."""


@dataclass
class _Changes:
    """What is to be written, and a line of output about each part of it."""

    keys: dict[int, StoredKey] = field(default_factory=dict)
    objects: dict[int, bytes] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


def put_in_slot(path: Path, passphrase: bytes | None, slot: str, contents: Contents, name: str) -> list[str]:
    """Write a key, its certificate, or both into a key slot, and other certificates beside the slots.

    What is in the slot is replaced. Return lines that say what was done. Raises ValueError and ImageError, with
    nothing changed.
    """
    number = next((each for each in SLOTS if f"{each:02X}" == slot.upper()), None)
    if number is None:
        raise ValueError(f"there is no key slot {slot}; there are: {', '.join(f'{each:02X}' for each in SLOTS)}")
    if len(contents.keys) > 1:
        raise ValueError(f"{name} cannot be taken: there are {len(contents.keys)} keys in it, and one slot")
    with _changing(path, passphrase) as (state, changes):
        new = _stored(contents.keys[0], number, state, name) if contents.keys else None
        own, others = _own(contents.certificates, new or state.keys.get(number), slot.upper())
        what = [word for word, part in (("key", new), ("certificate", own)) if part is not None]
        changes.said.append(f"{' and '.join(what)} of {name} in slot {number:02X} of {path}")
        if new is not None:
            changes.keys[number] = new
            _forget_old(number, new, state, changes)
        if own is not None:
            _say_replaced(number, own, state, changes)
            changes.objects[SLOTS[number].certificate] = _object(own)
        elif new is not None:
            _remove_stranger(number, new, state, changes)
        for each in others:
            _add(each, state, changes, path)
    return changes.said


def put_certificates(path: Path, passphrase: bytes | None, contents: Contents, name: str) -> list[str]:
    """Write certificates: each into the slot of its key if that is on the card, otherwise beside the slots.

    Return lines that say what was done. Raises ValueError and ImageError, with nothing changed.
    """
    if contents.keys:
        raise ValueError(f"there is a private key in {name}: say into which slot it goes with --slot 9A or another")
    with _changing(path, passphrase) as (state, changes):
        own: dict[int, Certificate] = {}
        others = []
        for certificate in map(_read, contents.certificates):
            slot = next((n for n in SLOTS if n in state.keys and keys.belongs(certificate, state.keys[n])), None)
            if slot is None:
                others.append(certificate)
            elif slot in own:  # the one that is good for longer goes beside the key, as in put_in_slot
                earlier, own[slot] = sorted((own[slot], certificate), key=_end)
                others.append(earlier)
            else:
                own[slot] = certificate
        for slot, certificate in own.items():
            changes.objects[SLOTS[slot].certificate] = _object(certificate)
            changes.said.append(f"certificate of {name} beside its key in slot {slot:02X} of {path}")
            _say_replaced(slot, certificate, state, changes)
        for certificate in others:
            _add(certificate, state, changes, path)
    return changes.said


def put_object(path: Path, passphrase: bytes | None, tag: str, content: bytes, name: str) -> list[str]:
    """Write a data object unchanged, given with or without its outer tag (53); empty content deletes it.

    Return lines that say what was done. Raises ValueError and ImageError, with nothing changed.
    """
    try:
        number = int(tag, 16)
    except ValueError:
        raise ValueError(f"the tag of a data object is hexadecimal, as 5FC102, not {tag!r}") from None
    with _changing(path, passphrase) as (state, changes):
        rules = object_rules(number)
        if rules is None and number not in variant_of_state(state).further_objects:
            raise ValueError(f"a card of profile {state.profile} has no data object {number:X}")
        value = _bare(number, content)
        limit = OBJECT_LIMIT if rules is None else rules.limit
        if len(value) > limit:
            raise ValueError(f"{name} has {len(value)} bytes, and the data object {number:X} at most {limit}")
        if not value and number not in state.objects:
            raise ValueError(f"{name} is empty, which deletes the data object {number:X}; {path} has none")
        changes.objects[number] = value
        called = f" ({rules.name})" if rules is not None else ""
        done = f"{len(value)} bytes of {name} in" if value else f"{name} is empty: deleted"
        changes.said.append(f"{done} the data object {number:X}{called} of {path}")
        problem = data_objects.problem(number, value) if value else None
        if problem is not None and rules is not None:
            changes.said.append(f"note: that is no {rules.name}: {problem}")
        slot = next((each for each, about in SLOTS.items() if about.certificate == number), None)
        if slot is not None and certificate_reader.read(value) is not None:
            changes.said.append(
                "note: this is a bare certificate, without the tag 70 around it, which not all software reads; "
                f"to write it with its tags: cardtear card import {path} FILE --slot {slot:02X}"
            )
        certificate = certificate_reader.read(certificates.decode(value))
        key = None if slot is None else state.keys.get(slot)
        if certificate is not None and key is not None and not keys.belongs(certificate, key):
            changes.said.append(f"note: this certificate is not that of the key in slot {slot:02X}")
    return changes.said


@contextlib.contextmanager
def _changing(path: Path, passphrase: bytes | None) -> Iterator[tuple[CardState, _Changes]]:
    """Open a card image for changes, which are written at once when the block ends. Raises ValueError, ImageError."""
    store = Store(path, passphrase)
    store.logs = False
    try:
        changes = _Changes()
        yield store.state, changes
        store.own(owner := object())
        store.commit(owner, keys=changes.keys, objects=changes.objects)
    except CardFull as error:
        raise ValueError(
            f"there is no room for it on {path}: it takes {error.growth} bytes more, and of {store.state.capacity} "
            f"{error.free} are free; delete a data object (cardtear card put {path} TAG /dev/null), or make a card "
            "with more (cardtear card new FILE --set capacity=BYTES)"
        ) from None
    except NotWritten as error:
        raise ImageError(error.why) from None
    except CardError as error:
        raise ValueError(f"the card does not take it: {error}") from None
    finally:
        store.close()


def _stored(key: object, slot: int, state: CardState, file: str) -> StoredKey:
    """Return a key as a card image has it. Raises ValueError if cards of this kind have no such keys."""
    try:
        algorithm = keys.algorithm_of(key)
    except ValueError as error:
        raise ValueError(f"{file} cannot be taken: {error}") from None
    if algorithm not in variant_of_state(state).algorithms:
        name = Algorithm(algorithm).name
        hint = "; one made with --set legacy=true has" if algorithm in DSA_BITS and state.profile != "yubikey" else ""
        raise ValueError(f"{file} cannot be taken: a card of profile {state.profile} has no keys of {name}{hint}")
    return StoredKey(algorithm, keys.pack(key), True, SLOTS[slot].pin_rule)  # type: ignore[arg-type]


def _read(der: bytes) -> Certificate:
    """Return a certificate that is known to be readable."""
    certificate = certificate_reader.read(der)
    assert certificate is not None
    return certificate


def _own(ders: list[bytes], key: StoredKey | None, slot: str) -> tuple[Certificate | None, list[Certificate]]:
    """Return the certificate for a slot, and the others. Raises ValueError if none of them is for the slot."""
    found = [_read(der) for der in ders]
    if not found:
        return None, []
    if key is not None:
        fitting = [each for each in found if keys.belongs(each, key)]
        refusal = f"the certificate is not that of the key for slot {slot}"
    else:
        fitting = [each for each in found if not each.is_authority]
        refusal = "it is the certificate of a CA, which has no place in a key slot; without --slot it goes beside them"
        if len(fitting) > 1:
            raise ValueError(f"there are {len(fitting)} certificates in it that are no CA's, and one slot")
    if not fitting:
        if all(each.is_authority for each in found) and key is not None:
            refusal += "; without --slot the certificates of CAs go beside the slots"
        raise ValueError(refusal)
    own = max(fitting, key=_end)
    return own, [each for each in found if each is not own]


def _end(certificate: Certificate) -> float:
    """Return when a certificate expires, to choose between several of one key; unreadable ones come last."""
    return float("-inf") if certificate.not_after is None else certificate.not_after.timestamp()


def _remove_stranger(slot: int, new: StoredKey, state: CardState, changes: _Changes) -> None:
    """Remove the certificate of another key from the slot: signatures of the new key would not verify against it."""
    tag = SLOTS[slot].certificate
    certificate = certificate_reader.read(certificates.decode(state.objects.get(tag)))
    if state.objects.get(tag) and (certificate is None or not keys.belongs(certificate, new)):
        changes.objects[tag] = b""
        whose = "" if certificate is None else f" (of {certificate_text.common_name(certificate)})"
        changes.said.append(
            f"the certificate that was in slot {slot:02X}{whose} is not that of the new key, and has been removed"
        )


def _forget_old(slot: int, new: StoredKey, state: CardState, changes: _Changes) -> None:
    """Remove the attributes that applications have set for the replaced key."""
    old = state.keys.get(slot)
    if old is None or not keys.same_pair(old, new):
        changes.objects |= image_objects.without_overlay(state.objects, slot)
    if old is not None and not keys.same_pair(old, new):
        changes.said.append(f"the {Algorithm(old.algorithm).name} key that was in slot {slot:02X} is replaced")


def _say_replaced(slot: int, new: Certificate, state: CardState, changes: _Changes) -> None:
    """Add a line of output about the certificate in the slot that is replaced."""
    old = certificates.decode(state.objects.get(SLOTS[slot].certificate))
    if old and old != new.der:
        certificate = certificate_reader.read(old)
        whose = "" if certificate is None else f" (of {certificate_text.common_name(certificate)})"
        changes.said.append(f"the certificate that was in slot {slot:02X}{whose} is replaced")


def _add(certificate: Certificate, state: CardState, changes: _Changes, path: Path) -> None:
    """Write a certificate beside the slots, unless the card has it."""
    objects = {**state.objects, **changes.objects}
    label = certificate_text.common_name(certificate)
    kind = "CA certificate" if certificate.is_authority else "certificate"
    there = [each.der for _, each in image_objects.certificates(objects)]
    there += [certificates.decode(objects.get(slot.certificate)) for slot in SLOTS.values()]
    if certificate.der in there:
        changes.said.append(f"{kind} {label}: {path} has it already")
        return
    changes.objects |= image_objects.with_certificate(objects, certificate, label)
    changes.said.append(f"{kind} {label} beside the key slots of {path}")


def _object(certificate: Certificate) -> bytes:
    """Return the content of a certificate's data object. Raises ValueError if it is too long."""
    value = certificates.encode(certificate.der)
    if len(value) > OBJECT_LIMIT:
        raise ValueError(f"a certificate of {len(certificate.der)} bytes is too long for a data object of the card")
    return value


def _bare(tag: int, content: bytes) -> bytes:
    """Return the value without its outer tag (SP 800-73-5 part 2, 3.1.2)."""
    with contextlib.suppress(tlv.TlvError):
        outer, value, end = tlv.read(content)
        if end == len(content) and outer == (tag if tag in SELF_TAGGED else _DATA):
            return value
    return content
