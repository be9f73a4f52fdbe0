# SPDX-License-Identifier: MIT
"""The interfaces that the module offers: each list is whole, and says of itself what it is."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.csrc import module_path
from cardtear.csrc.generate import LISTS, STRUCTS
from cardtear.lab.clients.pkcs11 import Module
from cardtear.p11.calls import CALLS
from cardtear.p11.constants import CKF, CKR
from cardtear.p11.return_values import returned

VERSIONS = list(LISTS)


def get(module: Module, version: tuple[int, int] | None, name: bytes | None = b"PKCS 11", flags: int = 0) -> Any:
    """The CK_INTERFACE of C_GetInterface, or its CK_RV."""
    ffi = module.ffi
    found = ffi.new("CK_INTERFACE **")
    wanted = ffi.NULL if version is None else ffi.new("CK_VERSION *", version)
    value = module.library.C_GetInterface(ffi.NULL if name is None else ffi.new("char[]", name), wanted, found, flags)
    return found[0] if value == CKR.OK else value


def version_of(module: Module, interface: Any) -> tuple[int, int]:
    """What the list itself says."""
    version = module.ffi.cast("CK_VERSION *", interface.pFunctionList)
    return version.major, version.minor


@pytest.fixture(scope="module")
def plain() -> Module:
    """The module, not initialised."""
    return Module(module_path())


def test_the_newest_is_the_default(plain: Module) -> None:
    """Each list begins with the older ones, so that an application that asks for none can use the newest."""
    assert version_of(plain, get(plain, None)) == (3, 2)
    assert version_of(plain, get(plain, None, None)) == (3, 2)
    assert (plain.functions.version.major, plain.functions.version.minor) == (2, 40)


@pytest.mark.parametrize("version", VERSIONS)
def test_lists_are_whole(plain: Module, version: tuple[int, int]) -> None:
    """Every pointer is set, and the functions of an older version are the same in a newer one, at the same place."""
    ffi = plain.ffi
    interface = get(plain, version)
    assert ffi.string(interface.pInterfaceName) == b"PKCS 11"
    assert version_of(plain, interface) == version
    size = ffi.sizeof(LISTS[version]) // ffi.sizeof("void *")
    assert size == 1 + len(STRUCTS[LISTS[version]])
    pointers = ffi.cast("void **", interface.pFunctionList)
    assert all(pointers[number] for number in range(1, size))
    oldest = ffi.cast("void **", plain.functions)
    differing = [
        number for number in range(1, 1 + len(STRUCTS["CK_FUNCTION_LIST"])) if pointers[number] != oldest[number]
    ]
    assert differing == ([3] if version != (2, 40) else [])  # C_GetInfo


def test_lists_have_the_sizes_of_the_standard() -> None:
    """68 functions in 2.40, 92 in 3.0 and 3.1, 104 in 3.2; every call is in one of them."""
    assert [len(names) for names in STRUCTS.values()] == [68, 92, 104]
    assert {call.name for call in CALLS} <= set(STRUCTS["CK_FUNCTION_LIST_3_2"])


@pytest.mark.parametrize("version", VERSIONS)
def test_get_info_tells_the_version_of_its_list(fake: Any, module: Module, version: tuple[int, int]) -> None:
    """Not the newest that there is."""
    functions = module.ffi.cast(f"{LISTS[version]} *", get(module, version).pFunctionList)
    info = module.ffi.new("CK_INFO *")
    assert functions.C_GetInfo(info) == CKR.OK
    assert (info.cryptokiVersion.major, info.cryptokiVersion.minor) == version
    assert functions.C_GetInfo(module.ffi.NULL) == CKR.ARGUMENTS_BAD


def test_what_there_is_not(plain: Module) -> None:
    """Other names, other versions, and flags that no list has."""
    assert get(plain, (3, 3)) == CKR.ARGUMENTS_BAD
    assert get(plain, None, b"Vendor NSS FIPS Interface") == CKR.ARGUMENTS_BAD
    assert get(plain, (3, 2), flags=CKF.INTERFACE_FORK_SAFE) == CKR.ARGUMENTS_BAD
    assert plain.library.C_GetInterface(plain.ffi.NULL, plain.ffi.NULL, plain.ffi.NULL, 0) == CKR.ARGUMENTS_BAD


def test_list_of_interfaces(plain: Module) -> None:
    """The number, too little room, and all of them, newest first."""
    ffi = plain.ffi
    get_list = ffi.cast("CK_FUNCTION_LIST_3_0 *", get(plain, (3, 0)).pFunctionList).C_GetInterfaceList
    count = ffi.new("CK_ULONG *")
    assert (get_list(ffi.NULL, count), count[0]) == (CKR.OK, len(VERSIONS))
    listed = ffi.new("CK_INTERFACE[8]")
    count[0] = len(VERSIONS) - 1
    assert (get_list(listed, count), count[0]) == (CKR.BUFFER_TOO_SMALL, len(VERSIONS))
    assert (get_list(listed, count), count[0]) == (CKR.OK, len(VERSIONS))
    assert [version_of(plain, listed[number]) for number in range(count[0])] == VERSIONS
    assert get_list(listed, ffi.NULL) == CKR.ARGUMENTS_BAD


def test_functions_of_3_2(fake: Any, module: Module) -> None:
    """What goes in and what comes out of those that 3.2 has new."""
    ffi = module.ffi
    mechanism, _keep = module.mechanism(0x17)
    buffer, length, handle = ffi.new("unsigned char[8]"), ffi.new("CK_ULONG *", 8), ffi.new("CK_ULONG *")
    fake.answers["C_EncapsulateKey"] = lambda *_: (CKR.OK, (b"cipher", 5))
    assert module.call("C_EncapsulateKey", 1, mechanism, 2, ffi.NULL, 0, buffer, length, handle) == CKR.OK
    assert (bytes(ffi.buffer(buffer, length[0])), handle[0]) == (b"cipher", 5)
    fake.answers["C_DecapsulateKey"] = lambda *_: (CKR.OK, (6,))
    assert module.call("C_DecapsulateKey", 1, mechanism, 2, ffi.NULL, 0, b"cipher", 6, handle) == CKR.OK
    assert handle[0] == 6
    assert fake.last("C_DecapsulateKey") == (1, (0x17, b"", ()), 2, [], b"cipher")
    assert module.call("C_VerifySignatureInit", 1, mechanism, 2, b"signature", 9) == CKR.OK
    assert fake.last("C_VerifySignatureInit") == (1, (0x17, b"", ()), 2, b"signature")
    for name in ("C_VerifySignature", "C_VerifySignatureUpdate"):
        assert module.call(name, 1, b"data", 4) == CKR.OK
        assert fake.last(name) == (1, b"data")
    assert module.call("C_VerifySignatureFinal", 1) == CKR.OK
    fake.answers["C_GetSessionValidationFlags"] = lambda *_: (CKR.OK, (0,))
    assert (module.call("C_GetSessionValidationFlags", 1, 1, handle), handle[0]) == (CKR.OK, 0)


def zeros(module: Module, name: str) -> list[Any]:
    """Arguments that are all 0 or NULL."""
    types = module.ffi.typeof(getattr(module.functions, name)).args
    return [module.ffi.NULL if each.kind == "pointer" else 0 for each in types]


@pytest.mark.parametrize("name", [call.name for call in CALLS if call.name != "C_Finalize"])
def test_every_function_bears_nothing_at_all(fake: Any, module: Module, name: str) -> None:
    """Zeros and NULLs: an error of the module, or a call that arrives. Uninitialised, it says so."""
    value = module.call(name, *zeros(module, name))
    assert value in (CKR.OK, returned(name, CKR.ARGUMENTS_BAD), returned(name, CKR.DEVICE_ERROR))
    assert fake.calls or value == returned(name, CKR.ARGUMENTS_BAD)
    module.finalize()
    try:
        assert module.call(name, *zeros(module, name)) == CKR.CRYPTOKI_NOT_INITIALIZED
    finally:
        module.initialize(fake.path)
