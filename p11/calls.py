# SPDX-License-Identifier: MIT
"""The call table: every function of PKCS #11 2.40, 3.0 and 3.2 that crosses the wire, with what goes in and comes out.

Both ends are made from it: the C stubs are generated (csrc/generate.py), the server's codecs are built at import. A
signature has one letter per parameter, in the standard's order:

    u  CK_ULONG in                               U  CK_ULONG out
    y  CK_BBOOL in                               l  label in: 32 bytes
    b  byte string in (pointer, length)          n  the same; NULL means something else than empty
    B  buffer out (pointer, pointer to length)   r  buffer out, to be filled exactly (pointer, length)
    L  list of CK_ULONG out (pointer, pointer to count)
    F  list of CK_ULONG out (pointer, room, pointer to count)
    s  name in: a string that ends with NUL
    m  mechanism in                              M  mechanism in, may be NULL
    w  mechanism in; a generated IV comes back   W  the same with the parameters of messages; may be NULL
    p  message parameter (pointer, length), with IV and tag in and out
    P  message parameter in (pointer, length), of a mechanism that generates nothing
    t  template in (pointer, count)              q  attributes to read (pointer, count), in and out
    S  CK_SLOT_INFO out     K  CK_TOKEN_INFO out     E  CK_SESSION_INFO out     H  CK_MECHANISM_INFO out
    -  not carried                               0  reserved: must be NULL
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WireCall:
    """A function: its number on the wire, its name, the first version of the standard with it, and its signature."""

    number: int
    name: str
    version: int
    minor: int
    signature: str


_TABLE = """
2.40 C_Finalize 0
2.40 C_GetSlotList yL
2.40 C_GetSlotInfo uS
2.40 C_GetTokenInfo uK
2.40 C_GetMechanismList uL
2.40 C_GetMechanismInfo uuH
2.40 C_InitToken unl
2.40 C_InitPIN un
2.40 C_SetPIN unn
2.40 C_OpenSession uu--U
2.40 C_CloseSession u
2.40 C_CloseAllSessions u
2.40 C_GetSessionInfo uE
2.40 C_GetOperationState uB
2.40 C_SetOperationState ubuu
2.40 C_Login uun
2.40 C_Logout u
2.40 C_CreateObject utU
2.40 C_CopyObject uutU
2.40 C_DestroyObject uu
2.40 C_GetObjectSize uuU
2.40 C_GetAttributeValue uuq
2.40 C_SetAttributeValue uut
2.40 C_FindObjectsInit ut
2.40 C_FindObjects uF
2.40 C_FindObjectsFinal u
2.40 C_EncryptInit uMu
2.40 C_Encrypt ubB
2.40 C_EncryptUpdate ubB
2.40 C_EncryptFinal uB
2.40 C_DecryptInit uMu
2.40 C_Decrypt ubB
2.40 C_DecryptUpdate ubB
2.40 C_DecryptFinal uB
2.40 C_DigestInit uM
2.40 C_Digest ubB
2.40 C_DigestUpdate ub
2.40 C_DigestKey uu
2.40 C_DigestFinal uB
2.40 C_SignInit uMu
2.40 C_Sign ubB
2.40 C_SignUpdate ub
2.40 C_SignFinal uB
2.40 C_SignRecoverInit uMu
2.40 C_SignRecover ubB
2.40 C_VerifyInit uMu
2.40 C_Verify ubb
2.40 C_VerifyUpdate ub
2.40 C_VerifyFinal ub
2.40 C_VerifyRecoverInit uMu
2.40 C_VerifyRecover ubB
2.40 C_DigestEncryptUpdate ubB
2.40 C_DecryptDigestUpdate ubB
2.40 C_SignEncryptUpdate ubB
2.40 C_DecryptVerifyUpdate ubB
2.40 C_GenerateKey umtU
2.40 C_GenerateKeyPair umttUU
2.40 C_WrapKey uwuuB
2.40 C_UnwrapKey umubtU
2.40 C_DeriveKey umutU
2.40 C_SeedRandom ub
2.40 C_GenerateRandom ur
2.40 C_GetFunctionStatus u
2.40 C_CancelFunction u
2.40 C_WaitForSlotEvent uU0
3.0 C_LoginUser uunn
3.0 C_SessionCancel uu
3.0 C_MessageEncryptInit uWu
3.0 C_EncryptMessage upbbB
3.0 C_EncryptMessageBegin upb
3.0 C_EncryptMessageNext upbBu
3.0 C_MessageEncryptFinal u
3.0 C_MessageDecryptInit uWu
3.0 C_DecryptMessage upbbB
3.0 C_DecryptMessageBegin upb
3.0 C_DecryptMessageNext upbBu
3.0 C_MessageDecryptFinal u
3.0 C_MessageSignInit uMu
3.0 C_SignMessage uPbB
3.0 C_SignMessageBegin uP
3.0 C_SignMessageNext uPbB
3.0 C_MessageSignFinal u
3.0 C_MessageVerifyInit uMu
3.0 C_VerifyMessage uPbb
3.0 C_VerifyMessageBegin uP
3.0 C_VerifyMessageNext uPbb
3.0 C_MessageVerifyFinal u
3.2 C_EncapsulateKey umutBU
3.2 C_DecapsulateKey umutbU
3.2 C_VerifySignatureInit uMub
3.2 C_VerifySignature ub
3.2 C_VerifySignatureUpdate ub
3.2 C_VerifySignatureFinal u
3.2 C_GetSessionValidationFlags uuU
3.2 C_AsyncComplete us-
3.2 C_AsyncGetID usU
3.2 C_AsyncJoin usu-u
3.2 C_WrapKeyAuthenticated uWuubB
3.2 C_UnwrapKeyAuthenticated uWubtbU
"""


def _call(number: int, line: str) -> WireCall:
    version, name, signature = line.split()
    major, minor = map(int, version.split("."))
    return WireCall(number, name, major, minor, signature)


CALLS: tuple[WireCall, ...] = tuple(
    _call(number, line) for number, line in enumerate(_TABLE.split("\n")[1:-1], start=1)
)
BY_NAME: dict[str, WireCall] = {call.name: call for call in CALLS}

IN_MODULE = ("C_Initialize", "C_GetInfo", "C_GetFunctionList", "C_GetInterfaceList", "C_GetInterface")
"""Functions that do not cross the wire: the module carries them out itself."""

OF_SLOTS = frozenset(
    {
        "C_GetSlotInfo",
        "C_GetTokenInfo",
        "C_GetMechanismList",
        "C_GetMechanismInfo",
        "C_InitToken",
        "C_OpenSession",
        "C_CloseAllSessions",
    }
)
"""Functions whose first parameter is a slot."""

OF_SESSIONS = (
    frozenset(call.name for call in CALLS if call.signature.startswith("u")) - OF_SLOTS - {"C_WaitForSlotEvent"}
)
"""Functions whose first parameter is a session."""
