# SPDX-License-Identifier: MIT
"""What keys of the session may be made to tell, for how long they work, and what is left when the card goes."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKA, CKG, CKK, CKM, CKO, CKR

from ..shared.host import probes
from ..shared.host.host import Host

KEY, IV = bytes(range(16)), bytes(range(16, 32))


def string(m: Module) -> Any:
    """CK_KEY_DERIVATION_STRING_DATA."""
    return probes.struct(m, "CK_KEY_DERIVATION_STRING_DATA", pData=b"0123456789abcdef", ulLen=16)


def nothing(_m: Module) -> bytes:
    """No parameter."""
    return b""


def position(_m: Module) -> bytes:
    """The first bit, as CK_EXTRACT_PARAMS."""
    return bytes(8)


def chained(m: Module) -> Any:
    """CK_AES_CBC_ENCRYPT_DATA_PARAMS."""
    return probes.struct(m, "CK_AES_CBC_ENCRYPT_DATA_PARAMS", iv=[1] * 16, pData=b"0" * 16, length=16)


READABLE = {
    "CONCATENATE_BASE_AND_DATA": string,
    "CONCATENATE_DATA_AND_BASE": string,
    "XOR_BASE_AND_DATA": string,
    "EXTRACT_KEY_FROM_KEY": position,
}
ONE_WAY = {"SHA256_KEY_DERIVATION": nothing, "AES_ECB_ENCRYPT_DATA": string, "AES_CBC_ENCRYPT_DATA": chained}


def rsa_aes(m: Module) -> Any:
    """CK_RSA_AES_KEY_WRAP_PARAMS with SHA3-256, and MGF1 with SHA-256."""
    oaep = probes.struct(m, "CK_RSA_PKCS_OAEP_PARAMS", hashAlg=CKM.SHA3_256, mgf=CKG.MGF1_SHA256, source=0)
    return probes.struct(m, "CK_RSA_AES_KEY_WRAP_PARAMS", ulAESKeyBits=256, pOAEPParams=oaep)


@pytest.fixture
def session(host: Host) -> int:
    """A read/write session with the user logged in, on the standard card."""
    return int(host.call(probes.user_session, read_write=True))


def aes(host: Host, session: int, value: bytes = KEY, **more: bytes) -> int:
    """An AES key of the session."""
    return int(host.call(lambda m: probes.secret(m, session, CKK.AES, value, **more)))


def booleans(host: Host, session: int, handle: int) -> dict[str, bool]:
    """What a key says of its secrecy."""
    names = ("SENSITIVE", "EXTRACTABLE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL")

    def asked(m: Module, w: Any, s: int, h: int) -> Any:
        return [m.attribute(s, h, CKA[n]) == b"\1" for n in w]

    return dict(zip(names, host.call(asked, s=session, h=handle, w=names), strict=True))


@pytest.mark.parametrize("mechanism", READABLE)
def test_what_is_read_off_a_key_stays_secret(host: Host, session: int, mechanism: str) -> None:
    """A derivation that can be undone makes a key as secret as its base, and no other (3.1, 6.43)."""
    parameter = READABLE[mechanism]
    base = aes(host, session, SENSITIVE=b"\1", EXTRACTABLE=b"\0")

    def readable(m: Module, key: int) -> Any:
        return probes.derived_value(m, session, CKM[mechanism], parameter(m), key, VALUE_LEN=16)

    def made(m: Module) -> int:
        return probes.derived(m, session, CKM[mechanism], parameter(m), base, {CKA.VALUE_LEN: 16})

    assert host.call(readable, base) == -CKR.TEMPLATE_INCONSISTENT
    told = booleans(host, session, host.call(made))
    assert (told["SENSITIVE"], told["EXTRACTABLE"], told["LOCAL"]) == (True, False, False)
    open_base = aes(host, session)
    assert len(host.call(readable, open_base)) == 16


@pytest.mark.parametrize("mechanism", ONE_WAY)
def test_what_does_not_tell_its_base_may_be_read(host: Host, session: int, mechanism: str) -> None:
    """The template decides; that it has always been secret it cannot say."""
    base = aes(host, session, SENSITIVE=b"\1", EXTRACTABLE=b"\0")
    parameter = ONE_WAY[mechanism]
    value = host.call(lambda m: probes.derived_value(m, session, CKM[mechanism], parameter(m), base, VALUE_LEN=16))
    assert len(value) == 16


def test_lengths_of_derived_keys(host: Host, session: int) -> None:
    """Those of the key type, no more than there is."""
    base = aes(host, session)

    def call(m: Module, s: int, h: int, t: Any) -> Any:
        return probes.derived(m, s, CKM.SHA256_KEY_DERIVATION, b"", h, t)

    for template, expected in (
        ({CKA.KEY_TYPE: CKK.AES}, -CKR.TEMPLATE_INCOMPLETE),  # its length is not a matter of course (6.31.2)
        ({CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 32}, 32),
        ({CKA.KEY_TYPE: CKK.DES3}, 24),
        ({CKA.VALUE_LEN: 5}, 5),
        ({CKA.VALUE_LEN: 33}, -CKR.KEY_SIZE_RANGE),
        ({CKA.VALUE_LEN: 0}, -CKR.KEY_SIZE_RANGE),
        ({CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 17}, -CKR.KEY_SIZE_RANGE),
    ):
        given = {int(kind): int(value) for kind, value in template.items()}
        handle = host.call(call, s=session, h=base, t=given)
        if expected < 0:
            assert handle == expected
            continue
        value = host.call(Module.attribute, session, handle, CKA.VALUE)
        assert len(value) == expected
        if template.get(CKA.KEY_TYPE) == CKK.DES3:
            assert all(each.bit_count() % 2 for each in value)


def test_templates_of_a_base_key(host: Host, session: int) -> None:
    """What CKA_DERIVE_TEMPLATE demands the new key has; the opposite is refused."""

    def create(m: Module, s: int) -> Any:
        return probes.create_with_template(m, s, CKA.DERIVE_TEMPLATE, {CKA.SENSITIVE: b"\1", CKA.ENCRYPT: b"\x00"})

    base = host.call(create, s=session)

    def made(m: Module, s: int, h: int, t: Any) -> Any:
        return probes.derived(m, s, CKM.SHA256_KEY_DERIVATION, b"", h, t)

    handle = host.call(made, s=session, h=base, t={int(CKA.VALUE_LEN): 16})
    assert booleans(host, session, handle)["SENSITIVE"]
    refused = host.call(made, s=session, h=base, t={int(CKA.SENSITIVE): b"\0"})
    assert refused == -CKR.TEMPLATE_INCONSISTENT


@pytest.mark.parametrize("mechanism", ["AES_ECB", "AES_CBC", "DES3_CBC"])
@pytest.mark.parametrize("size", [1, 16, 24, 40, 129])
def test_zeros_behind_a_wrapped_key(host: Host, session: int, mechanism: str, size: int) -> None:
    """A cipher of whole blocks fills up; CKA_VALUE_LEN tells where the key ends, and may not tell what is not so."""
    kind, value = (CKK.DES3, bytes(range(24))) if mechanism.startswith("DES3") else (CKK.AES, KEY)
    wrapping = host.call(probes.secret, session, int(kind), value)
    secret = bytes(range(1, size + 1))
    key = host.call(probes.secret, session, CKK.GENERIC_SECRET, secret)
    parameter = b"" if mechanism == "AES_ECB" else IV[: 8 if mechanism.startswith("DES3") else 16]
    data = host.call(probes.wrapped, session, CKM[mechanism], parameter, wrapping, key)
    template = {int(CKA.KEY_TYPE): int(CKK.GENERIC_SECRET), int(CKA.EXTRACTABLE): b"\1", int(CKA.SENSITIVE): b"\0"}

    def back(m: Module, length: int) -> int:
        told = {**template, int(CKA.VALUE_LEN): length}
        return probes.unwrapped(m, session, CKM[mechanism], parameter, wrapping, data, told)

    handle = host.call(back, size)
    assert host.call(Module.attribute, session, handle, CKA.VALUE) == secret
    for wrong in (len(data) + 1, len(data) - 16):
        if wrong > 0:
            value = host.call(back, wrong)
            assert value == -CKR.TEMPLATE_INCONSISTENT


def test_private_keys_are_not_wrapped_without_an_end(host: Host, session: int) -> None:
    """PKCS #8 needs a mechanism that keeps its length, and room."""
    wrapping = aes(host, session)
    public, _ = host.call(Module.generate_pair, session, CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 1024}, {})
    private = host.call(lambda m: probes.ec_pair(m, session, b"x", probes.SESSION, EXTRACTABLE=b"\1")[1])
    for mechanism, parameter, key in (("AES_CBC", IV, wrapping), ("AES_ECB", b"", wrapping), ("RSA_PKCS", b"", public)):
        assert host.call(probes.wrapped, session, CKM[mechanism], parameter, key, private) == CKR.KEY_NOT_WRAPPABLE


def test_rsa_aes_key_wrap(simulator: Simulator, host: Host, session: int) -> None:
    """A private key of any length for the card's RSA key; the card can go in the middle, too."""
    public = host.call(lambda m: m.find(session, {CKA.CLASS: CKO.PUBLIC_KEY, CKA.ID: b"\3"})[0])
    card = host.call(probes.key, session, b"\3")
    private = host.call(lambda m: probes.ec_pair(m, session, b"x", probes.SESSION, EXTRACTABLE=b"\1")[1])
    data = host.call(lambda m: probes.wrapped(m, session, CKM.RSA_AES_KEY_WRAP, rsa_aes(m), public, private))
    template = {int(CKA.CLASS): int(CKO.PRIVATE_KEY), int(CKA.KEY_TYPE): int(CKK.EC), int(CKA.SIGN): b"\1"}

    def back(m: Module, given: bytes) -> int:
        return probes.unwrapped(m, session, CKM.RSA_AES_KEY_WRAP, rsa_aes(m), card, given, template)

    handle = host.call(back, data)
    points = [host.call(Module.attribute, session, each, CKA.EC_POINT) for each in (private, handle)]
    assert points[0] == points[1]
    for spoilt, expected in (
        (data[:-1] + bytes([data[-1] ^ 1]), CKR.WRAPPED_KEY_INVALID),
        (b"\xff" * 256 + data[256:], CKR.WRAPPED_KEY_INVALID),
        (data[:-3], CKR.WRAPPED_KEY_LEN_RANGE),
        (b"", CKR.WRAPPED_KEY_LEN_RANGE),
    ):
        assert host.call(back, spoilt) == -expected
    simulator.arm(Trigger("remove", {"reader": "front"}, ins=0x87, nth=2))
    assert host.call(back, data) == -CKR.DEVICE_REMOVED
    assert host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID


@pytest.mark.parametrize("hashed", ["SHA_1", "SHA384", "SHA3_256"])
def test_oaep_for_the_card(host: Host, session: int, hashed: str) -> None:
    """Encrypted with the public key, decrypted on the card, with every kind of hash."""
    public = host.call(lambda m: m.find(session, {CKA.CLASS: CKO.PUBLIC_KEY, CKA.ID: b"\3"})[0])
    card = host.call(probes.key, session, b"\3")

    def call(m: Module, way: str, key: int, data: bytes) -> Any:
        told = {"mgf": CKG.MGF1_SHA1, "source": 1, "pSourceData": b"label", "ulSourceDataLen": 5}
        parameter = probes.struct(m, "CK_RSA_PKCS_OAEP_PARAMS", hashAlg=CKM[hashed], **told)
        return probes.passed(m, session, way, CKM.RSA_PKCS_OAEP, parameter, key, data)

    sealed = host.call(call, "Encrypt", public, b"data")
    assert host.call(call, "Decrypt", card, sealed) == b"data"
    assert host.call(call, "Decrypt", card, sealed[:-1]) == CKR.ENCRYPTED_DATA_LEN_RANGE
    assert host.call(call, "Encrypt", public, bytes(250)) == CKR.DATA_LEN_RANGE


_BEGINNINGS = {
    "C_EncryptUpdate": ("C_EncryptInit", CKM.AES_CBC, IV),
    "C_DecryptUpdate": ("C_DecryptInit", CKM.AES_CBC, IV),
    "C_SignUpdate": ("C_SignInit", CKM.AES_CMAC, b""),
    "C_VerifyUpdate": ("C_VerifyInit", CKM.AES_CMAC, b""),
}


@pytest.mark.parametrize("update", _BEGINNINGS)
@pytest.mark.parametrize("private", [b"\0", b"\1"])
def test_operations_with_private_keys_end_with_the_login(host: Host, session: int, update: str, private: bytes) -> None:
    """Also those in other sessions; a public key goes on working."""
    begin, mechanism, parameter = _BEGINNINGS[update]
    key = aes(host, session, PRIVATE=private)
    other = host.call(Module.open_session, 0)
    host.call(probes.begin, begin, other, mechanism, parameter, key)
    host.call(Module.logout, session)

    def go_on(m: Module) -> int:
        both = update in ("C_SignUpdate", "C_VerifyUpdate")
        room = () if both else (probes.bytearray_of(m, 16), m.ffi.new("CK_ULONG *", 16))
        return m.call(update, other, bytes(16), 16, *room)

    # What has ended with the login is not said to be the login's fault by functions whose lists do not have that.
    gone = CKR.OPERATION_NOT_INITIALIZED if update in ("C_EncryptUpdate", "C_VerifyUpdate") else CKR.USER_NOT_LOGGED_IN
    assert host.call(go_on) == (gone if private == b"\1" else CKR.OK)
    if private == b"\1":
        assert host.call(go_on) == CKR.OPERATION_NOT_INITIALIZED


def test_messages_end_with_the_login(host: Host, session: int) -> None:
    """The key for many messages, too."""
    key = aes(host, session, PRIVATE=b"\1")
    other = host.call(Module.open_session, 0)
    host.call(probes.message_begun, other, "Encrypt", key)
    assert host.call(probes.message_sent, other, "Encrypt", b"text") == CKR.OK
    host.call(Module.logout, session)
    assert host.call(probes.message_sent, other, "Encrypt", b"text") == CKR.OPERATION_NOT_INITIALIZED


@pytest.mark.parametrize("way", ["Encrypt", "Decrypt"])
def test_messages_end_with_the_card(simulator: Simulator, host: Host, session: int, way: str) -> None:
    """Between two messages, and at the call itself."""
    for pull in ("between", "during"):
        key = aes(host, session)
        host.call(probes.message_begun, session, way, key)
        if pull == "between":
            simulator.remove("front")
        else:
            simulator.arm(Trigger("remove", {"reader": "front"}, call=f"C_{way}Message"))
        allowed = {CKR.SESSION_HANDLE_INVALID, CKR.DEVICE_REMOVED}
        assert host.call(probes.message_sent, session, way, b"text") in allowed
        simulator.insert("front")
        session = host.call(probes.user_session, read_write=True)


def test_card_pulled_between_wrapping_and_unwrapping(simulator: Simulator, host: Host, session: int) -> None:
    """The session's keys are gone with it, and no number of theirs is another key's."""
    wrapping, key = aes(host, session), aes(host, session, bytes(32))
    data = host.call(probes.wrapped, session, CKM.AES_KEY_WRAP, b"", wrapping, key)
    simulator.remove("front")
    simulator.insert("front")
    again = host.call(probes.user_session, read_write=True)

    def back(m: Module, s: int, w: Any, d: Any) -> Any:
        return probes.unwrapped(m, s, CKM.AES_KEY_WRAP, b"", w, d, {CKA.KEY_TYPE: CKK.AES})

    assert host.call(back, s=session, w=wrapping, d=data) == -CKR.SESSION_HANDLE_INVALID
    assert host.call(back, s=again, w=wrapping, d=data) == -CKR.UNWRAPPING_KEY_HANDLE_INVALID
    fresh = aes(host, again)
    assert fresh not in (wrapping, key)
    assert host.call(back, s=again, w=fresh, d=data) > 0


@pytest.mark.parametrize(
    "call", ["C_DigestEncryptUpdate", "C_SignEncryptUpdate", "C_DecryptDigestUpdate", "C_DecryptVerifyUpdate"]
)
def test_two_operations_at_once(simulator: Simulator, host: Host, session: int, call: str) -> None:
    """Too little room takes nothing in; the same as one after the other; the card takes both along."""
    key = aes(host, session)
    first, second = {
        "C_DigestEncryptUpdate": ("Digest", "Encrypt"),
        "C_SignEncryptUpdate": ("Sign", "Encrypt"),
        "C_DecryptDigestUpdate": ("Digest", "Decrypt"),
        "C_DecryptVerifyUpdate": ("Verify", "Decrypt"),
    }[call]
    data = bytes(range(48))
    result = host.call(probes.both_at_once, session, call, first, second, key, data)
    assert result == "the same"
    host.call(probes.begin_both, session, first, second, key)
    simulator.arm(Trigger("remove", {"reader": "front"}, call=call))

    def taken(m: Module, s: int) -> Any:
        return m.call(call, s, bytes(16), 16, probes.bytearray_of(m, 16), m.ffi.new("CK_ULONG *", 16))

    assert host.call(taken, s=session) in (CKR.SESSION_HANDLE_INVALID, CKR.DEVICE_REMOVED)
    simulator.insert("front")
    again = host.call(probes.user_session, read_write=True)
    assert host.call(taken, s=again) == CKR.OPERATION_NOT_INITIALIZED


def test_no_state(host: Host, session: int) -> None:
    """Nothing where a state should be is a wrong argument, something else a wrong state."""
    assert host.call(lambda m: m.call("C_SetOperationState", session, m.ffi.NULL, 0, 0, 0)) == CKR.ARGUMENTS_BAD
    assert host.call(Module.call, "C_SetOperationState", session, b"x", 1, 0, 0) == CKR.SAVED_STATE_INVALID


def test_states_do_not_outlive_the_card(simulator: Simulator, host: Host, session: int) -> None:
    """Another session of the same card has them; the card in again has not, and neither has the other reader's."""
    simulator.plug("second")
    simulator.insert("second", CardRequest(name="Bob"))
    host.call(Module.slots)
    state = host.call(probes.digest_state, session, b"first ")
    there = host.call(Module.open_session, 1)
    assert host.call(probes.digest_from, there, state, b"") == CKR.SAVED_STATE_INVALID
    simulator.remove("front")
    simulator.insert("front")
    again = host.call(Module.open_session, 0)
    assert host.call(probes.digest_from, again, state, b"") == CKR.SAVED_STATE_INVALID


def test_state_of_a_private_mac(host: Host, session: int) -> None:
    """It can be kept, and goes on only for the user."""
    key = aes(host, session, PRIVATE=b"\1")
    host.call(probes.begin, "C_SignInit", session, CKM.AES_CMAC, b"", key)
    host.call(Module.check, "C_SignUpdate", session, b"abc", 3)
    state = host.call(probes.state_of, session)
    host.call(Module.logout, session)
    assert host.call(Module.call, "C_SetOperationState", session, state, len(state), 0, 0) == CKR.OK
    assert host.call(Module.call, "C_SignUpdate", session, b"abc", 3) == CKR.USER_NOT_LOGGED_IN
