# SPDX-License-Identifier: MIT
"""EdDSA with a context or of a hash: the examples of RFC 8032, and what has them (PKCS #11 3.1, 6.3.15)."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import pytest
from cardtear.card.crypto.curves import BY_NAME
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Failed
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKK, CKM, CKO, CKR
from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519

YES, NO = b"\1", b"\0"
DATA = b"some data"

# RFC 8032, 7.2 to 7.5: hash or not, private key, public key, message, context, signature.
_EXAMPLES = """
- 0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6
  dfc9425e4f968f7f0c29f0259cf5f9aed6851c2bb4ad8bfb860cfee0ab248292
  f726936d19c800494e3fdaff20b276a8 666f6f
  55a4cc2f70a54e04288c5f4cd1e45a7bb520b36292911876cada7323198dd87a8b36950b95130022907a7fb7c4e9b2d5f6cca685a587b4b21f
  4b888e4e7edb0d

- 0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6
  dfc9425e4f968f7f0c29f0259cf5f9aed6851c2bb4ad8bfb860cfee0ab248292
  f726936d19c800494e3fdaff20b276a8 626172
  fc60d5872fc46b3aa69f8b5b4351d5808f92bcc044606db097abab6dbcb1aee3216c48e8b3b66431b5b186d1d28f8ee15a5ca2df6668346291
  c2043d4eb3e90d

- 0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6
  dfc9425e4f968f7f0c29f0259cf5f9aed6851c2bb4ad8bfb860cfee0ab248292
  508e9e6882b979fea900f62adceaca35 666f6f
  8b70c1cc8310e1de20ac53ce28ae6e7207f33c3295e03bb5c0732a1d20dc64908922a8b052cf99b7c4fe107a5abb5b2c4085ae75890d02df26
  269d8945f84b0b

- ab9c2853ce297ddab85c993b3ae14bcad39b2c682beabc27d6d4eb20711d6560
  0f1d1274943b91415889152e893d80e93275a1fc0b65fd71b4b0dda10ad7d772
  f726936d19c800494e3fdaff20b276a8 666f6f
  21655b5f1aa965996b3f97b3c849eafba922a0a62992f73b3d1b73106a84ad85e9b86a7b6005ea868337ff2d20a7f5fbd4cd10b0be49a68da2
  b2e0dc0ad8960f

ph 833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42
  ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf
  616263 -
  98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aaa10b8c61e636062aaa
  d11c2a26083406

- c4eab05d357007c632f3dbb48489924d552b08fe0c353a0d4a1f00acda2c463afbea67c5e8d2877c5e3bc397a659949ef8021e954e0a12274e
  43ba28f430cdff456ae531545f7ecd0ac834a55d9358c0372bfa0c6c6798c0866aea01eb00742802b8438ea4cb82169c235160627b4c3a9480
  03 666f6f
  d4f8f6131770dd46f40867d6fd5d5055de43541f8c5e35abbcd001b32a89f7d2151f7647f11d8ca2ae279fb842d607217fce6e042f6815ea00
  0c85741de5c8da1144a6a1aba7f96de42505d7a7298524fda538fccbbb754f578c1cad10d54d0d5428407e85dcbc98a49155c13764e66c3c00

ph 833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42ef7822e0d5104127dc05d6dbefde69e3ab2cec7c867c6e2c49
  259b71c19f83ef77a7abd26524cbdb3161b590a48f7d17de3ee0ba9c52beb743c09428a131d6b1b57303d90d8132c276d5ed3d5d01c0f53880
  616263 -
  822f6901f7480f3d5f562c592994d9693602875614483256505600bbc281ae381f54d6bce2ea911574932f52a4e6cadd78769375ec3ffd1b80
  1a0d9b3f4030cd433964b6457ea39476511214f97469b57dd32dbc560a9a94d00bff07620464a3ad203df7dc7ce360c3cd3696d9d9fab90f00

ph 833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42ef7822e0d5104127dc05d6dbefde69e3ab2cec7c867c6e2c49
  259b71c19f83ef77a7abd26524cbdb3161b590a48f7d17de3ee0ba9c52beb743c09428a131d6b1b57303d90d8132c276d5ed3d5d01c0f53880
  616263 666f6f
  c32299d46ec8ff02b54540982814dce9a05812f81962b649d528095916a2aa481065b1580423ef927ecf0af5888f90da0f6a9a85ad5dc3f280
  d91224ba9911a3653d00e484e2ce232521481c8658df304bb7745a73514cdb9bf3e15784ab71284f8d0704a608c54a6b62d97beb511d132100

"""
EXAMPLES = [
    (
        kind == "ph",
        *(b"" if each == "-" else bytes.fromhex(each) for each in numbers),  # type: ignore[arg-type]
        bytes.fromhex("".join(signature)),
    )
    for kind, *numbers, signature in (
        (*fields[:5], fields[5:]) for fields in (paragraph.split() for paragraph in _EXAMPLES.strip().split("\n\n"))
    )
]
NAMES = {32: "edwards25519", 57: "edwards448"}


@pytest.fixture
def session(m: Any) -> int:
    return int(m.open_session(0))


def mechanism(m: Any, prehashed: bool, context: bytes) -> tuple[Any, Any]:
    """CKM_EDDSA with its parameter, and what has to be kept for it."""
    ffi = m.ffi
    given = ffi.new("unsigned char[]", context)
    parameter = ffi.new("CK_EDDSA_PARAMS *", (prehashed, len(context), given if context else ffi.NULL))
    return ffi.new("CK_MECHANISM *", (CKM.EDDSA, parameter, ffi.sizeof("CK_EDDSA_PARAMS"))), (given, parameter)


def keys_of(m: Any, session: int, private: bytes, public: bytes) -> tuple[int, int]:
    parameters = BY_NAME[NAMES[len(private)]].parameters
    kind = {CKA.KEY_TYPE: CKK.EC_EDWARDS, CKA.EC_PARAMS: parameters}
    signer = m.create(session, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.VALUE: private, CKA.PRIVATE: NO, **kind})
    return signer, m.create(session, {CKA.CLASS: CKO.PUBLIC_KEY, CKA.EC_POINT: public, **kind})


def begun(m: Any, session: int, function: str, key: int, prehashed: bool, context: bytes) -> CKR:
    built, _kept = mechanism(m, prehashed, context)
    return CKR(m.call(function, session, built, key))


def verify(m: Any, session: int, key: int, prehashed: bool, context: bytes, data: bytes, signature: bytes) -> CKR:
    assert begun(m, session, "C_VerifyInit", key, prehashed, context) is CKR.OK
    return CKR(m.call("C_Verify", session, data, len(data), signature, len(signature)))


@pytest.mark.parametrize(("prehashed", "private", "public", "message", "context", "signature"), EXAMPLES)
def test_examples(
    m: Any,
    session: int,
    prehashed: bool,
    private: bytes,
    public: bytes,
    message: bytes,
    context: bytes,
    signature: bytes,
) -> None:
    """In one part and in many; another context, hash or message does not verify."""
    signer, verifier = keys_of(m, session, private, public)
    assert begun(m, session, "C_SignInit", signer, prehashed, context) is CKR.OK
    assert m.sign(session, message) == signature
    assert begun(m, session, "C_SignInit", signer, prehashed, context) is CKR.OK
    for part in (message[:1], message[1:]):
        m.check("C_SignUpdate", session, part, len(part))
    out, length = m.ffi.new("unsigned char[200]"), m.ffi.new("CK_ULONG *", 200)
    m.check("C_SignFinal", session, out, length)
    assert bytes(out[0 : length[0]]) == signature
    assert verify(m, session, verifier, prehashed, context, message, signature) is CKR.OK
    assert verify(m, session, verifier, prehashed, context + b"x", message, signature) is CKR.SIGNATURE_INVALID
    assert verify(m, session, verifier, not prehashed, context + b"x", message, signature) is CKR.SIGNATURE_INVALID
    assert verify(m, session, verifier, prehashed, context, message + b"x", signature) is CKR.SIGNATURE_INVALID
    wrong = bytes([signature[0] ^ 1]) + signature[1:]
    assert verify(m, session, verifier, prehashed, context, message, wrong) is CKR.SIGNATURE_INVALID
    assert verify(m, session, verifier, prehashed, context, message, signature[1:]) is CKR.SIGNATURE_LEN_RANGE


@pytest.mark.parametrize("name", NAMES.values())
@pytest.mark.parametrize("prehashed", [False, True])
@pytest.mark.parametrize("length", [1, 255, 256])
def test_contexts(m: Any, session: int, name: str, prehashed: bool, length: int) -> None:
    """Up to 255 bytes; each makes another signature, which is none without it."""
    parameters = {CKA.EC_PARAMS: BY_NAME[name].parameters}
    public, private = m.generate_pair(session, CKM.EC_EDWARDS_KEY_PAIR_GEN, parameters, {CKA.PRIVATE: NO})
    context = bytes(length)
    if length > 255:
        for function, key in (("C_SignInit", private), ("C_VerifyInit", public)):
            assert begun(m, session, function, key, prehashed, context) is CKR.MECHANISM_PARAM_INVALID
        return
    assert begun(m, session, "C_SignInit", private, prehashed, context) is CKR.OK
    signature = m.sign(session, DATA)
    assert verify(m, session, public, prehashed, context, DATA, signature) is CKR.OK
    assert verify(m, session, public, True, b"", DATA, signature) is CKR.SIGNATURE_INVALID


def test_no_context_and_no_hash(m: Any, session: int) -> None:
    """That is Ed448 itself, and Ed25519ctx with an empty context, which is not Ed25519."""
    signer, verifier = keys_of(m, session, *EXAMPLES[0][1:3])  # type: ignore[arg-type]
    assert begun(m, session, "C_SignInit", signer, False, b"") is CKR.OK
    signature = m.sign(session, DATA)
    assert verify(m, session, verifier, False, b"", DATA, signature) is CKR.OK
    public = EXAMPLES[0][2]
    with pytest.raises(InvalidSignature):
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, DATA)  # type: ignore[arg-type]
    hashed = b"SigEd25519 no Ed25519 collisions" + bytes(2) + signature[:32] + public + DATA
    k, s = int.from_bytes(hashlib.sha512(hashed).digest(), "little"), int.from_bytes(signature[32:], "little")
    # RFC 8032, 5.1.7
    assert base_point() * s == point(signature[:32]) + point(public) * k  # type: ignore[arg-type]
    parameters = {CKA.EC_PARAMS: BY_NAME["edwards448"].parameters}
    public_448, private = m.generate_pair(session, CKM.EC_EDWARDS_KEY_PAIR_GEN, parameters, {CKA.PRIVATE: NO})
    assert begun(m, session, "C_SignInit", private, False, b"") is CKR.OK
    value = m.attribute(session, public_448, CKA.EC_POINT)[-57:]
    ed448.Ed448PublicKey.from_public_bytes(value).verify(m.sign(session, DATA), DATA)


def point(encoded: bytes) -> Any:
    return eddsa.import_public_key(encoded).pointQ


def base_point() -> Any:
    return ECC.EccPoint(  # type: ignore[attr-defined]
        15112221349535400772501151409588531511454012693041857206046113283949847762202,
        46316835694926478169428394003475163141307993866256225615783033603165251855960,
        "Ed25519",
    )


@pytest.fixture
def on_card(m: Any) -> int:
    """A session in which keys are made on a card."""
    m.call("C_CloseAllSessions", 1)
    live = int(m.open_session(1, read_write=True))
    m.login(live)
    return live


@pytest.mark.parametrize(("prehashed", "private", "public", "message", "context", "signature"), EXAMPLES)
def test_examples_on_the_card(
    m: Any,
    on_card: int,
    prehashed: bool,
    private: bytes,
    public: bytes,
    message: bytes,
    context: bytes,
    signature: bytes,
) -> None:
    """Our own card has a command for them."""
    parameters = BY_NAME[NAMES[len(private)]].parameters
    kind = {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.EC_EDWARDS, CKA.EC_PARAMS: parameters}
    key = m.create(on_card, {**kind, CKA.VALUE: private, CKA.TOKEN: YES, CKA.PRIVATE: YES})
    try:
        assert begun(m, on_card, "C_SignInit", key, prehashed, context) is CKR.OK
        assert m.sign(on_card, message) == signature
    finally:
        m.destroy(on_card, key)


def test_no_other_card_has_them(module: tuple[Simulator, Any]) -> None:
    """One that is somebody's make signs the message only: refused before anything is sent to its key."""
    simulator, m = module
    simulator.plug("third")
    simulator.insert("third", CardRequest(profile="yubikey"))
    m.slots()
    session = m.open_session(2, read_write=True)
    m.login(session)
    both = {CKA.TOKEN: YES, CKA.EC_PARAMS: BY_NAME["edwards25519"].parameters}
    _, private = m.generate_pair(session, CKM.EC_EDWARDS_KEY_PAIR_GEN, both, {CKA.TOKEN: YES, CKA.PRIVATE: YES})
    for prehashed, context in ((True, b""), (True, b"x"), (False, b"x"), (False, b"")):
        assert begun(m, session, "C_SignInit", private, prehashed, context) is CKR.MECHANISM_PARAM_INVALID
    m.sign_init(session, private, CKM.EDDSA)
    assert len(m.sign(session, DATA)) == 64
    simulator.unplug("third")


def test_they_go_with_the_card(module: tuple[Simulator, Any], session: int) -> None:
    simulator, m = module
    signer, _ = keys_of(m, session, *EXAMPLES[0][1:3])  # type: ignore[arg-type]
    assert begun(m, session, "C_SignInit", signer, True, b"x") is CKR.OK
    simulator.insert("front", simulator.remove("front"))
    with pytest.raises(Failed) as caught:
        m.sign(session, DATA)
    assert caught.value.value == CKR.SESSION_HANDLE_INVALID
    m.login(m.open_session(0, read_write=True))


def test_the_library_is_loaded_when_it_is_wanted() -> None:
    """It takes long: not at the start of a simulator."""
    program = "import sys, cardtear.lab.control.simulator; print('Crypto' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
