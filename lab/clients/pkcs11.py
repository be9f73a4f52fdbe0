# SPDX-License-Identifier: MIT
"""Drives any PKCS #11 module from Python, in this process, through the C interface that applications use.

Function by function, with the standard's return values; meant for tests and demonstrations. Calls release the GIL.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...csrc.declarations import ffi
from ...p11.constants import CKA, CKF, CKM, CKR, CKU

Template = Mapping[int, Any] | Mapping[CKA, Any]
"""Attributes of an object: numbers and flags as int or bytes, all else as bytes."""


class Failed(Exception):
    """A function answered something other than CKR_OK: `value` tells what."""

    def __init__(self, function: str, value: int) -> None:
        self.function = function
        self.value = value
        super().__init__(f"{function}: {rv_name(value)}")


def rv_name(value: int) -> str:
    """Return a CK_RV by name, as CKR_OK."""
    try:
        return f"CKR_{CKR(value).name}"
    except ValueError:
        return f"CKR 0x{value:X}"


class Module:
    """A loaded module. `call` is any C function with cffi arguments; the other methods are what tests do all day.

    Methods raise Failed; `socket` is the simulator's, for C_Initialize.
    """

    def __init__(self, path: Path | str) -> None:
        self.ffi = ffi
        self.library = self.ffi.dlopen(str(path))
        pointer = self.ffi.new("CK_FUNCTION_LIST **")
        if self.library.C_GetFunctionList(pointer) != CKR.OK:
            raise Failed("C_GetFunctionList", CKR.GENERAL_ERROR)
        self.functions = pointer[0]

    def unload(self) -> None:
        """Call dlclose; the module may not be used afterwards."""
        self.ffi.dlclose(self.library)

    def call(self, name: str, *arguments: Any) -> int:
        """Call any function of the 2.40 list, and return its CK_RV."""
        return int(getattr(self.functions, name)(*arguments))

    def check(self, name: str, *arguments: Any) -> None:
        """Call a function that has to succeed. Raises Failed."""
        value = self.call(name, *arguments)
        if value != CKR.OK:
            raise Failed(name, value)

    def initialize(self, socket: Path | str | None = None, flags: int = CKF.OS_LOCKING_OK) -> None:
        """Call C_Initialize."""
        arguments = self.ffi.new("CK_C_INITIALIZE_ARGS *")
        arguments.flags = flags
        parameter = self.ffi.NULL if socket is None else self.ffi.new("char[]", f"socket={socket}".encode())
        arguments.pReserved = parameter
        self.check("C_Initialize", arguments)

    def finalize(self) -> None:
        """Call C_Finalize."""
        self.check("C_Finalize", self.ffi.NULL)

    def slots(self, present: bool = False) -> list[int]:
        """Call C_GetSlotList twice, and return the slots."""
        count = self.ffi.new("CK_ULONG *")
        self.check("C_GetSlotList", int(present), self.ffi.NULL, count)
        numbers = self.ffi.new("CK_ULONG[]", max(count[0], 1))
        self.check("C_GetSlotList", int(present), numbers, count)
        return list(numbers[0 : count[0]])

    def slot_info(self, slot: int) -> tuple[str, int]:
        """Call C_GetSlotInfo, and return description and flags."""
        info = self.ffi.new("CK_SLOT_INFO *")
        self.check("C_GetSlotInfo", slot, info)
        return bytes(info.slotDescription).decode().rstrip(), int(info.flags)

    def is_present(self, slot: int) -> bool:
        """Return CKF_TOKEN_PRESENT of a slot."""
        return bool(self.slot_info(slot)[1] & CKF.TOKEN_PRESENT)

    def token_info(self, slot: int) -> tuple[str, str, int]:
        """Call C_GetTokenInfo, and return label, serial number and flags."""
        info = self.ffi.new("CK_TOKEN_INFO *")
        self.check("C_GetTokenInfo", slot, info)
        return bytes(info.label).decode().rstrip(), bytes(info.serialNumber).decode().rstrip(), int(info.flags)

    def mechanisms(self, slot: int) -> list[int]:
        """Call C_GetMechanismList twice, and return the mechanisms."""
        count = self.ffi.new("CK_ULONG *")
        self.check("C_GetMechanismList", slot, self.ffi.NULL, count)
        numbers = self.ffi.new("CK_ULONG[]", max(count[0], 1))
        self.check("C_GetMechanismList", slot, numbers, count)
        return list(numbers[0 : count[0]])

    def open_session(self, slot: int, read_write: bool = False) -> int:
        """Call C_OpenSession, serial."""
        handle = self.ffi.new("CK_ULONG *")
        flags = CKF.SERIAL_SESSION | (CKF.RW_SESSION if read_write else 0)
        self.check("C_OpenSession", slot, flags, self.ffi.NULL, self.ffi.NULL, handle)
        return int(handle[0])

    def close_session(self, session: int) -> None:
        """Call C_CloseSession."""
        self.check("C_CloseSession", session)

    def session_state(self, session: int) -> int:
        """Return the state in CK_SESSION_INFO."""
        info = self.ffi.new("CK_SESSION_INFO *")
        self.check("C_GetSessionInfo", session, info)
        return int(info.state)

    def login(self, session: int, pin: str = "123456", user: int = CKU.USER) -> None:
        """Call C_Login."""
        self.check("C_Login", session, user, pin.encode(), len(pin))

    def logout(self, session: int) -> None:
        """Call C_Logout."""
        self.check("C_Logout", session)

    def set_pin(self, session: int, old: str, new: str) -> None:
        """Call C_SetPIN."""
        self.check("C_SetPIN", session, old.encode(), len(old), new.encode(), len(new))

    def wait_for_slot_event(self, block: bool = True) -> int:
        """Call C_WaitForSlotEvent, and return the slot."""
        slot = self.ffi.new("CK_ULONG *")
        self.check("C_WaitForSlotEvent", 0 if block else CKF.DONT_BLOCK, slot, self.ffi.NULL)
        return int(slot[0])

    def find(self, session: int, template: Template | None = None) -> list[int]:
        """Call C_FindObjectsInit, C_FindObjects and C_FindObjectsFinal."""
        attributes, _keep = self.template(template or {})
        self.check("C_FindObjectsInit", session, attributes, len(template or {}))
        found: list[int] = []
        handles, count = self.ffi.new("CK_ULONG[16]"), self.ffi.new("CK_ULONG *")
        try:
            while True:
                self.check("C_FindObjects", session, handles, 16, count)
                if not count[0]:
                    return found
                found += list(handles[0 : count[0]])
        finally:
            self.call("C_FindObjectsFinal", session)

    def attribute(self, session: int, handle: int, kind: CKA) -> bytes:
        """Call C_GetAttributeValue twice for one attribute."""
        attribute = self.ffi.new("CK_ATTRIBUTE[1]")
        attribute[0].type = kind
        self.check("C_GetAttributeValue", session, handle, attribute, 1)
        buffer = self.ffi.new("unsigned char[]", max(attribute[0].ulValueLen, 1))
        attribute[0].pValue = buffer
        self.check("C_GetAttributeValue", session, handle, attribute, 1)
        return bytes(self.ffi.buffer(buffer, attribute[0].ulValueLen))

    def sign_init(self, session: int, key: int, mechanism: int = CKM.RSA_PKCS, parameter: bytes = b"") -> None:
        """Call C_SignInit."""
        built, _keep = self.mechanism(mechanism, parameter)
        self.check("C_SignInit", session, built, key)

    def sign(self, session: int, data: bytes, room: int = 1024) -> bytes:
        """Call C_Sign."""
        return self._output("C_Sign", session, data, len(data), room=room)

    def digest(self, session: int, data: bytes, mechanism: int = CKM.SHA256) -> bytes:
        """Call C_DigestInit and C_Digest."""
        built, _keep = self.mechanism(mechanism)
        self.check("C_DigestInit", session, built)
        return self._output("C_Digest", session, data, len(data), room=64)

    def decrypt(
        self, session: int, key: int, data: bytes, mechanism: int = CKM.RSA_PKCS, parameter: bytes = b""
    ) -> bytes:
        """Call C_DecryptInit and C_Decrypt."""
        built, _keep = self.mechanism(mechanism, parameter)
        self.check("C_DecryptInit", session, built, key)
        return self._output("C_Decrypt", session, data, len(data), room=1024)

    def random(self, session: int, length: int = 16) -> bytes:
        """Call C_GenerateRandom."""
        buffer = self.ffi.new("unsigned char[]", length)
        self.check("C_GenerateRandom", session, buffer, length)
        return bytes(self.ffi.buffer(buffer))

    def create(self, session: int, attributes: Template) -> int:
        """Call C_CreateObject."""
        template, _kept = self.template(attributes)
        handle = self.ffi.new("CK_ULONG *")
        self.check("C_CreateObject", session, template, len(attributes), handle)
        return int(handle[0])

    def copy(self, session: int, handle: int, attributes: Template) -> int:
        """Call C_CopyObject."""
        template, _kept = self.template(attributes)
        copy = self.ffi.new("CK_ULONG *")
        self.check("C_CopyObject", session, handle, template, len(attributes), copy)
        return int(copy[0])

    def change(self, session: int, handle: int, attributes: Template) -> None:
        """Call C_SetAttributeValue."""
        template, _kept = self.template(attributes)
        self.check("C_SetAttributeValue", session, handle, template, len(attributes))

    def destroy(self, session: int, handle: int) -> None:
        """Call C_DestroyObject."""
        self.check("C_DestroyObject", session, handle)

    def generate_pair(self, session: int, kind: int, public: Template, private: Template) -> tuple[int, int]:
        """Call C_GenerateKeyPair, and return public and private key."""
        mechanism, _parameter = self.mechanism(kind)
        (first, _first), (second, _second) = self.template(public), self.template(private)
        handles = self.ffi.new("CK_ULONG[2]")
        self.check(
            "C_GenerateKeyPair", session, mechanism, first, len(public), second, len(private), handles, handles + 1
        )
        return int(handles[0]), int(handles[1])

    def init_token(self, slot: int, so_pin: str = "12345678", label: str = "token") -> None:
        """Call C_InitToken."""
        value, name = so_pin.encode(), label.encode().ljust(32)
        self.check("C_InitToken", slot, value, len(value), name)

    def init_pin(self, session: int, pin: str = "123456") -> None:
        """Call C_InitPIN."""
        value = pin.encode()
        self.check("C_InitPIN", session, value, len(value))

    def mechanism(self, kind: int, parameter: bytes = b"") -> tuple[Any, Any]:
        """Return a CK_MECHANISM, and what has to be kept alive with it."""
        buffer = self.ffi.new("unsigned char[]", parameter or b"\0")
        pointer = buffer if parameter else self.ffi.NULL
        return self.ffi.new("CK_MECHANISM *", (kind, pointer, len(parameter))), buffer

    def template(self, attributes: Template) -> tuple[Any, Any]:
        """Return a CK_ATTRIBUTE array, and what has to be kept alive with it; numbers become CK_ULONGs."""
        size = self.ffi.sizeof("CK_ULONG")
        values = [
            value if isinstance(value, bytes) else int(value).to_bytes(size, "little") for value in attributes.values()
        ]
        buffers = [self.ffi.new("unsigned char[]", value or b"\0") for value in values]
        array = self.ffi.new("CK_ATTRIBUTE[]", max(len(values), 1))
        for place, kind, buffer, value in zip(array, attributes, buffers, values, strict=False):
            place.type, place.pValue, place.ulValueLen = int(kind), buffer, len(value)
        return array, buffers

    def _output(self, name: str, session: int, *arguments: Any, room: int) -> bytes:
        buffer, length = self.ffi.new("unsigned char[]", room), self.ffi.new("CK_ULONG *", room)
        self.check(name, session, *arguments, buffer, length)
        return bytes(self.ffi.buffer(buffer, length[0]))
