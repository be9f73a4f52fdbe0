# SPDX-License-Identifier: MIT
"""What a host process can be asked to do that is longer than an expression. Runs inside the host."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import select
import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Concatenate, ParamSpec

from cardtear.lab.clients.pkcs11 import Failed, Module
from cardtear.p11.calls import BY_NAME
from cardtear.p11.constants import CKA, CKD, CKF, CKK, CKM, CKO, CKR

P = ParamSpec("P")


def rv(function: Any, *arguments: Any) -> int:
    """The CK_RV of a call that may fail."""
    try:
        function(*arguments)
    except Failed as failure:
        return failure.value
    return int(CKR.OK)


def return_value(m: Module, /, function: Any, *arguments: Any, **named: Any) -> int:
    """The CK_RV of a function of the module or of a probe that may fail."""
    return rv(partial(function, m, *arguments, **named))


def key(m: Module, /, session: int, identity: bytes) -> int:
    """The private key with a CKA_ID."""
    (found,) = m.find(session, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.ID: identity})
    return found


def user_session(m: Module, /, slot: int = 0, read_write: bool = False) -> int:
    """A session with the user logged in."""
    session = m.open_session(slot, read_write)
    m.login(session)
    return session


def sign(m: Module, /, session: int, handle: int) -> bytes:
    """An RSA signature."""
    m.sign_init(session, handle, CKM.SHA256_RSA_PKCS)
    return m.sign(session, b"data")


def sign_with(m: Module, /, session: int, identity: bytes) -> bytes:
    """An RSA signature by the private key with a CKA_ID."""
    return sign(m, session, key(m, session, identity))


def derive(m: Module, /, session: int, base: int, point: bytes, template: dict[int, int | bytes]) -> int:
    """C_DeriveKey with ECDH1 and no KDF: the new key's handle."""
    ffi = m.ffi
    buffer = ffi.new("unsigned char[]", point or b"\0")
    parameter = ffi.new("CK_ECDH1_DERIVE_PARAMS *", (CKD.NULL, 0, ffi.NULL, len(point), buffer))
    mechanism = ffi.new("CK_MECHANISM *", (CKM.ECDH1_DERIVE, parameter, ffi.sizeof("CK_ECDH1_DERIVE_PARAMS")))
    attributes, _keep = m.template(template)
    handle = ffi.new("CK_ULONG *")
    m.check("C_DeriveKey", session, mechanism, base, attributes, len(template), handle)
    return int(handle[0])


def events(m: Module) -> list[int]:
    """All slot events that are pending."""
    found = []
    while True:
        try:
            found.append(m.wait_for_slot_event(block=False))
        except Failed as failure:
            if failure.value != CKR.NO_EVENT:
                raise
            return found


def many_waiters(m: Module, /, count: int) -> list[int]:
    """Threads that all wait for an event, until they have come back: their return values."""
    found: list[int] = []
    m.waiters_are_there = False  # type: ignore[attr-defined]
    work = lambda: found.append(rv(m.wait_for_slot_event))  # noqa: E731
    threads = [threading.Thread(target=work, name="waiter") for _ in range(count)]
    for thread in threads:
        thread.start()
    m.waiters_are_there = True  # type: ignore[attr-defined]
    for thread in threads:
        thread.join()
    return found


def waiters_alive(m: Module) -> int:
    """How many of the threads of `many_waiters` run; -1 before all have started."""
    if not m.waiters_are_there:  # type: ignore[attr-defined]
        return -1
    return sum(each.name == "waiter" for each in threading.enumerate())


def limit_files(_m: Module, /, count: int) -> None:
    """Set the soft limit of open files."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def least_descriptor(_m: Module) -> int:
    """The number that the next open file will have."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


def call_of_process(_m: Module, /, function: str, number: int) -> None:
    """Call a C function of a preloaded library."""
    getattr(ctypes.CDLL(None), function)(number)


def slot_list_raw(m: Module, /, present: int, room: int) -> tuple[int, int, list[int]]:
    """C_GetSlotList with a buffer of `room`: return value, count, and the numbers."""
    numbers, count = m.ffi.new("CK_ULONG[]", max(room, 1)), m.ffi.new("CK_ULONG *", room)
    value = m.call("C_GetSlotList", present, numbers, count)
    return value, int(count[0]), list(numbers[0 : min(room, count[0])])


def session_function_values(m: Module, /, session: int) -> dict[str, int]:
    """What every function that takes a session says to a handle, with arguments that are right otherwise."""
    ffi = m.ffi
    mechanism, _keep = m.mechanism(CKM.SHA256)
    buffer, number, other = ffi.new("unsigned char[512]"), ffi.new("CK_ULONG *", 512), ffi.new("CK_ULONG *")
    attribute = ffi.new("CK_ATTRIBUTE[1]")
    arguments: dict[str, tuple[Any, ...]] = {
        "C_GetSessionInfo": (ffi.new("CK_SESSION_INFO *"),),
        "C_Login": (1, b"123456", 6),
        "C_Logout": (),
        "C_SetPIN": (b"123456", 6, b"654321", 6),
        "C_GetObjectSize": (1, number),
        "C_GetAttributeValue": (1, attribute, 1),
        "C_FindObjectsInit": (ffi.NULL, 0),
        "C_FindObjects": (number, 1, other),
        "C_FindObjectsFinal": (),
        "C_EncryptInit": (mechanism, 1),
        "C_Encrypt": (buffer, 16, buffer, number),
        "C_DecryptInit": (mechanism, 1),
        "C_Decrypt": (buffer, 16, buffer, number),
        "C_DigestInit": (mechanism,),
        "C_Digest": (buffer, 16, buffer, number),
        "C_DigestUpdate": (buffer, 16),
        "C_DigestFinal": (buffer, number),
        "C_SignInit": (mechanism, 1),
        "C_Sign": (buffer, 16, buffer, number),
        "C_SignUpdate": (buffer, 16),
        "C_SignFinal": (buffer, number),
        "C_VerifyInit": (mechanism, 1),
        "C_Verify": (buffer, 16, buffer, 16),
        "C_VerifyUpdate": (buffer, 16),
        "C_VerifyFinal": (buffer, 16),
        "C_DeriveKey": (mechanism, 1, attribute, 0, number),
        "C_InitPIN": (b"123456", 6),
        "C_CreateObject": (attribute, 0, number),
        "C_CopyObject": (1, attribute, 0, number),
        "C_DestroyObject": (1,),
        "C_SetAttributeValue": (1, attribute, 0),
        "C_GetOperationState": (buffer, number),
        "C_SetOperationState": (buffer, 32, 0, 0),
        "C_EncryptUpdate": (buffer, 16, buffer, number),
        "C_EncryptFinal": (buffer, number),
        "C_DecryptUpdate": (buffer, 16, buffer, number),
        "C_DecryptFinal": (buffer, number),
        "C_DigestKey": (1,),
        "C_SignRecoverInit": (mechanism, 1),
        "C_SignRecover": (buffer, 16, buffer, number),
        "C_VerifyRecoverInit": (mechanism, 1),
        "C_VerifyRecover": (buffer, 16, buffer, number),
        "C_DigestEncryptUpdate": (buffer, 16, buffer, number),
        "C_DecryptDigestUpdate": (buffer, 16, buffer, number),
        "C_SignEncryptUpdate": (buffer, 16, buffer, number),
        "C_DecryptVerifyUpdate": (buffer, 16, buffer, number),
        "C_GenerateKey": (mechanism, attribute, 0, number),
        "C_GenerateKeyPair": (mechanism, attribute, 0, attribute, 0, number, other),
        "C_WrapKey": (mechanism, 1, 1, buffer, number),
        "C_UnwrapKey": (mechanism, 1, buffer, 16, attribute, 0, number),
        "C_SeedRandom": (buffer, 16),
        "C_GenerateRandom": (buffer, 16),
        "C_GetFunctionStatus": (),
        "C_CancelFunction": (),
        "C_CloseSession": (),
    }
    return {name: m.call(name, session, *rest) for name, rest in arguments.items()}


def fork_and(m: Module, /, child: Callable[Concatenate[Module, P], int], *arguments: P.args, **named: P.kwargs) -> int:
    """Fork, call a function in the child, and return the exit code that it gives."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = child(m, *arguments, **named)
        finally:
            os._exit(code & 0xFF)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def child_lists_its_slots(m: Module) -> int:
    """In a forked child: initialise the module and list the slots."""
    m.initialize()
    m.slots()
    return 0


def child_uses_module(m: Module, /, socket: str) -> int:
    """In a forked child: everything is uninitialised; then it initialises itself and signs. 0 when all is right."""
    if rv(m.slots) != CKR.CRYPTOKI_NOT_INITIALIZED or rv(m.finalize) != CKR.CRYPTOKI_NOT_INITIALIZED:
        return 1
    m.initialize(socket)
    session = user_session(m)
    sign(m, session, key(m, session, b"\1"))
    m.finalize()
    return 0


def child_changes_puk(m: Module, /, socket: str) -> int:
    """In a forked child, another application: the SO takes another PUK. 0 when it has worked."""
    m.initialize(socket)
    session = m.open_session(0, True)
    m.login(session, "87654321", 0)
    m.set_pin(session, "87654321", "11111111")
    m.finalize()
    return 0


def initialize_with(m: Module, /, reserved: Any) -> int:
    """C_Initialize with something in pReserved."""
    arguments = m.ffi.new("CK_C_INITIALIZE_ARGS *")
    arguments.pReserved = reserved
    return m.call("C_Initialize", arguments)


def interface(
    m: Module, /, name: bytes | None, version: tuple[int, int] | None = None, flags: int = 0
) -> tuple[int, tuple[int, int], list[str]]:
    """C_GetInterface: return value, the list's own version, and which of its pointers are NULL."""
    from cardtear.csrc.generate import LISTS  # more than a host process needs otherwise

    ffi = m.ffi
    found = ffi.new("CK_INTERFACE **")
    wanted = ffi.NULL if version is None else ffi.new("CK_VERSION *", version)
    value = int(m.library.C_GetInterface(ffi.NULL if name is None else ffi.new("char[]", name), wanted, found, flags))
    if value != CKR.OK:
        return value, (0, 0), []
    told = ffi.cast("CK_VERSION *", found[0].pFunctionList)
    functions = ffi.cast(f"{LISTS[told.major, told.minor]} *", found[0].pFunctionList)
    holes = [each for each in dir(functions) if each != "version" and not getattr(functions, each)]
    return value, (told.major, told.minor), holes


def hammer(m: Module, /, rounds: int, threads: int, seed: int) -> dict[str, list[int]]:
    """Open, log in, search and sign in threads, so many rounds each; return the return values seen, by function."""
    seen: dict[str, set[int]] = {}

    def work(number: int) -> None:
        chance = random.Random(seed + number)
        for _ in range(rounds):
            try:
                session = m.open_session(0)
                if chance.random() < 0.7:
                    code = rv(m.login, session)
                    seen.setdefault("C_Login", set()).add(code)
                found = m.find(session, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.ID: b"\1"})
                if found:
                    sign(m, session, found[0])
                m.close_session(session)
            except Failed as failure:
                seen.setdefault(failure.function, set()).add(failure.value)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        if worker.is_alive():
            raise AssertionError("a thread hangs")
    return {name: sorted(values) for name, values in seen.items()}


def flags_of(m: Module, /, slot: int) -> int:
    """The flags in CK_SLOT_INFO."""
    return m.slot_info(slot)[1]


PRESENT, REMOVABLE = int(CKF.TOKEN_PRESENT), int(CKF.REMOVABLE_DEVICE)


def _arguments(m: Module, /, name: str, first: int) -> list[Any]:
    """Arguments of the right types for any call: `first` as the first number, small buffers, an RSA mechanism."""
    ffi = m.ffi
    built: dict[str, Any] = {
        "u": lambda: [1],
        "y": lambda: [0],
        "U": lambda: [ffi.new("CK_ULONG *")],
        "b": lambda: [ffi.new("unsigned char[16]"), 16],
        "n": lambda: [ffi.new("unsigned char[]", b"123456"), 6],
        "l": lambda: [ffi.new("unsigned char[32]")],
        "B": lambda: [ffi.new("unsigned char[512]"), ffi.new("CK_ULONG *", 512)],
        "r": lambda: [ffi.new("unsigned char[16]"), 16],
        "L": lambda: [ffi.new("CK_ULONG[64]"), ffi.new("CK_ULONG *", 64)],
        "F": lambda: [ffi.new("CK_ULONG[64]"), 64, ffi.new("CK_ULONG *")],
        "s": lambda: [ffi.new("unsigned char[]", b"C_Sign")],
        **dict.fromkeys("mMwW", lambda: [ffi.new("CK_MECHANISM *", (CKM.RSA_PKCS, ffi.NULL, 0))]),
        **dict.fromkeys("pP", lambda: [ffi.NULL, 0]),
        "t": lambda: [ffi.new("CK_ATTRIBUTE[1]"), 0],
        "q": lambda: [ffi.new("CK_ATTRIBUTE[1]"), 1],
        "S": lambda: [ffi.new("CK_SLOT_INFO *")],
        "K": lambda: [ffi.new("CK_TOKEN_INFO *")],
        "E": lambda: [ffi.new("CK_SESSION_INFO *")],
        "H": lambda: [ffi.new("CK_MECHANISM_INFO *")],
        "-": lambda: [ffi.NULL],
        "0": lambda: [ffi.NULL],
    }
    groups = [built[letter]() for letter in BY_NAME[name].signature]
    if groups and BY_NAME[name].signature[0] == "u":
        groups[0] = [first]
    return groups


def call_with_junk(m: Module, /, name: str, first: int) -> int:
    """A call whose first number is the wrong one."""
    return m.call(name, *(each for group in _arguments(m, name, first) for each in group))


def call_with_null(m: Module, /, name: str, position: int, session: int) -> int:
    """A call with NULL for its parameter number `position`: for a buffer, its length."""
    groups = _arguments(m, name, 0 if name.startswith("C_Get") and "Session" not in name else session)
    letter = BY_NAME[name].signature[position]
    groups[position][-1 if letter in "BLF" else 0] = m.ffi.NULL
    return m.call(name, *(each for group in groups for each in group))


def _wrong(m: Module, /, letter: str, right: list[Any]) -> list[list[Any]]:
    """What is wrong for a parameter of a signature: NULL, lengths beyond all bounds, values that do not exist."""
    ffi, null = m.ffi, [*right]
    if letter in "uy":
        return [[2**64 - 1 if letter == "u" else 255]]
    null[-1 if letter in "BLF" else 0] = ffi.new("char *") if letter == "0" else ffi.NULL
    wrong = [null]
    if letter in "bnrpP":
        wrong += [[ffi.NULL, 16], [right[0], 2**40], [ffi.NULL, 2**64 - 1]]
    if letter in "mMwW":
        wrong += [[ffi.new("CK_MECHANISM *", (CKM.RSA_PKCS, ffi.NULL, length))] for length in (16, 2**40)]
    if letter in "tq":
        missing = ffi.new("CK_ATTRIBUTE[1]")
        missing[0].type, missing[0].ulValueLen = CKA.LABEL, 5
        wrong += [[missing, 1], [missing, 2**32], [ffi.NULL, 1]]
    return wrong


def call_with_all_that_is_wrong(m: Module, /, name: str, session: int) -> list[int]:
    """A call with each of its arguments wrong in turn, in several ways: what it has said."""
    first = 0 if name.startswith("C_Get") and "Session" not in name else session
    values = []
    for position, letter in enumerate(BY_NAME[name].signature):
        for wrong in _wrong(m, letter, _arguments(m, name, first)[position]) if letter != "-" else ():
            groups = _arguments(m, name, first)
            groups[position] = wrong
            values.append(m.call(name, *(each for group in groups for each in group)))
    return values


TOKEN: dict[Any, bytes] = {CKA.TOKEN: b"\1"}
PRIVATE: dict[Any, bytes] = {CKA.TOKEN: b"\1", CKA.PRIVATE: b"\1"}
SESSION: dict[Any, bytes] = {CKA.TOKEN: b"\0"}
WHERE = {"TOKEN": TOKEN, "PRIVATE": PRIVATE, "SESSION": SESSION}
P256 = bytes.fromhex("06082a8648ce3d030107")


def objects(m: Module, /, session: int, **attributes: Any) -> list[tuple[int, bytes]]:
    """Class and label of everything that a search finds, profiles left out, in order."""
    wanted = {CKA[name]: value for name, value in attributes.items()}
    classes = {
        handle: int.from_bytes(m.attribute(session, handle, CKA.CLASS), "little") for handle in m.find(session, wanted)
    }
    return sorted(
        (kind, m.attribute(session, handle, CKA.LABEL)) for handle, kind in classes.items() if kind != CKO.PROFILE
    )


def data(m: Module, /, session: int, label: bytes, value: bytes = b"value", where: Any = TOKEN) -> int:
    """A new CKO_DATA."""
    return m.create(session, {CKA.CLASS: CKO.DATA, CKA.LABEL: label, CKA.VALUE: value, **where})


def ec_pair(m: Module, /, session: int, label: bytes, where: Any = TOKEN, **private: Any) -> tuple[int, int]:
    """A new key pair on P-256."""
    named = {CKA.LABEL: label, **where}
    mine = {CKA.PRIVATE: b"\1", CKA.SIGN: b"\1", **named, **{CKA[name]: value for name, value in private.items()}}
    return m.generate_pair(session, CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256, CKA.VERIFY: b"\1", **named}, mine)


def ecdsa(m: Module, /, session: int, handle: int) -> bytes:
    """An ECDSA signature of 32 bytes."""
    m.sign_init(session, handle, CKM.ECDSA)
    return m.sign(session, bytes(32))


def verifies(m: Module, /, session: int, handle: int, signature: bytes) -> int:
    """The CK_RV of verifying what `ecdsa` has made."""
    mechanism, _kept = m.mechanism(CKM.ECDSA)
    m.check("C_VerifyInit", session, mechanism, handle)
    return m.call("C_Verify", session, bytes(32), 32, signature, len(signature))


def create_raw(m: Module, /, session: int, template: list[tuple[int, Any]]) -> int:
    """C_CreateObject with a template that may name an attribute twice; a session object is destroyed again."""
    ffi, handle = m.ffi, m.ffi.new("CK_ULONG *")
    values = [value if isinstance(value, bytes) else value.to_bytes(8, "little") for _, value in template]
    buffers = [ffi.new("unsigned char[]", value or b"\0") for value in values]
    array = ffi.new("CK_ATTRIBUTE[]", max(len(values), 1))
    for place, (kind, _), buffer, value in zip(array, template, buffers, values, strict=False):
        place.type, place.pValue, place.ulValueLen = kind, buffer, len(value)
    value = m.call("C_CreateObject", session, array, len(values), handle)
    if value == CKR.OK:
        m.destroy(session, handle[0])
    return value


def one_of_each(m: Module, /, session: int) -> dict[int, list[int]]:
    """Keys in the session by key type: [private, public], or the secret one twice."""
    keys: dict[int, list[int]] = {}
    everything = {CKA[name]: b"\1" for name in ("ENCRYPT", "DECRYPT", "SIGN", "VERIFY", "WRAP", "UNWRAP", "DERIVE")}
    lengths = {CKK.GENERIC_SECRET: 32, CKK.AES: 16, CKK.DES3: 24, CKK.DES2: 16, CKK.DES: 8, CKK.CHACHA20: 32}
    for kind, length in lengths.items():
        value = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind, CKA.VALUE: bytes(range(length)), CKA.EXTRACTABLE: b"\1"}
        keys[int(kind)] = [m.create(session, {**value, **everything})] * 2
    for kind, mechanism, public in (
        (CKK.RSA, CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 2048}),
        (CKK.EC, CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256}),
        (CKK.EC_EDWARDS, CKM.EC_EDWARDS_KEY_PAIR_GEN, {CKA.EC_PARAMS: bytes.fromhex("06032b6570")}),
        (CKK.EC_MONTGOMERY, CKM.EC_MONTGOMERY_KEY_PAIR_GEN, {CKA.EC_PARAMS: bytes.fromhex("06032b656e")}),
        (CKK.ML_DSA, CKM.ML_DSA_KEY_PAIR_GEN, {CKA.PARAMETER_SET: 2}),
        (CKK.ML_KEM, CKM.ML_KEM_KEY_PAIR_GEN, {CKA.PARAMETER_SET: 2}),
    ):
        keys[int(kind)] = list(reversed(m.generate_pair(session, mechanism, public, {})))
    return keys


def begin(m: Module, /, function: str, session: int, mechanism: int, parameter: bytes, key: int) -> None:
    """An Init function that has to succeed."""
    built, _kept = m.mechanism(mechanism, parameter)
    m.check(function, session, built, *(() if function == "C_DigestInit" else (key,)))


def begun(m: Module, /, function: str, session: int, mechanism: int, parameter: bytes, key: int) -> int:
    """The CK_RV of an Init function; what it has begun is ended again."""
    built, _kept = m.mechanism(mechanism, parameter)
    rest = () if function == "C_DigestInit" else (key,)
    value = m.call(function, session, built, *rest)
    if value == CKR.OK:
        m.call(function, session, m.ffi.NULL, *rest)
    return value


def gcm_parameter(m: Module, /, iv: bytes, additional: bytes, tag_bits: int = 128) -> tuple[bytes, Any]:
    """CK_GCM_PARAMS as bytes, and what it points to."""
    ffi = m.ffi
    kept = ffi.new("unsigned char[]", iv), ffi.new("unsigned char[]", additional or b"\0")
    made = ffi.new("CK_GCM_PARAMS *", (kept[0], len(iv), 8 * len(iv), kept[1], len(additional), tag_bits))
    return bytes(ffi.buffer(made)), kept


def passed(
    m: Module, /, session: int, way: str, mechanism: int, parameter: bytes | dict[str, Any], key: int, parts: Any
) -> Any:
    """What comes out of Encrypt or Decrypt (or Sign, Digest): bytes are one part, a list many; a CK_RV when it fails.

    Every call is asked for the length first; what comes may not be more than was said.
    """
    ffi = m.ffi
    if isinstance(parameter, dict):
        parameter, _pointed = gcm_parameter(m, **parameter)
    built, _kept = m.mechanism(mechanism, parameter)
    value = m.call(f"C_{way}Init", session, built, *(() if way == "Digest" else (key,)))
    if value != CKR.OK:
        return value
    out = b""
    steps: list[tuple[str, bytes | None]]
    steps = [(f"C_{way}", parts)] if isinstance(parts, bytes) else [(f"C_{way}Update", part) for part in parts]
    if not isinstance(parts, bytes):
        steps.append((f"C_{way}Final", None))
    for name, data in steps:
        given = () if data is None else (data, len(data))
        if name.endswith("Update") and way in ("Sign", "Digest"):
            if (value := m.call(name, session, *given)) != CKR.OK:
                return value
            continue
        length = ffi.new("CK_ULONG *")
        if (value := m.call(name, session, *given, ffi.NULL, length)) != CKR.OK:
            return value
        said = length[0]
        buffer = ffi.new("unsigned char[]", max(said, 1))
        if (value := m.call(name, session, *given, buffer, length)) != CKR.OK:
            return value
        assert length[0] <= said, (name, length[0], said)
        out += bytes(ffi.buffer(buffer, length[0]))
    return out


def wrapped(m: Module, /, session: int, mechanism: int, parameter: bytes, wrapping: int, key: int) -> Any:
    """C_WrapKey: the bytes, or a CK_RV."""
    built, _kept = m.mechanism(mechanism, parameter)
    length = m.ffi.new("CK_ULONG *")
    if (value := m.call("C_WrapKey", session, built, wrapping, key, m.ffi.NULL, length)) != CKR.OK:
        return value
    buffer = m.ffi.new("unsigned char[]", max(length[0], 1))
    value = m.call("C_WrapKey", session, built, wrapping, key, buffer, length)
    return bytes(m.ffi.buffer(buffer, length[0])) if value == CKR.OK else value


def unwrapped(
    m: Module, /, session: int, mechanism: int, parameter: bytes, key: int, data: bytes, attributes: Any
) -> Any:
    """C_UnwrapKey: the value of the CK_RV as a negative number, or the handle."""
    built, _kept = m.mechanism(mechanism, parameter)
    template, _more = m.template(attributes)
    handle = m.ffi.new("CK_ULONG *")
    value = m.call("C_UnwrapKey", session, built, key, data, len(data), template, len(attributes), handle)
    return int(handle[0]) if value == CKR.OK else -value


def secret(m: Module, /, session: int, kind: int, value: bytes, **more: Any) -> int:
    """A secret key of the session that may do everything and be read."""
    everything = {CKA[name]: b"\1" for name in ("ENCRYPT", "DECRYPT", "SIGN", "VERIFY", "WRAP", "UNWRAP", "DERIVE")}
    named = {CKA[name]: each for name, each in more.items()}
    made = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind, CKA.VALUE: value, CKA.EXTRACTABLE: b"\1"}
    return m.create(session, {**made, **everything, **named})


def digest_state(m: Module, /, session: int, data: bytes) -> bytes:
    """A SHA-256 begun with some data, and its state."""
    built, _kept = m.mechanism(CKM.SHA256)
    m.check("C_DigestInit", session, built)
    m.check("C_DigestUpdate", session, data, len(data))
    length = m.ffi.new("CK_ULONG *")
    m.check("C_GetOperationState", session, m.ffi.NULL, length)
    buffer = m.ffi.new("unsigned char[]", length[0])
    m.check("C_GetOperationState", session, buffer, length)
    return bytes(m.ffi.buffer(buffer, length[0]))


def digest_from(m: Module, /, session: int, state: bytes, data: bytes) -> Any:
    """The digest of what a state has taken in and more, or a CK_RV."""
    value = m.call("C_SetOperationState", session, state, len(state), 0, 0)
    if value != CKR.OK:
        return value
    m.check("C_DigestUpdate", session, data, len(data))
    return m._output("C_DigestFinal", session, room=64)


def three(m: Module) -> Any:
    """The function list of PKCS #11 3.0."""
    interface = m.ffi.new("CK_INTERFACE **")
    version = m.ffi.new("CK_VERSION *", (3, 0))
    if m.library.C_GetInterface(m.ffi.NULL, version, interface, 0) != CKR.OK:
        raise Failed("C_GetInterface", 1)
    return m.ffi.cast("CK_FUNCTION_LIST_3_0 *", interface[0].pFunctionList)


def message(m: Module, /, session: int, way: str, key: int, iv: bytes, more: bytes, data: bytes, **rest: Any) -> Any:
    """One message through AES-GCM: (what comes out, IV, tag), or a CK_RV. `rest` is the tag, or the IV's generator."""
    ffi, functions = m.ffi, three(m)
    built, _kept = m.mechanism(CKM.AES_GCM)
    value = getattr(functions, f"C_Message{way}Init")(session, built, key)
    if value != CKR.OK:
        return value
    ivs, tags = ffi.new("unsigned char[]", iv), ffi.new("unsigned char[]", rest.get("tag", bytes(16)))
    parameter = ffi.new("CK_GCM_MESSAGE_PARAMS *", (ivs, len(iv), 32, rest.get("generator", 0), tags, 128))
    size = ffi.sizeof("CK_GCM_MESSAGE_PARAMS")
    out, length = ffi.new("unsigned char[]", max(len(data), 1)), ffi.new("CK_ULONG *", len(data))
    once = getattr(functions, f"C_{way}Message")
    value = once(session, parameter, size, more, len(more), data, len(data), out, length)
    getattr(functions, f"C_Message{way}Final")(session)
    if value != CKR.OK:
        return int(value)
    return bytes(ffi.buffer(out, length[0])), bytes(ffi.buffer(ivs, len(iv))), bytes(ffi.buffer(tags, 16))


def generated(m: Module, /, session: int, mechanism: int, attributes: Any) -> tuple[int, bytes]:
    """C_GenerateKey: the CK_RV and the value of the key."""
    built, _kept = m.mechanism(mechanism)
    template, _more = m.template(attributes)
    handle = m.ffi.new("CK_ULONG *")
    value = m.call("C_GenerateKey", session, built, template, len(attributes), handle)
    return value, m.attribute(session, handle[0], CKA.VALUE) if value == CKR.OK else b""


_POINTED: list[Any] = []


def struct(m: Module, /, name: str, **fields: Any) -> bytes:
    """A parameter's struct as bytes; byte strings and structs among its fields become pointers, which stay good."""
    made = m.ffi.new(f"{name} *")
    for field, value in fields.items():
        if isinstance(value, bytes):
            _POINTED.append(m.ffi.new("unsigned char[]", value or b"\0"))
            setattr(made, field, m.ffi.cast("void *", _POINTED[-1]))
        else:
            setattr(made, field, value)
    return bytes(m.ffi.buffer(made))


def derived(m: Module, /, session: int, mechanism: int, parameter: bytes, base: int, attributes: Any) -> int:
    """C_DeriveKey: the handle, or the CK_RV as a negative number."""
    built, _kept = m.mechanism(mechanism, parameter)
    template, _more = m.template(attributes)
    handle = m.ffi.new("CK_ULONG *")
    value = m.call("C_DeriveKey", session, built, base, template, len(attributes), handle)
    return int(handle[0]) if value == CKR.OK else -value


def derived_value(m: Module, /, session: int, mechanism: int, parameter: bytes, base: int, **template: Any) -> Any:
    """The value of a readable generic secret that is derived, or the CK_RV as a negative number."""
    readable = {CKA.SENSITIVE: b"\0", CKA.EXTRACTABLE: b"\1", **{CKA[name]: value for name, value in template.items()}}
    handle = derived(m, session, mechanism, parameter, base, readable)
    return m.attribute(session, handle, CKA.VALUE) if handle > 0 else handle


def create_with_template(m: Module, /, session: int, kind: CKA, inner: Any, where: Any = SESSION) -> int:
    """An AES key with a template for what comes of it."""
    attributes, _kept = m.template(inner)
    size = len(inner) * m.ffi.sizeof("CK_ATTRIBUTE")
    handle = m.ffi.new("CK_ULONG *")
    made = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: bytes(16), CKA.DERIVE: b"\1", **where}
    made[kind] = b""
    array, _more = m.template(made)
    array[len(made) - 1].pValue, array[len(made) - 1].ulValueLen = attributes, size
    m.check("C_CreateObject", session, array, len(made), handle)
    return int(handle[0])


def bytearray_of(m: Module, /, size: int) -> Any:
    """A buffer."""
    return m.ffi.new("unsigned char[]", size)


def message_begun(m: Module, /, session: int, way: str, key: int) -> None:
    """C_MessageEncryptInit or C_MessageDecryptInit for AES-GCM."""
    built, _kept = m.mechanism(CKM.AES_GCM)
    assert getattr(three(m), f"C_Message{way}Init")(session, built, key) == CKR.OK


def message_sent(m: Module, /, session: int, way: str, data: bytes) -> int:
    """The CK_RV of one message, with a tag that is right for nothing."""
    ffi = m.ffi
    parameter = struct(
        m, "CK_GCM_MESSAGE_PARAMS", pIv=bytes(12), ulIvLen=12, ivGenerator=0, pTag=bytes(16), ulTagBits=128
    )
    out, length = bytearray_of(m, len(data)), ffi.new("CK_ULONG *", len(data))
    given = ffi.new("unsigned char[]", parameter)
    once = getattr(three(m), f"C_{way}Message")
    return int(once(session, given, len(parameter), ffi.NULL, 0, data, len(data), out, length))


def state_of(m: Module, /, session: int) -> bytes:
    """C_GetOperationState."""
    length = m.ffi.new("CK_ULONG *")
    m.check("C_GetOperationState", session, m.ffi.NULL, length)
    buffer = bytearray_of(m, length[0])
    m.check("C_GetOperationState", session, buffer, length)
    return bytes(m.ffi.buffer(buffer, length[0]))


_IN_TWO = {
    "Digest": (CKM.SHA256, b""),
    "Sign": (CKM.AES_CMAC, b""),
    "Verify": (CKM.AES_CMAC, b""),
    "Encrypt": (CKM.AES_CBC, bytes(16)),
    "Decrypt": (CKM.AES_CBC, bytes(16)),
}


def begin_both(m: Module, /, session: int, first: str, second: str, key: int) -> None:
    """Two operations that take the same data."""
    for way in (first, second):
        built, _kept = m.mechanism(*_IN_TWO[way])
        m.check(f"C_{way}Init", session, built, *(() if way == "Digest" else (key,)))


def both_at_once(m: Module, /, session: int, name: str, first: str, second: str, key: int, data: bytes) -> str:
    """`data` through two operations, by `name` and by each alone."""
    ciphertext = passed(m, session, "Encrypt", *_IN_TWO["Encrypt"], key, data)
    given, expected = (data, ciphertext) if second == "Encrypt" else (ciphertext, data)
    begin_both(m, session, first, second, key)
    length, out = m.ffi.new("CK_ULONG *"), b""
    for part, due in ((given[:5], 0), (given[5:37], 32), (given[37:], 16)):
        m.check(name, session, part, len(part), m.ffi.NULL, length)
        buffer, small = bytearray_of(m, max(length[0], 1)), m.ffi.new("CK_ULONG *", max(due - 1, 0))
        if due and m.call(name, session, part, len(part), buffer, small) != CKR.BUFFER_TOO_SMALL:
            return "too little room was enough"
        m.check(name, session, part, len(part), buffer, length)
        out += bytes(m.ffi.buffer(buffer, length[0]))
    final = m._output(f"C_{second}Final", session, room=64)
    if out + final != expected:
        return f"{second}: {out + final!r}"
    if first == "Verify":
        mac = passed(m, session, "Sign", *_IN_TWO["Sign"], key, data)
        value = m.call("C_VerifyFinal", session, mac, len(mac))
        return "the same" if value == CKR.OK else f"Verify: {value}"
    together = m._output(f"C_{first}Final", session, room=64)
    alone = passed(m, session, first, *_IN_TWO[first], key, data)
    return "the same" if together == alone else f"{first}: {together!r}"


def child_lists_slots(m: Module, /, seconds: float) -> str:
    """A forked child initialises the module for itself and asks for its slots: what becomes of it in so long."""
    child = os.fork()
    if child == 0:
        try:
            m.initialize()
            os._exit(0 if m.slots() == [0] else 1)
        finally:
            os._exit(2)
    with os.fdopen(os.pidfd_open(child), "rb") as ended:
        hangs = not select.select([ended], [], [], seconds)[0]
    if hangs:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if hangs:
        return "hangs"
    return "done" if status == 0 else f"failed: {status}"


def busy_session(m: Module) -> list[int]:
    """A bit of everything that an application does with a card, whatever fails on the way: the return values."""
    values: list[int] = []

    def attempt(function: Any, *arguments: Any) -> Any:
        try:
            result = function(*arguments)
        except Failed as failure:
            values.append(failure.value)
            return None
        values.append(int(CKR.OK))
        return result

    attempt(m.token_info, 0)
    attempt(m.mechanisms, 0)
    session = attempt(m.open_session, 0, True) or 0
    attempt(m.random, session)
    attempt(m.login, session)
    found = attempt(m.find, session) or []
    for handle in found:
        attempt(m.attribute, session, handle, CKA.LABEL)
    for identity in (b"\1", b"\4"):
        keys = attempt(m.find, session, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.ID: identity}) or []
        for handle in keys:
            attempt(sign if identity == b"\1" else ecdsa, m, session, handle)
    created = attempt(data, m, session, b"busy")
    if created:
        attempt(m.change, session, created, {CKA.LABEL: b"busier"})
        attempt(m.destroy, session, created)
    attempt(m.set_pin, session, "123456", "123456")
    attempt(m.logout, session)
    attempt(m.close_session, session)
    return values


def events_of(m: Module) -> list[int]:
    """The return values of asking for events until there is none, or ten times."""
    values: list[int] = []
    while len(values) < 10 and (not values or values[-1] == CKR.OK):
        values.append(rv(m.wait_for_slot_event, False))
    return values
