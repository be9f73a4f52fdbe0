# SPDX-License-Identifier: MIT
"""What keys of the session may be made to tell, for how long they work, and what is left when the card goes."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKA, CKK, CKM, CKO, CKR

KEY, IV = bytes(range(16)), bytes(range(16, 32))
STRING = "struct(m, 'CK_KEY_DERIVATION_STRING_DATA', pData=b'0123456789abcdef', ulLen=16)"
READABLE = {
    "CONCATENATE_BASE_AND_DATA": STRING,
    "CONCATENATE_DATA_AND_BASE": STRING,
    "XOR_BASE_AND_DATA": STRING,
    "EXTRACT_KEY_FROM_KEY": "bytes(8)",
}
ONE_WAY = {
    "SHA256_KEY_DERIVATION": "b''",
    "AES_ECB_ENCRYPT_DATA": STRING,
    "AES_CBC_ENCRYPT_DATA": "struct(m, 'CK_AES_CBC_ENCRYPT_DATA_PARAMS', iv=[1] * 16, pData=b'0' * 16, length=16)",
}
OAEP = "struct(m, 'CK_RSA_PKCS_OAEP_PARAMS', hashAlg=CKM.SHA3_256, mgf=CKG.MGF1_SHA256, source=0)"
RSA_AES = f"struct(m, 'CK_RSA_AES_KEY_WRAP_PARAMS', ulAESKeyBits=256, pOAEPParams={OAEP})"


@pytest.fixture
def session(host: Any) -> int:
    """A read/write session with the user logged in, on the standard card."""
    return int(host.eval("user_session(m, read_write=True)"))


def aes(host: Any, session: int, value: bytes = KEY, **more: bytes) -> int:
    """An AES key of the session."""
    return int(host.eval("secret(m, s, CKK.AES, v, **t)", s=session, v=value, t=more))


def booleans(host: Any, session: int, handle: int) -> dict[str, bool]:
    """What a key says of its secrecy."""
    names = ("SENSITIVE", "EXTRACTABLE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL")
    asked = "[m.attribute(s, h, CKA[n]) == b'\\1' for n in w]"
    return dict(zip(names, host.eval(asked, s=session, h=handle, w=names), strict=True))


@pytest.mark.parametrize("mechanism", READABLE)
def test_what_is_read_off_a_key_stays_secret(host: Any, session: int, mechanism: str) -> None:
    """A derivation that can be undone makes a key as secret as its base, and no other (3.1, 6.43)."""
    parameter = READABLE[mechanism]
    base = aes(host, session, SENSITIVE=b"\1", EXTRACTABLE=b"\0")
    readable = f"derived_value(m, s, CKM.{mechanism}, {parameter}, h, VALUE_LEN=16)"
    assert host.eval(readable, s=session, h=base) == -CKR.TEMPLATE_INCONSISTENT
    made = f"derived(m, s, CKM.{mechanism}, {parameter}, h, {{CKA.VALUE_LEN: 16}})"
    told = booleans(host, session, host.eval(made, s=session, h=base))
    assert (told["SENSITIVE"], told["EXTRACTABLE"], told["LOCAL"]) == (True, False, False)
    open_base = aes(host, session)
    assert len(host.eval(readable, s=session, h=open_base)) == 16


@pytest.mark.parametrize("mechanism", ONE_WAY)
def test_what_does_not_tell_its_base_may_be_read(host: Any, session: int, mechanism: str) -> None:
    """The template decides; that it has always been secret it cannot say."""
    base = aes(host, session, SENSITIVE=b"\1", EXTRACTABLE=b"\0")
    call = f"derived_value(m, s, CKM.{mechanism}, {ONE_WAY[mechanism]}, h, VALUE_LEN=16)"
    assert len(host.eval(call, s=session, h=base)) == 16


def test_lengths_of_derived_keys(host: Any, session: int) -> None:
    """Those of the key type, no more than there is."""
    base = aes(host, session)
    call = "derived(m, s, CKM.SHA256_KEY_DERIVATION, b'', h, t)"
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
        handle = host.eval(call, s=session, h=base, t=given)
        if expected < 0:
            assert handle == expected
            continue
        value = host.eval("m.attribute(s, h, CKA.VALUE)", s=session, h=handle)
        assert len(value) == expected
        if template.get(CKA.KEY_TYPE) == CKK.DES3:
            assert all(each.bit_count() % 2 for each in value)


def test_templates_of_a_base_key(host: Any, session: int) -> None:
    """What CKA_DERIVE_TEMPLATE demands the new key has; the opposite is refused."""
    create = "create_with_template(m, s, CKA.DERIVE_TEMPLATE, {CKA.SENSITIVE: b'\\1', CKA.ENCRYPT: b'\\0'})"
    base = host.eval(create, s=session)
    made = "derived(m, s, CKM.SHA256_KEY_DERIVATION, b'', h, t)"
    handle = host.eval(made, s=session, h=base, t={int(CKA.VALUE_LEN): 16})
    assert booleans(host, session, handle)["SENSITIVE"]
    refused = host.eval(made, s=session, h=base, t={int(CKA.SENSITIVE): b"\0"})
    assert refused == -CKR.TEMPLATE_INCONSISTENT


@pytest.mark.parametrize("mechanism", ["AES_ECB", "AES_CBC", "DES3_CBC"])
@pytest.mark.parametrize("size", [1, 16, 24, 40, 129])
def test_zeros_behind_a_wrapped_key(host: Any, session: int, mechanism: str, size: int) -> None:
    """A cipher of whole blocks fills up; CKA_VALUE_LEN tells where the key ends, and may not tell what is not so."""
    kind, value = (CKK.DES3, bytes(range(24))) if mechanism.startswith("DES3") else (CKK.AES, KEY)
    wrapping = host.eval("secret(m, s, k, v)", s=session, k=int(kind), v=value)
    secret = bytes(range(1, size + 1))
    key = host.eval("secret(m, s, CKK.GENERIC_SECRET, v)", s=session, v=secret)
    parameter = b"" if mechanism == "AES_ECB" else IV[: 8 if mechanism.startswith("DES3") else 16]
    names = {"s": session, "w": wrapping, "p": parameter}
    data = host.eval(f"wrapped(m, s, CKM.{mechanism}, p, w, h)", h=key, **names)
    template = {int(CKA.KEY_TYPE): int(CKK.GENERIC_SECRET), int(CKA.EXTRACTABLE): b"\1", int(CKA.SENSITIVE): b"\0"}
    back = f"unwrapped(m, s, CKM.{mechanism}, p, w, d, t)"
    handle = host.eval(back, d=data, t={**template, int(CKA.VALUE_LEN): size}, **names)
    assert host.eval("m.attribute(s, h, CKA.VALUE)", s=session, h=handle) == secret
    for wrong in (len(data) + 1, len(data) - 16):
        if wrong > 0:
            value = host.eval(back, d=data, t={**template, int(CKA.VALUE_LEN): wrong}, **names)
            assert value == -CKR.TEMPLATE_INCONSISTENT


def test_private_keys_are_not_wrapped_without_an_end(host: Any, session: int) -> None:
    """PKCS #8 needs a mechanism that keeps its length, and room."""
    wrapping = aes(host, session)
    public, _ = host.eval("m.generate_pair(s, CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 1024}, {})", s=session)
    private = host.eval("ec_pair(m, s, b'x', SESSION, EXTRACTABLE=b'\\1')[1]", s=session)
    for mechanism, parameter, key in (("AES_CBC", IV, wrapping), ("AES_ECB", b"", wrapping), ("RSA_PKCS", b"", public)):
        call = f"wrapped(m, s, CKM.{mechanism}, p, w, h)"
        assert host.eval(call, s=session, p=parameter, w=key, h=private) == CKR.KEY_NOT_WRAPPABLE


def test_rsa_aes_key_wrap(simulator: Simulator, host: Any, session: int) -> None:
    """A private key of any length for the card's RSA key; the card can go in the middle, too."""
    public = host.eval("m.find(s, {CKA.CLASS: CKO.PUBLIC_KEY, CKA.ID: b'\\3'})[0]", s=session)
    card = host.eval("key(m, s, b'\\3')", s=session)
    private = host.eval("ec_pair(m, s, b'x', SESSION, EXTRACTABLE=b'\\1')[1]", s=session)
    data = host.eval(f"wrapped(m, s, CKM.RSA_AES_KEY_WRAP, {RSA_AES}, w, h)", s=session, w=public, h=private)
    template = {int(CKA.CLASS): int(CKO.PRIVATE_KEY), int(CKA.KEY_TYPE): int(CKK.EC), int(CKA.SIGN): b"\1"}
    back = f"unwrapped(m, s, CKM.RSA_AES_KEY_WRAP, {RSA_AES}, w, d, t)"
    handle = host.eval(back, s=session, w=card, d=data, t=template)
    points = [host.eval("m.attribute(s, h, CKA.EC_POINT)", s=session, h=each) for each in (private, handle)]
    assert points[0] == points[1]
    for spoilt, expected in (
        (data[:-1] + bytes([data[-1] ^ 1]), CKR.WRAPPED_KEY_INVALID),
        (b"\xff" * 256 + data[256:], CKR.WRAPPED_KEY_INVALID),
        (data[:-3], CKR.WRAPPED_KEY_LEN_RANGE),
        (b"", CKR.WRAPPED_KEY_LEN_RANGE),
    ):
        assert host.eval(back, s=session, w=card, d=spoilt, t=template) == -expected
    simulator.arm(Trigger("remove", {"reader": "front"}, ins=0x87, nth=2))
    assert host.eval(back, s=session, w=card, d=data, t=template) == -CKR.DEVICE_REMOVED
    assert host.eval("rv(lambda: m.session_state(s))", s=session) == CKR.SESSION_HANDLE_INVALID


@pytest.mark.parametrize("hashed", ["SHA_1", "SHA384", "SHA3_256"])
def test_oaep_for_the_card(host: Any, session: int, hashed: str) -> None:
    """Encrypted with the public key, decrypted on the card, with every kind of hash."""
    public = host.eval("m.find(s, {CKA.CLASS: CKO.PUBLIC_KEY, CKA.ID: b'\\3'})[0]", s=session)
    card = host.eval("key(m, s, b'\\3')", s=session)
    fields = f"hashAlg=CKM.{hashed}, mgf=CKG.MGF1_SHA1, source=1, pSourceData=b'label', ulSourceDataLen=5"
    parameter = f"struct(m, 'CK_RSA_PKCS_OAEP_PARAMS', {fields})"
    call = f"passed(m, s, w, CKM.RSA_PKCS_OAEP, {parameter}, h, d)"
    sealed = host.eval(call, s=session, w="Encrypt", h=public, d=b"data")
    assert host.eval(call, s=session, w="Decrypt", h=card, d=sealed) == b"data"
    assert host.eval(call, s=session, w="Decrypt", h=card, d=sealed[:-1]) == CKR.ENCRYPTED_DATA_LEN_RANGE
    assert host.eval(call, s=session, w="Encrypt", h=public, d=bytes(250)) == CKR.DATA_LEN_RANGE


_BEGINNINGS = {
    "C_EncryptUpdate": ("C_EncryptInit", CKM.AES_CBC, IV),
    "C_DecryptUpdate": ("C_DecryptInit", CKM.AES_CBC, IV),
    "C_SignUpdate": ("C_SignInit", CKM.AES_CMAC, b""),
    "C_VerifyUpdate": ("C_VerifyInit", CKM.AES_CMAC, b""),
}


@pytest.mark.parametrize("update", _BEGINNINGS)
@pytest.mark.parametrize("private", [b"\0", b"\1"])
def test_operations_with_private_keys_end_with_the_login(host: Any, session: int, update: str, private: bytes) -> None:
    """Also those in other sessions; a public key goes on working."""
    begin, mechanism, parameter = _BEGINNINGS[update]
    key = aes(host, session, PRIVATE=private)
    other = host.eval("m.open_session(0)")
    start = f"m.check('{begin}', s, (b := m.mechanism(k, p))[0], h)"
    host.eval(start, s=other, k=int(mechanism), p=parameter, h=key)
    host.eval("m.logout(s)", s=session)
    buffers = (
        "" if update in ("C_SignUpdate", "C_VerifyUpdate") else ", bytearray_of(m, 16), m.ffi.new('CK_ULONG *', 16)"
    )
    call = f"m.call('{update}', s, bytes(16), 16{buffers})"
    # What has ended with the login is not said to be the login's fault by functions whose lists do not have that.
    gone = CKR.OPERATION_NOT_INITIALIZED if update in ("C_EncryptUpdate", "C_VerifyUpdate") else CKR.USER_NOT_LOGGED_IN
    assert host.eval(call, s=other) == (gone if private == b"\1" else CKR.OK)
    if private == b"\1":
        assert host.eval(call, s=other) == CKR.OPERATION_NOT_INITIALIZED


def test_messages_end_with_the_login(host: Any, session: int) -> None:
    """The key for many messages, too."""
    key = aes(host, session, PRIVATE=b"\1")
    other = host.eval("m.open_session(0)")
    host.eval("message_begun(m, s, 'Encrypt', h)", s=other, h=key)
    assert host.eval("message_sent(m, s, 'Encrypt', b'text')", s=other) == CKR.OK
    host.eval("m.logout(s)", s=session)
    assert host.eval("message_sent(m, s, 'Encrypt', b'text')", s=other) == CKR.OPERATION_NOT_INITIALIZED


@pytest.mark.parametrize("way", ["Encrypt", "Decrypt"])
def test_messages_end_with_the_card(simulator: Simulator, host: Any, session: int, way: str) -> None:
    """Between two messages, and at the call itself."""
    for pull in ("between", "during"):
        key = aes(host, session)
        host.eval("message_begun(m, s, w, h)", s=session, w=way, h=key)
        if pull == "between":
            simulator.remove("front")
        else:
            simulator.arm(Trigger("remove", {"reader": "front"}, call=f"C_{way}Message"))
        allowed = {CKR.SESSION_HANDLE_INVALID, CKR.DEVICE_REMOVED}
        assert host.eval("message_sent(m, s, w, b'text')", s=session, w=way) in allowed
        simulator.insert("front")
        session = host.eval("user_session(m, read_write=True)")


def test_card_pulled_between_wrapping_and_unwrapping(simulator: Simulator, host: Any, session: int) -> None:
    """The session's keys are gone with it, and no number of theirs is another key's."""
    wrapping, key = aes(host, session), aes(host, session, bytes(32))
    data = host.eval("wrapped(m, s, CKM.AES_KEY_WRAP, b'', w, h)", s=session, w=wrapping, h=key)
    simulator.remove("front")
    simulator.insert("front")
    again = host.eval("user_session(m, read_write=True)")
    back = "unwrapped(m, s, CKM.AES_KEY_WRAP, b'', w, d, {CKA.KEY_TYPE: CKK.AES})"
    assert host.eval(back, s=session, w=wrapping, d=data) == -CKR.SESSION_HANDLE_INVALID
    assert host.eval(back, s=again, w=wrapping, d=data) == -CKR.UNWRAPPING_KEY_HANDLE_INVALID
    fresh = aes(host, again)
    assert fresh not in (wrapping, key)
    assert host.eval(back, s=again, w=fresh, d=data) > 0


@pytest.mark.parametrize(
    "call", ["C_DigestEncryptUpdate", "C_SignEncryptUpdate", "C_DecryptDigestUpdate", "C_DecryptVerifyUpdate"]
)
def test_two_operations_at_once(simulator: Simulator, host: Any, session: int, call: str) -> None:
    """Too little room takes nothing in; the same as one after the other; the card takes both along."""
    key = aes(host, session)
    first, second = {
        "C_DigestEncryptUpdate": ("Digest", "Encrypt"),
        "C_SignEncryptUpdate": ("Sign", "Encrypt"),
        "C_DecryptDigestUpdate": ("Digest", "Decrypt"),
        "C_DecryptVerifyUpdate": ("Verify", "Decrypt"),
    }[call]
    data = bytes(range(48))
    result = host.eval("both_at_once(m, s, n, a, b, h, d)", s=session, n=call, a=first, b=second, h=key, d=data)
    assert result == "the same"
    host.eval("begin_both(m, s, a, b, h)", s=session, a=first, b=second, h=key)
    simulator.arm(Trigger("remove", {"reader": "front"}, call=call))
    taken = f"m.call('{call}', s, bytes(16), 16, bytearray_of(m, 16), m.ffi.new('CK_ULONG *', 16))"
    assert host.eval(taken, s=session) in (CKR.SESSION_HANDLE_INVALID, CKR.DEVICE_REMOVED)
    simulator.insert("front")
    again = host.eval("user_session(m, read_write=True)")
    assert host.eval(taken, s=again) == CKR.OPERATION_NOT_INITIALIZED


def test_no_state(host: Any, session: int) -> None:
    """Nothing where a state should be is a wrong argument, something else a wrong state."""
    assert host.eval("m.call('C_SetOperationState', s, m.ffi.NULL, 0, 0, 0)", s=session) == CKR.ARGUMENTS_BAD
    assert host.eval("m.call('C_SetOperationState', s, b'x', 1, 0, 0)", s=session) == CKR.SAVED_STATE_INVALID


def test_states_do_not_outlive_the_card(simulator: Simulator, host: Any, session: int) -> None:
    """Another session of the same card has them; the card in again has not, and neither has the other reader's."""
    simulator.plug("second")
    simulator.insert("second", CardRequest(name="Bob"))
    host.eval("m.slots()")
    state = host.eval("digest_state(m, s, b'first ')", s=session)
    there = host.eval("m.open_session(1)")
    assert host.eval("digest_from(m, s, t, b'')", s=there, t=state) == CKR.SAVED_STATE_INVALID
    simulator.remove("front")
    simulator.insert("front")
    again = host.eval("m.open_session(0)")
    assert host.eval("digest_from(m, s, t, b'')", s=again, t=state) == CKR.SAVED_STATE_INVALID


def test_state_of_a_private_mac(host: Any, session: int) -> None:
    """It can be kept, and goes on only for the user."""
    key = aes(host, session, PRIVATE=b"\1")
    host.eval("m.check('C_SignInit', s, (b := m.mechanism(CKM.AES_CMAC))[0], h)", s=session, h=key)
    host.eval("m.check('C_SignUpdate', s, b'abc', 3)", s=session)
    state = host.eval("state_of(m, s)", s=session)
    host.eval("m.logout(s)", s=session)
    assert host.eval("m.call('C_SetOperationState', s, t, len(t), 0, 0)", s=session, t=state) == CKR.OK
    assert host.eval("m.call('C_SignUpdate', s, b'abc', 3)", s=session) == CKR.USER_NOT_LOGGED_IN
