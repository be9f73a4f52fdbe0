# SPDX-License-Identifier: MIT
"""libnss3 with a PKCS #11 module loaded: presence, events, logins and signatures as applications of NSS get them.

No database: what is here is the part of NSS between an application and its tokens (lib/pk11wrap, lib/dev).
"""

from __future__ import annotations

from typing import Any

from cffi import FFI

_DECLARATIONS = """
typedef struct PK11SlotInfo PK11SlotInfo;
typedef struct {
    void *arena; int internal; int loaded; int isFIPS; char *dllName; char *commonName; void *library;
    void *functionList; void *refLock; int refCount; PK11SlotInfo **slots; int slotCount;
} SECMODModule;
typedef struct { int type; unsigned char *data; unsigned int len; } SECItem;
typedef struct PRCList { struct PRCList *next; struct PRCList *prev; } PRCList;
typedef struct { void *arena; int keyType; } SECKEYPrivateKey;
typedef struct { PRCList links; SECKEYPrivateKey *key; } SECKEYPrivateKeyListNode;
typedef struct { PRCList list; void *arena; } SECKEYPrivateKeyList;

int NSS_NoDB_Init(const char *);
SECMODModule *SECMOD_LoadUserModule(char *, SECMODModule *, int);
int SECMOD_UpdateSlotList(SECMODModule *);
PK11SlotInfo *SECMOD_WaitForAnyTokenEvent(SECMODModule *, unsigned long, unsigned int);
int SECMOD_CancelWait(SECMODModule *);
int PK11_IsPresent(PK11SlotInfo *);
int PK11_Authenticate(PK11SlotInfo *, int, void *);
char *PK11_GetTokenName(PK11SlotInfo *);
char *PK11_GetSlotName(PK11SlotInfo *);
void PK11_FreeSlot(PK11SlotInfo *);
void PK11_SetPasswordFunc(char *(*)(PK11SlotInfo *, int, void *));
SECKEYPrivateKeyList *PK11_ListPrivKeysInSlot(PK11SlotInfo *, char *, void *);
void SECKEY_DestroyPrivateKeyList(SECKEYPrivateKeyList *);
int SEC_SignData(SECItem *, const unsigned char *, int, SECKEYPrivateKey *, int);
"""
_UTIL = "char *PORT_Strdup_Util(const char *); void SECITEM_FreeItem_Util(SECItem *, int);"
_NSPR = "int PR_GetError(void); const char *PR_ErrorToName(int); unsigned int PR_MillisecondsToInterval(unsigned int);"

_RSA = 1
_SHA256_WITH_RSA = 194
"""SEC_OID_PKCS1_SHA256_WITH_RSA_ENCRYPTION."""
_LATENCY = 100
"""Milliseconds between two looks of NSS, where a module has no events."""


class NssError(Exception):
    """The name of what PR_GetError says."""


def interface() -> FFI:
    """Declare the functions of NSS that are used here."""
    ffi = FFI()
    for part in (_DECLARATIONS, _UTIL, _NSPR):
        ffi.cdef(part)
    return ffi


class Nss:
    """One module in NSS. Prompts are answered with `pin`, and counted. Raises NssError, OSError."""

    def __init__(self, module: str, pin: str = "123456") -> None:
        self._ffi = interface()
        self._nss: Any = self._ffi.dlopen("libnss3.so")
        self._util: Any = self._ffi.dlopen("libnssutil3.so")
        self._nspr: Any = self._ffi.dlopen("libnspr4.so")
        self._pin = pin.encode()
        self.prompts = 0
        self._check(self._nss.NSS_NoDB_Init(self._ffi.NULL))
        self._callback = self._ffi.callback("char *(PK11SlotInfo *, int, void *)", self._password)
        self._nss.PK11_SetPasswordFunc(self._callback)
        given = self._ffi.new("char[]", f'library="{module}" name="cardtear"'.encode())
        self._module = self._nss.SECMOD_LoadUserModule(given, self._ffi.NULL, 0)
        if not self._module or not self._module.loaded:
            raise self._error()

    @property
    def slots(self) -> list[Any]:
        """Return the slots that NSS has now."""
        return list(self._ffi.unpack(self._module.slots, self._module.slotCount))

    def slot_name(self, slot: Any) -> str:
        """Return the reader's name."""
        return self._text(self._nss.PK11_GetSlotName(slot))

    def token(self, slot: Any) -> str | None:
        """Return the token's name if one is present; NSS caches for a second whether it is."""
        if not self._nss.PK11_IsPresent(slot):
            return None
        return self._text(self._nss.PK11_GetTokenName(slot))

    def update(self) -> None:
        """Look for new slots."""
        self._check(self._nss.SECMOD_UpdateSlotList(self._module))

    def wait(self) -> str:
        """Wait for an event of a token, and return its slot."""
        latency = self._nspr.PR_MillisecondsToInterval(_LATENCY)
        slot = self._nss.SECMOD_WaitForAnyTokenEvent(self._module, 0, latency)
        if not slot:
            raise self._error()
        name = self.slot_name(slot)
        self._nss.PK11_FreeSlot(slot)
        return name

    def cancel(self) -> None:
        """Wake who waits: NSS ends the module and begins it again."""
        self._check(self._nss.SECMOD_CancelWait(self._module))

    def log_in(self, slot: Any) -> None:
        """Ask for the PIN if need be."""
        self._check(self._nss.PK11_Authenticate(slot, 0, self._ffi.NULL))

    def sign(self, slot: Any) -> bytes:
        """Sign with the token's first RSA key, and ask for the PIN if needed."""
        if self.token(slot) is None:
            raise NssError("no token")
        self.log_in(slot)
        keys = self._nss.PK11_ListPrivKeysInSlot(slot, self._ffi.NULL, self._ffi.NULL)
        if not keys:
            raise self._error()
        try:
            key = first_rsa_key(self._ffi, keys)
            if key is None:
                raise NssError(f"no RSA key, or none that NSS could read; its last error: {self._error()}")
            return self._signature(key)
        finally:
            self._nss.SECKEY_DestroyPrivateKeyList(keys)

    def _signature(self, key: Any) -> bytes:
        result = self._ffi.new("SECItem *")
        self._check(self._nss.SEC_SignData(result, b"data", 4, key, _SHA256_WITH_RSA))
        signature = bytes(self._ffi.buffer(result.data, result.len))
        self._util.SECITEM_FreeItem_Util(result, 0)
        return signature

    def _password(self, _slot: Any, is_retry: int, _argument: Any) -> Any:
        self.prompts += 1
        return self._ffi.NULL if is_retry else self._util.PORT_Strdup_Util(self._pin)

    def _check(self, status: int) -> None:
        if status != 0:
            raise self._error()

    def _error(self) -> NssError:
        number = self._nspr.PR_GetError()
        name = self._nspr.PR_ErrorToName(number)
        return NssError(self._text(name) if name else str(number))

    def _text(self, text: Any) -> str:
        found = self._ffi.string(text)
        assert isinstance(found, bytes)
        return found.decode()


def first_rsa_key(ffi: FFI, keys: Any) -> Any:
    """Find the first RSA key of a list of NSS's; None if there is none.

    NSS lists a key that it cannot read as NULL: one whose card has just gone, or of a type that it does not know.
    """
    link = keys.list.next
    while link != ffi.addressof(keys, "list"):
        key = ffi.cast("SECKEYPrivateKeyListNode *", link).key
        if key != ffi.NULL and key.keyType == _RSA:
            return key
        link = link.next
    return None
