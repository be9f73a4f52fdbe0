# SPDX-License-Identifier: MIT
"""Arguments that no sane application passes: NULL, dead handles, lengths beyond all bounds. Nothing may crash."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.csrc.generate import C_TYPES, LIST_2_40
from cardtear.lab.clients.pkcs11 import Module
from cardtear.p11.calls import BY_NAME, CALLS
from cardtear.p11.constants import CKM, CKR

from ...shared.host import probes
from ...shared.host.host import Host, NewHost

SESSION_CALLS = [
    call.name for call in CALLS if call.version == 2 and call.signature[:1] == "u" and call.name != "C_WaitForSlotEvent"
]
SLOT_CALLS = {"C_GetSlotInfo", "C_GetTokenInfo", "C_GetMechanismList", "C_GetMechanismInfo", "C_InitToken"} | {
    "C_OpenSession",
    "C_CloseAllSessions",
}
POINTERS = [
    (call.name, position)
    for call in CALLS
    if call.version == 2
    for position, letter in enumerate(call.signature)
    if letter in "UBLFqSKEHlmw" and call.name != "C_WaitForSlotEvent"
]


@pytest.mark.parametrize(("name", "position"), POINTERS)
def test_null_where_the_standard_forbids_it(host: Host, ro_session: int, name: str, position: int) -> None:
    """CKR_ARGUMENTS_BAD, whatever else is in the call."""
    assert host.call(probes.call_with_null, name, position, ro_session) == CKR.ARGUMENTS_BAD


def test_no_call_minds_handle_zero_or_a_stale_one(host: Host) -> None:
    """Every function that takes a session says that the handle is invalid, or that it does not exist at all."""
    stale = host.call(lambda m: (lambda s: (m.close_session(s), s)[1])(m.open_session(0)))
    for name in SESSION_CALLS:
        if name in SLOT_CALLS:
            continue
        for handle in (0, stale, 2**64 - 1):
            value = host.call(probes.call_with_junk, name, handle)
            assert value in (CKR.SESSION_HANDLE_INVALID, CKR.FUNCTION_NOT_SUPPORTED), (name, handle, value)


def test_unknown_slots(host: Host) -> None:
    """Each function of a slot says so."""
    for name in SLOT_CALLS:
        for slot in (1, 2**32, 2**64 - 1):
            value = host.call(probes.call_with_junk, name, slot)
            wanted = {CKR.SLOT_ID_INVALID, CKR.FUNCTION_NOT_SUPPORTED, CKR.SESSION_PARALLEL_NOT_SUPPORTED}
            assert value in wanted, (name, slot, value)


@pytest.mark.parametrize("length", [2**27, 2**40, 2**63, 2**64 - 1])
def test_lengths_beyond_all_bounds(host: Host, user_session: int, length: int) -> None:
    """An error; nothing of that size is read or allocated, and the session goes on."""
    for expression in (
        lambda m, s, n: m.call("C_DigestUpdate", s, b"abc", n),
        lambda m, s, n: m.call("C_Digest", s, b"abc", n, m.ffi.new("char[64]"), m.ffi.new("CK_ULONG *", 64)),
        lambda m, s, n: m.call("C_Login", s, 1, b"123456", n),
        lambda m, s, n: m.call("C_SeedRandom", s, b"abc", n),
        lambda m, s, n: m.call("C_GenerateRandom", s, m.ffi.new("char[64]"), n),
        lambda m, s, n: m.call("C_FindObjectsInit", s, m.ffi.new("CK_ATTRIBUTE[1]"), n),
        lambda m, s, n: m.call("C_GetAttributeValue", s, 1, m.ffi.new("CK_ATTRIBUTE[1]"), n),
        lambda m, s, n: m.call("C_SignInit", s, m.ffi.new("CK_MECHANISM *", (0x1087, m.ffi.new("char[64]"), n)), 1),
        lambda m, s, n: m.call("C_VerifyFinal", s, b"abc", n),
    ):
        assert host.call(expression, s=user_session, n=length) != CKR.OK, expression
    assert len(host.call(probes.sign_with, user_session, b"\1")) == 256


def test_attribute_lengths_beyond_all_bounds(host: Host, ro_session: int) -> None:
    """In a template as well."""
    for length in (2**40, 2**64 - 1):

        def expression(m: Module, s: int, n: Any) -> Any:
            return m.call("C_FindObjectsInit", s, m.ffi.new("CK_ATTRIBUTE[1]", [(3, m.ffi.new("char[4]"), n)]), 1)

        assert host.call(expression, s=ro_session, n=length) in (CKR.ATTRIBUTE_VALUE_INVALID, CKR.ARGUMENTS_BAD)


def test_every_function_answers_before_initialize(new_host: NewHost, simulator: Any) -> None:
    """All 2.40 functions but those that need no initialisation."""
    host = new_host(simulator, initialize=False)
    for name in LIST_2_40:
        if name in BY_NAME and name != "C_Finalize":
            value = host.call(probes.call_with_junk, name, 1)
            assert value == CKR.CRYPTOKI_NOT_INITIALIZED, name


def test_the_letters_are_all_known() -> None:
    """The call table uses no letter that the generator does not know."""
    assert {letter for call in CALLS for letter in call.signature} <= set(C_TYPES)


@pytest.mark.parametrize(
    ("mechanism", "parameter", "wanted"),
    [
        (CKM.RSA_PKCS, b"junk", CKR.MECHANISM_PARAM_INVALID),
        (CKM.RSA_PKCS_PSS, b"", CKR.MECHANISM_PARAM_INVALID),
        (CKM.RSA_PKCS_PSS, bytes(23), CKR.MECHANISM_PARAM_INVALID),
        (CKM.RSA_PKCS_PSS, bytes(24), CKR.MECHANISM_PARAM_INVALID),
        (CKM.SHA256_RSA_PKCS_PSS, bytes(25), CKR.MECHANISM_PARAM_INVALID),
        (0x12345, b"", CKR.MECHANISM_INVALID),
        (CKM.SHA256, b"", CKR.MECHANISM_INVALID),
        (CKM.RSA_PKCS_OAEP, b"", CKR.MECHANISM_INVALID),
        (CKM.ECDSA, b"", CKR.KEY_TYPE_INCONSISTENT),
    ],
)
def test_mechanism_parameters(host: Host, user_session: int, mechanism: int, parameter: bytes, wanted: CKR) -> None:
    """The standard's code for what does not fit, and no operation begins."""
    key = host.call(probes.key, user_session, b"\1")
    assert host.rv(Module.sign_init, user_session, key, mechanism, parameter) == wanted
    assert host.rv(Module.sign, user_session, b"x") == CKR.OPERATION_NOT_INITIALIZED


def test_data_that_does_not_fit(host: Host, user_session: int) -> None:
    """Too long for the padding, too short for a ciphertext, not a hash's length; the operation ends."""
    key = host.call(probes.key, user_session, b"\1")
    for signing, data in ((CKM.RSA_PKCS, bytes(246)), (CKM.RSA_X_509, bytes(257))):
        host.call(Module.sign_init, user_session, key, signing)
        assert host.rv(Module.sign, user_session, data) == CKR.DATA_LEN_RANGE, signing
    for data, wanted in (
        (bytes(255), CKR.ENCRYPTED_DATA_LEN_RANGE),
        (bytes(256), CKR.ENCRYPTED_DATA_INVALID),
        (b"\xff" * 256, CKR.ENCRYPTED_DATA_INVALID),
    ):
        assert host.rv(Module.decrypt, user_session, key, data) == wanted, data
    assert host.rv(Module.sign, user_session, b"") == CKR.OPERATION_NOT_INITIALIZED


def test_short_buffers_keep_the_operation(host: Host, user_session: int) -> None:
    """The length is told, by a NULL buffer and by one that is too small; then the signature comes."""
    host.call(lambda m: m.sign_init(user_session, probes.key(m, user_session, b"\1"), CKM.SHA256_RSA_PKCS))

    def ask(m: Module, session: int, size: int) -> tuple[int, int]:
        length = m.ffi.new("CK_ULONG *", size)
        buffer = m.ffi.new(f"char[{size}]") if size else m.ffi.NULL
        return m.call("C_Sign", session, b"data", 4, buffer, length), int(length[0])

    assert host.call(ask, user_session, 0) == (CKR.OK, 256)
    assert host.call(ask, user_session, 255) == (CKR.BUFFER_TOO_SMALL, 256)
    assert len(host.call(Module.sign, user_session, b"data")) == 256
    assert host.rv(Module.sign, user_session, b"data") == CKR.OPERATION_NOT_INITIALIZED


def test_one_part_and_many_do_not_mix(host: Host, user_session: int) -> None:
    """C_Sign after C_SignUpdate is refused, and ends the operation (5.13: "always terminates")."""
    host.call(lambda m: m.sign_init(user_session, probes.key(m, user_session, b"\1"), CKM.SHA256_RSA_PKCS))
    host.call(Module.check, "C_SignUpdate", user_session, b"abc", 3)
    assert host.rv(Module.sign, user_session, b"data") == CKR.OPERATION_ACTIVE
    assert host.rv(Module.sign, user_session, b"data") == CKR.OPERATION_NOT_INITIALIZED


def test_parts_without_end(host: Host, user_session: int) -> None:
    """What is not hashed has to be kept: not more of it than a key can ever take, then the operation is over."""
    host.call(lambda m: m.sign_init(user_session, probes.key(m, user_session, b"\1"), CKM.RSA_PKCS))

    def part(m: Module, s: int) -> Any:
        return m.call("C_SignUpdate", s, bytes(40000), 40000)

    assert host.call(part, s=user_session) == CKR.OK
    assert host.call(part, s=user_session) == CKR.DATA_LEN_RANGE
    assert host.call(part, s=user_session) == CKR.OPERATION_NOT_INITIALIZED
