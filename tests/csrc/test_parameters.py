# SPDX-License-Identifier: MIT
"""Parameters of mechanisms and of messages: what arrives at the simulator, and what comes back into their buffers."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.p11.constants import CKM, CKR, CKZ
from cardtear.p11.wire import NO_LENGTH, REPLY_HEADER, Mechanism, MessageParameter

SESSION, KEY = 7, 8
NOWHERE = 16
"""An address that no process can read."""


class Points(NamedTuple):
    """A field that points to bytes: its name, that of its length (None: there is none), and bits for one unit of it."""

    pointer: str
    length: str | None
    content: bytes
    unit: int = 8


class Case(NamedTuple):
    """A struct: where its pointers point, and its other fields."""

    mechanism: CKM
    struct: str
    pointers: tuple[Points, ...]
    others: dict[str, Any] = {}  # noqa: RUF012 - nobody changes it


IV, AAD = Points("pIv", "ulIvLen", b"twelve bytes"), Points("pAAD", "ulAADLen", b"associated")
NONCE = Points("pNonce", "ulNonceLen", b"nonce of 13 b")
STRING = (Points("pData", "ulLen", b"some data"),)
SHARED = Points("pSharedData", "ulSharedDataLen", b"shared")

MECHANISMS = [
    Case(
        CKM.RSA_PKCS_OAEP,
        "CK_RSA_PKCS_OAEP_PARAMS",
        (Points("pSourceData", "ulSourceDataLen", b"label"),),
        {"hashAlg": CKM.SHA256, "mgf": 2, "source": CKZ.DATA_SPECIFIED},
    ),
    *(
        Case(
            mechanism,
            "CK_ECDH1_DERIVE_PARAMS",
            (SHARED, Points("pPublicData", "ulPublicDataLen", b"\4" * 65)),
            {"kdf": 1},
        )
        for mechanism in (CKM.ECDH1_DERIVE, CKM.ECDH1_COFACTOR_DERIVE)
    ),
    *(
        Case(mechanism, "CK_ECDH_AES_KEY_WRAP_PARAMS", (SHARED,), {"ulAESKeyBits": 256, "kdf": 6})
        for mechanism in (CKM.ECDH_AES_KEY_WRAP, CKM.ECDH_X_AES_KEY_WRAP, CKM.ECDH_COF_AES_KEY_WRAP)
    ),
    Case(CKM.EDDSA, "CK_EDDSA_PARAMS", (Points("pContextData", "ulContextDataLen", b"context"),), {"phFlag": 1}),
    *(
        Case(mechanism, structure, (IV, AAD), {"ulTagBits": 96})
        for mechanism in (CKM.AES_GCM, CKM.AES_GMAC)
        for structure in ("CK_GCM_PARAMS", "CK_NSS_GCM_PARAMS")
    ),
    Case(CKM.AES_GCM, "CK_GCM_WRAP_PARAMS", (IV, AAD), {"ivGenerator": 1, "ulTagBits": 128}),
    Case(CKM.AES_CCM, "CK_CCM_PARAMS", (NONCE, AAD), {"ulDataLen": 99, "ulMACLen": 8}),
    Case(CKM.AES_CCM, "CK_CCM_WRAP_PARAMS", (NONCE, AAD), {"ulDataLen": 99, "ulMACLen": 8}),
    Case(
        CKM.CHACHA20,
        "CK_CHACHA20_PARAMS",
        (Points("pBlockCounter", "blockCounterBits", b"\0\0\0\1", 1), Points("pNonce", "ulNonceBits", bytes(12), 1)),
    ),
    Case(
        CKM.SALSA20,
        "CK_SALSA20_PARAMS",
        (Points("pBlockCounter", None, b"counter "), Points("pNonce", "ulNonceBits", bytes(24), 1)),
    ),
    *(
        Case(mechanism, "CK_SALSA20_CHACHA20_POLY1305_PARAMS", (NONCE, AAD))
        for mechanism in (CKM.CHACHA20_POLY1305, CKM.SALSA20_POLY1305)
    ),
    *(
        Case(mechanism, "CK_KEY_DERIVATION_STRING_DATA", STRING)
        for mechanism in (
            CKM.CONCATENATE_BASE_AND_DATA,
            CKM.CONCATENATE_DATA_AND_BASE,
            CKM.XOR_BASE_AND_DATA,
            CKM.DES_ECB_ENCRYPT_DATA,
            CKM.DES3_ECB_ENCRYPT_DATA,
            CKM.AES_ECB_ENCRYPT_DATA,
        )
    ),
    *(
        Case(
            mechanism,
            f"CK_{cipher}_CBC_ENCRYPT_DATA_PARAMS",
            (Points("pData", "length", bytes(32)),),
            {"iv": b"12345678"},
        )
        for mechanism, cipher in (
            (CKM.DES_CBC_ENCRYPT_DATA, "DES"),
            (CKM.DES3_CBC_ENCRYPT_DATA, "DES"),
            (CKM.AES_CBC_ENCRYPT_DATA, "AES"),
        )
    ),
    *(
        Case(
            mechanism,
            "CK_HKDF_PARAMS",
            (Points("pSalt", "ulSaltLen", b"salt"), Points("pInfo", "ulInfoLen", b"info")),
            {"bExtract": 1, "bExpand": 1, "prfHashMechanism": CKM.SHA256, "ulSaltType": 2},
        )
        for mechanism in (CKM.HKDF_DERIVE, CKM.HKDF_DATA)
    ),
    Case(
        CKM.PKCS5_PBKD2,
        "CK_PKCS5_PBKD2_PARAMS2",
        (
            Points("pSaltSourceData", "ulSaltSourceDataLen", b"salt"),
            Points("pPrfData", "ulPrfDataLen", b"prf"),
            Points("pPassword", "ulPasswordLen", b"password"),
        ),
        {"saltSource": CKZ.SALT_SPECIFIED, "iterations": 1000, "prf": 4},
    ),
]
MESSAGES = [
    Case(
        CKM.AES_GCM,
        "CK_GCM_MESSAGE_PARAMS",
        (IV, Points("pTag", "ulTagBits", b"tag of 16 bytes!", 1)),
        {"ulIvFixedBits": 32, "ivGenerator": 1},
    ),
    Case(CKM.AES_CCM, "CK_CCM_MESSAGE_PARAMS", (NONCE, Points("pMAC", "ulMACLen", b"a MAC of")), {"ulDataLen": 5}),
    Case(
        CKM.CHACHA20_POLY1305,
        "CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS",
        (Points("pNonce", "ulNonceLen", b"twelve bytes"), Points("pTag", None, b"tag of 16 bytes!")),
    ),
]


def named(cases: list[Case]) -> Any:
    """Cases as test parameters with their names."""
    return pytest.mark.parametrize("case", cases, ids=[f"{case.mechanism.name}-{case.struct}" for case in cases])


class Parameter:
    """A struct in memory, with what it points to. Behind each buffer lies a guard."""

    GUARD = b"guard"

    def __init__(self, module: Module, case: Case) -> None:
        ffi = module.ffi
        self.ffi = ffi
        self.case = case
        self.struct = ffi.new(f"{case.struct} *")
        self.buffers = [ffi.new("unsigned char[]", each.content + self.GUARD) for each in case.pointers]
        for name, value in case.others.items():
            setattr(self.struct, name, value)
        for each, buffer in zip(case.pointers, self.buffers, strict=True):
            self.point(each, buffer)
            self.measure(each, len(each.content))

    def point(self, field: Points, to: Any) -> None:
        """Set a pointer."""
        kind = self.ffi.typeof(getattr(self.struct, field.pointer))
        setattr(self.struct, field.pointer, self.ffi.cast(kind, to))

    def measure(self, field: Points, size: int) -> None:
        """Set a length, given in bytes."""
        if field.length is not None:
            setattr(self.struct, field.length, size * 8 // field.unit)

    @property
    def size(self) -> int:
        """Of the struct."""
        return int(self.ffi.sizeof(self.case.struct))

    @property
    def memory(self) -> bytes:
        """The struct as it lies there."""
        return bytes(self.ffi.buffer(self.struct))

    @property
    def contents(self) -> tuple[bytes, ...]:
        """What lies in the buffers. Nothing may have been written behind them."""
        whole = [bytes(self.ffi.buffer(buffer))[:-1] for buffer in self.buffers]  # cffi ends them with NUL
        assert all(each.endswith(self.GUARD) for each in whole)
        return tuple(each.removesuffix(self.GUARD) for each in whole)

    def mechanism(self) -> Any:
        """A CK_MECHANISM with it."""
        return self.ffi.new("CK_MECHANISM *", (self.case.mechanism, self.struct, self.size))


def init(module: Module, mechanism: Any, name: str = "C_EncryptInit") -> int:
    """The CK_RV of an Init function."""
    return module.call(name, SESSION, mechanism, KEY)


def encrypt_message(module: Module, parameter: Any, size: int, room: int = 64) -> tuple[int, bytes]:
    """C_EncryptMessage of `text`."""
    buffer, length = module.ffi.new("unsigned char[64]"), module.ffi.new("CK_ULONG *", room)
    value = module.call("C_EncryptMessage", SESSION, parameter, size, b"aad", 3, b"text", 4, buffer, length)
    return value, bytes(module.ffi.buffer(buffer, min(length[0], 64)))


@named(MECHANISMS)
def test_pointers_travel_in_the_order_of_the_struct(fake: Any, module: Module, case: Case) -> None:
    """The struct's bytes, and what it points to."""
    parameter = Parameter(module, case)
    assert init(module, parameter.mechanism()) == CKR.OK
    assert fake.last("C_EncryptInit") == (SESSION, Mechanism(case.mechanism, parameter.memory, parameter.contents), KEY)


@named(MECHANISMS)
def test_empty_pointers(fake: Any, module: Module, case: Case) -> None:
    """NULL with length 0 is empty."""
    parameter = Parameter(module, case)
    for field in case.pointers:
        if field.length is not None:
            parameter.point(field, module.ffi.NULL)
            parameter.measure(field, 0)
    assert init(module, parameter.mechanism()) == CKR.OK
    expected = tuple(b"" if field.length is not None else field.content for field in case.pointers)
    assert fake.last("C_EncryptInit")[1].pointers == expected


@named(MECHANISMS)
def test_pointers_that_cannot_be_followed(fake: Any, module: Module, case: Case) -> None:
    """NULL with a length, memory that is not there, a length beyond all bounds: nothing is sent, nothing crashes."""
    for number, field in enumerate(case.pointers):
        for pointer, length in (
            (module.ffi.NULL, None),
            (NOWHERE, None),
            (None, 2**27),
            (None, 2**60),
            (NOWHERE, 2**25),
        ):
            if length is not None and field.length is None:
                continue
            parameter = Parameter(module, case)
            parameter.point(field, parameter.buffers[number] if pointer is None else pointer)
            if length is not None:
                parameter.measure(field, length)
            assert init(module, parameter.mechanism()) == CKR.MECHANISM_PARAM_INVALID, (field, pointer, length)
    assert fake.calls == []


@named(MECHANISMS)
def test_sizes_of_no_struct(fake: Any, module: Module, case: Case) -> None:
    """A parameter that is too short or too long has no pointers; the simulator sees its bytes and judges."""
    parameter = Parameter(module, case)
    room = module.ffi.new("unsigned char[]", parameter.memory + bytes(200))
    for size in (0, 1, parameter.size - 1, parameter.size + 1, parameter.size + 128):
        pointer = module.ffi.NULL if size == 0 else room
        assert init(module, module.ffi.new("CK_MECHANISM *", (case.mechanism, pointer, size))) == CKR.OK
        assert fake.last("C_EncryptInit")[1] == (case.mechanism, bytes(module.ffi.buffer(room, size)), ())


def test_a_pointer_to_a_struct_with_a_pointer(fake: Any, module: Module) -> None:
    """CKM_RSA_AES_KEY_WRAP: the OAEP parameters, then their label."""
    (oaep,) = [case for case in MECHANISMS if case.mechanism == CKM.RSA_PKCS_OAEP]
    inner = Parameter(module, oaep)
    outer = Parameter(module, Case(CKM.RSA_AES_KEY_WRAP, "CK_RSA_AES_KEY_WRAP_PARAMS", (), {"ulAESKeyBits": 256}))
    outer.struct.pOAEPParams = inner.struct
    assert init(module, outer.mechanism()) == CKR.OK
    assert fake.last("C_EncryptInit")[1] == (CKM.RSA_AES_KEY_WRAP, outer.memory, (inner.memory, b"label"))
    calls = len(fake.calls)
    inner.struct.pSourceData = module.ffi.NULL
    assert init(module, outer.mechanism()) == CKR.MECHANISM_PARAM_INVALID
    outer.struct.pOAEPParams = module.ffi.cast("void *", NOWHERE)
    assert init(module, outer.mechanism()) == CKR.MECHANISM_PARAM_INVALID
    outer.struct.pOAEPParams = module.ffi.NULL
    assert init(module, outer.mechanism()) == CKR.MECHANISM_PARAM_INVALID
    assert len(fake.calls) == calls


@pytest.mark.parametrize("name", ["KDF", "FEEDBACK_KDF"])
def test_a_pointer_to_several_structs(fake: Any, module: Module, name: str) -> None:
    """SP 800-108: the parts of the input, what each of them points to, and the IV; no more parts than are sane."""
    ffi = module.ffi
    label, width = ffi.new("unsigned char[]", b"label"), ffi.new("CK_SP800_108_COUNTER_FORMAT *", (0, 32))
    parts = ffi.new("CK_PRF_DATA_PARAM[200]")
    parts[0] = (1, width, ffi.sizeof("CK_SP800_108_COUNTER_FORMAT"))
    parts[1] = (4, label, 5)
    parameter = ffi.new(f"CK_SP800_108_{name}_PARAMS *")
    parameter.prfType, parameter.ulNumberOfDataParams, parameter.pDataParams = CKM.SHA256_HMAC, 2, parts
    iv: tuple[bytes, ...] = ()
    if name == "FEEDBACK_KDF":
        parameter.ulIVLen, parameter.pIV, iv = 5, label, (b"label",)
    kind = CKM.SP800_108_FEEDBACK_KDF if iv else CKM.SP800_108_COUNTER_KDF
    mechanism = ffi.new("CK_MECHANISM *", (kind, parameter, ffi.sizeof(parameter[0])))
    assert init(module, mechanism) == CKR.OK
    pointers = fake.last("C_EncryptInit")[1].pointers
    size = 2 * ffi.sizeof("CK_PRF_DATA_PARAM")
    assert pointers == (bytes(ffi.buffer(parts, size)), bytes(ffi.buffer(width)), b"label", *iv)
    for count in (200, 2**20, 2**62):
        parameter.ulNumberOfDataParams = count
        assert init(module, mechanism) == CKR.MECHANISM_PARAM_INVALID


@pytest.mark.parametrize(
    ("mechanism", "parameter"),
    [
        (CKM.AES_CBC, bytes(16)),
        (CKM.AES_CTR, struct.pack("=Q16s", 128, b"counter")),
        (CKM.RSA_PKCS_PSS, struct.pack("=3Q", CKM.SHA256, 2, 32)),
        (CKM.SHA256_HMAC_GENERAL, struct.pack("=Q", 16)),
        (CKM.AES_KEY_WRAP_KWP, bytes(4)),
        (CKM.CONCATENATE_BASE_AND_KEY, struct.pack("=Q", 2**40)),
        (CKM.VENDOR_DEFINED, bytes(48)),
    ],
)
def test_parameters_without_pointers(fake: Any, module: Module, mechanism: CKM, parameter: bytes) -> None:
    """Nothing in them is followed."""
    built, _keep = module.mechanism(mechanism, parameter)
    assert init(module, built) == CKR.OK
    assert fake.last("C_EncryptInit")[1] == (mechanism, parameter, ())


@named(MESSAGES)
def test_message_parameters(fake: Any, module: Module, case: Case) -> None:
    """IV and tag go in, and what the token made of them comes back; None stays as it is."""
    parameter = Parameter(module, case)
    before = parameter.contents
    tag = bytes(reversed(before[1]))
    fake.answers["C_EncryptMessage"] = lambda *_: (CKR.OK, (b"cipher", (b"new iv", None)))
    assert encrypt_message(module, parameter.struct, parameter.size) == (CKR.OK, b"cipher")
    expected = MessageParameter(parameter.memory, before)
    assert fake.last("C_EncryptMessage") == (SESSION, expected, b"aad", b"text", 64)
    assert parameter.contents == (b"new iv" + before[0][6:], before[1])
    fake.answers["C_EncryptMessage"] = lambda *_: (CKR.OK, (b"cipher", (None, tag)))
    assert encrypt_message(module, parameter.struct, parameter.size) == (CKR.OK, b"cipher")
    assert parameter.contents == (b"new iv" + before[0][6:], tag)


@named(MESSAGES)
def test_message_in_parts(fake: Any, module: Module, case: Case) -> None:
    """C_EncryptMessageBegin has no other result; the tag comes with the last part. A result may say nothing of them."""
    parameter = Parameter(module, case)
    iv, tag = (bytes(len(each)) for each in parameter.contents)
    fake.answers["C_EncryptMessageBegin"] = lambda *_: (CKR.OK, ((iv, None),))
    assert module.call("C_EncryptMessageBegin", SESSION, parameter.struct, parameter.size, b"", 0) == CKR.OK
    assert parameter.contents == (iv, case.pointers[1].content)
    for answer, expected in (((b"part",), case.pointers[1].content), ((b"end", (None, tag)), tag)):
        fake.answers["C_EncryptMessageNext"] = lambda *_, answer=answer: (CKR.OK, answer)
        buffer, length = module.ffi.new("unsigned char[8]"), module.ffi.new("CK_ULONG *", 8)
        arguments = (SESSION, parameter.struct, parameter.size, b"text", 4, buffer, length, 1)
        assert module.call("C_EncryptMessageNext", *arguments) == CKR.OK
        assert bytes(module.ffi.buffer(buffer, length[0])) == answer[0]
        assert parameter.contents == (iv, expected)


@named(MESSAGES)
def test_too_small_a_buffer_for_a_message(fake: Any, module: Module, case: Case) -> None:
    """CKR_BUFFER_TOO_SMALL tells the length and writes nothing; so does a call without a buffer."""
    parameter = Parameter(module, case)
    fake.answers["C_EncryptMessage"] = lambda *_: (CKR.BUFFER_TOO_SMALL, (20,))
    value, _ = encrypt_message(module, parameter.struct, parameter.size, room=3)
    assert value == CKR.BUFFER_TOO_SMALL
    length = module.ffi.new("CK_ULONG *")
    fake.answers["C_EncryptMessage"] = lambda *_: (CKR.OK, (20,))
    arguments = (SESSION, parameter.struct, parameter.size, b"aad", 3, b"text", 4, module.ffi.NULL, length)
    assert (module.call("C_EncryptMessage", *arguments), length[0]) == (CKR.OK, 20)
    assert fake.last("C_EncryptMessage")[-1] is None
    assert parameter.contents == tuple(field.content for field in case.pointers)


@named(MESSAGES)
def test_buffers_of_a_message_that_are_not_there_yet(fake: Any, module: Module, case: Case) -> None:
    """A NULL pointer is empty, whatever the length says; memory that is not there is an error."""
    parameter = Parameter(module, case)
    parameter.point(case.pointers[1], module.ffi.NULL)
    assert module.call("C_DecryptMessageBegin", SESSION, parameter.struct, parameter.size, b"", 0) == CKR.OK
    assert fake.last("C_DecryptMessageBegin")[1].pointers == (case.pointers[0].content, b"")
    parameter.point(case.pointers[1], NOWHERE)
    value = module.call("C_DecryptMessageBegin", SESSION, parameter.struct, parameter.size, b"", 0)
    assert value == CKR.MECHANISM_PARAM_INVALID


def test_message_parameters_of_other_sizes(fake: Any, module: Module) -> None:
    """No pointers; NULL is an empty parameter, and NULL with a length an error."""
    for size in (0, 1, 16, 23, 40, 47, 49, 64, 65536):
        assert encrypt_message(module, b"\1" * size, size)[0] == CKR.DEVICE_ERROR  # no ciphertext came
        assert fake.last("C_EncryptMessage")[1] == (b"\1" * size, ())
    calls = len(fake.calls)
    assert encrypt_message(module, module.ffi.NULL, 48)[0] == CKR.MECHANISM_PARAM_INVALID
    assert encrypt_message(module, b"", 2**17)[0] == CKR.MECHANISM_PARAM_INVALID
    assert encrypt_message(module, b"\1" * 48, 48)[0] == CKR.MECHANISM_PARAM_INVALID  # points to nowhere
    assert len(fake.calls) == calls
    encrypt_message(module, module.ffi.NULL, 0)
    assert fake.last("C_EncryptMessage")[1] == (b"", ())


@pytest.mark.parametrize("size", [0, 24, 48, 56])
def test_parameters_of_signed_messages(fake: Any, module: Module, size: int) -> None:
    """They are the mechanism's own: nothing in them is followed."""
    parameter = b"\1" * size
    expected = MessageParameter(parameter, ())
    assert module.call("C_SignMessageBegin", SESSION, parameter, size) == CKR.OK
    assert fake.last("C_SignMessageBegin") == (SESSION, expected)
    assert module.call("C_VerifyMessage", SESSION, parameter, size, b"data", 4, b"signature", 9) == CKR.OK
    assert fake.last("C_VerifyMessage") == (SESSION, expected, b"data", b"signature")
    fake.answers["C_SignMessage"] = lambda *_: (CKR.OK, (b"signed",))
    buffer, length = module.ffi.new("unsigned char[8]"), module.ffi.new("CK_ULONG *", 8)
    assert module.call("C_SignMessage", SESSION, parameter, size, b"data", 4, buffer, length) == CKR.OK
    assert bytes(module.ffi.buffer(buffer, length[0])) == b"signed"


@named(MESSAGES)
def test_message_parameters_in_a_mechanism(fake: Any, module: Module, case: Case) -> None:
    """C_MessageEncryptInit takes the message's struct, which has the size of another one, or no mechanism at all."""
    parameter = Parameter(module, case)
    assert init(module, parameter.mechanism(), "C_MessageEncryptInit") == CKR.OK
    sent = Mechanism(case.mechanism, parameter.memory, parameter.contents)
    assert fake.last("C_MessageEncryptInit") == (SESSION, sent, KEY)
    assert init(module, module.ffi.NULL, "C_MessageDecryptInit") == CKR.OK
    assert fake.last("C_MessageDecryptInit") == (SESSION, None, KEY)


@named(MESSAGES)
def test_authenticated_wrapping(fake: Any, module: Module, case: Case) -> None:
    """C_WrapKeyAuthenticated writes IV and tag into the mechanism's parameter, C_UnwrapKeyAuthenticated reads them."""
    parameter = Parameter(module, case)
    iv, tag = (bytes(len(each)) for each in parameter.contents)
    fake.answers["C_WrapKeyAuthenticated"] = lambda *_: (CKR.OK, (b"wrapped", (iv, tag)))
    buffer, length = module.ffi.new("unsigned char[8]"), module.ffi.new("CK_ULONG *", 8)
    arguments = (SESSION, parameter.mechanism(), KEY, 9, b"aad", 3, buffer, length)
    assert module.call("C_WrapKeyAuthenticated", *arguments) == CKR.OK
    assert bytes(module.ffi.buffer(buffer, length[0])) == b"wrapped"
    assert parameter.contents == (iv, tag)
    fake.answers["C_UnwrapKeyAuthenticated"] = lambda *_: (CKR.OK, (77,))
    handle, null = module.ffi.new("CK_ULONG *"), module.ffi.NULL
    arguments = (SESSION, parameter.mechanism(), KEY, b"wrapped", 7, null, 0, b"aad", 3, handle)
    assert (module.call("C_UnwrapKeyAuthenticated", *arguments), handle[0]) == (CKR.OK, 77)
    sent = Mechanism(case.mechanism, parameter.memory, (iv, tag))
    assert fake.last("C_UnwrapKeyAuthenticated") == (SESSION, sent, KEY, b"wrapped", [], b"aad")


@pytest.mark.parametrize("structure", ["CK_GCM_WRAP_PARAMS", "CK_CCM_WRAP_PARAMS", "CK_GCM_PARAMS"])
def test_wrapping_with_a_generated_iv(fake: Any, module: Module, structure: str) -> None:
    """C_WrapKey writes the IV where the struct has a generator, and nowhere else; a handler need not think of it."""
    (case,) = [each for each in MECHANISMS if each.struct == structure and each.mechanism != CKM.AES_GMAC]
    parameter = Parameter(module, case)
    buffer, length = module.ffi.new("unsigned char[8]"), module.ffi.new("CK_ULONG *", 8)
    arguments = (SESSION, parameter.mechanism(), KEY, 9, buffer, length)
    fake.answers["C_WrapKey"] = lambda *_: (CKR.OK, (b"wrapped",))
    assert module.call("C_WrapKey", *arguments) == CKR.OK
    before = parameter.contents
    fake.answers["C_WrapKey"] = lambda *_: (CKR.OK, (b"wrapped", (b"new iv", None)))
    writable = structure != "CK_GCM_PARAMS"
    assert module.call("C_WrapKey", *arguments) == (CKR.OK if writable else CKR.DEVICE_ERROR)
    assert parameter.contents == ((b"new iv" + before[0][6:], before[1]) if writable else before)


def outputs(*values: bytes | int) -> bytes:
    """What comes back into a parameter, with lengths that may lie."""
    body = b"".join(struct.pack("=Q", each) if isinstance(each, int) else each for each in values)
    return struct.pack("=I", len([each for each in values if isinstance(each, int)])) + body


HOSTILE = {
    "none said": b"",
    "more than there are": outputs(NO_LENGTH, NO_LENGTH, NO_LENGTH),
    "a great many": struct.pack("=I", 2**32 - 1),
    "longer than the IV": outputs(14, b"fourteen bytes"),
    "longer than the tag": outputs(NO_LENGTH, 17, b"seventeen bytes.."),
    "longer than the reply": outputs(8, b"four"),
    "longer than anything": outputs(2**63, b"four"),
    "cut": outputs(NO_LENGTH)[:-2],
    "more behind": outputs(NO_LENGTH, NO_LENGTH) + b"more",
}


@pytest.mark.parametrize("kind", HOSTILE)
@named(MESSAGES)
def test_hostile_outputs(fake: Any, module: Module, case: Case, kind: str) -> None:
    """An error, and nothing is written that there is no room for."""
    parameter = Parameter(module, case)
    body = struct.pack("=Q", 6) + b"cipher" + HOSTILE[kind]
    fake.answers["C_EncryptMessage"] = lambda *_: REPLY_HEADER.pack(12 + len(body), 0, 0) + body
    assert encrypt_message(module, parameter.struct, parameter.size)[0] == CKR.DEVICE_ERROR
    assert parameter.contents == tuple(field.content for field in case.pointers)


@named(MESSAGES)
def test_outputs_to_nowhere(fake: Any, module: Module, case: Case) -> None:
    """A simulator that writes where the application has nothing, or only read, or has no parameter: an error."""
    parameter = Parameter(module, case)
    parameter.point(case.pointers[0], module.ffi.NULL)
    fake.answers["C_EncryptMessage"] = lambda *_: (CKR.OK, (b"cipher", (b"iv", None)))
    assert encrypt_message(module, parameter.struct, parameter.size)[0] == CKR.DEVICE_ERROR
    assert encrypt_message(module, module.ffi.NULL, 0)[0] == CKR.DEVICE_ERROR


@named(MESSAGES)
def test_removal_in_the_middle_of_a_message(fake: Any, module: Module, case: Case) -> None:
    """The simulator is gone while it has the call: CKR_DEVICE_REMOVED, and IV and tag are what they were."""
    parameter = Parameter(module, case)
    fake.answers["C_EncryptMessage"] = lambda *_: None
    assert encrypt_message(module, parameter.struct, parameter.size)[0] == CKR.DEVICE_REMOVED
    assert parameter.contents == tuple(field.content for field in case.pointers)
    fake.close()
    assert encrypt_message(module, parameter.struct, parameter.size)[0] == CKR.SESSION_HANDLE_INVALID


def test_names_of_functions(fake: Any, module: Module) -> None:
    """C_AsyncGetID and its kin carry a name; one that does not end is refused."""
    number = module.ffi.new("CK_ULONG *")
    fake.answers["C_AsyncGetID"] = lambda *_: (CKR.OK, (5,))
    assert (module.call("C_AsyncGetID", SESSION, b"C_Sign", number), number[0]) == (CKR.OK, 5)
    assert fake.last("C_AsyncGetID") == (SESSION, "C_Sign")
    result = module.ffi.new("CK_ASYNC_DATA *")
    assert module.call("C_AsyncComplete", SESSION, b"C_Sign", result) == CKR.OK
    assert module.call("C_AsyncJoin", SESSION, b"C_Sign", 5, b"", 0) == CKR.OK
    assert fake.last("C_AsyncJoin") == (SESSION, "C_Sign", 5, 0)
    assert module.call("C_AsyncGetID", SESSION, b"x" * 64, number) == CKR.ARGUMENTS_BAD
    assert module.call("C_AsyncGetID", SESSION, module.ffi.NULL, number) == CKR.ARGUMENTS_BAD
