# SPDX-License-Identifier: MIT
"""Keys of passwords (PBKDF2) and by pseudo-random functions (SP 800-108), against OpenSSL and published vectors."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
from typing import Any

import pytest
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CK, CKA, CKK, CKM, CKO, CKP, CKR
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, KBKDFHMAC, CounterLocation, Mode

PLAIN = {CKA.SENSITIVE: b"\0", CKA.EXTRACTABLE: b"\1"}
KEY, LABEL, CONTEXT, IV = bytes(range(32)), b"label", b"context", bytes(range(64, 96))
VARIABLE, COUNTER, LENGTH, BYTES = (
    CK.SP800_108_ITERATION_VARIABLE,
    CK.SP800_108_COUNTER,
    CK.SP800_108_DKM_LENGTH,
    CK.SP800_108_BYTE_ARRAY,
)
OF_KEYS, OF_SEGMENTS = CK.SP800_108_DKM_LENGTH_SUM_OF_KEYS, CK.SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS


class Kdf:
    """A session, and what makes keys of other things in it."""

    def __init__(self, m: Any) -> None:
        self.m, self.session, self.kept = m, m.open_session(0), []  # type: ignore[var-annotated]

    def keep(self, kind: str, *fields: Any) -> Any:
        self.kept.append(self.m.ffi.new(kind, *fields))
        return self.kept[-1]

    def made(self, function: str, mechanism: CKM, kind: str, fields: Any, template: Any, *base: int) -> bytes | CKR:
        """The value of the key, or why there is none."""
        ffi = self.m.ffi
        parameter = self.keep(f"{kind} *", fields)
        built = self.keep("CK_MECHANISM *", (mechanism, parameter, ffi.sizeof(kind)))
        attributes, _kept = self.m.template({**PLAIN, **template})
        handle = ffi.new("CK_ULONG *")
        count = len(template) + len(PLAIN)
        value = self.m.call(function, self.session, built, *base, attributes, count, handle)
        return CKR(value) if value else bytes(self.m.attribute(self.session, handle[0], CKA.VALUE))

    def password(self, password: bytes, salt: bytes, iterations: int, prf: int, length: int, **more: Any) -> Any:
        ffi = self.m.ffi
        fields = (
            more.get("source", 1),
            self.keep("unsigned char[]", salt),
            len(salt),
            iterations,
            prf,
            ffi.NULL,
            0,
            self.keep("unsigned char[]", password),
            more.get("told", len(password)),
        )
        template = {CKA.VALUE_LEN: length} if length else {}
        template |= {CKA.KEY_TYPE: more["key_type"]} if "key_type" in more else {}
        return self.made("C_GenerateKey", CKM.PKCS5_PBKD2, "CK_PKCS5_PBKD2_PARAMS2", fields, template)

    def base(self, value: bytes = KEY, kind: CKK = CKK.GENERIC_SECRET) -> int:
        template = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind, CKA.VALUE: value, CKA.DERIVE: b"\1"}
        return int(self.m.create(self.session, template))

    def derive(self, mechanism: CKM, prf: int, parts: Any, length: int | None, base: int, **more: Any) -> Any:
        """`parts` are byte strings, (kind, little-endian, bits) and (LENGTH, method, little-endian, bits)."""
        ffi = self.m.ffi
        listed = [self._part(part) for part in parts]
        array = self.keep("CK_PRF_DATA_PARAM[]", listed)
        iv = more.get("iv", b"")
        feedback = mechanism == CKM.SP800_108_FEEDBACK_KDF
        fields = [prf, len(listed), array]
        fields += [len(iv), self.keep("unsigned char[]", iv)] if feedback else []
        fields += [more.get("further", 0), ffi.NULL]
        kind = "CK_SP800_108_FEEDBACK_KDF_PARAMS" if feedback else "CK_SP800_108_KDF_PARAMS"
        template = {CKA.VALUE_LEN: length} if length is not None else {}
        return self.made("C_DeriveKey", mechanism, kind, fields, template, base)

    def _part(self, part: Any) -> Any:
        ffi = self.m.ffi
        if isinstance(part, bytes):
            return (BYTES, self.keep("unsigned char[]", part), len(part))
        kind, *form = part
        if not form:
            return (kind, ffi.NULL, 0)
        shape = "CK_SP800_108_DKM_LENGTH_FORMAT" if kind == LENGTH else "CK_SP800_108_COUNTER_FORMAT"
        return (kind, self.keep(f"{shape} *", form), ffi.sizeof(shape))


@pytest.fixture
def kdf(module: tuple[Simulator, Any]) -> Kdf:
    return Kdf(module[1])


@pytest.mark.parametrize(
    ("iterations", "value"),
    [
        (1, "0c60c80f961f0e71f3a9b524af6012062fe037a6"),
        (2, "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"),
        (4096, "4b007901b765489abead49d926f721d065a429c1"),
    ],
)
def test_passwords_of_rfc_6070(kdf: Kdf, iterations: int, value: str) -> None:
    found = kdf.password(b"password", b"salt", iterations, CKP.PKCS5_PBKD2_HMAC_SHA1, 20)
    assert found.hex() == value


@pytest.mark.parametrize("digest", ["sha1", "sha224", "sha256", "sha384", "sha512", "sha512_224", "sha512_256"])
def test_functions_of_passwords(kdf: Kdf, digest: str) -> None:
    prf = CKP[f"PKCS5_PBKD2_HMAC_{digest.upper()}"]
    assert kdf.password(b"p", b"s", 3, prf, 40) == hashlib.pbkdf2_hmac(digest, b"p", b"s", 3, 40)
    assert kdf.password(b"", b"", 1, prf, 16, key_type=CKK.AES) == hashlib.pbkdf2_hmac(digest, b"", b"", 1, 16)


def test_a_pointer_to_the_length(kdf: Kdf) -> None:
    """So NSS and programs before 2.40 tell the length of a password; what points nowhere is wrong."""
    usual: dict[str, Any] = {"iterations": 7, "prf": CKP.PKCS5_PBKD2_HMAC_SHA256, "length": 16}
    length = kdf.keep("CK_ULONG *", 5)
    found = kdf.password(b"password", b"salt", told=int(kdf.m.ffi.cast("uintptr_t", length)), **usual)
    assert found == hashlib.pbkdf2_hmac("sha256", b"passw", b"salt", 7, 16)
    for nowhere in (1 << 16, 1 << 40, (1 << 64) - 1):
        assert kdf.password(b"p", b"s", told=nowhere, **usual) is CKR.MECHANISM_PARAM_INVALID
    length[0] = 1 << 40
    found = kdf.password(b"p", b"s", told=int(kdf.m.ffi.cast("uintptr_t", length)), **usual)
    assert found is CKR.MECHANISM_PARAM_INVALID


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"iterations": 0}, CKR.MECHANISM_PARAM_INVALID),
        ({"iterations": 2**31}, CKR.MECHANISM_PARAM_INVALID),
        ({"prf": CKP.PKCS5_PBKD2_HMAC_GOSTR3411}, CKR.MECHANISM_PARAM_INVALID),
        ({"prf": 99}, CKR.MECHANISM_PARAM_INVALID),
        ({"source": 0}, CKR.MECHANISM_PARAM_INVALID),
        ({"length": 0}, CKR.TEMPLATE_INCOMPLETE),
        ({"length": 17, "key_type": CKK.AES}, CKR.ATTRIBUTE_VALUE_INVALID),
    ],
)
def test_no_key_of_a_password(kdf: Kdf, changed: dict[str, Any], reason: CKR) -> None:
    usual: dict[str, Any] = {"iterations": 1, "prf": CKP.PKCS5_PBKD2_HMAC_SHA256, "length": 16}
    assert kdf.password(b"p", b"s", **{**usual, **changed}) is reason


COUNTED = [(VARIABLE, 0, 32), LABEL, b"\0", CONTEXT, (LENGTH, OF_KEYS, 0, 32)]


@pytest.mark.parametrize(
    ("prf", "digest"),
    [
        (CKM.SHA_1_HMAC, hashes.SHA1()),
        (CKM.SHA256_HMAC, hashes.SHA256()),
        (CKM.SHA512_HMAC, hashes.SHA512()),
        (CKM.SHA3_256_HMAC, hashes.SHA3_256()),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
@pytest.mark.parametrize("length", [1, 20, 64, 100])
def test_counter(kdf: Kdf, prf: CKM, digest: Any, length: int) -> None:
    found = kdf.derive(CKM.SP800_108_COUNTER_KDF, prf, COUNTED, length, kdf.base())
    wanted = KBKDFHMAC(digest, Mode.CounterMode, length, 4, 4, CounterLocation.BeforeFixed, LABEL, CONTEXT, None)
    assert found == wanted.derive(KEY)


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("after", [True, False])
def test_where_the_counter_stands(kdf: Kdf, bits: int, after: bool) -> None:
    fixed, variable = [LABEL, b"\0", CONTEXT, (LENGTH, OF_KEYS, 0, 16)], (VARIABLE, 0, bits)
    parts = [*fixed, variable] if after else [variable, *fixed]
    found = kdf.derive(CKM.SP800_108_COUNTER_KDF, CKM.SHA256_HMAC, parts, 50, kdf.base())
    place = CounterLocation.AfterFixed if after else CounterLocation.BeforeFixed
    known = KBKDFHMAC(hashes.SHA256(), Mode.CounterMode, 50, bits // 8, 2, place, LABEL, CONTEXT, None)
    assert found == known.derive(KEY)


def test_cmac(kdf: Kdf) -> None:
    found = kdf.derive(CKM.SP800_108_COUNTER_KDF, CKM.AES_CMAC, COUNTED, 48, kdf.base(KEY, CKK.AES))
    known = KBKDFCMAC(algorithms.AES, Mode.CounterMode, 48, 4, 4, CounterLocation.BeforeFixed, LABEL, CONTEXT, None)
    assert found == known.derive(KEY)


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("iv", [b"", IV], ids=["no IV", "IV"])
def test_feedback(kdf: Kdf, iv: bytes) -> None:
    parts = [(VARIABLE,), (COUNTER, 0, 32), LABEL, b"\0", CONTEXT, (LENGTH, OF_KEYS, 0, 32)]
    found = kdf.derive(CKM.SP800_108_FEEDBACK_KDF, CKM.SHA256_HMAC, parts, 70, kdf.base(), iv=iv)
    options = {"mac": "HMAC", "digest": "SHA2-256", "mode": "feedback", "hexkey": KEY.hex()}
    options |= {"hexsalt": LABEL.hex(), "hexinfo": CONTEXT.hex()} | ({"hexseed": iv.hex()} if iv else {})
    words = [word for name, value in options.items() for word in ("-kdfopt", f"{name}:{value}")]
    said = subprocess.run(
        ["openssl", "kdf", "-keylen", "70", *words, "KBKDF"], capture_output=True, text=True, check=True, timeout=30
    )
    assert found == bytes.fromhex(said.stdout.replace(":", ""))


@pytest.mark.parametrize("counted", [True, False])
def test_double_pipeline(kdf: Kdf, counted: bool) -> None:
    """SP 800-108, 4.3, told again in three lines."""
    parts = [(VARIABLE,), *([(COUNTER, 1, 16)] if counted else []), LABEL, b"\0", CONTEXT]
    found = kdf.derive(CKM.SP800_108_DOUBLE_PIPELINE_KDF, CKM.SHA256_HMAC, parts, 80, kdf.base())
    fixed = a = LABEL + b"\0" + CONTEXT
    wanted = b""
    for number in (1, 2, 3):
        a = hmac.digest(KEY, a, "sha256")
        wanted += hmac.digest(KEY, a + (number.to_bytes(2, "little") if counted else b"") + fixed, "sha256")
    assert found == wanted[:80]


def test_the_length_of_all_segments(kdf: Kdf) -> None:
    parts = [(VARIABLE, 0, 8), (LENGTH, OF_SEGMENTS, 1, 32)]
    found = kdf.derive(CKM.SP800_108_COUNTER_KDF, CKM.SHA256_HMAC, parts, 33, kdf.base())
    wanted = b"".join(hmac.digest(KEY, bytes([n]) + (512).to_bytes(4, "little"), "sha256") for n in (1, 2))
    assert found == wanted[:33]


def test_as_much_as_the_function_gives(kdf: Kdf) -> None:
    assert len(kdf.derive(CKM.SP800_108_COUNTER_KDF, CKM.SHA384_HMAC, [(VARIABLE, 0, 32)], None, kdf.base())) == 48


@pytest.mark.parametrize(
    "changed",
    [
        {"parts": [LABEL]},
        {"parts": [(VARIABLE, 0, 32), (VARIABLE, 0, 32)]},
        {"parts": [(VARIABLE, 0, 32), (COUNTER, 0, 32)]},
        {"parts": [(VARIABLE,)]},
        {"parts": [(VARIABLE, 0, 12)]},
        {"parts": [(VARIABLE, 0, 0)]},
        {"parts": [(VARIABLE, 0, 8), (LENGTH, 3, 0, 8)]},
        {"parts": [(VARIABLE, 0, 8), (LENGTH, OF_KEYS, 0, 8)], "length": 32},
        {"parts": [(VARIABLE, 0, 8)], "length": 32 * 256},
        {"prf": CKM.SHA256},
        {"prf": CKM.SHA256_HMAC_GENERAL},
        {"prf": 0},
        {"further": 1},
        {"mechanism": CKM.SP800_108_FEEDBACK_KDF},
        {"mechanism": CKM.SP800_108_DOUBLE_PIPELINE_KDF},
    ],
    ids=str,
)
def test_what_cannot_be_derived(kdf: Kdf, changed: dict[str, Any]) -> None:
    usual = {"mechanism": CKM.SP800_108_COUNTER_KDF, "prf": CKM.SHA256_HMAC, "parts": COUNTED, "length": 16}
    found = kdf.derive(**{**usual, **changed}, base=kdf.base())
    assert found in (CKR.MECHANISM_PARAM_INVALID, CKR.KEY_SIZE_RANGE)


def test_a_key_that_is_not_the_functions(kdf: Kdf) -> None:
    for prf, kind in ((CKM.AES_CMAC, CKK.GENERIC_SECRET), (CKM.SHA256_HMAC, CKK.AES)):
        found = kdf.derive(CKM.SP800_108_COUNTER_KDF, prf, COUNTED, 16, kdf.base(KEY, kind))
        assert found is CKR.KEY_TYPE_INCONSISTENT
