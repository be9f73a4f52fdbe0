# SPDX-License-Identifier: MIT
"""Certificates that no strict parser takes are objects as all others are, wherever they come from."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cardtear.card import certificates, tlv
from cardtear.card.image.store import Store
from cardtear.card.issuing.profiles import CardRequest, ready_image
from cardtear.card.tables import SLOTS
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import paths
from cardtear.p11.constants import CKA, CKO, CKR

from ...shared.broken_certificates import KINDS, certificate, mutated, name, unknown_key
from ...shared.host import probes
from ...shared.host.host import NewHost


def values(m: Module, s: int) -> Any:
    return [m.attribute(s, h, CKA.VALUE) for h in m.find(s, {CKA.CLASS: CKO.CERTIFICATE})]


def create(m: Module, session: int, value: bytes, more: dict[int, bytes]) -> int:
    """A certificate object without a subject of its own."""
    plain = {CKA.CLASS: CKO.CERTIFICATE, CKA.CERTIFICATE_TYPE: 0, CKA.SUBJECT: b"", CKA.VALUE: value}
    return m.create(session, {**plain, **more})


def fields_of_new(m: Module, session: int, value: bytes, more: dict[int, bytes]) -> list[bytes]:
    """What a new certificate object tells of its fields."""
    handle = create(m, session, value, more)
    kinds = (CKA.SUBJECT, CKA.ISSUER, CKA.SERIAL_NUMBER, CKA.START_DATE)
    return [m.attribute(session, handle, kind) for kind in kinds]


def with_objects(folder: Path, objects: Mapping[int, bytes], request: CardRequest) -> Path:
    """A card with these data objects."""
    path = Path(shutil.copy(ready_image(request, paths.image_cache(), paths.test_ca()), folder / "broken.card"))
    store = Store(path)
    store.own(owner := object())
    store.commit(owner, objects=objects)
    store.close()
    return path


@pytest.mark.parametrize("profile", [{"profile": "blank"}, {"profile": "yubikey", "firmware": "5.2.0"}])
@pytest.mark.parametrize("half", [0, 1])
def test_whatever_lies_beside_a_key_slot_is_shown(
    bare_simulator: Simulator, new_host: NewHost, tmp_path: Path, half: int, profile: dict[str, Any]
) -> None:
    """Also where the certificate is all that tells of the key; it counts as a key only if a card could have it."""
    chosen = list(KINDS.values())[half::2]
    tags = [slot.certificate for slot in SLOTS.values()]
    objects = {
        tag: certificates.encode(der, n % 2 == 0) for n, (tag, der) in enumerate(zip(tags, chosen, strict=False))
    }
    assert len(objects) == len(chosen)
    bare_simulator.plug("front")
    bare_simulator.insert("front", with_objects(tmp_path, objects, CardRequest(**profile)))
    host = new_host(bare_simulator)
    session = host.call(Module.open_session, 0)
    assert sorted(host.call(values, s=session)) == sorted(chosen)


@pytest.mark.parametrize("where", ["SESSION", "TOKEN"])
def test_an_application_makes_them(writer: tuple[Any, int], where: str) -> None:
    host, session = writer
    made = [*KINDS.values(), *(mutated(150) if where == "SESSION" else ())]
    for each in made:
        host.call(create, session, each, {CKA.TOKEN: bytes([where == "TOKEN"])})
    assert sorted(host.call(values, s=session)) == sorted(made)


def test_what_is_no_sequence_is_refused(writer: tuple[Any, int]) -> None:
    host, session = writer
    for bits in (b"", b"\x30", b"\x31\0", b"noise", KINDS["good"][:-1]):
        assert host.rv(create, session, bits, {}) == CKR.ATTRIBUTE_VALUE_INVALID


def test_the_fields_are_what_stands_there(writer: tuple[Any, int]) -> None:
    """Empty where nothing can be read, unless the application says what it is."""
    host, session = writer
    fields = {
        kind: host.call(fields_of_new, session, KINDS[kind], {})
        for kind in ("negative serial", "month 13", "nothing in it")
    }
    subject, issuer = name(b"subject"), name(b"issuer")
    assert fields["negative serial"] == [subject, issuer, b"\2\1\xfb", b"20260101"]
    assert fields["month 13"] == [subject, issuer, b"\2\1\5", b""]
    assert fields["nothing in it"] == [b"", b"", b"", b""]
    told = {CKA.SUBJECT: subject, CKA.ISSUER: issuer, CKA.SERIAL_NUMBER: b"\2\1\1"}
    found = host.call(fields_of_new, session, KINDS["nothing in it"], told)
    assert found == [subject, issuer, b"\2\1\1", b""]
    for serial in (b"\5", b"\2\1\5", b"\0\0\5", b"\2\3\0\0\5"):
        zeros = KINDS["serial with zeros before it"]
        found = host.call(fields_of_new, session, zeros, {CKA.SERIAL_NUMBER: serial})
        assert found[2] == b"\2\3\0\0\5"


def test_it_goes_beside_its_key(bare_simulator: Simulator, writer: tuple[Any, int]) -> None:
    """As a good one does."""
    host, session = writer
    _, private = host.call(probes.ec_pair, session, b"pair", ID=b"\1")
    info = host.call(Module.attribute, session, private, CKA.PUBLIC_KEY_INFO)
    broken = certificate(serial=b"\2\1\xfb", version=tlv.encode(0xA0, b"\2\1\7"), key=info)
    host.call(create, session, broken, {CKA.TOKEN: b"\1", CKA.ID: b"\1"})
    insertion = bare_simulator.testbed.reader("front").insertion
    assert insertion is not None
    assert certificates.decode(insertion.card.store.state.objects[SLOTS[0x9A].certificate]) == broken  # type: ignore[attr-defined]


def test_a_certificate_of_another_key_makes_no_pair(
    bare_simulator: Simulator, new_host: NewHost, tmp_path: Path
) -> None:
    """A PIV tool may leave one in the slot: nobody shall sign with the key and send that certificate."""
    foreign = {0x9A: certificate(), 0x9D: certificate(key=unknown_key("2A0304055101"))}
    objects = {SLOTS[slot].certificate: certificates.encode(each) for slot, each in foreign.items()}
    bare_simulator.plug("front")
    bare_simulator.insert("front", with_objects(tmp_path, objects, CardRequest("piv-ec")))
    host = new_host(bare_simulator)
    session = host.call(probes.user_session)

    def ids(m: Module, s: int, kind: Any) -> Any:
        return [m.attribute(s, h, CKA.ID) for h in m.find(s, {CKA.CLASS: kind})]

    assert sorted(host.call(ids, s=session, kind=CKO.CERTIFICATE)) == [b"\1", b"\2", b"\3", b"\4"]
    for kind in (CKO.PUBLIC_KEY, CKO.PRIVATE_KEY):
        found = host.call(ids, s=session, kind=kind)
        assert len(found) == 4
        assert not {b"\1", b"\3"} & set(found)

        def subjects(m: Module, s: int, kind: Any) -> Any:
            return [m.attribute(s, h, CKA.SUBJECT) for h in m.find(s, {CKA.CLASS: kind})]

        assert host.call(subjects, s=session, kind=kind).count(b"") == 2
