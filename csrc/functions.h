/* SPDX-License-Identifier: MIT */
/* made by csrc/generate.py; do not edit */
#define CALL_C_Finalize 1
#define CALL_C_GetSlotList 2
#define CALL_C_GetSlotInfo 3
#define CALL_C_GetTokenInfo 4
#define CALL_C_GetMechanismList 5
#define CALL_C_GetMechanismInfo 6
#define CALL_C_InitToken 7
#define CALL_C_InitPIN 8
#define CALL_C_SetPIN 9
#define CALL_C_OpenSession 10
#define CALL_C_CloseSession 11
#define CALL_C_CloseAllSessions 12
#define CALL_C_GetSessionInfo 13
#define CALL_C_GetOperationState 14
#define CALL_C_SetOperationState 15
#define CALL_C_Login 16
#define CALL_C_Logout 17
#define CALL_C_CreateObject 18
#define CALL_C_CopyObject 19
#define CALL_C_DestroyObject 20
#define CALL_C_GetObjectSize 21
#define CALL_C_GetAttributeValue 22
#define CALL_C_SetAttributeValue 23
#define CALL_C_FindObjectsInit 24
#define CALL_C_FindObjects 25
#define CALL_C_FindObjectsFinal 26
#define CALL_C_EncryptInit 27
#define CALL_C_Encrypt 28
#define CALL_C_EncryptUpdate 29
#define CALL_C_EncryptFinal 30
#define CALL_C_DecryptInit 31
#define CALL_C_Decrypt 32
#define CALL_C_DecryptUpdate 33
#define CALL_C_DecryptFinal 34
#define CALL_C_DigestInit 35
#define CALL_C_Digest 36
#define CALL_C_DigestUpdate 37
#define CALL_C_DigestKey 38
#define CALL_C_DigestFinal 39
#define CALL_C_SignInit 40
#define CALL_C_Sign 41
#define CALL_C_SignUpdate 42
#define CALL_C_SignFinal 43
#define CALL_C_SignRecoverInit 44
#define CALL_C_SignRecover 45
#define CALL_C_VerifyInit 46
#define CALL_C_Verify 47
#define CALL_C_VerifyUpdate 48
#define CALL_C_VerifyFinal 49
#define CALL_C_VerifyRecoverInit 50
#define CALL_C_VerifyRecover 51
#define CALL_C_DigestEncryptUpdate 52
#define CALL_C_DecryptDigestUpdate 53
#define CALL_C_SignEncryptUpdate 54
#define CALL_C_DecryptVerifyUpdate 55
#define CALL_C_GenerateKey 56
#define CALL_C_GenerateKeyPair 57
#define CALL_C_WrapKey 58
#define CALL_C_UnwrapKey 59
#define CALL_C_DeriveKey 60
#define CALL_C_SeedRandom 61
#define CALL_C_GenerateRandom 62
#define CALL_C_GetFunctionStatus 63
#define CALL_C_CancelFunction 64
#define CALL_C_WaitForSlotEvent 65
#define CALL_C_LoginUser 66
#define CALL_C_SessionCancel 67
#define CALL_C_MessageEncryptInit 68
#define CALL_C_EncryptMessage 69
#define CALL_C_EncryptMessageBegin 70
#define CALL_C_EncryptMessageNext 71
#define CALL_C_MessageEncryptFinal 72
#define CALL_C_MessageDecryptInit 73
#define CALL_C_DecryptMessage 74
#define CALL_C_DecryptMessageBegin 75
#define CALL_C_DecryptMessageNext 76
#define CALL_C_MessageDecryptFinal 77
#define CALL_C_MessageSignInit 78
#define CALL_C_SignMessage 79
#define CALL_C_SignMessageBegin 80
#define CALL_C_SignMessageNext 81
#define CALL_C_MessageSignFinal 82
#define CALL_C_MessageVerifyInit 83
#define CALL_C_VerifyMessage 84
#define CALL_C_VerifyMessageBegin 85
#define CALL_C_VerifyMessageNext 86
#define CALL_C_MessageVerifyFinal 87
#define CALL_C_EncapsulateKey 88
#define CALL_C_DecapsulateKey 89
#define CALL_C_VerifySignatureInit 90
#define CALL_C_VerifySignature 91
#define CALL_C_VerifySignatureUpdate 92
#define CALL_C_VerifySignatureFinal 93
#define CALL_C_GetSessionValidationFlags 94
#define CALL_C_AsyncComplete 95
#define CALL_C_AsyncGetID 96
#define CALL_C_AsyncJoin 97
#define CALL_C_WrapKeyAuthenticated 98
#define CALL_C_UnwrapKeyAuthenticated 99
#define SIGNATURE_C_Finalize "0"
#define SIGNATURE_C_GetSlotList "yL"
#define SIGNATURE_C_GetSlotInfo "uS"
#define SIGNATURE_C_GetTokenInfo "uK"
#define SIGNATURE_C_GetMechanismList "uL"
#define SIGNATURE_C_GetMechanismInfo "uuH"
#define SIGNATURE_C_InitToken "unl"
#define SIGNATURE_C_InitPIN "un"
#define SIGNATURE_C_SetPIN "unn"
#define SIGNATURE_C_OpenSession "uu--U"
#define SIGNATURE_C_CloseSession "u"
#define SIGNATURE_C_CloseAllSessions "u"
#define SIGNATURE_C_GetSessionInfo "uE"
#define SIGNATURE_C_GetOperationState "uB"
#define SIGNATURE_C_SetOperationState "ubuu"
#define SIGNATURE_C_Login "uun"
#define SIGNATURE_C_Logout "u"
#define SIGNATURE_C_CreateObject "utU"
#define SIGNATURE_C_CopyObject "uutU"
#define SIGNATURE_C_DestroyObject "uu"
#define SIGNATURE_C_GetObjectSize "uuU"
#define SIGNATURE_C_GetAttributeValue "uuq"
#define SIGNATURE_C_SetAttributeValue "uut"
#define SIGNATURE_C_FindObjectsInit "ut"
#define SIGNATURE_C_FindObjects "uF"
#define SIGNATURE_C_FindObjectsFinal "u"
#define SIGNATURE_C_EncryptInit "uMu"
#define SIGNATURE_C_Encrypt "ubB"
#define SIGNATURE_C_EncryptUpdate "ubB"
#define SIGNATURE_C_EncryptFinal "uB"
#define SIGNATURE_C_DecryptInit "uMu"
#define SIGNATURE_C_Decrypt "ubB"
#define SIGNATURE_C_DecryptUpdate "ubB"
#define SIGNATURE_C_DecryptFinal "uB"
#define SIGNATURE_C_DigestInit "uM"
#define SIGNATURE_C_Digest "ubB"
#define SIGNATURE_C_DigestUpdate "ub"
#define SIGNATURE_C_DigestKey "uu"
#define SIGNATURE_C_DigestFinal "uB"
#define SIGNATURE_C_SignInit "uMu"
#define SIGNATURE_C_Sign "ubB"
#define SIGNATURE_C_SignUpdate "ub"
#define SIGNATURE_C_SignFinal "uB"
#define SIGNATURE_C_SignRecoverInit "uMu"
#define SIGNATURE_C_SignRecover "ubB"
#define SIGNATURE_C_VerifyInit "uMu"
#define SIGNATURE_C_Verify "ubb"
#define SIGNATURE_C_VerifyUpdate "ub"
#define SIGNATURE_C_VerifyFinal "ub"
#define SIGNATURE_C_VerifyRecoverInit "uMu"
#define SIGNATURE_C_VerifyRecover "ubB"
#define SIGNATURE_C_DigestEncryptUpdate "ubB"
#define SIGNATURE_C_DecryptDigestUpdate "ubB"
#define SIGNATURE_C_SignEncryptUpdate "ubB"
#define SIGNATURE_C_DecryptVerifyUpdate "ubB"
#define SIGNATURE_C_GenerateKey "umtU"
#define SIGNATURE_C_GenerateKeyPair "umttUU"
#define SIGNATURE_C_WrapKey "uwuuB"
#define SIGNATURE_C_UnwrapKey "umubtU"
#define SIGNATURE_C_DeriveKey "umutU"
#define SIGNATURE_C_SeedRandom "ub"
#define SIGNATURE_C_GenerateRandom "ur"
#define SIGNATURE_C_GetFunctionStatus "u"
#define SIGNATURE_C_CancelFunction "u"
#define SIGNATURE_C_WaitForSlotEvent "uU0"
#define SIGNATURE_C_LoginUser "uunn"
#define SIGNATURE_C_SessionCancel "uu"
#define SIGNATURE_C_MessageEncryptInit "uWu"
#define SIGNATURE_C_EncryptMessage "upbbB"
#define SIGNATURE_C_EncryptMessageBegin "upb"
#define SIGNATURE_C_EncryptMessageNext "upbBu"
#define SIGNATURE_C_MessageEncryptFinal "u"
#define SIGNATURE_C_MessageDecryptInit "uWu"
#define SIGNATURE_C_DecryptMessage "upbbB"
#define SIGNATURE_C_DecryptMessageBegin "upb"
#define SIGNATURE_C_DecryptMessageNext "upbBu"
#define SIGNATURE_C_MessageDecryptFinal "u"
#define SIGNATURE_C_MessageSignInit "uMu"
#define SIGNATURE_C_SignMessage "uPbB"
#define SIGNATURE_C_SignMessageBegin "uP"
#define SIGNATURE_C_SignMessageNext "uPbB"
#define SIGNATURE_C_MessageSignFinal "u"
#define SIGNATURE_C_MessageVerifyInit "uMu"
#define SIGNATURE_C_VerifyMessage "uPbb"
#define SIGNATURE_C_VerifyMessageBegin "uP"
#define SIGNATURE_C_VerifyMessageNext "uPbb"
#define SIGNATURE_C_MessageVerifyFinal "u"
#define SIGNATURE_C_EncapsulateKey "umutBU"
#define SIGNATURE_C_DecapsulateKey "umutbU"
#define SIGNATURE_C_VerifySignatureInit "uMub"
#define SIGNATURE_C_VerifySignature "ub"
#define SIGNATURE_C_VerifySignatureUpdate "ub"
#define SIGNATURE_C_VerifySignatureFinal "u"
#define SIGNATURE_C_GetSessionValidationFlags "uuU"
#define SIGNATURE_C_AsyncComplete "us-"
#define SIGNATURE_C_AsyncGetID "usU"
#define SIGNATURE_C_AsyncJoin "usu-u"
#define SIGNATURE_C_WrapKeyAuthenticated "uWuubB"
#define SIGNATURE_C_UnwrapKeyAuthenticated "uWubtbU"

typedef struct CK_FUNCTION_LIST CK_FUNCTION_LIST;
typedef struct CK_FUNCTION_LIST_3_0 CK_FUNCTION_LIST_3_0;
typedef struct CK_FUNCTION_LIST_3_2 CK_FUNCTION_LIST_3_2;
struct CK_FUNCTION_LIST {
    CK_VERSION version;
    CK_RV (*C_Initialize)(void *);
    CK_RV (*C_Finalize)(void *);
    CK_RV (*C_GetInfo)(CK_INFO *);
    CK_RV (*C_GetFunctionList)(CK_FUNCTION_LIST **);
    CK_RV (*C_GetSlotList)(CK_BBOOL, CK_ULONG *, CK_ULONG *);
    CK_RV (*C_GetSlotInfo)(CK_ULONG, CK_SLOT_INFO *);
    CK_RV (*C_GetTokenInfo)(CK_ULONG, CK_TOKEN_INFO *);
    CK_RV (*C_GetMechanismList)(CK_ULONG, CK_ULONG *, CK_ULONG *);
    CK_RV (*C_GetMechanismInfo)(CK_ULONG, CK_ULONG, CK_MECHANISM_INFO *);
    CK_RV (*C_InitToken)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_UTF8CHAR *);
    CK_RV (*C_InitPIN)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_SetPIN)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_OpenSession)(CK_ULONG, CK_ULONG, void *, void *, CK_ULONG *);
    CK_RV (*C_CloseSession)(CK_ULONG);
    CK_RV (*C_CloseAllSessions)(CK_ULONG);
    CK_RV (*C_GetSessionInfo)(CK_ULONG, CK_SESSION_INFO *);
    CK_RV (*C_GetOperationState)(CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SetOperationState)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_ULONG, CK_ULONG);
    CK_RV (*C_Login)(CK_ULONG, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_Logout)(CK_ULONG);
    CK_RV (*C_CreateObject)(CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_CopyObject)(CK_ULONG, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_DestroyObject)(CK_ULONG, CK_ULONG);
    CK_RV (*C_GetObjectSize)(CK_ULONG, CK_ULONG, CK_ULONG *);
    CK_RV (*C_GetAttributeValue)(CK_ULONG, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG);
    CK_RV (*C_SetAttributeValue)(CK_ULONG, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG);
    CK_RV (*C_FindObjectsInit)(CK_ULONG, CK_ATTRIBUTE *, CK_ULONG);
    CK_RV (*C_FindObjects)(CK_ULONG, CK_ULONG *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_FindObjectsFinal)(CK_ULONG);
    CK_RV (*C_EncryptInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_Encrypt)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_EncryptUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_EncryptFinal)(CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_Decrypt)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptFinal)(CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DigestInit)(CK_ULONG, CK_MECHANISM *);
    CK_RV (*C_Digest)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DigestUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_DigestKey)(CK_ULONG, CK_ULONG);
    CK_RV (*C_DigestFinal)(CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SignInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_Sign)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SignUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_SignFinal)(CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SignRecoverInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_SignRecover)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_VerifyInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_Verify)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_VerifyUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_VerifyFinal)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_VerifyRecoverInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_VerifyRecover)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DigestEncryptUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptDigestUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SignEncryptUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptVerifyUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_GenerateKey)(CK_ULONG, CK_MECHANISM *, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_GenerateKeyPair)(CK_ULONG, CK_MECHANISM *, CK_ATTRIBUTE *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *, CK_ULONG *);
    CK_RV (*C_WrapKey)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_UnwrapKey)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_DeriveKey)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_SeedRandom)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_GenerateRandom)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_GetFunctionStatus)(CK_ULONG);
    CK_RV (*C_CancelFunction)(CK_ULONG);
    CK_RV (*C_WaitForSlotEvent)(CK_ULONG, CK_ULONG *, void *);
};
struct CK_FUNCTION_LIST_3_0 {
    CK_VERSION version;
    CK_RV (*C_Initialize)(void *);
    CK_RV (*C_Finalize)(void *);
    CK_RV (*C_GetInfo)(CK_INFO *);
    CK_RV (*C_GetFunctionList)(CK_FUNCTION_LIST **);
    CK_RV (*C_GetSlotList)(CK_BBOOL, CK_ULONG *, CK_ULONG *);
    CK_RV (*C_GetSlotInfo)(CK_ULONG, CK_SLOT_INFO *);
    CK_RV (*C_GetTokenInfo)(CK_ULONG, CK_TOKEN_INFO *);
    CK_RV (*C_GetMechanismList)(CK_ULONG, CK_ULONG *, CK_ULONG *);
    CK_RV (*C_GetMechanismInfo)(CK_ULONG, CK_ULONG, CK_MECHANISM_INFO *);
    CK_RV (*C_InitToken)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_UTF8CHAR *);
    CK_RV (*C_InitPIN)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_SetPIN)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_OpenSession)(CK_ULONG, CK_ULONG, void *, void *, CK_ULONG *);
    CK_RV (*C_CloseSession)(CK_ULONG);
    CK_RV (*C_CloseAllSessions)(CK_ULONG);
    CK_RV (*C_GetSessionInfo)(CK_ULONG, CK_SESSION_INFO *);
    CK_RV (*C_GetOperationState)(CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SetOperationState)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_ULONG, CK_ULONG);
    CK_RV (*C_Login)(CK_ULONG, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_Logout)(CK_ULONG);
    CK_RV (*C_CreateObject)(CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_CopyObject)(CK_ULONG, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_DestroyObject)(CK_ULONG, CK_ULONG);
    CK_RV (*C_GetObjectSize)(CK_ULONG, CK_ULONG, CK_ULONG *);
    CK_RV (*C_GetAttributeValue)(CK_ULONG, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG);
    CK_RV (*C_SetAttributeValue)(CK_ULONG, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG);
    CK_RV (*C_FindObjectsInit)(CK_ULONG, CK_ATTRIBUTE *, CK_ULONG);
    CK_RV (*C_FindObjects)(CK_ULONG, CK_ULONG *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_FindObjectsFinal)(CK_ULONG);
    CK_RV (*C_EncryptInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_Encrypt)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_EncryptUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_EncryptFinal)(CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_Decrypt)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptFinal)(CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DigestInit)(CK_ULONG, CK_MECHANISM *);
    CK_RV (*C_Digest)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DigestUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_DigestKey)(CK_ULONG, CK_ULONG);
    CK_RV (*C_DigestFinal)(CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SignInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_Sign)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SignUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_SignFinal)(CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SignRecoverInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_SignRecover)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_VerifyInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_Verify)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_VerifyUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_VerifyFinal)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_VerifyRecoverInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_VerifyRecover)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DigestEncryptUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptDigestUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SignEncryptUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptVerifyUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_GenerateKey)(CK_ULONG, CK_MECHANISM *, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_GenerateKeyPair)(CK_ULONG, CK_MECHANISM *, CK_ATTRIBUTE *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *, CK_ULONG *);
    CK_RV (*C_WrapKey)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_UnwrapKey)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_DeriveKey)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_SeedRandom)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_GenerateRandom)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_GetFunctionStatus)(CK_ULONG);
    CK_RV (*C_CancelFunction)(CK_ULONG);
    CK_RV (*C_WaitForSlotEvent)(CK_ULONG, CK_ULONG *, void *);
    CK_RV (*C_GetInterfaceList)(CK_INTERFACE *, CK_ULONG *);
    CK_RV (*C_GetInterface)(CK_UTF8CHAR *, CK_VERSION *, CK_INTERFACE **, CK_FLAGS);
    CK_RV (*C_LoginUser)(CK_ULONG, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_SessionCancel)(CK_ULONG, CK_ULONG);
    CK_RV (*C_MessageEncryptInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_EncryptMessage)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_EncryptMessageBegin)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_EncryptMessageNext)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *, CK_ULONG);
    CK_RV (*C_MessageEncryptFinal)(CK_ULONG);
    CK_RV (*C_MessageDecryptInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_DecryptMessage)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptMessageBegin)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_DecryptMessageNext)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *, CK_ULONG);
    CK_RV (*C_MessageDecryptFinal)(CK_ULONG);
    CK_RV (*C_MessageSignInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_SignMessage)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SignMessageBegin)(CK_ULONG, void *, CK_ULONG);
    CK_RV (*C_SignMessageNext)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_MessageSignFinal)(CK_ULONG);
    CK_RV (*C_MessageVerifyInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_VerifyMessage)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_VerifyMessageBegin)(CK_ULONG, void *, CK_ULONG);
    CK_RV (*C_VerifyMessageNext)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_MessageVerifyFinal)(CK_ULONG);
};
struct CK_FUNCTION_LIST_3_2 {
    CK_VERSION version;
    CK_RV (*C_Initialize)(void *);
    CK_RV (*C_Finalize)(void *);
    CK_RV (*C_GetInfo)(CK_INFO *);
    CK_RV (*C_GetFunctionList)(CK_FUNCTION_LIST **);
    CK_RV (*C_GetSlotList)(CK_BBOOL, CK_ULONG *, CK_ULONG *);
    CK_RV (*C_GetSlotInfo)(CK_ULONG, CK_SLOT_INFO *);
    CK_RV (*C_GetTokenInfo)(CK_ULONG, CK_TOKEN_INFO *);
    CK_RV (*C_GetMechanismList)(CK_ULONG, CK_ULONG *, CK_ULONG *);
    CK_RV (*C_GetMechanismInfo)(CK_ULONG, CK_ULONG, CK_MECHANISM_INFO *);
    CK_RV (*C_InitToken)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_UTF8CHAR *);
    CK_RV (*C_InitPIN)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_SetPIN)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_OpenSession)(CK_ULONG, CK_ULONG, void *, void *, CK_ULONG *);
    CK_RV (*C_CloseSession)(CK_ULONG);
    CK_RV (*C_CloseAllSessions)(CK_ULONG);
    CK_RV (*C_GetSessionInfo)(CK_ULONG, CK_SESSION_INFO *);
    CK_RV (*C_GetOperationState)(CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SetOperationState)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_ULONG, CK_ULONG);
    CK_RV (*C_Login)(CK_ULONG, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_Logout)(CK_ULONG);
    CK_RV (*C_CreateObject)(CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_CopyObject)(CK_ULONG, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_DestroyObject)(CK_ULONG, CK_ULONG);
    CK_RV (*C_GetObjectSize)(CK_ULONG, CK_ULONG, CK_ULONG *);
    CK_RV (*C_GetAttributeValue)(CK_ULONG, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG);
    CK_RV (*C_SetAttributeValue)(CK_ULONG, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG);
    CK_RV (*C_FindObjectsInit)(CK_ULONG, CK_ATTRIBUTE *, CK_ULONG);
    CK_RV (*C_FindObjects)(CK_ULONG, CK_ULONG *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_FindObjectsFinal)(CK_ULONG);
    CK_RV (*C_EncryptInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_Encrypt)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_EncryptUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_EncryptFinal)(CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_Decrypt)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptFinal)(CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DigestInit)(CK_ULONG, CK_MECHANISM *);
    CK_RV (*C_Digest)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DigestUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_DigestKey)(CK_ULONG, CK_ULONG);
    CK_RV (*C_DigestFinal)(CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SignInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_Sign)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SignUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_SignFinal)(CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SignRecoverInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_SignRecover)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_VerifyInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_Verify)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_VerifyUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_VerifyFinal)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_VerifyRecoverInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_VerifyRecover)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DigestEncryptUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptDigestUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SignEncryptUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptVerifyUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_GenerateKey)(CK_ULONG, CK_MECHANISM *, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_GenerateKeyPair)(CK_ULONG, CK_MECHANISM *, CK_ATTRIBUTE *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *, CK_ULONG *);
    CK_RV (*C_WrapKey)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_UnwrapKey)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_DeriveKey)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_SeedRandom)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_GenerateRandom)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_GetFunctionStatus)(CK_ULONG);
    CK_RV (*C_CancelFunction)(CK_ULONG);
    CK_RV (*C_WaitForSlotEvent)(CK_ULONG, CK_ULONG *, void *);
    CK_RV (*C_GetInterfaceList)(CK_INTERFACE *, CK_ULONG *);
    CK_RV (*C_GetInterface)(CK_UTF8CHAR *, CK_VERSION *, CK_INTERFACE **, CK_FLAGS);
    CK_RV (*C_LoginUser)(CK_ULONG, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_SessionCancel)(CK_ULONG, CK_ULONG);
    CK_RV (*C_MessageEncryptInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_EncryptMessage)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_EncryptMessageBegin)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_EncryptMessageNext)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *, CK_ULONG);
    CK_RV (*C_MessageEncryptFinal)(CK_ULONG);
    CK_RV (*C_MessageDecryptInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_DecryptMessage)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_DecryptMessageBegin)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_DecryptMessageNext)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *, CK_ULONG);
    CK_RV (*C_MessageDecryptFinal)(CK_ULONG);
    CK_RV (*C_MessageSignInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_SignMessage)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_SignMessageBegin)(CK_ULONG, void *, CK_ULONG);
    CK_RV (*C_SignMessageNext)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_MessageSignFinal)(CK_ULONG);
    CK_RV (*C_MessageVerifyInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
    CK_RV (*C_VerifyMessage)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_VerifyMessageBegin)(CK_ULONG, void *, CK_ULONG);
    CK_RV (*C_VerifyMessageNext)(CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_MessageVerifyFinal)(CK_ULONG);
    CK_RV (*C_EncapsulateKey)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_BYTE *, CK_ULONG *, CK_ULONG *);
    CK_RV (*C_DecapsulateKey)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_ULONG *);
    CK_RV (*C_VerifySignatureInit)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_VerifySignature)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_VerifySignatureUpdate)(CK_ULONG, CK_BYTE *, CK_ULONG);
    CK_RV (*C_VerifySignatureFinal)(CK_ULONG);
    CK_RV (*C_GetSessionValidationFlags)(CK_ULONG, CK_ULONG, CK_ULONG *);
    CK_RV (*C_AsyncComplete)(CK_ULONG, CK_UTF8CHAR *, void *);
    CK_RV (*C_AsyncGetID)(CK_ULONG, CK_UTF8CHAR *, CK_ULONG *);
    CK_RV (*C_AsyncJoin)(CK_ULONG, CK_UTF8CHAR *, CK_ULONG, void *, CK_ULONG);
    CK_RV (*C_WrapKeyAuthenticated)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*C_UnwrapKeyAuthenticated)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_ULONG *);
};
