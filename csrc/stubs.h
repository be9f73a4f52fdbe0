/* SPDX-License-Identifier: MIT */
/* made by csrc/generate.py; do not edit */
CK_RV C_GetFunctionList(CK_FUNCTION_LIST **);
CK_RV C_GetInterfaceList(CK_INTERFACE *, CK_ULONG *);
CK_RV C_GetInterface(CK_UTF8CHAR *, CK_VERSION *, CK_INTERFACE **, CK_FLAGS);

static CK_RV C_GetSlotList(CK_BBOOL a0, CK_ULONG *a1, CK_ULONG *a2)
{
    return invoke(CALL_C_GetSlotList, SIGNATURE_C_GetSlotList, a0, a1, a2);
}

static CK_RV C_GetSlotInfo(CK_ULONG a0, CK_SLOT_INFO *a1)
{
    return invoke(CALL_C_GetSlotInfo, SIGNATURE_C_GetSlotInfo, a0, a1);
}

static CK_RV C_GetTokenInfo(CK_ULONG a0, CK_TOKEN_INFO *a1)
{
    return invoke(CALL_C_GetTokenInfo, SIGNATURE_C_GetTokenInfo, a0, a1);
}

static CK_RV C_GetMechanismList(CK_ULONG a0, CK_ULONG *a1, CK_ULONG *a2)
{
    return invoke(CALL_C_GetMechanismList, SIGNATURE_C_GetMechanismList, a0, a1, a2);
}

static CK_RV C_GetMechanismInfo(CK_ULONG a0, CK_ULONG a1, CK_MECHANISM_INFO *a2)
{
    return invoke(CALL_C_GetMechanismInfo, SIGNATURE_C_GetMechanismInfo, a0, a1, a2);
}

static CK_RV C_InitToken(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2, CK_UTF8CHAR *a3)
{
    return invoke(CALL_C_InitToken, SIGNATURE_C_InitToken, a0, a1, a2, a3);
}

static CK_RV C_InitPIN(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2)
{
    return invoke(CALL_C_InitPIN, SIGNATURE_C_InitPIN, a0, a1, a2);
}

static CK_RV C_SetPIN(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG a4)
{
    return invoke(CALL_C_SetPIN, SIGNATURE_C_SetPIN, a0, a1, a2, a3, a4);
}

static CK_RV C_OpenSession(CK_ULONG a0, CK_ULONG a1, void *a2, void *a3, CK_ULONG *a4)
{
    return invoke(CALL_C_OpenSession, SIGNATURE_C_OpenSession, a0, a1, a2, a3, a4);
}

static CK_RV C_CloseSession(CK_ULONG a0)
{
    return invoke(CALL_C_CloseSession, SIGNATURE_C_CloseSession, a0);
}

static CK_RV C_CloseAllSessions(CK_ULONG a0)
{
    return invoke(CALL_C_CloseAllSessions, SIGNATURE_C_CloseAllSessions, a0);
}

static CK_RV C_GetSessionInfo(CK_ULONG a0, CK_SESSION_INFO *a1)
{
    return invoke(CALL_C_GetSessionInfo, SIGNATURE_C_GetSessionInfo, a0, a1);
}

static CK_RV C_GetOperationState(CK_ULONG a0, CK_BYTE *a1, CK_ULONG *a2)
{
    return invoke(CALL_C_GetOperationState, SIGNATURE_C_GetOperationState, a0, a1, a2);
}

static CK_RV C_SetOperationState(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2, CK_ULONG a3, CK_ULONG a4)
{
    return invoke(CALL_C_SetOperationState, SIGNATURE_C_SetOperationState, a0, a1, a2, a3, a4);
}

static CK_RV C_Login(CK_ULONG a0, CK_ULONG a1, CK_BYTE *a2, CK_ULONG a3)
{
    return invoke(CALL_C_Login, SIGNATURE_C_Login, a0, a1, a2, a3);
}

static CK_RV C_Logout(CK_ULONG a0)
{
    return invoke(CALL_C_Logout, SIGNATURE_C_Logout, a0);
}

static CK_RV C_CreateObject(CK_ULONG a0, CK_ATTRIBUTE *a1, CK_ULONG a2, CK_ULONG *a3)
{
    return invoke(CALL_C_CreateObject, SIGNATURE_C_CreateObject, a0, a1, a2, a3);
}

static CK_RV C_CopyObject(CK_ULONG a0, CK_ULONG a1, CK_ATTRIBUTE *a2, CK_ULONG a3, CK_ULONG *a4)
{
    return invoke(CALL_C_CopyObject, SIGNATURE_C_CopyObject, a0, a1, a2, a3, a4);
}

static CK_RV C_DestroyObject(CK_ULONG a0, CK_ULONG a1)
{
    return invoke(CALL_C_DestroyObject, SIGNATURE_C_DestroyObject, a0, a1);
}

static CK_RV C_GetObjectSize(CK_ULONG a0, CK_ULONG a1, CK_ULONG *a2)
{
    return invoke(CALL_C_GetObjectSize, SIGNATURE_C_GetObjectSize, a0, a1, a2);
}

static CK_RV C_GetAttributeValue(CK_ULONG a0, CK_ULONG a1, CK_ATTRIBUTE *a2, CK_ULONG a3)
{
    return invoke(CALL_C_GetAttributeValue, SIGNATURE_C_GetAttributeValue, a0, a1, a2, a3);
}

static CK_RV C_SetAttributeValue(CK_ULONG a0, CK_ULONG a1, CK_ATTRIBUTE *a2, CK_ULONG a3)
{
    return invoke(CALL_C_SetAttributeValue, SIGNATURE_C_SetAttributeValue, a0, a1, a2, a3);
}

static CK_RV C_FindObjectsInit(CK_ULONG a0, CK_ATTRIBUTE *a1, CK_ULONG a2)
{
    return invoke(CALL_C_FindObjectsInit, SIGNATURE_C_FindObjectsInit, a0, a1, a2);
}

static CK_RV C_FindObjects(CK_ULONG a0, CK_ULONG *a1, CK_ULONG a2, CK_ULONG *a3)
{
    return invoke(CALL_C_FindObjects, SIGNATURE_C_FindObjects, a0, a1, a2, a3);
}

static CK_RV C_FindObjectsFinal(CK_ULONG a0)
{
    return invoke(CALL_C_FindObjectsFinal, SIGNATURE_C_FindObjectsFinal, a0);
}

static CK_RV C_EncryptInit(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2)
{
    return invoke(CALL_C_EncryptInit, SIGNATURE_C_EncryptInit, a0, a1, a2);
}

static CK_RV C_Encrypt(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG *a4)
{
    return invoke(CALL_C_Encrypt, SIGNATURE_C_Encrypt, a0, a1, a2, a3, a4);
}

static CK_RV C_EncryptUpdate(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG *a4)
{
    return invoke(CALL_C_EncryptUpdate, SIGNATURE_C_EncryptUpdate, a0, a1, a2, a3, a4);
}

static CK_RV C_EncryptFinal(CK_ULONG a0, CK_BYTE *a1, CK_ULONG *a2)
{
    return invoke(CALL_C_EncryptFinal, SIGNATURE_C_EncryptFinal, a0, a1, a2);
}

static CK_RV C_DecryptInit(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2)
{
    return invoke(CALL_C_DecryptInit, SIGNATURE_C_DecryptInit, a0, a1, a2);
}

static CK_RV C_Decrypt(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG *a4)
{
    return invoke(CALL_C_Decrypt, SIGNATURE_C_Decrypt, a0, a1, a2, a3, a4);
}

static CK_RV C_DecryptUpdate(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG *a4)
{
    return invoke(CALL_C_DecryptUpdate, SIGNATURE_C_DecryptUpdate, a0, a1, a2, a3, a4);
}

static CK_RV C_DecryptFinal(CK_ULONG a0, CK_BYTE *a1, CK_ULONG *a2)
{
    return invoke(CALL_C_DecryptFinal, SIGNATURE_C_DecryptFinal, a0, a1, a2);
}

static CK_RV C_DigestInit(CK_ULONG a0, CK_MECHANISM *a1)
{
    return invoke(CALL_C_DigestInit, SIGNATURE_C_DigestInit, a0, a1);
}

static CK_RV C_Digest(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG *a4)
{
    return invoke(CALL_C_Digest, SIGNATURE_C_Digest, a0, a1, a2, a3, a4);
}

static CK_RV C_DigestUpdate(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2)
{
    return invoke(CALL_C_DigestUpdate, SIGNATURE_C_DigestUpdate, a0, a1, a2);
}

static CK_RV C_DigestKey(CK_ULONG a0, CK_ULONG a1)
{
    return invoke(CALL_C_DigestKey, SIGNATURE_C_DigestKey, a0, a1);
}

static CK_RV C_DigestFinal(CK_ULONG a0, CK_BYTE *a1, CK_ULONG *a2)
{
    return invoke(CALL_C_DigestFinal, SIGNATURE_C_DigestFinal, a0, a1, a2);
}

static CK_RV C_SignInit(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2)
{
    return invoke(CALL_C_SignInit, SIGNATURE_C_SignInit, a0, a1, a2);
}

static CK_RV C_Sign(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG *a4)
{
    return invoke(CALL_C_Sign, SIGNATURE_C_Sign, a0, a1, a2, a3, a4);
}

static CK_RV C_SignUpdate(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2)
{
    return invoke(CALL_C_SignUpdate, SIGNATURE_C_SignUpdate, a0, a1, a2);
}

static CK_RV C_SignFinal(CK_ULONG a0, CK_BYTE *a1, CK_ULONG *a2)
{
    return invoke(CALL_C_SignFinal, SIGNATURE_C_SignFinal, a0, a1, a2);
}

static CK_RV C_SignRecoverInit(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2)
{
    return invoke(CALL_C_SignRecoverInit, SIGNATURE_C_SignRecoverInit, a0, a1, a2);
}

static CK_RV C_SignRecover(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG *a4)
{
    return invoke(CALL_C_SignRecover, SIGNATURE_C_SignRecover, a0, a1, a2, a3, a4);
}

static CK_RV C_VerifyInit(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2)
{
    return invoke(CALL_C_VerifyInit, SIGNATURE_C_VerifyInit, a0, a1, a2);
}

static CK_RV C_Verify(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG a4)
{
    return invoke(CALL_C_Verify, SIGNATURE_C_Verify, a0, a1, a2, a3, a4);
}

static CK_RV C_VerifyUpdate(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2)
{
    return invoke(CALL_C_VerifyUpdate, SIGNATURE_C_VerifyUpdate, a0, a1, a2);
}

static CK_RV C_VerifyFinal(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2)
{
    return invoke(CALL_C_VerifyFinal, SIGNATURE_C_VerifyFinal, a0, a1, a2);
}

static CK_RV C_VerifyRecoverInit(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2)
{
    return invoke(CALL_C_VerifyRecoverInit, SIGNATURE_C_VerifyRecoverInit, a0, a1, a2);
}

static CK_RV C_VerifyRecover(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG *a4)
{
    return invoke(CALL_C_VerifyRecover, SIGNATURE_C_VerifyRecover, a0, a1, a2, a3, a4);
}

static CK_RV C_DigestEncryptUpdate(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG *a4)
{
    return invoke(CALL_C_DigestEncryptUpdate, SIGNATURE_C_DigestEncryptUpdate, a0, a1, a2, a3, a4);
}

static CK_RV C_DecryptDigestUpdate(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG *a4)
{
    return invoke(CALL_C_DecryptDigestUpdate, SIGNATURE_C_DecryptDigestUpdate, a0, a1, a2, a3, a4);
}

static CK_RV C_SignEncryptUpdate(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG *a4)
{
    return invoke(CALL_C_SignEncryptUpdate, SIGNATURE_C_SignEncryptUpdate, a0, a1, a2, a3, a4);
}

static CK_RV C_DecryptVerifyUpdate(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG *a4)
{
    return invoke(CALL_C_DecryptVerifyUpdate, SIGNATURE_C_DecryptVerifyUpdate, a0, a1, a2, a3, a4);
}

static CK_RV C_GenerateKey(CK_ULONG a0, CK_MECHANISM *a1, CK_ATTRIBUTE *a2, CK_ULONG a3, CK_ULONG *a4)
{
    return invoke(CALL_C_GenerateKey, SIGNATURE_C_GenerateKey, a0, a1, a2, a3, a4);
}

static CK_RV C_GenerateKeyPair(CK_ULONG a0, CK_MECHANISM *a1, CK_ATTRIBUTE *a2, CK_ULONG a3, CK_ATTRIBUTE *a4, CK_ULONG a5, CK_ULONG *a6, CK_ULONG *a7)
{
    return invoke(CALL_C_GenerateKeyPair, SIGNATURE_C_GenerateKeyPair, a0, a1, a2, a3, a4, a5, a6, a7);
}

static CK_RV C_WrapKey(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2, CK_ULONG a3, CK_BYTE *a4, CK_ULONG *a5)
{
    return invoke(CALL_C_WrapKey, SIGNATURE_C_WrapKey, a0, a1, a2, a3, a4, a5);
}

static CK_RV C_UnwrapKey(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG a4, CK_ATTRIBUTE *a5, CK_ULONG a6, CK_ULONG *a7)
{
    return invoke(CALL_C_UnwrapKey, SIGNATURE_C_UnwrapKey, a0, a1, a2, a3, a4, a5, a6, a7);
}

static CK_RV C_DeriveKey(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2, CK_ATTRIBUTE *a3, CK_ULONG a4, CK_ULONG *a5)
{
    return invoke(CALL_C_DeriveKey, SIGNATURE_C_DeriveKey, a0, a1, a2, a3, a4, a5);
}

static CK_RV C_SeedRandom(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2)
{
    return invoke(CALL_C_SeedRandom, SIGNATURE_C_SeedRandom, a0, a1, a2);
}

static CK_RV C_GenerateRandom(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2)
{
    return invoke(CALL_C_GenerateRandom, SIGNATURE_C_GenerateRandom, a0, a1, a2);
}

static CK_RV C_GetFunctionStatus(CK_ULONG a0)
{
    return invoke(CALL_C_GetFunctionStatus, SIGNATURE_C_GetFunctionStatus, a0);
}

static CK_RV C_CancelFunction(CK_ULONG a0)
{
    return invoke(CALL_C_CancelFunction, SIGNATURE_C_CancelFunction, a0);
}

static CK_RV C_WaitForSlotEvent(CK_ULONG a0, CK_ULONG *a1, void *a2)
{
    return invoke(CALL_C_WaitForSlotEvent, SIGNATURE_C_WaitForSlotEvent, a0, a1, a2);
}

static CK_RV C_LoginUser(CK_ULONG a0, CK_ULONG a1, CK_BYTE *a2, CK_ULONG a3, CK_BYTE *a4, CK_ULONG a5)
{
    return invoke(CALL_C_LoginUser, SIGNATURE_C_LoginUser, a0, a1, a2, a3, a4, a5);
}

static CK_RV C_SessionCancel(CK_ULONG a0, CK_ULONG a1)
{
    return invoke(CALL_C_SessionCancel, SIGNATURE_C_SessionCancel, a0, a1);
}

static CK_RV C_MessageEncryptInit(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2)
{
    return invoke(CALL_C_MessageEncryptInit, SIGNATURE_C_MessageEncryptInit, a0, a1, a2);
}

static CK_RV C_EncryptMessage(CK_ULONG a0, void *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG a4, CK_BYTE *a5, CK_ULONG a6, CK_BYTE *a7, CK_ULONG *a8)
{
    return invoke(CALL_C_EncryptMessage, SIGNATURE_C_EncryptMessage, a0, a1, a2, a3, a4, a5, a6, a7, a8);
}

static CK_RV C_EncryptMessageBegin(CK_ULONG a0, void *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG a4)
{
    return invoke(CALL_C_EncryptMessageBegin, SIGNATURE_C_EncryptMessageBegin, a0, a1, a2, a3, a4);
}

static CK_RV C_EncryptMessageNext(CK_ULONG a0, void *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG a4, CK_BYTE *a5, CK_ULONG *a6, CK_ULONG a7)
{
    return invoke(CALL_C_EncryptMessageNext, SIGNATURE_C_EncryptMessageNext, a0, a1, a2, a3, a4, a5, a6, a7);
}

static CK_RV C_MessageEncryptFinal(CK_ULONG a0)
{
    return invoke(CALL_C_MessageEncryptFinal, SIGNATURE_C_MessageEncryptFinal, a0);
}

static CK_RV C_MessageDecryptInit(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2)
{
    return invoke(CALL_C_MessageDecryptInit, SIGNATURE_C_MessageDecryptInit, a0, a1, a2);
}

static CK_RV C_DecryptMessage(CK_ULONG a0, void *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG a4, CK_BYTE *a5, CK_ULONG a6, CK_BYTE *a7, CK_ULONG *a8)
{
    return invoke(CALL_C_DecryptMessage, SIGNATURE_C_DecryptMessage, a0, a1, a2, a3, a4, a5, a6, a7, a8);
}

static CK_RV C_DecryptMessageBegin(CK_ULONG a0, void *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG a4)
{
    return invoke(CALL_C_DecryptMessageBegin, SIGNATURE_C_DecryptMessageBegin, a0, a1, a2, a3, a4);
}

static CK_RV C_DecryptMessageNext(CK_ULONG a0, void *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG a4, CK_BYTE *a5, CK_ULONG *a6, CK_ULONG a7)
{
    return invoke(CALL_C_DecryptMessageNext, SIGNATURE_C_DecryptMessageNext, a0, a1, a2, a3, a4, a5, a6, a7);
}

static CK_RV C_MessageDecryptFinal(CK_ULONG a0)
{
    return invoke(CALL_C_MessageDecryptFinal, SIGNATURE_C_MessageDecryptFinal, a0);
}

static CK_RV C_MessageSignInit(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2)
{
    return invoke(CALL_C_MessageSignInit, SIGNATURE_C_MessageSignInit, a0, a1, a2);
}

static CK_RV C_SignMessage(CK_ULONG a0, void *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG a4, CK_BYTE *a5, CK_ULONG *a6)
{
    return invoke(CALL_C_SignMessage, SIGNATURE_C_SignMessage, a0, a1, a2, a3, a4, a5, a6);
}

static CK_RV C_SignMessageBegin(CK_ULONG a0, void *a1, CK_ULONG a2)
{
    return invoke(CALL_C_SignMessageBegin, SIGNATURE_C_SignMessageBegin, a0, a1, a2);
}

static CK_RV C_SignMessageNext(CK_ULONG a0, void *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG a4, CK_BYTE *a5, CK_ULONG *a6)
{
    return invoke(CALL_C_SignMessageNext, SIGNATURE_C_SignMessageNext, a0, a1, a2, a3, a4, a5, a6);
}

static CK_RV C_MessageSignFinal(CK_ULONG a0)
{
    return invoke(CALL_C_MessageSignFinal, SIGNATURE_C_MessageSignFinal, a0);
}

static CK_RV C_MessageVerifyInit(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2)
{
    return invoke(CALL_C_MessageVerifyInit, SIGNATURE_C_MessageVerifyInit, a0, a1, a2);
}

static CK_RV C_VerifyMessage(CK_ULONG a0, void *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG a4, CK_BYTE *a5, CK_ULONG a6)
{
    return invoke(CALL_C_VerifyMessage, SIGNATURE_C_VerifyMessage, a0, a1, a2, a3, a4, a5, a6);
}

static CK_RV C_VerifyMessageBegin(CK_ULONG a0, void *a1, CK_ULONG a2)
{
    return invoke(CALL_C_VerifyMessageBegin, SIGNATURE_C_VerifyMessageBegin, a0, a1, a2);
}

static CK_RV C_VerifyMessageNext(CK_ULONG a0, void *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG a4, CK_BYTE *a5, CK_ULONG a6)
{
    return invoke(CALL_C_VerifyMessageNext, SIGNATURE_C_VerifyMessageNext, a0, a1, a2, a3, a4, a5, a6);
}

static CK_RV C_MessageVerifyFinal(CK_ULONG a0)
{
    return invoke(CALL_C_MessageVerifyFinal, SIGNATURE_C_MessageVerifyFinal, a0);
}

static CK_RV C_EncapsulateKey(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2, CK_ATTRIBUTE *a3, CK_ULONG a4, CK_BYTE *a5, CK_ULONG *a6, CK_ULONG *a7)
{
    return invoke(CALL_C_EncapsulateKey, SIGNATURE_C_EncapsulateKey, a0, a1, a2, a3, a4, a5, a6, a7);
}

static CK_RV C_DecapsulateKey(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2, CK_ATTRIBUTE *a3, CK_ULONG a4, CK_BYTE *a5, CK_ULONG a6, CK_ULONG *a7)
{
    return invoke(CALL_C_DecapsulateKey, SIGNATURE_C_DecapsulateKey, a0, a1, a2, a3, a4, a5, a6, a7);
}

static CK_RV C_VerifySignatureInit(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG a4)
{
    return invoke(CALL_C_VerifySignatureInit, SIGNATURE_C_VerifySignatureInit, a0, a1, a2, a3, a4);
}

static CK_RV C_VerifySignature(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2)
{
    return invoke(CALL_C_VerifySignature, SIGNATURE_C_VerifySignature, a0, a1, a2);
}

static CK_RV C_VerifySignatureUpdate(CK_ULONG a0, CK_BYTE *a1, CK_ULONG a2)
{
    return invoke(CALL_C_VerifySignatureUpdate, SIGNATURE_C_VerifySignatureUpdate, a0, a1, a2);
}

static CK_RV C_VerifySignatureFinal(CK_ULONG a0)
{
    return invoke(CALL_C_VerifySignatureFinal, SIGNATURE_C_VerifySignatureFinal, a0);
}

static CK_RV C_GetSessionValidationFlags(CK_ULONG a0, CK_ULONG a1, CK_ULONG *a2)
{
    return invoke(CALL_C_GetSessionValidationFlags, SIGNATURE_C_GetSessionValidationFlags, a0, a1, a2);
}

static CK_RV C_AsyncComplete(CK_ULONG a0, CK_UTF8CHAR *a1, void *a2)
{
    return invoke(CALL_C_AsyncComplete, SIGNATURE_C_AsyncComplete, a0, a1, a2);
}

static CK_RV C_AsyncGetID(CK_ULONG a0, CK_UTF8CHAR *a1, CK_ULONG *a2)
{
    return invoke(CALL_C_AsyncGetID, SIGNATURE_C_AsyncGetID, a0, a1, a2);
}

static CK_RV C_AsyncJoin(CK_ULONG a0, CK_UTF8CHAR *a1, CK_ULONG a2, void *a3, CK_ULONG a4)
{
    return invoke(CALL_C_AsyncJoin, SIGNATURE_C_AsyncJoin, a0, a1, a2, a3, a4);
}

static CK_RV C_WrapKeyAuthenticated(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2, CK_ULONG a3, CK_BYTE *a4, CK_ULONG a5, CK_BYTE *a6, CK_ULONG *a7)
{
    return invoke(CALL_C_WrapKeyAuthenticated, SIGNATURE_C_WrapKeyAuthenticated, a0, a1, a2, a3, a4, a5, a6, a7);
}

static CK_RV C_UnwrapKeyAuthenticated(CK_ULONG a0, CK_MECHANISM *a1, CK_ULONG a2, CK_BYTE *a3, CK_ULONG a4, CK_ATTRIBUTE *a5, CK_ULONG a6, CK_BYTE *a7, CK_ULONG a8, CK_ULONG *a9)
{
    return invoke(CALL_C_UnwrapKeyAuthenticated, SIGNATURE_C_UnwrapKeyAuthenticated, a0, a1, a2, a3, a4, a5, a6, a7, a8, a9);
}

static CK_RV C_GetInfo_3_2(CK_INFO *a0)
{
    return get_info((CK_VERSION){3, 2}, a0);
}

static CK_FUNCTION_LIST_3_2 functions_3_2 = {
    {3, 2},
    C_Initialize,
    C_Finalize,
    C_GetInfo_3_2,
    C_GetFunctionList,
    C_GetSlotList,
    C_GetSlotInfo,
    C_GetTokenInfo,
    C_GetMechanismList,
    C_GetMechanismInfo,
    C_InitToken,
    C_InitPIN,
    C_SetPIN,
    C_OpenSession,
    C_CloseSession,
    C_CloseAllSessions,
    C_GetSessionInfo,
    C_GetOperationState,
    C_SetOperationState,
    C_Login,
    C_Logout,
    C_CreateObject,
    C_CopyObject,
    C_DestroyObject,
    C_GetObjectSize,
    C_GetAttributeValue,
    C_SetAttributeValue,
    C_FindObjectsInit,
    C_FindObjects,
    C_FindObjectsFinal,
    C_EncryptInit,
    C_Encrypt,
    C_EncryptUpdate,
    C_EncryptFinal,
    C_DecryptInit,
    C_Decrypt,
    C_DecryptUpdate,
    C_DecryptFinal,
    C_DigestInit,
    C_Digest,
    C_DigestUpdate,
    C_DigestKey,
    C_DigestFinal,
    C_SignInit,
    C_Sign,
    C_SignUpdate,
    C_SignFinal,
    C_SignRecoverInit,
    C_SignRecover,
    C_VerifyInit,
    C_Verify,
    C_VerifyUpdate,
    C_VerifyFinal,
    C_VerifyRecoverInit,
    C_VerifyRecover,
    C_DigestEncryptUpdate,
    C_DecryptDigestUpdate,
    C_SignEncryptUpdate,
    C_DecryptVerifyUpdate,
    C_GenerateKey,
    C_GenerateKeyPair,
    C_WrapKey,
    C_UnwrapKey,
    C_DeriveKey,
    C_SeedRandom,
    C_GenerateRandom,
    C_GetFunctionStatus,
    C_CancelFunction,
    C_WaitForSlotEvent,
    C_GetInterfaceList,
    C_GetInterface,
    C_LoginUser,
    C_SessionCancel,
    C_MessageEncryptInit,
    C_EncryptMessage,
    C_EncryptMessageBegin,
    C_EncryptMessageNext,
    C_MessageEncryptFinal,
    C_MessageDecryptInit,
    C_DecryptMessage,
    C_DecryptMessageBegin,
    C_DecryptMessageNext,
    C_MessageDecryptFinal,
    C_MessageSignInit,
    C_SignMessage,
    C_SignMessageBegin,
    C_SignMessageNext,
    C_MessageSignFinal,
    C_MessageVerifyInit,
    C_VerifyMessage,
    C_VerifyMessageBegin,
    C_VerifyMessageNext,
    C_MessageVerifyFinal,
    C_EncapsulateKey,
    C_DecapsulateKey,
    C_VerifySignatureInit,
    C_VerifySignature,
    C_VerifySignatureUpdate,
    C_VerifySignatureFinal,
    C_GetSessionValidationFlags,
    C_AsyncComplete,
    C_AsyncGetID,
    C_AsyncJoin,
    C_WrapKeyAuthenticated,
    C_UnwrapKeyAuthenticated,
};

static CK_RV C_GetInfo_3_1(CK_INFO *a0)
{
    return get_info((CK_VERSION){3, 1}, a0);
}

static CK_FUNCTION_LIST_3_0 functions_3_1 = {
    {3, 1},
    C_Initialize,
    C_Finalize,
    C_GetInfo_3_1,
    C_GetFunctionList,
    C_GetSlotList,
    C_GetSlotInfo,
    C_GetTokenInfo,
    C_GetMechanismList,
    C_GetMechanismInfo,
    C_InitToken,
    C_InitPIN,
    C_SetPIN,
    C_OpenSession,
    C_CloseSession,
    C_CloseAllSessions,
    C_GetSessionInfo,
    C_GetOperationState,
    C_SetOperationState,
    C_Login,
    C_Logout,
    C_CreateObject,
    C_CopyObject,
    C_DestroyObject,
    C_GetObjectSize,
    C_GetAttributeValue,
    C_SetAttributeValue,
    C_FindObjectsInit,
    C_FindObjects,
    C_FindObjectsFinal,
    C_EncryptInit,
    C_Encrypt,
    C_EncryptUpdate,
    C_EncryptFinal,
    C_DecryptInit,
    C_Decrypt,
    C_DecryptUpdate,
    C_DecryptFinal,
    C_DigestInit,
    C_Digest,
    C_DigestUpdate,
    C_DigestKey,
    C_DigestFinal,
    C_SignInit,
    C_Sign,
    C_SignUpdate,
    C_SignFinal,
    C_SignRecoverInit,
    C_SignRecover,
    C_VerifyInit,
    C_Verify,
    C_VerifyUpdate,
    C_VerifyFinal,
    C_VerifyRecoverInit,
    C_VerifyRecover,
    C_DigestEncryptUpdate,
    C_DecryptDigestUpdate,
    C_SignEncryptUpdate,
    C_DecryptVerifyUpdate,
    C_GenerateKey,
    C_GenerateKeyPair,
    C_WrapKey,
    C_UnwrapKey,
    C_DeriveKey,
    C_SeedRandom,
    C_GenerateRandom,
    C_GetFunctionStatus,
    C_CancelFunction,
    C_WaitForSlotEvent,
    C_GetInterfaceList,
    C_GetInterface,
    C_LoginUser,
    C_SessionCancel,
    C_MessageEncryptInit,
    C_EncryptMessage,
    C_EncryptMessageBegin,
    C_EncryptMessageNext,
    C_MessageEncryptFinal,
    C_MessageDecryptInit,
    C_DecryptMessage,
    C_DecryptMessageBegin,
    C_DecryptMessageNext,
    C_MessageDecryptFinal,
    C_MessageSignInit,
    C_SignMessage,
    C_SignMessageBegin,
    C_SignMessageNext,
    C_MessageSignFinal,
    C_MessageVerifyInit,
    C_VerifyMessage,
    C_VerifyMessageBegin,
    C_VerifyMessageNext,
    C_MessageVerifyFinal,
};

static CK_RV C_GetInfo_3_0(CK_INFO *a0)
{
    return get_info((CK_VERSION){3, 0}, a0);
}

static CK_FUNCTION_LIST_3_0 functions_3_0 = {
    {3, 0},
    C_Initialize,
    C_Finalize,
    C_GetInfo_3_0,
    C_GetFunctionList,
    C_GetSlotList,
    C_GetSlotInfo,
    C_GetTokenInfo,
    C_GetMechanismList,
    C_GetMechanismInfo,
    C_InitToken,
    C_InitPIN,
    C_SetPIN,
    C_OpenSession,
    C_CloseSession,
    C_CloseAllSessions,
    C_GetSessionInfo,
    C_GetOperationState,
    C_SetOperationState,
    C_Login,
    C_Logout,
    C_CreateObject,
    C_CopyObject,
    C_DestroyObject,
    C_GetObjectSize,
    C_GetAttributeValue,
    C_SetAttributeValue,
    C_FindObjectsInit,
    C_FindObjects,
    C_FindObjectsFinal,
    C_EncryptInit,
    C_Encrypt,
    C_EncryptUpdate,
    C_EncryptFinal,
    C_DecryptInit,
    C_Decrypt,
    C_DecryptUpdate,
    C_DecryptFinal,
    C_DigestInit,
    C_Digest,
    C_DigestUpdate,
    C_DigestKey,
    C_DigestFinal,
    C_SignInit,
    C_Sign,
    C_SignUpdate,
    C_SignFinal,
    C_SignRecoverInit,
    C_SignRecover,
    C_VerifyInit,
    C_Verify,
    C_VerifyUpdate,
    C_VerifyFinal,
    C_VerifyRecoverInit,
    C_VerifyRecover,
    C_DigestEncryptUpdate,
    C_DecryptDigestUpdate,
    C_SignEncryptUpdate,
    C_DecryptVerifyUpdate,
    C_GenerateKey,
    C_GenerateKeyPair,
    C_WrapKey,
    C_UnwrapKey,
    C_DeriveKey,
    C_SeedRandom,
    C_GenerateRandom,
    C_GetFunctionStatus,
    C_CancelFunction,
    C_WaitForSlotEvent,
    C_GetInterfaceList,
    C_GetInterface,
    C_LoginUser,
    C_SessionCancel,
    C_MessageEncryptInit,
    C_EncryptMessage,
    C_EncryptMessageBegin,
    C_EncryptMessageNext,
    C_MessageEncryptFinal,
    C_MessageDecryptInit,
    C_DecryptMessage,
    C_DecryptMessageBegin,
    C_DecryptMessageNext,
    C_MessageDecryptFinal,
    C_MessageSignInit,
    C_SignMessage,
    C_SignMessageBegin,
    C_SignMessageNext,
    C_MessageSignFinal,
    C_MessageVerifyInit,
    C_VerifyMessage,
    C_VerifyMessageBegin,
    C_VerifyMessageNext,
    C_MessageVerifyFinal,
};

static CK_RV C_GetInfo_2_40(CK_INFO *a0)
{
    return get_info((CK_VERSION){2, 40}, a0);
}

static CK_FUNCTION_LIST functions_2_40 = {
    {2, 40},
    C_Initialize,
    C_Finalize,
    C_GetInfo_2_40,
    C_GetFunctionList,
    C_GetSlotList,
    C_GetSlotInfo,
    C_GetTokenInfo,
    C_GetMechanismList,
    C_GetMechanismInfo,
    C_InitToken,
    C_InitPIN,
    C_SetPIN,
    C_OpenSession,
    C_CloseSession,
    C_CloseAllSessions,
    C_GetSessionInfo,
    C_GetOperationState,
    C_SetOperationState,
    C_Login,
    C_Logout,
    C_CreateObject,
    C_CopyObject,
    C_DestroyObject,
    C_GetObjectSize,
    C_GetAttributeValue,
    C_SetAttributeValue,
    C_FindObjectsInit,
    C_FindObjects,
    C_FindObjectsFinal,
    C_EncryptInit,
    C_Encrypt,
    C_EncryptUpdate,
    C_EncryptFinal,
    C_DecryptInit,
    C_Decrypt,
    C_DecryptUpdate,
    C_DecryptFinal,
    C_DigestInit,
    C_Digest,
    C_DigestUpdate,
    C_DigestKey,
    C_DigestFinal,
    C_SignInit,
    C_Sign,
    C_SignUpdate,
    C_SignFinal,
    C_SignRecoverInit,
    C_SignRecover,
    C_VerifyInit,
    C_Verify,
    C_VerifyUpdate,
    C_VerifyFinal,
    C_VerifyRecoverInit,
    C_VerifyRecover,
    C_DigestEncryptUpdate,
    C_DecryptDigestUpdate,
    C_SignEncryptUpdate,
    C_DecryptVerifyUpdate,
    C_GenerateKey,
    C_GenerateKeyPair,
    C_WrapKey,
    C_UnwrapKey,
    C_DeriveKey,
    C_SeedRandom,
    C_GenerateRandom,
    C_GetFunctionStatus,
    C_CancelFunction,
    C_WaitForSlotEvent,
};

static CK_INTERFACE interfaces[] = {
    {(CK_CHAR *)"PKCS 11", &functions_3_2, 0},
    {(CK_CHAR *)"PKCS 11", &functions_3_1, 0},
    {(CK_CHAR *)"PKCS 11", &functions_3_0, 0},
    {(CK_CHAR *)"PKCS 11", &functions_2_40, 0},
};
