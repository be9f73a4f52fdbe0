# SPDX-License-Identifier: MIT
"""When an operation ends: each function, each way in which it can come out (PKCS #11 3.2, 5.2 to 5.17)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKA, CKF, CKK, CKM, CKO, CKR

YES = b"\1"
SIZE = object()
"""Stands for a buffer that is NULL: the length is asked for."""
SMALL, ENOUGH = 0, 512


class Operation:
    """One kind of operation in a session of the module: `do` calls its functions by the end of their names."""

    def __init__(self, m: Any, session: int, key: int, name: str, mechanism: int, parameter: bytes, end: bytes) -> None:
        self.m, self.session, self.key, self.name, self.end = m, session, key, name, end
        self._mechanism, self._kept = m.mechanism(mechanism, parameter)

    def init(self) -> int:
        """C_...Init."""
        rest = () if self.name == "Digest" else (self.key,)
        return int(self.m.call(f"C_{self.name}Init", self.session, self._mechanism, *rest))

    def do(self, part: str, data: bytes, room: Any = ENOUGH) -> int:
        """C_..., C_...Update or C_...Final: with data, but for Final, and what room there is for what comes out."""
        ffi = self.m.ffi
        given = [] if part == "Final" else [data, len(data)]
        if self.name == "Verify":
            given += [] if part == "Update" else [self.end, len(self.end)]
        elif part != "Update" or self.name in ("Encrypt", "Decrypt"):
            buffer = ffi.NULL if room is SIZE else ffi.new("unsigned char[]", ENOUGH)
            given += [buffer, ffi.NULL if room is None else ffi.new("CK_ULONG *", 0 if room is SIZE else room)]
        return int(self.m.call(f"C_{self.name}{part}", self.session, *given))

    @property
    def is_active(self) -> bool:
        """Whether another Init finds one; it is over afterwards."""
        value = self.init()
        assert value in (CKR.OK, CKR.OPERATION_ACTIVE)
        self.m.call("C_CloseSession", self.session)
        return value == CKR.OPERATION_ACTIVE


BLOCK = bytes(16)
OPERATIONS: dict[str, tuple[str, int, bytes]] = {
    "Encrypt": ("aes", CKM.AES_CBC, BLOCK),
    "Decrypt": ("aes", CKM.AES_CBC, BLOCK),
    "Digest": ("", CKM.SHA256, b""),
    "Sign": ("hmac", CKM.SHA256_HMAC, b""),
    "Verify": ("hmac", CKM.SHA256_HMAC, b""),
    "SignRecover": ("rsa", CKM.RSA_PKCS, b""),
    "VerifyRecover": ("rsa public", CKM.RSA_PKCS, b""),
}
Steps = Callable[[Operation], int]

WITH_OUTPUT = ("Encrypt", "Decrypt", "Digest", "Sign")
CIPHERS = ("Encrypt", "Decrypt")
PARTS = (*WITH_OUTPUT, "Verify")

# How it is brought to its end or not, what the last call answers, whether the operation is active then, and of which.
CASES: list[tuple[str, Steps, int, bool, tuple[str, ...]]] = [
    ("begun only", lambda o: CKR.OK, CKR.OK, True, tuple(OPERATIONS)),
    ("in one part", lambda o: o.do("", BLOCK), CKR.OK, False, WITH_OUTPUT),
    ("length", lambda o: o.do("", BLOCK, SIZE), CKR.OK, True, (*WITH_OUTPUT, "SignRecover", "VerifyRecover")),
    ("too small", lambda o: o.do("", BLOCK, SMALL), CKR.BUFFER_TOO_SMALL, True, (*WITH_OUTPUT, "SignRecover")),
    ("length pointer", lambda o: o.do("", BLOCK, None), CKR.ARGUMENTS_BAD, False, (*WITH_OUTPUT, "SignRecover")),
    ("part", lambda o: o.do("Update", BLOCK), CKR.OK, True, PARTS),
    ("part, length", lambda o: o.do("Update", BLOCK, SIZE), CKR.OK, True, CIPHERS),
    ("part, too small", lambda o: o.do("Update", BLOCK, SMALL), CKR.BUFFER_TOO_SMALL, True, CIPHERS),
    ("part, length pointer", lambda o: o.do("Update", BLOCK, None), CKR.ARGUMENTS_BAD, False, CIPHERS),
    ("all of it after a part", lambda o: o.do("Update", BLOCK) or o.do("", BLOCK), CKR.OPERATION_ACTIVE, False, PARTS),
    (
        "length of all after a part",
        lambda o: o.do("Update", BLOCK) or o.do("", BLOCK, SIZE),
        CKR.OPERATION_ACTIVE,
        False,
        WITH_OUTPUT,
    ),
    (
        "too little room for all after a part",
        lambda o: o.do("Update", BLOCK) or o.do("", BLOCK, SMALL),
        CKR.OPERATION_ACTIVE,
        False,
        WITH_OUTPUT,
    ),
    (
        "a part after the length of all",
        lambda o: o.do("", BLOCK, SIZE) or o.do("Update", BLOCK),
        CKR.OPERATION_ACTIVE,
        False,
        WITH_OUTPUT,
    ),
    (
        "the end after the length of all",
        lambda o: o.do("", BLOCK, SIZE) or o.do("Final", b""),
        CKR.OPERATION_ACTIVE,
        False,
        WITH_OUTPUT,
    ),
    ("end", lambda o: o.do("Update", BLOCK) or o.do("Final", b""), CKR.OK, False, WITH_OUTPUT),
    ("end, length", lambda o: o.do("Update", BLOCK) or o.do("Final", b"", SIZE), CKR.OK, True, WITH_OUTPUT),
    ("end, too small", lambda o: o.do("Final", b"", SMALL), CKR.BUFFER_TOO_SMALL, True, ("Digest", "Sign")),
    ("end, length pointer", lambda o: o.do("Final", b"", None), CKR.ARGUMENTS_BAD, False, WITH_OUTPUT),
    ("wrong length", lambda o: o.do("", b"x"), CKR.DATA_LEN_RANGE, False, ("Encrypt",)),
    ("wrong length", lambda o: o.do("", b"x"), CKR.ENCRYPTED_DATA_LEN_RANGE, False, ("Decrypt",)),
    ("length of a wrong length", lambda o: o.do("", b"x", SIZE), CKR.DATA_LEN_RANGE, False, ("Encrypt",)),
    ("bad end", lambda o: o.do("Update", b"x") or o.do("Final", b""), CKR.DATA_LEN_RANGE, False, ("Encrypt",)),
    ("wrong signature", lambda o: o.do("", BLOCK), CKR.SIGNATURE_INVALID, False, ("Verify",)),
    ("wrong signature at the end", lambda o: o.do("Final", b""), CKR.SIGNATURE_INVALID, False, ("Verify",)),
    ("no signature", lambda o: o.do("", bytes(256)), CKR.SIGNATURE_INVALID, False, ("VerifyRecover",)),
    ("signature of a wrong length", lambda o: o.do("", b"x"), CKR.SIGNATURE_LEN_RANGE, False, ("VerifyRecover",)),
    ("data too long", lambda o: o.do("", bytes(300)), CKR.DATA_LEN_RANGE, False, ("SignRecover",)),
]  # fmt: skip
ROWS = [pytest.param(name, *case[1:4], id=f"{name}-{case[0]}") for case in CASES for name in case[4]]


@pytest.fixture(scope="module")
def session_keys(module: tuple[Simulator, Any]) -> tuple[int, dict[str, int]]:
    """Keys that live as long as a session beside that of each test."""
    _, m = module
    session = m.open_session(0)
    usages = {CKA[name]: YES for name in ("ENCRYPT", "DECRYPT", "SIGN", "VERIFY")}
    secret = {CKA.CLASS: CKO.SECRET_KEY, CKA.VALUE: BLOCK}
    rsa, open_to_all = {CKA.MODULUS_BITS: 1024, CKA.VERIFY_RECOVER: YES}, {CKA.SIGN_RECOVER: YES, CKA.PRIVATE: b"\0"}
    public, private = m.generate_pair(session, CKM.RSA_PKCS_KEY_PAIR_GEN, rsa, open_to_all)
    return session, {
        "": 0,
        "aes": m.create(session, {**secret, CKA.KEY_TYPE: CKK.AES, **usages}),
        "hmac": m.create(session, {**secret, CKA.KEY_TYPE: CKK.GENERIC_SECRET, **usages}),
        "rsa": private,
        "rsa public": public,
    }  # fmt: skip


@pytest.fixture
def new_operation(module: tuple[Simulator, Any], session_keys: Any) -> Callable[[str], Operation]:
    """Begins an operation in a session of its own."""
    _, m = module

    def begin(name: str) -> Operation:
        key, mechanism, parameter = OPERATIONS[name]
        operation = Operation(m, m.open_session(0), session_keys[1][key], name, mechanism, parameter, bytes(32))
        assert operation.init() == CKR.OK
        return operation

    return begin


@pytest.mark.parametrize(("name", "steps", "value", "active"), ROWS)
def test_table(new_operation: Callable[[str], Operation], name: str, steps: Steps, value: int, active: bool) -> None:
    """One way to use it: what comes of it, and whether it is still under way."""
    operation = new_operation(name)
    if name == "VerifyRecover" and value == CKR.SIGNATURE_INVALID:
        assert operation.do("", bytes(128)) == value
    else:
        assert steps(operation) == value
    assert operation.is_active is active


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("part", ["", "Update", "Final"])
@pytest.mark.parametrize("value", [CKR.DEVICE_ERROR, CKR.HOST_MEMORY, CKR.GENERAL_ERROR])
def test_an_error_that_is_played(
    module: tuple[Simulator, Any], new_operation: Callable[[str], Operation], name: str, part: str, value: CKR
) -> None:
    """`arm return`: the operation is over as with any other error."""
    if part and name in ("SignRecover", "VerifyRecover"):
        return
    operation = new_operation(name)
    simulator, _ = module
    armed = simulator.arm(Trigger("return", {"value": int(value)}, call=f"C_{name}{part}"))
    assert operation.do(part, BLOCK) == value
    simulator.disarm(armed)
    assert not operation.is_active


def test_what_does_not_end_by_failing(module: tuple[Simulator, Any], session_keys: Any) -> None:
    """C_DigestKey and C_FindObjects: their chapters do not say so."""
    _, m = module
    session = m.open_session(0)
    mechanism, _kept = m.mechanism(CKM.SHA256)
    m.check("C_DigestInit", session, mechanism)
    assert m.call("C_DigestKey", session, session_keys[1]["rsa"]) == CKR.KEY_INDIGESTIBLE
    assert m.call("C_DigestKey", session, 99) == CKR.KEY_HANDLE_INVALID
    assert m.call("C_DigestUpdate", session, b"abc", 3) == CKR.OK
    ffi = m.ffi
    m.check("C_FindObjectsInit", session, ffi.NULL, 0)
    assert m.call("C_FindObjects", session, ffi.NULL, 1, ffi.new("CK_ULONG *")) == CKR.ARGUMENTS_BAD
    assert m.call("C_FindObjectsInit", session, ffi.NULL, 0) == CKR.OPERATION_ACTIVE
    assert m.call("C_FindObjectsFinal", session) == CKR.OK
    assert m.call("C_FindObjectsFinal", session) == CKR.OPERATION_NOT_INITIALIZED
    m.close_session(session)


def test_of_two_operations_that_one_ends_that_has_failed(module: tuple[Simulator, Any], session_keys: Any) -> None:
    """C_DecryptDigestUpdate and its like (5.17): as the two functions one after the other."""
    _, m = module
    session, ffi = m.open_session(0), m.ffi
    (digest, _one), (cipher, _two) = m.mechanism(CKM.SHA256), m.mechanism(CKM.AES_CBC, BLOCK)

    def both(function: str, room: int) -> int:
        out = ffi.new("unsigned char[64]"), ffi.new("CK_ULONG *", room)
        return int(m.call(function, session, bytes(32), 32, *out))

    m.check("C_DigestInit", session, digest)
    assert both("C_DigestEncryptUpdate", 64) == CKR.OPERATION_NOT_INITIALIZED
    m.check("C_EncryptInit", session, cipher, session_keys[1]["aes"])
    assert both("C_DigestEncryptUpdate", 1) == CKR.BUFFER_TOO_SMALL
    assert both("C_DigestEncryptUpdate", 64) == CKR.OK
    length = ffi.new("CK_ULONG *", 64)
    assert m.call("C_EncryptFinal", session, ffi.new("unsigned char[64]"), length) == CKR.OK
    assert both("C_DigestEncryptUpdate", 64) == CKR.OPERATION_NOT_INITIALIZED
    assert m.call("C_DigestFinal", session, ffi.new("unsigned char[64]"), length) == CKR.BUFFER_TOO_SMALL
    length[0] = 64
    assert m.call("C_DigestFinal", session, ffi.new("unsigned char[64]"), length) == CKR.OK
    m.close_session(session)


def _verify_signature(m: Any, keys: dict[str, int], signature: bytes = bytes(32)) -> int:
    session, (mechanism, _kept) = m.open_session(0), m.mechanism(CKM.SHA256_HMAC)
    begun = m.call("C_VerifySignatureInit", session, mechanism, keys["hmac"], signature, len(signature))
    assert begun == CKR.OK
    return int(session)


@pytest.mark.parametrize(
    ("steps", "value", "active"),
    [
        ([], CKR.OK, True),
        ([("", BLOCK)], CKR.SIGNATURE_INVALID, False),
        ([("Update", BLOCK)], CKR.OK, True),
        ([("Update", BLOCK), ("", BLOCK)], CKR.OPERATION_NOT_INITIALIZED, False),  # its list has no OPERATION_ACTIVE
        ([("Update", BLOCK), ("Final", None)], CKR.SIGNATURE_INVALID, False),
        ([("Update", None)], CKR.ARGUMENTS_BAD, False),
        ([("", None)], CKR.ARGUMENTS_BAD, False),
    ],
)
def test_verify_signature(
    module: tuple[Simulator, Any], session_keys: Any, steps: list[tuple[str, Any]], value: int, active: bool
) -> None:
    """The functions that are given the signature first (3.2, 5.15); they are an operation of their own."""
    _, m = module
    session = _verify_signature(m, session_keys[1])
    last = int(CKR.OK)
    for part, data in steps:
        given = () if part == "Final" else (m.ffi.NULL if data is None else data, 16)
        last = m.call(f"C_VerifySignature{part}", session, *given)
    assert last == value
    mechanism, _kept = m.mechanism(CKM.SHA256_HMAC)
    again = m.call("C_VerifySignatureInit", session, mechanism, session_keys[1]["hmac"], bytes(32), 32)
    assert again == (CKR.OPERATION_ACTIVE if active else CKR.OK)
    assert m.call("C_VerifySignatureInit", session, m.ffi.NULL, 0, m.ffi.NULL, 0) == CKR.OK  # cancelled
    assert m.call("C_VerifySignatureFinal", session) == CKR.OPERATION_NOT_INITIALIZED
    m.close_session(session)


def test_verify_does_not_end_verify_signature(module: tuple[Simulator, Any], session_keys: Any) -> None:
    """Nor the other way round: who has begun one has not begun the other."""
    _, m = module
    session = _verify_signature(m, session_keys[1])
    assert m.call("C_Verify", session, BLOCK, 16, bytes(32), 32) == CKR.OPERATION_NOT_INITIALIZED
    assert m.call("C_VerifySignatureUpdate", session, BLOCK, 16) == CKR.OK
    assert m.call("C_SessionCancel", session, CKF.VERIFY) == CKR.OK
    assert m.call("C_VerifySignatureUpdate", session, BLOCK, 16) == CKR.OPERATION_NOT_INITIALIZED
    m.close_session(session)


class Messages:
    """Messages of AES-GCM in a session, one way; `next` is a part, with `last` the last one."""

    def __init__(self, m: Any, key: int, way: str) -> None:
        self.m, self.key, self.way, self.session = m, key, way, m.open_session(0)
        self._iv, self._tag = m.ffi.new("unsigned char[12]"), m.ffi.new("unsigned char[16]")
        self._parameter = m.ffi.new("CK_GCM_MESSAGE_PARAMS *", (self._iv, 12, 0, 0, self._tag, 128))

    def init(self) -> int:
        mechanism, _kept = self.m.mechanism(CKM.AES_GCM)
        return int(self.m.call(f"C_Message{self.way}Init", self.session, mechanism, self.key))

    def begin(self) -> int:
        return self._call("MessageBegin", self.m.ffi.NULL, 0)

    def next(self, last: bool = False, room: int | None = 64, data: Any = BLOCK) -> int:
        return self._call("MessageNext", data, 16, *self._out(room), CKF.END_OF_MESSAGE if last else 0)

    def whole(self, room: int | None = 64) -> int:
        return self._call("Message", self.m.ffi.NULL, 0, BLOCK, 16, *self._out(room))

    def final(self) -> int:
        return int(self.m.call(f"C_Message{self.way}Final", self.session))

    def _out(self, room: int | None) -> tuple[Any, Any]:
        ffi = self.m.ffi
        buffer = ffi.NULL if room is None else ffi.new("unsigned char[64]")
        return buffer, ffi.new("CK_ULONG *", room or 0)

    def _call(self, function: str, *arguments: Any) -> int:
        size = self.m.ffi.sizeof("CK_GCM_MESSAGE_PARAMS")
        return int(self.m.call(f"C_{self.way}{function}", self.session, self._parameter, size, *arguments))


# Steps, what the last one answers, and whether a message is under way then; the process is until C_Message...Final.
MESSAGES: list[tuple[str, Callable[[Messages], int], dict[str, int], bool]] = [
    ("nothing", lambda o: CKR.OK, {}, False),
    ("begun", lambda o: o.begin(), {}, True),
    ("begun twice", lambda o: o.begin() or o.begin(), {"": CKR.OPERATION_ACTIVE}, True),
    ("whole within", lambda o: o.begin() or o.whole(), {"": CKR.OPERATION_ACTIVE}, True),
    ("whole", lambda o: o.whole(), {"Decrypt": CKR.AEAD_DECRYPT_FAILED}, False),
    ("whole, length", lambda o: o.whole(None), {}, False),
    ("part", lambda o: o.begin() or o.next(), {}, True),
    ("last part", lambda o: o.begin() or o.next(True), {"Decrypt": CKR.AEAD_DECRYPT_FAILED}, False),
    ("last part, length", lambda o: o.begin() or o.next(True, None), {}, True),
    ("last part, too small", lambda o: o.begin() or o.next(True, 1), {"": CKR.BUFFER_TOO_SMALL}, True),
    ("part, no data", lambda o: o.begin() or o.next(data=o.m.ffi.NULL), {"": CKR.ARGUMENTS_BAD}, False),
    ("part without a begin", lambda o: o.next(), {"": CKR.OPERATION_NOT_INITIALIZED}, False),
]


@pytest.mark.parametrize("way", ["Encrypt", "Decrypt"])
@pytest.mark.parametrize(("steps", "values", "active"), [row[1:] for row in MESSAGES], ids=[row[0] for row in MESSAGES])
def test_messages(
    module: tuple[Simulator, Any],
    session_keys: Any,
    way: str,
    steps: Callable[[Messages], int],
    values: dict[str, int],
    active: bool,
) -> None:
    """What ends a message, and that nothing but Final, or a NULL mechanism, ends the process (5.9, 5.11)."""
    messages = Messages(module[1], session_keys[1]["aes"], way)
    assert messages.init() == CKR.OK
    assert steps(messages) == values.get(way, values.get("", CKR.OK))
    assert messages.next() == (CKR.OK if active else CKR.OPERATION_NOT_INITIALIZED)
    assert messages.init() == CKR.OPERATION_ACTIVE
    assert messages.final() == CKR.OK
    assert messages.final() == CKR.OPERATION_NOT_INITIALIZED
    assert messages.begin() == CKR.OPERATION_NOT_INITIALIZED
    messages.m.close_session(messages.session)
