# SPDX-License-Identifier: MIT
"""Session keys at work: against the library itself, in one part and in many, and with the card pulled in between."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKA, CKK, CKM, CKO, CKR
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import (
    aes_key_unwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

from ..shared.host import key_probes, probes
from ..shared.host.host import Host

KEY, DES3_KEY = bytes(range(16)), bytes(range(24))
IV, NONCE = bytes(range(16, 32)), bytes(12)
COUNTER = (128).to_bytes(8, "little") + IV


@pytest.fixture
def session(host: Host) -> int:
    """A read/write session with the user logged in, on the standard card."""
    return int(host.call(probes.user_session, read_write=True))


def through(host: Host, session: int, way: str, mechanism: int, parameter: Any, key: int, parts: Any) -> Any:
    """What comes out, or a CK_RV."""

    def call(m: Module, s: int, w: Any, k: int, p: Any, h: int, d: Any) -> Any:
        return probes.passed(m, s, w, k, p, h, d)

    return host.call(call, s=session, w=way, k=int(mechanism), p=parameter, h=key, d=parts)


def split(data: bytes, *sizes: int) -> list[bytes]:
    """Parts of these sizes, and the rest."""
    parts = []
    for size in sizes:
        parts.append(data[:size])
        data = data[size:]
    return [*parts, data]


CIPHERS: dict[str, tuple[int, int, Any, int]] = {
    "AES-ECB": (CKM.AES_ECB, CKK.AES, b"", 16),
    "AES-CBC": (CKM.AES_CBC, CKK.AES, IV, 16),
    "AES-CBC-PAD": (CKM.AES_CBC_PAD, CKK.AES, IV, 1),
    "AES-CTR": (CKM.AES_CTR, CKK.AES, COUNTER, 1),
    "AES-OFB": (CKM.AES_OFB, CKK.AES, IV, 1),
    "AES-CFB128": (CKM.AES_CFB128, CKK.AES, IV, 1),
    "AES-CFB8": (CKM.AES_CFB8, CKK.AES, IV, 1),
    "AES-GCM": (CKM.AES_GCM, CKK.AES, {"iv": NONCE, "additional": b"header"}, 1),
    "3DES-ECB": (CKM.DES3_ECB, CKK.DES3, b"", 8),
    "3DES-CBC": (CKM.DES3_CBC, CKK.DES3, IV[:8], 8),
    "3DES-CBC-PAD": (CKM.DES3_CBC_PAD, CKK.DES3, IV[:8], 1),
}


@pytest.mark.parametrize("name", CIPHERS)
def test_cipher_in_one_part_and_in_many(host: Host, session: int, name: str) -> None:
    """The same both ways, and back again; a length that is asked for is never exceeded."""
    mechanism, key_type, parameter, block = CIPHERS[name]
    value = KEY if key_type == CKK.AES else DES3_KEY
    key = host.call(probes.secret, session, int(key_type), value)
    for size in (0, 16, 48, 1000 // block * block, 4096):
        data = bytes(number & 0xFF for number in range(size))
        whole = through(host, session, "Encrypt", mechanism, parameter, key, data)
        assert isinstance(whole, bytes), whole
        for sizes in ((1, 15, 17), (16, 16), (0, 7, 100)):
            assert through(host, session, "Encrypt", mechanism, parameter, key, split(data, *sizes)) == whole
            assert through(host, session, "Decrypt", mechanism, parameter, key, split(whole, *sizes)) == data
        assert through(host, session, "Decrypt", mechanism, parameter, key, whole) == data


def test_ciphers_are_what_they_are_called(host: Host, session: int) -> None:
    """Against the library."""
    key = host.call(probes.secret, session, int(CKK.AES), KEY)
    data = bytes(64)
    for mechanism, parameter, mode in (
        (CKM.AES_ECB, b"", modes.ECB()),
        (CKM.AES_CBC, IV, modes.CBC(IV)),
        (CKM.AES_CTR, COUNTER, modes.CTR(IV)),
    ):
        encryptor = Cipher(algorithms.AES(KEY), mode).encryptor()
        assert through(host, session, "Encrypt", mechanism, parameter, key, data) == encryptor.update(data)
    sealed = through(host, session, "Encrypt", CKM.AES_GCM, {"iv": NONCE, "additional": b"x"}, key, data)
    assert sealed == AESGCM(KEY).encrypt(NONCE, data, b"x")


def test_wrong_lengths_and_tags(host: Host, session: int) -> None:
    """The standard's code, and the operation is over."""
    key = host.call(probes.secret, session, int(CKK.AES), KEY)
    assert through(host, session, "Encrypt", CKM.AES_CBC, IV, key, bytes(15)) == CKR.DATA_LEN_RANGE
    assert through(host, session, "Encrypt", CKM.AES_CBC, IV, key, [bytes(15)]) == CKR.DATA_LEN_RANGE
    assert through(host, session, "Decrypt", CKM.AES_CBC, IV, key, bytes(17)) == CKR.ENCRYPTED_DATA_LEN_RANGE
    assert through(host, session, "Decrypt", CKM.AES_CBC_PAD, IV, key, bytes(17)) == CKR.ENCRYPTED_DATA_LEN_RANGE
    assert through(host, session, "Decrypt", CKM.AES_CBC_PAD, IV, key, bytes(16)) == CKR.ENCRYPTED_DATA_INVALID
    gcm = {"iv": NONCE, "additional": b""}
    assert through(host, session, "Decrypt", CKM.AES_GCM, gcm, key, bytes(15)) == CKR.ENCRYPTED_DATA_LEN_RANGE
    assert through(host, session, "Decrypt", CKM.AES_GCM, gcm, key, bytes(32)) == CKR.ENCRYPTED_DATA_INVALID
    counting = (4).to_bytes(8, "little") + bytes(16)
    assert through(host, session, "Encrypt", CKM.AES_CTR, counting, key, bytes(257)) == CKR.DATA_LEN_RANGE
    assert isinstance(through(host, session, "Encrypt", CKM.AES_CTR, counting, key, bytes(256)), bytes)


@pytest.mark.parametrize("name", ["MD5", "SHA_1", "SHA256", "SHA512", "SHA512_256", "SHA3_256", "SHA3_512"])
def test_digests_and_hmacs(host: Host, session: int, name: str) -> None:
    """Against hashlib; also of a given length."""
    python = {"SHA_1": "sha1", "SHA512_256": "sha512_256"}.get(name, name.lower())
    data = b"what is digested" * 100
    for parts in (data, split(data, 1, 100)):
        assert through(host, session, "Digest", CKM[name], b"", 0, parts) == hashlib.new(python, data).digest()
    key = host.call(probes.secret, session, int(CKK.GENERIC_SECRET), b"key")
    expected = hmac.new(b"key", data, python).digest()
    assert through(host, session, "Sign", CKM[f"{name}_HMAC"], b"", key, data) == expected
    own = host.call(probes.secret, session, int(CKK[f"{name}_HMAC"]), b"key")
    assert through(host, session, "Sign", CKM[f"{name}_HMAC"], b"", own, data) == expected
    other = CKM.SHA384_HMAC
    assert through(host, session, "Sign", other, b"", own, data) == CKR.KEY_TYPE_INCONSISTENT
    cut = (7).to_bytes(8, "little")
    assert through(host, session, "Sign", CKM[f"{name}_HMAC_GENERAL"], cut, key, split(data, 5)) == expected[:7]


def test_cmac(host: Host, session: int) -> None:
    """The example of RFC 4493."""
    value = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    key = host.call(probes.secret, session, int(CKK.AES), value)
    assert through(host, session, "Sign", CKM.AES_CMAC, b"", key, b"").hex() == "bb1d6929e95937287fa37d129b756746"


def test_wrapping_and_unwrapping(host: Host, session: int) -> None:
    """Secret and private keys, by AES and by RSA; what must not go out does not."""
    wrapping = host.call(probes.secret, session, int(CKK.AES), KEY)
    inner = host.call(probes.secret, session, int(CKK.AES), bytes(32))
    data = host.call(probes.wrapped, session, CKM.AES_KEY_WRAP, b"", wrapping, inner)
    assert aes_key_unwrap(KEY, data) == bytes(32)
    data = host.call(probes.wrapped, session, CKM.AES_KEY_WRAP_PAD, b"", wrapping, inner)
    assert aes_key_unwrap_with_padding(KEY, data) == bytes(32)

    def back(m: Module, s: int, k: int, p: Any, w: Any, d: Any) -> Any:
        return probes.unwrapped(
            m, s, k, p, w, d, {CKA.KEY_TYPE: CKK.AES, CKA.EXTRACTABLE: b"\1", CKA.SENSITIVE: b"\x00"}
        )

    for mechanism, parameter in ((CKM.AES_KEY_WRAP, b""), (CKM.AES_KEY_WRAP_PAD, b""), (CKM.AES_CBC_PAD, IV)):
        data = host.call(probes.wrapped, session, mechanism, parameter, wrapping, inner)
        handle = host.call(back, s=session, k=int(mechanism), p=parameter, w=wrapping, d=data)
        assert host.call(Module.attribute, session, handle, CKA.VALUE) == bytes(32)
        spoilt = data[:-1] + bytes([data[-1] ^ 1])
        if mechanism != CKM.AES_CBC_PAD:
            refused = host.call(back, s=session, k=int(mechanism), p=parameter, w=wrapping, d=spoilt)
            assert refused == -CKR.WRAPPED_KEY_INVALID
    private = host.call(lambda m: probes.ec_pair(m, session, b"x", probes.SESSION, EXTRACTABLE=b"\1")[1])
    data = host.call(probes.wrapped, session, CKM.AES_CBC_PAD, IV, wrapping, private)

    def again(m: Module, s: int, k: int, p: Any, w: Any, d: Any) -> Any:
        return probes.unwrapped(m, s, k, p, w, d, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.EC, CKA.SIGN: b"\1"})

    handle = host.call(again, s=session, k=int(CKM.AES_CBC_PAD), p=IV, w=wrapping, d=data)
    assert len(host.call(probes.ecdsa, session, handle)) == 64
    fixed = host.call(probes.secret, session, int(CKK.AES), KEY, EXTRACTABLE=b"\x00")
    trusting = host.call(probes.secret, session, int(CKK.AES), KEY, WRAP_WITH_TRUSTED=b"\1")
    card = host.call(probes.key, session, b"\1")
    for handle, expected in (
        (fixed, CKR.KEY_UNEXTRACTABLE),
        (trusting, CKR.KEY_NOT_WRAPPABLE),
        (card, CKR.KEY_UNEXTRACTABLE),
    ):
        assert host.call(probes.wrapped, session, CKM.AES_KEY_WRAP_PAD, b"", wrapping, handle) == expected


def test_what_is_no_private_key_is_not_unwrapped(host: Host, session: int) -> None:
    """Whatever the library thinks of it: an Edwards key of three bytes is an internal error to it."""
    wrapping = host.call(probes.secret, session, int(CKK.AES), KEY)
    template = {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.EC_EDWARDS}
    short = bytes.fromhex("3013020100300506032B6570040704050102030405")
    unknown = bytes.fromhex("300E020100300506032B657F04020400")
    encrypted = bytes.fromhex("3013300B06092A864886F70D01050D0404 00000000")
    for data in (short, unknown, encrypted, b"\x30\0", bytes(40), KEY):
        wrapped = aes_key_wrap_with_padding(KEY, data)
        refused = host.call(probes.unwrapped, session, CKM.AES_KEY_WRAP_PAD, b"", wrapping, wrapped, template)
        assert refused == -CKR.WRAPPED_KEY_INVALID, data.hex()


def card_wrapped(host: Host, session: int, value: bytes) -> bytes:
    """A secret for the card's key 03, as an outsider makes it."""
    public = host.call(lambda m: m.find(session, {CKA.CLASS: CKO.PUBLIC_KEY, CKA.ID: b"\3"})[0])
    modulus, exponent = (
        int.from_bytes(host.call(Module.attribute, session, public, kind), "big")
        for kind in (CKA.MODULUS, CKA.PUBLIC_EXPONENT)
    )
    return rsa.RSAPublicNumbers(exponent, modulus).public_key().encrypt(value, padding.PKCS1v15())


def test_card_key_unwraps(simulator: Simulator, host: Host, session: int) -> None:
    """The secret is the session's then; a card that goes in the middle leaves nothing, and works again."""
    data = card_wrapped(host, session, KEY)

    def back(m: Module, s: int, d: Any) -> Any:
        return probes.unwrapped(
            m, s, CKM.RSA_PKCS, b"", probes.key(m, s, b"\3"), d, {CKA.KEY_TYPE: CKK.AES, CKA.DECRYPT: b"\1"}
        )

    handle = host.call(back, s=session, d=data)
    plain = bytes(48)
    sealed = AESGCM(KEY).encrypt(NONCE, plain, b"")
    assert through(host, session, "Decrypt", CKM.AES_GCM, {"iv": NONCE, "additional": b""}, handle, sealed) == plain
    simulator.arm(Trigger("remove", {"reader": "front"}, ins=0x87, nth=2))
    assert host.call(back, s=session, d=data) == -CKR.DEVICE_REMOVED
    simulator.insert("front")
    session = host.call(probes.user_session)
    assert host.call(Module.find, session, {CKA.CLASS: CKO.SECRET_KEY}) == []
    assert host.call(back, s=session, d=data) > 0


def test_card_pulled_between_two_parts(simulator: Simulator, host: Host, session: int) -> None:
    """An AES operation needs no card, and yet is over with it: its session is."""
    key = host.call(probes.secret, session, int(CKK.AES), KEY)
    simulator.arm(Trigger("remove", {"reader": "front"}, call="C_EncryptUpdate", nth=4))
    result = through(host, session, "Encrypt", CKM.AES_CBC, IV, key, split(bytes(160), 16, 16, 16))
    assert result == CKR.SESSION_HANDLE_INVALID


def test_saved_states(host: Host, session: int) -> None:
    """Restored twice, in another session, after the first is closed; rubbish is refused."""
    first = host.call(Module.open_session, 0)
    state = host.call(probes.digest_state, first, b"first ")
    host.call(Module.close_session, first)
    for end in (b"second", b"third"):
        expected = hashlib.sha256(b"first " + end).digest()
        assert host.call(probes.digest_from, session, state, end) == expected
    assert host.call(probes.digest_from, session, bytes(32), b"") == CKR.SAVED_STATE_INVALID
    assert host.call(probes.digest_from, session, b"", b"") == CKR.ARGUMENTS_BAD


def test_messages(host: Host, session: int) -> None:
    """AES-GCM: tag and IV come back in the parameter; a wrong tag is refused."""
    key = host.call(probes.secret, session, int(CKK.AES), KEY)
    text, iv, tag = host.call(probes.message, session, "Encrypt", key, NONCE, b"a", b"text")
    assert (text + tag, iv) == (AESGCM(KEY).encrypt(NONCE, b"text", b"a"), NONCE)
    opened = host.call(probes.message, session, "Decrypt", key, iv, b"a", text, tag=tag)
    assert opened[0] == b"text"
    wrong = host.call(probes.message, session, "Decrypt", key, iv, b"b", text, tag=tag)
    assert wrong == CKR.AEAD_DECRYPT_FAILED
    for generator in (1, 2, 3, 4):

        def call(m: Module, s: int, k: int, v: Any, g: Any) -> Any:
            return probes.message(m, s, "Encrypt", k, v, b"", b"x", generator=g)

        made = host.call(call, s=session, k=key, v=b"fixd" + bytes(8), g=generator)
        assert made[1].startswith(b"fixd")
        assert made[1] != b"fixd" + bytes(8)
        assert made[0] + made[2] == AESGCM(KEY).encrypt(made[1], b"x", b"")


def test_allowed_mechanisms_and_usages(host: Host, session: int) -> None:
    """A key does what its attributes say."""
    only = int(CKM.AES_CBC).to_bytes(8, "little")

    def make(m: Module, s: int, v: Any, o: Any) -> Any:
        return probes.secret(m, s, CKK.AES, v, ALLOWED_MECHANISMS=o, DECRYPT=b"\x00")

    key = host.call(make, s=session, v=KEY, o=only)
    assert isinstance(through(host, session, "Encrypt", CKM.AES_CBC, IV, key, bytes(16)), bytes)
    assert through(host, session, "Encrypt", CKM.AES_ECB, b"", key, bytes(16)) == CKR.MECHANISM_INVALID
    assert through(host, session, "Decrypt", CKM.AES_CBC, IV, key, bytes(16)) == CKR.KEY_FUNCTION_NOT_PERMITTED
    assert through(host, session, "Encrypt", CKM.DES3_ECB, b"", key, bytes(16)) == CKR.KEY_TYPE_INCONSISTENT


def test_a_key_for_each_generation(host: Host, session: int) -> None:
    """Of the length that is asked for, on the card or in the session."""

    def make(m: Module, s: int, k: int, t: Any) -> Any:
        return probes.generated(m, s, k, t)

    for mechanism, length, expected in (
        (CKM.AES_KEY_GEN, 32, CKR.OK),
        (CKM.AES_KEY_GEN, 15, CKR.ATTRIBUTE_VALUE_INVALID),
        (CKM.AES_KEY_GEN, None, CKR.TEMPLATE_INCOMPLETE),
        (CKM.DES3_KEY_GEN, None, CKR.OK),
        (CKM.GENERIC_SECRET_KEY_GEN, 77, CKR.OK),
        (CKM.GENERIC_SECRET_KEY_GEN, 2**60, CKR.ATTRIBUTE_VALUE_INVALID),
    ):
        for where in ({}, {int(CKA.TOKEN): b"\1"}):
            template = {**where, int(CKA.EXTRACTABLE): b"\1", int(CKA.SENSITIVE): b"\0"}
            if length is not None:
                template[int(CKA.VALUE_LEN)] = length
            value, secret = host.call(make, s=session, k=int(mechanism), t=template)
            assert value == expected, (mechanism, length)
            if value == CKR.OK:
                assert len(secret) == (length or 24)


@pytest.mark.parametrize(
    ("function", "what"),
    [
        *((name, "data") for name in ("Encrypt", "EncryptUpdate", "Decrypt", "Digest", "DigestUpdate")),
        *((name, "length") for name in ("Encrypt", "EncryptUpdate", "EncryptFinal", "Decrypt", "Digest")),
    ],
)
def test_null_pointer_ends_the_operation(host: Host, session: int, function: str, what: str) -> None:
    """CKR_ARGUMENTS_BAD is an error like any other: the next Init finds nothing under way (PKCS #11 3.1, 5.2)."""
    key = host.call(probes.secret, session, CKK.AES, bytes(16))
    begun = f"C_{function.removesuffix('Update').removesuffix('Final')}Init"

    def call(m: Module, s: int, b: Any, f: Any, k: int, w: Any) -> Any:
        return key_probes.null_given(m, s, b, f, k, w)

    values = host.call(call, s=session, b=begun, f=f"C_{function}", k=key, w=what)
    assert values == [CKR.ARGUMENTS_BAD, CKR.OK]


@pytest.mark.parametrize("key_type", [CKK.AES, CKK.DES3, CKK.SHA_1_HMAC])
def test_hmac_takes_its_own_keys_only(host: Host, session: int, key_type: CKK) -> None:
    """A generic secret or a key for this very HMAC (6.23)."""
    key = host.call(probes.secret, session, int(key_type), DES3_KEY[: 16 if key_type == CKK.AES else 24])

    def begun(m: Module, s: int, k: int) -> Any:
        return probes.begun(m, "C_SignInit", s, CKM.SHA256_HMAC, b"", k)

    assert host.call(begun, s=session, k=key) == CKR.KEY_TYPE_INCONSISTENT


def test_messages_have_their_parameters(host: Host, session: int) -> None:
    """C_MessageEncryptInit wants none, or one of the right form."""
    key = host.call(probes.secret, session, CKK.AES, bytes(16))

    def begun(m: Module, s: int, k: int, p: Any) -> Any:
        return probes.three(m).C_MessageEncryptInit(s, m.mechanism(CKM.AES_GCM, p)[0], k)

    assert host.call(begun, s=session, k=key, p=b"rubbish") == CKR.MECHANISM_PARAM_INVALID
    assert host.call(begun, s=session, k=key, p=b"") == CKR.OK
