# SPDX-License-Identifier: MIT
"""Yubico's C library for PIV, which its tools are built on, by ctypes: no more of it than the tests of it call."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_ubyte, c_void_p, create_string_buffer
from enum import IntEnum
from typing import Any

LIBRARY = "libykpiv.so.2"


class Result(IntEnum):
    """What its functions return (ykpiv.h)."""

    OK = 0
    PCSC_ERROR = -2
    AUTHENTICATION_ERROR = -5
    GENERIC_ERROR = -7
    WRONG_PIN = -10
    INVALID_OBJECT = -11
    PIN_LOCKED = -13
    ARGUMENT_ERROR = -14


class ManagementKey(ctypes.Structure):
    """ykpiv_mgm: since version 2.3, which knows AES too, the key stands behind its length."""

    _pack_ = 1
    _fields_ = (("length", c_size_t), ("data", c_ubyte * 32))


class Library:
    """One connection to the only YubiKey that there is."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        self._knows_aes = hasattr(self._library, "ykpiv_authenticate2")
        self._state = c_void_p()
        self._connect()

    def _connect(self) -> None:
        assert self._call("init", byref(self._state), 0, stateless=True) is Result.OK
        assert self._call("connect", None) is Result.OK

    def close(self) -> None:
        """Disconnect, which resets the card."""
        self._call("disconnect")
        self._call("done")

    def reconnect(self) -> None:
        """As a program that has just been started."""
        self.close()
        self._connect()

    def authenticate(self, key: bytes) -> Result:
        """By a 3DES management key."""
        return self._call("authenticate", key)

    def verify(self, pin: str) -> Result:
        return self._call("verify", c_char_p(pin.encode()), None)

    def pin_retries(self) -> int:
        """The tries that are left; the application is selected for it, for a PIN that is verified would not tell."""
        tries = c_int()
        assert self._call("get_pin_retries", byref(tries)) is Result.OK
        return tries.value

    def change(self, what: str, old: str, new: str) -> Result:
        """`change_pin`, `change_puk` or `unblock_pin`."""
        return self._call(
            what, c_char_p(old.encode()), c_size_t(len(old)), c_char_p(new.encode()), c_size_t(len(new)), None
        )

    def set_pin_retries(self, pin: int, puk: int) -> Result:
        return self._call("set_pin_retries", pin, puk)

    def reset(self) -> Result:
        return self._call("util_reset")

    def generate(self, slot: int, algorithm: int, pin_policy: int = 0) -> Result:
        """An RSA key; what it makes of the answer is not looked at."""
        numbers = [byref(each) for each in (c_void_p(), c_size_t(), c_void_p(), c_size_t())]
        policies = (c_ubyte(pin_policy), c_ubyte(0))
        return self._call("util_generate_key", c_ubyte(slot), c_ubyte(algorithm), *policies, *numbers, None, None)

    def import_key(self, slot: int, algorithm: int, numbers: list[bytes]) -> Result:
        """An RSA key by p, q, dP, dQ, qInv."""
        given = [part for each in numbers for part in (c_char_p(each), c_size_t(len(each)))]
        return self._call(
            "import_private_key", c_ubyte(slot), c_ubyte(algorithm), *given, None, c_ubyte(0), c_ubyte(0), c_ubyte(0)
        )

    def decipher(self, slot: int, algorithm: int, block: bytes) -> Result:
        answer, length = create_string_buffer(512), c_size_t(512)
        given = (c_char_p(block), c_size_t(len(block)), answer, byref(length))
        return self._call("decipher_data", *given, c_ubyte(algorithm), c_ubyte(slot))

    def attest(self, slot: int) -> Result:
        answer, length = create_string_buffer(2048), c_size_t(2048)
        return self._call("attest", c_ubyte(slot), answer, byref(length))

    def set_protected_key(self, key: bytes) -> Result:
        """Another management key, kept on the card for whoever has the PIN."""
        if not self._knows_aes:
            return self._call("util_set_protected_mgm", create_string_buffer(key, len(key)))
        return self._call("util_set_protected_mgm", byref(ManagementKey(len(key), (c_ubyte * 32)(*key))))

    def protected_key(self) -> bytes:
        key = ManagementKey()
        where = byref(key) if self._knows_aes else key.data
        assert self._call("util_get_protected_mgm", where) is Result.OK
        return bytes(key.data[: key.length if self._knows_aes else 24])

    def write_certificate(self, slot: int, value: bytes) -> Result:
        return self._call("util_write_cert", c_ubyte(slot), c_char_p(value), c_size_t(len(value)), c_ubyte(0))

    def certificate(self, slot: int) -> bytes | None:
        value, length = POINTER(c_ubyte)(), c_size_t()
        if self._call("util_read_cert", c_ubyte(slot), byref(value), byref(length)) is not Result.OK:
            return None
        try:
            return bytes(value[: length.value])
        finally:
            self._call("util_free", value)

    def _call(self, name: str, *arguments: Any, stateless: bool = False) -> Result:
        own = () if stateless else (self._state,)
        return Result(getattr(self._library, f"ykpiv_{name}")(*own, *arguments))
