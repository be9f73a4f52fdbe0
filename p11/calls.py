# SPDX-License-Identifier: MIT
"""The call table: every function of PKCS #11 2.40 and 3.0 that crosses the wire, with what goes in and comes out.

Both ends are made from it: the C stubs are generated (csrc/generate.py), the server's codecs are built at import. A
signature has one letter per parameter, in the standard's order:

    u  CK_ULONG in                               U  CK_ULONG out
    y  CK_BBOOL in                               l  label in: 32 bytes
    b  byte string in (pointer, length)          n  the same; NULL means something else than empty
    B  buffer out (pointer, pointer to length)   r  buffer out, to be filled exactly (pointer, length)
    L  list of CK_ULONG out (pointer, pointer to count)
    F  list of CK_ULONG out (pointer, room, pointer to count)
    m  mechanism in                              M  mechanism in, may be NULL
    t  template in (pointer, count)              q  attributes to read (pointer, count), in and out
    S  CK_SLOT_INFO out     K  CK_TOKEN_INFO out     E  CK_SESSION_INFO out     H  CK_MECHANISM_INFO out
    -  not carried                               0  reserved: must be NULL
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """One function: its number on the wire, name, first version of the standard (major) and signature."""

    number: int
    name: str
    version: int
    signature: str


_TABLE = """
2 C_Finalize 0
2 C_GetSlotList yL
2 C_GetSlotInfo uS
2 C_GetTokenInfo uK
2 C_GetMechanismList uL
2 C_GetMechanismInfo uuH
2 C_InitToken unl
2 C_InitPIN un
2 C_SetPIN unn
2 C_OpenSession uu--U
2 C_CloseSession u
2 C_CloseAllSessions u
2 C_GetSessionInfo uE
2 C_GetOperationState uB
2 C_SetOperationState ubuu
2 C_Login uun
2 C_Logout u
2 C_CreateObject utU
2 C_CopyObject uutU
2 C_DestroyObject uu
2 C_GetObjectSize uuU
2 C_GetAttributeValue uuq
2 C_SetAttributeValue uut
2 C_FindObjectsInit ut
2 C_FindObjects uF
2 C_FindObjectsFinal u
2 C_EncryptInit uMu
2 C_Encrypt ubB
2 C_EncryptUpdate ubB
2 C_EncryptFinal uB
2 C_DecryptInit uMu
2 C_Decrypt ubB
2 C_DecryptUpdate ubB
2 C_DecryptFinal uB
2 C_DigestInit uM
2 C_Digest ubB
2 C_DigestUpdate ub
2 C_DigestKey uu
2 C_DigestFinal uB
2 C_SignInit uMu
2 C_Sign ubB
2 C_SignUpdate ub
2 C_SignFinal uB
2 C_SignRecoverInit uMu
2 C_SignRecover ubB
2 C_VerifyInit uMu
2 C_Verify ubb
2 C_VerifyUpdate ub
2 C_VerifyFinal ub
2 C_VerifyRecoverInit uMu
2 C_VerifyRecover ubB
2 C_DigestEncryptUpdate ubB
2 C_DecryptDigestUpdate ubB
2 C_SignEncryptUpdate ubB
2 C_DecryptVerifyUpdate ubB
2 C_GenerateKey umtU
2 C_GenerateKeyPair umttUU
2 C_WrapKey umuuB
2 C_UnwrapKey umubtU
2 C_DeriveKey umutU
2 C_SeedRandom ub
2 C_GenerateRandom ur
2 C_GetFunctionStatus u
2 C_CancelFunction u
2 C_WaitForSlotEvent uU0
3 C_LoginUser uunn
3 C_SessionCancel uu
3 C_MessageEncryptInit uMu
3 C_EncryptMessage ubbbB
3 C_EncryptMessageBegin ubb
3 C_EncryptMessageNext ubbBu
3 C_MessageEncryptFinal u
3 C_MessageDecryptInit uMu
3 C_DecryptMessage ubbbB
3 C_DecryptMessageBegin ubb
3 C_DecryptMessageNext ubbBu
3 C_MessageDecryptFinal u
3 C_MessageSignInit uMu
3 C_SignMessage ubbB
3 C_SignMessageBegin ub
3 C_SignMessageNext ubbB
3 C_MessageSignFinal u
3 C_MessageVerifyInit uMu
3 C_VerifyMessage ubbb
3 C_VerifyMessageBegin ub
3 C_VerifyMessageNext ubbb
3 C_MessageVerifyFinal u
"""

CALLS: tuple[Call, ...] = tuple(
    Call(number, name, int(version), signature)
    for number, (version, name, signature) in enumerate((line.split() for line in _TABLE.split("\n") if line), start=1)
)
BY_NAME: dict[str, Call] = {call.name: call for call in CALLS}
