# SPDX-License-Identifier: MIT
"""DSA keys on a card for old suites: generated, imported, unwrapped, certified, used, torn (PKCS #11 3.1, 2.2)."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from cardtear.card.crypto import dsa_keys
from cardtear.card.issuing.profiles import CardRequest
from cardtear.card.tables import INS
from cardtear.lab.clients.pkcs11 import Failed
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKA, CKC, CKF, CKK, CKM, CKO, CKR
from cardtear.p11.mechanisms import MECHANISMS, Scheme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from ..shared.dsa_domains import DOMAINS

YES, NO = b"\1", b"\0"
LABEL = b"made here"
ON_CARD = {CKA.TOKEN: YES, CKA.LABEL: LABEL}
PRIVATE = {CKA.PRIVATE: YES, **ON_CARD}
DSA_MECHANISMS = [each for each in MECHANISMS.values() if each.scheme is Scheme.DSA]
NUMBER = 0x1234567890ABCDEF


def octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def domain(bits: int) -> dict[CKA, bytes]:
    return dict(zip((CKA.PRIME, CKA.SUBPRIME, CKA.BASE), map(octets, DOMAINS[bits]), strict=True))


@pytest.fixture
def session(m: Any) -> Iterator[int]:
    """A read/write session of the user; what it has made is gone afterwards."""
    m.call("C_CloseAllSessions", 0)
    live = int(m.open_session(0, read_write=True))
    m.login(live)
    yield live
    m.call("C_CloseAllSessions", 0)
    last = m.open_session(0, read_write=True)
    m.login(last)
    for handle in m.find(last, {CKA.LABEL: LABEL}):
        m.destroy(last, handle)


def generate(m: Any, session: int, bits: int) -> tuple[int, int]:
    made: tuple[int, int] = m.generate_pair(session, CKM.DSA_KEY_PAIR_GEN, {**domain(bits), **ON_CARD}, PRIVATE)
    return made


def load(m: Any, session: int, bits: int, more: dict[CKA, bytes] | None = None) -> int:
    numbers = {**domain(bits), CKA.VALUE: octets(NUMBER)}
    return int(
        m.create(session, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.DSA, **numbers, **PRIVATE, **(more or {})})
    )


def public_key(m: Any, session: int, handle: int) -> dsa.DSAPublicKey:
    p, q, g, y = (
        int.from_bytes(m.attribute(session, handle, kind), "big")
        for kind in (CKA.PRIME, CKA.SUBPRIME, CKA.BASE, CKA.VALUE)
    )
    return dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g)).public_key()


def check(m: Any, session: int, private: int, public: dsa.DSAPublicKey, mechanism: CKM = CKM.DSA_SHA256) -> None:
    """Sign, and let the library verify."""
    rule = MECHANISMS[mechanism]
    data = b"data" if rule.digest else hashlib.sha1(b"data").digest()
    m.sign_init(session, private, mechanism)
    signature = m.sign(session, data)
    half = len(signature) // 2
    digest = (hashlib.new(rule.digest, data).digest() if rule.digest else data)[:half].rjust(half, b"\0")
    scheme = {20: hashes.SHA1(), 28: hashes.SHA224(), 32: hashes.SHA256()}[half]
    der = encode_dss_signature(*(int.from_bytes(each, "big") for each in (signature[:half], signature[half:])))
    public.verify(der, digest, Prehashed(scheme))


@pytest.mark.parametrize("bits", DOMAINS)
def test_generated(m: Any, session: int, bits: int) -> None:
    """In the domain of the public template; every mechanism signs with it, as the mechanism list says."""
    public, private = generate(m, session, bits)
    key = public_key(m, session, public)
    assert dsa_keys.domain_of(key) == DOMAINS[bits]
    for handle in (public, private):
        assert {kind: m.attribute(session, handle, kind) for kind in domain(bits)} == domain(bits)
    assert m.attribute(session, public, CKA.ID) == m.attribute(session, private, CKA.ID) != b""
    told = [m.attribute(session, private, kind) for kind in (CKA.SENSITIVE, CKA.EXTRACTABLE, CKA.LOCAL, CKA.SIGN)]
    assert told == [YES, NO, YES, YES]
    assert m.attribute(session, private, CKA.DERIVE) == NO
    with pytest.raises(Failed, match="SENSITIVE"):
        m.attribute(session, private, CKA.VALUE)
    for rule in DSA_MECHANISMS:
        assert rule.flags & CKF.HW
        check(m, session, private, key, rule.type)


@pytest.mark.parametrize("bits", DOMAINS)
def test_imported(m: Any, session: int, bits: int) -> None:
    """It says what it is, and its public half can be put beside it. Twice the same key there is not."""
    private = load(m, session, bits)
    kinds = (CKA.SENSITIVE, CKA.EXTRACTABLE, CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE, CKA.LOCAL)
    assert [m.attribute(session, private, kind) for kind in kinds] == [YES, NO, NO, NO, NO]
    value = octets(pow(DOMAINS[bits].g, NUMBER, DOMAINS[bits].p))
    half = {CKA.CLASS: CKO.PUBLIC_KEY, CKA.KEY_TYPE: CKK.DSA, **domain(bits), CKA.VALUE: value}
    public = m.create(session, {**half, **ON_CARD})
    assert m.attribute(session, public, CKA.ID) == m.attribute(session, private, CKA.ID)
    check(m, session, private, public_key(m, session, public))
    with pytest.raises(Failed, match="INCONSISTENT"):
        load(m, session, bits)


def test_certified(m: Any, session: int) -> None:
    """A certificate lies beside its key, whichever comes first, and both have the CKA_ID that they are given."""
    key = dsa_keys.private_key(DOMAINS[2048], NUMBER)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "DSA")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .serial_number(5)
        .public_key(key.public_key())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    template = {CKA.CLASS: CKO.CERTIFICATE, CKA.CERTIFICATE_TYPE: CKC.X_509, CKA.VALUE: der, **ON_CARD}
    template |= {CKA.SUBJECT: name.public_bytes(), CKA.ID: b"\7"}
    for key_first in (True, False):
        private = load(m, session, 2048, {CKA.ID: b"\7"}) if key_first else 0
        m.create(session, template)
        private = private or load(m, session, 2048, {CKA.ID: b"\7"})
        info = m.attribute(session, private, CKA.PUBLIC_KEY_INFO)
        (found,) = m.find(session, {CKA.CLASS: CKO.CERTIFICATE, CKA.PUBLIC_KEY_INFO: info})
        assert m.attribute(session, found, CKA.UNIQUE_ID)[:2] == m.attribute(session, private, CKA.UNIQUE_ID)[:2]
        assert [m.attribute(session, each, CKA.ID) for each in (found, private)] == [b"\7"] * 2
        check(m, session, private, key.public_key())
        m.destroy(session, found)
        m.destroy(session, private)


@pytest.mark.parametrize("way", ["copied", "unwrapped"])
def test_from_the_session(m: Any, session: int, way: str) -> None:
    """A key of the session comes onto the card, by a copy or out of another key."""
    open_key = {CKA.PRIVATE: NO, CKA.SENSITIVE: NO, CKA.EXTRACTABLE: YES}
    public, private = m.generate_pair(session, CKM.DSA_KEY_PAIR_GEN, domain(2048), open_key)
    if way == "copied":
        there = {CKA.TOKEN: YES, CKA.LABEL: LABEL, CKA.PRIVATE: YES, CKA.SENSITIVE: YES, CKA.EXTRACTABLE: NO}
        made = m.copy(session, private, there)
    else:
        aes = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: bytes(16), CKA.WRAP: YES, CKA.UNWRAP: YES}
        wrapping = m.create(session, aes)
        mechanism, _kept = m.mechanism(CKM.AES_KEY_WRAP_PAD)
        wrapped, length = m.ffi.new("unsigned char[4096]"), m.ffi.new("CK_ULONG *", 4096)
        m.check("C_WrapKey", session, mechanism, wrapping, private, wrapped, length)
        whole = {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.DSA, **PRIVATE}
        template, _kept_too = m.template(whole)
        handle = m.ffi.new("CK_ULONG *")
        m.check("C_UnwrapKey", session, mechanism, wrapping, wrapped, length[0], template, len(whole), handle)
        made = handle[0]
    assert m.attribute(session, made, CKA.TOKEN) == YES
    check(m, session, made, public_key(m, session, public))


def test_the_same_after_a_removal(module: tuple[Simulator, Any], session: int) -> None:
    simulator, m = module
    public, private = generate(m, session, 1024)
    kinds = (CKA.ID, CKA.PRIME, CKA.SUBPRIME, CKA.BASE, CKA.KEY_TYPE, CKA.PUBLIC_KEY_INFO)
    before = [m.attribute(session, handle, kind) for handle in (public, private) for kind in kinds]
    key = public_key(m, session, public)
    simulator.insert("front", simulator.remove("front"))
    again = m.open_session(0, read_write=True)
    m.login(again)
    found = [m.find(again, {CKA.LABEL: LABEL, CKA.CLASS: kind})[0] for kind in (CKO.PUBLIC_KEY, CKO.PRIVATE_KEY)]
    assert [m.attribute(again, handle, kind) for handle in found for kind in kinds] == before
    check(m, again, found[1], key)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("ins", "way"),
    [(INS.GENERATE_ASYMMETRIC_KEY_PAIR, generate), (INS.IMPORT_KEY, load)],
    ids=["generated", "imported"],
)
def test_torn(module: tuple[Simulator, Any], session: int, ins: INS, way: Any, when: str) -> None:
    """Pulled while the key is made: no key, or the whole key, and the next one can be made."""
    simulator, m = module
    simulator.arm(Trigger("remove", {"reader": "front"}, ins=ins, when=when))
    with pytest.raises(Failed) as caught:
        way(m, session, 2048)
    assert caught.value.value == CKR.DEVICE_REMOVED
    simulator.insert("front")
    again = m.open_session(0, read_write=True)
    m.login(again)
    for handle in m.find(again, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.DSA}):
        m.sign_init(again, handle, CKM.DSA_SHA256)
        assert len(m.sign(again, b"data")) == 56
        m.destroy(again, handle)
    way(m, again, 2048)


def test_torn_while_signing(module: tuple[Simulator, Any], session: int) -> None:
    simulator, m = module
    private = load(m, session, 1024)
    m.sign_init(session, private, CKM.DSA_SHA1)
    simulator.arm(Trigger("remove", {"reader": "front"}, ins=INS.GENERAL_AUTHENTICATE))
    try:
        with pytest.raises(Failed) as caught:
            m.sign(session, b"data")
        assert caught.value.value == CKR.DEVICE_REMOVED
    finally:
        simulator.insert("front")


WRONG = {
    "another prime": (1024, {CKA.PRIME: octets(DOMAINS[1024].p - 2)}, CKR.ATTRIBUTE_VALUE_INVALID),
    "another order": (1024, {CKA.SUBPRIME: octets(DOMAINS[1024].q - 2)}, CKR.ATTRIBUTE_VALUE_INVALID),
    "another base": (1024, {CKA.BASE: b"\2"}, CKR.ATTRIBUTE_VALUE_INVALID),
    "a short prime": (1024, {CKA.PRIME: b"\xff" * 64}, CKR.ATTRIBUTE_VALUE_INVALID),
    "no prime": (1024, {CKA.PRIME: None}, CKR.TEMPLATE_INCOMPLETE),
    "no order": (1024, {CKA.SUBPRIME: None}, CKR.TEMPLATE_INCOMPLETE),
}


@pytest.mark.parametrize("what", WRONG)
def test_nothing_is_made_of_what_is_no_domain(m: Any, session: int, what: str) -> None:
    bits, changed, reason = WRONG[what]
    before = m.find(session, {CKA.TOKEN: YES})
    template = {kind: value for kind, value in {**domain(bits), **changed}.items() if value is not None}
    with pytest.raises(Failed) as caught:
        m.generate_pair(session, CKM.DSA_KEY_PAIR_GEN, {**template, **ON_CARD}, PRIVATE)
    assert caught.value.value == reason
    whole = {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.DSA, **template, CKA.VALUE: b"\5"}
    with pytest.raises(Failed) as caught:
        m.create(session, {**whole, **PRIVATE})
    assert caught.value.value == reason
    assert m.find(session, {CKA.TOKEN: YES}) == before


def test_a_card_that_is_not_for_old_suites(module: tuple[Simulator, Any]) -> None:
    """Takes none, whichever way; in its slot `back` is one."""
    _, m = module
    live = m.open_session(1, read_write=True)
    m.login(live)
    with pytest.raises(Failed) as caught:
        load(m, live, 1024)
    assert caught.value.value == CKR.TEMPLATE_INCONSISTENT
    with pytest.raises(Failed) as caught:
        generate(m, live, 1024)
    assert caught.value.value == CKR.MECHANISM_INVALID
    assert m.find(live, {CKA.KEY_TYPE: CKK.DSA}) == []


def test_no_other_cards(module: tuple[Simulator, Any], session: int) -> None:
    """One that is somebody's make has no DSA keys, whatever its token offers for a session."""
    simulator, m = module
    simulator.plug("third")
    simulator.insert("third", CardRequest(profile="yubikey", legacy=True))
    m.slots()
    live = m.open_session(2, read_write=True)
    m.login(live)
    with pytest.raises(Failed) as caught:
        load(m, live, 1024)
    assert caught.value.value == CKR.TEMPLATE_INCONSISTENT
    made = m.generate_pair(live, CKM.DSA_KEY_PAIR_GEN, domain(1024), {CKA.PRIVATE: NO})
    check(m, live, made[1], public_key(m, live, made[0]))
    simulator.unplug("third")
