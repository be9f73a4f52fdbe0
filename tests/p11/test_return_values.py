# SPDX-License-Identifier: MIT
"""No function returns what its list in the standard does not have, whatever the card answers and whatever happens."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.tables import INS
from cardtear.csrc import module_path
from cardtear.csrc.declarations import ffi
from cardtear.lab.clients.pkcs11 import Failed
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.moments import OnApdu
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.calls import BY_NAME
from cardtear.p11.constants import CKA, CKK, CKM, CKO, CKR, CKU
from cardtear.p11.errors import P11Error
from cardtear.p11.return_values import RETURN_VALUES, returned
from cardtear.p11.status_words import STATUS_WORDS, To, error_for

from ..shared.host import probes

P256 = bytes.fromhex("06082a8648ce3d030107")
YES = b"\1"
STATUSES = (
    *(int(pattern.replace("63xx", "6300").replace("x", "f"), 16) for pattern in STATUS_WORDS),
    *(0x6282, 0x6283, 0x63C0, 0x63C1, 0x63C2, 0x6381, 0x6400, 0x6581, 0x6600, 0x6881, 0x6882, 0x6883, 0x6900, 0x6981),
    *(0x6987, 0x6A00, 0x6A82, 0x6A83, 0x6A87, 0x6A89, 0x6B00, 0x6C00, 0x6D00, 0x6E00, 0x6F00, 0x9303, 0x9804, 0x9840),
)


APDU = OnApdu()
Act = Callable[[Any, int, dict[str, int]], object]


def _encrypted(m: Any, session: int, keys: dict[str, int]) -> bytes:
    mechanism, _kept = m.mechanism(CKM.RSA_PKCS)
    m.check("C_EncryptInit", session, mechanism, keys["wrap"])
    return m._output("C_Encrypt", session, b"data", 4, room=512)


def _decrypt(m: Any, session: int, keys: dict[str, int]) -> None:
    m.decrypt(session, keys["decrypt"], _encrypted(m, session, keys))


def _sign_in_parts(m: Any, session: int, keys: dict[str, int]) -> None:
    m.sign_init(session, keys["sign"], CKM.SHA256_RSA_PKCS)
    m.check("C_SignUpdate", session, b"data", 4)
    m._output("C_SignFinal", session, room=512)


def _sign(m: Any, session: int, keys: dict[str, int]) -> None:
    m.sign_init(session, keys["sign"], CKM.SHA256_RSA_PKCS)
    m.sign(session, b"data")


def _sign_raw(m: Any, session: int, keys: dict[str, int]) -> None:
    m.sign_init(session, keys["sign"], CKM.RSA_X_509)
    m.check("C_SignUpdate", session, b"\xff" * 256, 256)
    m._output("C_SignFinal", session, room=512)


def _sign_each_time(m: Any, session: int, keys: dict[str, int]) -> None:
    m.sign_init(session, keys["each time"], CKM.ECDSA)
    m.login(session, user=CKU.CONTEXT_SPECIFIC)
    m.sign(session, bytes(32))


def _unwrap(m: Any, session: int, keys: dict[str, int]) -> None:
    mechanism, _kept = m.mechanism(CKM.RSA_PKCS)
    template, _kept_too = m.template({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET})
    wrapped, handle = _encrypted(m, session, keys), m.ffi.new("CK_ULONG *")
    m.check("C_UnwrapKey", session, mechanism, keys["decrypt"], wrapped, len(wrapped), template, 2, handle)


def _derive(m: Any, session: int, keys: dict[str, int]) -> None:
    ffi = m.ffi
    point = m.attribute(session, keys["agree"], CKA.EC_POINT)
    buffer = ffi.new("unsigned char[]", point)
    parameter = ffi.new("CK_ECDH1_DERIVE_PARAMS *", (1, 0, ffi.NULL, len(point), buffer))
    mechanism = ffi.new("CK_MECHANISM *", (CKM.ECDH1_DERIVE, parameter, ffi.sizeof("CK_ECDH1_DERIVE_PARAMS")))
    template, _kept = m.template({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET})
    m.check("C_DeriveKey", session, mechanism, keys["agree"], template, 2, ffi.new("CK_ULONG *"))


def _objects(m: Any, session: int, keys: dict[str, int]) -> None:
    mine = {CKA.CLASS: CKO.DATA, CKA.TOKEN: YES, CKA.PRIVATE: YES, CKA.VALUE: b"value", CKA.LABEL: b"made here"}
    handle = m.create(session, mine)
    for act in (
        lambda: m.change(session, handle, {CKA.VALUE: b"another"}),
        lambda: m.copy(session, handle, {CKA.LABEL: b"made here"}),
        lambda: m.attribute(session, handle, CKA.VALUE),
        lambda: m.call("C_GetObjectSize", session, handle, m.ffi.new("CK_ULONG *")),
        lambda: m.destroy(session, handle),
    ):
        _whatever(act)


def _pair(m: Any, session: int, keys: dict[str, int]) -> None:
    both = {CKA.TOKEN: YES, CKA.LABEL: b"made here"}
    m.generate_pair(session, CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256, **both}, {CKA.PRIVATE: YES, **both})


def _import(m: Any, session: int, keys: dict[str, int]) -> None:
    private = {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.EC, CKA.EC_PARAMS: P256, CKA.VALUE: bytes(31) + b"\7"}
    m.create(session, {**private, CKA.TOKEN: YES, CKA.PRIVATE: YES, CKA.LABEL: b"made here"})


def _log_in_as_so(m: Any, session: int, keys: dict[str, int]) -> None:
    m.logout(session)
    m.login(session, "12345678", CKU.SO)
    m.init_pin(session)


def _token(m: Any, session: int, keys: dict[str, int]) -> None:
    m.token_info(0)
    m.mechanisms(0)
    m.close_session(session)
    m.open_session(0)


ACTS: dict[str, Act] = {
    "token": _token,
    "log in": lambda m, session, keys: (m.logout(session), m.login(session)),
    "set pin": lambda m, session, keys: m.set_pin(session, "123456", "123456"),
    "so": _log_in_as_so,
    "initialise": lambda m, session, keys: m.init_token(1),
    "find": lambda m, session, keys: m.find(session),
    "objects": _objects,
    "pair": _pair,
    "import": _import,
    "sign": _sign,
    "sign in parts": _sign_in_parts,
    "sign a number": _sign_raw,
    "sign each time": _sign_each_time,
    "decrypt": _decrypt,
    "unwrap": _unwrap,
    "derive": _derive,
}


def _whatever(act: Callable[[], object]) -> int:
    try:
        act()
    except Failed as failure:
        return failure.value
    return int(CKR.OK)


def test_every_function_has_its_list() -> None:
    """And says something in it, whatever it has come to."""
    assert set(BY_NAME) <= set(RETURN_VALUES)
    for name in BY_NAME:
        for value in CKR:
            assert returned(name, value) in RETURN_VALUES[name]
            assert returned(name, value) is value or value not in RETURN_VALUES[name]


@pytest.mark.parametrize(
    ("function", "value", "said"),
    [
        ("C_GetAttributeValue", CKR.USER_NOT_LOGGED_IN, CKR.OBJECT_HANDLE_INVALID),
        ("C_DigestKey", CKR.USER_NOT_LOGGED_IN, CKR.KEY_HANDLE_INVALID),
        ("C_Encrypt", CKR.USER_NOT_LOGGED_IN, CKR.OPERATION_NOT_INITIALIZED),
        ("C_SignFinal", CKR.DATA_INVALID, CKR.DATA_LEN_RANGE),
        ("C_Decrypt", CKR.DATA_INVALID, CKR.ENCRYPTED_DATA_INVALID),
        ("C_DecapsulateKey", CKR.KEY_HANDLE_INVALID, CKR.UNWRAPPING_KEY_HANDLE_INVALID),
        ("C_GenerateKey", CKR.KEY_SIZE_RANGE, CKR.ATTRIBUTE_VALUE_INVALID),
        ("C_DeriveKey", CKR.KEY_FUNCTION_NOT_PERMITTED, CKR.KEY_TYPE_INCONSISTENT),
        ("C_WrapKey", CKR.KEY_FUNCTION_NOT_PERMITTED, CKR.WRAPPING_KEY_TYPE_INCONSISTENT),
        ("C_Sign", CKR.TOKEN_NOT_RECOGNIZED, CKR.DEVICE_ERROR),
        ("C_SetPIN", CKR.USER_PIN_NOT_INITIALIZED, CKR.PIN_INCORRECT),
        ("C_InitToken", CKR.PIN_INVALID, CKR.PIN_INCORRECT),
        ("C_Decrypt", CKR.FUNCTION_REJECTED, CKR.FUNCTION_FAILED),
    ],
)
def test_what_is_said_instead(function: str, value: CKR, said: CKR) -> None:
    """What comes nearest to it."""
    assert returned(function, value) is said


@pytest.mark.parametrize("name", BY_NAME)
def test_null_pointers_and_junk(module: tuple[Simulator, Any], name: str) -> None:
    """Whatever is wrong with the arguments: what the module says by itself is in the function's list, too."""
    _, m = module
    session, _keys = _begin(m)
    probes.call_with_all_that_is_wrong(m, name, session)  # each value is looked at there


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("C_Initialize", (ffi.NULL,)),
        ("C_GetInfo", (ffi.NULL,)),
        ("C_GetFunctionList", (ffi.NULL,)),
        ("C_GetInterfaceList", (ffi.NULL, ffi.NULL)),
        ("C_GetInterface", (b"PKCS 11", ffi.NULL, ffi.NULL, 0)),
        ("C_GetInterface", (b"PKCS 12", ffi.NULL, ffi.new("CK_INTERFACE **"), 0)),
    ],
)
def test_what_the_module_does_by_itself(module: tuple[Simulator, Any], name: str, arguments: tuple[Any, ...]) -> None:
    """The functions that are no calls of the simulator's."""
    _, m = module
    assert m.call(name, *arguments) != CKR.OK


def test_without_a_simulator(module: tuple[Simulator, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it once more before C_Initialize, and where there is nobody who could answer."""
    monkeypatch.setenv("CARDTEAR_QUIET", "1")
    alone = type(module[1])(shutil.copy(module_path(), tmp_path))
    for name in BY_NAME:
        assert set(probes.call_with_all_that_is_wrong(alone, name, 1)) <= {CKR.CRYPTOKI_NOT_INITIALIZED}
    alone.initialize(tmp_path / "none")
    for name in BY_NAME.keys() - {"C_Finalize", "C_WaitForSlotEvent"}:
        probes.call_with_all_that_is_wrong(alone, name, 1)
    alone.finalize()


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("to", To)
def test_every_status_word_has_a_meaning(to: To, status: int) -> None:
    """One error, and a PIN is wrong or blocked only where one was given."""
    error = error_for(to, status)
    assert isinstance(error, P11Error)
    if to not in (To.VERIFY, To.CHANGE, To.PROVE):
        assert error.value not in (CKR.PIN_INCORRECT, CKR.PIN_LOCKED)


@pytest.mark.parametrize(
    ("status", "value"),
    [
        (0x6300, CKR.PIN_INCORRECT),
        (0x63C2, CKR.PIN_INCORRECT),
        (0x63C0, CKR.PIN_LOCKED),
        (0x6983, CKR.PIN_LOCKED),
        (0x6984, CKR.PIN_LOCKED),
        (0x6700, CKR.PIN_INCORRECT),
        (0x6A80, CKR.PIN_INCORRECT),
        (0x6A88, CKR.USER_PIN_NOT_INITIALIZED),
        (0x6985, CKR.FUNCTION_FAILED),
        (0x6F00, CKR.DEVICE_ERROR),
    ],
)
def test_verify(module: tuple[Simulator, Any], status: int, value: CKR) -> None:
    """What C_Login says to the answers that real cards give (ISO/IEC 7816-4, 5.6)."""
    simulator, m = module
    session, _keys = _begin(m)
    m.logout(session)
    with_data = simulator.arm(Trigger("answer", {"status": status}, OnApdu(ins=INS.VERIFY, reader="front"), times=None))
    assert _whatever(lambda: m.login(session)) == value
    simulator.disarm(with_data)
    m.login(session)


def _begin(m: Any) -> tuple[int, dict[str, int]]:
    """A read/write session with the user logged in, and the keys; nothing that an act has made is left."""
    m.call("C_CloseAllSessions", 0)
    session = m.open_session(0, read_write=True)
    m.login(session)
    for handle in m.find(session, {CKA.LABEL: b"made here"}):
        m.destroy(session, handle)

    def key(kind: CKO, identity: bytes) -> int:
        return m.find(session, {CKA.CLASS: kind, CKA.ID: identity})[0]

    private = {"sign": b"\1", "each time": b"\2", "decrypt": b"\3", "agree": b"\5"}
    keys = {name: key(CKO.PRIVATE_KEY, identity) for name, identity in private.items()}
    return session, {**keys, "wrap": key(CKO.PUBLIC_KEY, b"\3")}


@pytest.mark.parametrize("name", ACTS)
def test_whatever_the_card_answers(module: tuple[Simulator, Any], name: str) -> None:
    """Each status word, to every APDU or to one; afterwards all is as it was before."""
    simulator, m = module
    fired = 0
    session, keys = _begin(m)
    undisturbed = _whatever(lambda: ACTS[name](m, session, keys))
    for number, status in enumerate(STATUSES):
        session, keys = _begin(m)
        nth, times = (1, None) if number % 2 == len(name) % 2 else (1 + number % 7, 1)
        trigger = Trigger("answer", {"status": status}, APDU, nth=nth, times=times)
        armed = simulator.arm(trigger)
        _whatever(lambda: ACTS[name](m, session, keys))  # noqa: B023 - called at once
        simulator.disarm(armed)
        fired += trigger.fired
    session, keys = _begin(m)
    assert _whatever(lambda: ACTS[name](m, session, keys)) == undisturbed
    assert undisturbed == (CKR.DATA_LEN_RANGE if name == "sign a number" else CKR.OK)
    assert fired or name == "find"


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("verb", ["logout", "reset", "remove"])
def test_whatever_happens(module: tuple[Simulator, Any], name: str, verb: str) -> None:
    """The card is taken away, or forgets the user: before the act, and at its first APDUs."""
    simulator, m = module
    session, keys = _begin(m)
    undisturbed = _whatever(lambda: ACTS[name](m, session, keys))
    for nth in (0, 1, 3):
        session, keys = _begin(m)
        if nth:
            armed = simulator.arm(Trigger(verb, {"reader": "front"}, APDU, nth=nth))
        else:
            getattr(simulator, verb)("front")
        _whatever(lambda: ACTS[name](m, session, keys))  # noqa: B023 - called at once
        if nth:
            simulator.disarm(armed)
        if not m.is_present(0):
            simulator.insert("front")
    session, keys = _begin(m)
    assert _whatever(lambda: ACTS[name](m, session, keys)) == undisturbed
