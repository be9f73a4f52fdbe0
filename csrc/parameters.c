/* SPDX-License-Identifier: MIT */
/* Parameters of mechanisms and of messages. The struct travels as it lies in memory; what its pointers point to
 * travels behind it, in the order of the struct, each thing followed by what it points to in turn.
 *
 * A parameter whose size is not that of its struct has no pointers that could be followed: the other end judges it.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_PARAMETER (1u << 16)
#define MAX_POINTERS 128u
#define MAX_DIRECT 0xFFFFu /* no memory is below; a length that is greater is a pointer to one */
#define ONCE SIZE_MAX /* instead of the offset of a length: there is one */

typedef struct Layout Layout;

typedef struct Field {
    size_t pointer, length; /* offsets in the struct */
    size_t bits;            /* of what is counted by the length */
    const Layout *inner;    /* what it points to are structs again */
    bool output;            /* the token may write there */
    bool is_indirect;       /* what should be the length may point to it */
} Field;

struct Layout {
    size_t size;
    size_t count;
    Field fields[2 + 1];
};

#define POINTER(type, pointer, length) {offsetof(type, pointer), offsetof(type, length), 8, NULL, false, false}
#define BITS(type, pointer, length) {offsetof(type, pointer), offsetof(type, length), 1, NULL, false, false}
#define INDIRECT(type, pointer, length) {offsetof(type, pointer), offsetof(type, length), 8, NULL, false, true}
#define FIXED(type, pointer, size) {offsetof(type, pointer), ONCE, 8 * (size), NULL, false, false}
#define OUTPUT(type, pointer, length) {offsetof(type, pointer), offsetof(type, length), 8, NULL, true, false}
#define OUTPUT_BITS(type, pointer, length) {offsetof(type, pointer), offsetof(type, length), 1, NULL, true, false}
#define OUTPUT_FIXED(type, pointer, size) {offsetof(type, pointer), ONCE, 8 * (size), NULL, true, false}

static const Layout OAEP = {
    sizeof(CK_RSA_PKCS_OAEP_PARAMS), 1, {POINTER(CK_RSA_PKCS_OAEP_PARAMS, pSourceData, ulSourceDataLen)}};
static const Layout RSA_AES = {
    sizeof(CK_RSA_AES_KEY_WRAP_PARAMS),
    1,
    {{offsetof(CK_RSA_AES_KEY_WRAP_PARAMS, pOAEPParams), ONCE, 8 * sizeof(CK_RSA_PKCS_OAEP_PARAMS), &OAEP, false, false}}};
static const Layout ECDH1 = {sizeof(CK_ECDH1_DERIVE_PARAMS),
                             2,
                             {POINTER(CK_ECDH1_DERIVE_PARAMS, pSharedData, ulSharedDataLen),
                              POINTER(CK_ECDH1_DERIVE_PARAMS, pPublicData, ulPublicDataLen)}};
static const Layout X9_42_DH1 = {sizeof(CK_X9_42_DH1_DERIVE_PARAMS),
                                 2,
                                 {POINTER(CK_X9_42_DH1_DERIVE_PARAMS, pOtherInfo, ulOtherInfoLen),
                                  POINTER(CK_X9_42_DH1_DERIVE_PARAMS, pPublicData, ulPublicDataLen)}};
static const Layout ECDH_AES = {
    sizeof(CK_ECDH_AES_KEY_WRAP_PARAMS), 1, {POINTER(CK_ECDH_AES_KEY_WRAP_PARAMS, pSharedData, ulSharedDataLen)}};
static const Layout EDDSA = {
    sizeof(CK_EDDSA_PARAMS), 1, {POINTER(CK_EDDSA_PARAMS, pContextData, ulContextDataLen)}};
static const Layout CONTEXT = {
    sizeof(CK_SIGN_ADDITIONAL_CONTEXT), 1, {POINTER(CK_SIGN_ADDITIONAL_CONTEXT, pContext, ulContextLen)}};
static const Layout GCM = {
    sizeof(CK_GCM_PARAMS), 2, {POINTER(CK_GCM_PARAMS, pIv, ulIvLen), POINTER(CK_GCM_PARAMS, pAAD, ulAADLen)}};
static const Layout NSS_GCM = {
    sizeof(CK_NSS_GCM_PARAMS),
    2,
    {POINTER(CK_NSS_GCM_PARAMS, pIv, ulIvLen), POINTER(CK_NSS_GCM_PARAMS, pAAD, ulAADLen)}};
static const Layout GCM_WRAP = {
    sizeof(CK_GCM_WRAP_PARAMS),
    2,
    {OUTPUT(CK_GCM_WRAP_PARAMS, pIv, ulIvLen), POINTER(CK_GCM_WRAP_PARAMS, pAAD, ulAADLen)}};
static const Layout GCM_MESSAGE = {
    sizeof(CK_GCM_MESSAGE_PARAMS),
    2,
    {OUTPUT(CK_GCM_MESSAGE_PARAMS, pIv, ulIvLen), OUTPUT_BITS(CK_GCM_MESSAGE_PARAMS, pTag, ulTagBits)}};
static const Layout CCM = {
    sizeof(CK_CCM_PARAMS), 2, {POINTER(CK_CCM_PARAMS, pNonce, ulNonceLen), POINTER(CK_CCM_PARAMS, pAAD, ulAADLen)}};
static const Layout CCM_WRAP = {
    sizeof(CK_CCM_WRAP_PARAMS),
    2,
    {OUTPUT(CK_CCM_WRAP_PARAMS, pNonce, ulNonceLen), POINTER(CK_CCM_WRAP_PARAMS, pAAD, ulAADLen)}};
static const Layout CCM_MESSAGE = {
    sizeof(CK_CCM_MESSAGE_PARAMS),
    2,
    {OUTPUT(CK_CCM_MESSAGE_PARAMS, pNonce, ulNonceLen), OUTPUT(CK_CCM_MESSAGE_PARAMS, pMAC, ulMACLen)}};
static const Layout CHACHA20 = {sizeof(CK_CHACHA20_PARAMS),
                                2,
                                {BITS(CK_CHACHA20_PARAMS, pBlockCounter, blockCounterBits),
                                 BITS(CK_CHACHA20_PARAMS, pNonce, ulNonceBits)}};
static const Layout SALSA20 = {
    sizeof(CK_SALSA20_PARAMS),
    2,
    {FIXED(CK_SALSA20_PARAMS, pBlockCounter, 8), BITS(CK_SALSA20_PARAMS, pNonce, ulNonceBits)}};
static const Layout POLY1305 = {sizeof(CK_SALSA20_CHACHA20_POLY1305_PARAMS),
                                2,
                                {POINTER(CK_SALSA20_CHACHA20_POLY1305_PARAMS, pNonce, ulNonceLen),
                                 POINTER(CK_SALSA20_CHACHA20_POLY1305_PARAMS, pAAD, ulAADLen)}};
static const Layout POLY1305_MESSAGE = {sizeof(CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS),
                                        2,
                                        {OUTPUT(CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS, pNonce, ulNonceLen),
                                         OUTPUT_FIXED(CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS, pTag, 16)}};
static const Layout STRING_DATA = {
    sizeof(CK_KEY_DERIVATION_STRING_DATA), 1, {POINTER(CK_KEY_DERIVATION_STRING_DATA, pData, ulLen)}};
static const Layout DES_CBC_DATA = {
    sizeof(CK_DES_CBC_ENCRYPT_DATA_PARAMS), 1, {POINTER(CK_DES_CBC_ENCRYPT_DATA_PARAMS, pData, length)}};
static const Layout AES_CBC_DATA = {
    sizeof(CK_AES_CBC_ENCRYPT_DATA_PARAMS), 1, {POINTER(CK_AES_CBC_ENCRYPT_DATA_PARAMS, pData, length)}};
static const Layout HKDF = {
    sizeof(CK_HKDF_PARAMS), 2, {POINTER(CK_HKDF_PARAMS, pSalt, ulSaltLen), POINTER(CK_HKDF_PARAMS, pInfo, ulInfoLen)}};
/* Read the length of the password, which before the errata of PKCS #11 2.40, and in NSS still, is a pointer. */
static const Layout PBKD2 = {sizeof(CK_PKCS5_PBKD2_PARAMS2),
                             3,
                             {POINTER(CK_PKCS5_PBKD2_PARAMS2, pSaltSourceData, ulSaltSourceDataLen),
                              POINTER(CK_PKCS5_PBKD2_PARAMS2, pPrfData, ulPrfDataLen),
                              INDIRECT(CK_PKCS5_PBKD2_PARAMS2, pPassword, ulPasswordLen)}};
static const Layout PRF_DATA = {
    sizeof(CK_PRF_DATA_PARAM), 1, {POINTER(CK_PRF_DATA_PARAM, pValue, ulValueLen)}};

/* Leave out the further keys of a derivation; the simulator sees their number. */
static const Layout KDF = {sizeof(CK_SP800_108_KDF_PARAMS),
                           1,
                           {{offsetof(CK_SP800_108_KDF_PARAMS, pDataParams),
                             offsetof(CK_SP800_108_KDF_PARAMS, ulNumberOfDataParams), 8 * sizeof(CK_PRF_DATA_PARAM),
                             &PRF_DATA, false, false}}};
static const Layout FEEDBACK_KDF = {
    sizeof(CK_SP800_108_FEEDBACK_KDF_PARAMS),
    2,
    {{offsetof(CK_SP800_108_FEEDBACK_KDF_PARAMS, pDataParams),
      offsetof(CK_SP800_108_FEEDBACK_KDF_PARAMS, ulNumberOfDataParams), 8 * sizeof(CK_PRF_DATA_PARAM), &PRF_DATA,
      false,
       false},
     POINTER(CK_SP800_108_FEEDBACK_KDF_PARAMS, pIV, ulIVLen)}};

/* Return the struct of a mechanism's parameter, by the size if there are several. */
static const struct MechanismLayout {
    CK_ULONG mechanism;
    const Layout *layout;
} LAYOUTS[] = {
    {CKM_RSA_PKCS_OAEP, &OAEP},
    {CKM_RSA_AES_KEY_WRAP, &RSA_AES},
    {CKM_ECDH1_DERIVE, &ECDH1},
    {CKM_ECDH1_COFACTOR_DERIVE, &ECDH1},
    {CKM_X9_42_DH_DERIVE, &X9_42_DH1},
    {CKM_ECDH_AES_KEY_WRAP, &ECDH_AES},
    {CKM_ECDH_X_AES_KEY_WRAP, &ECDH_AES},
    {CKM_ECDH_COF_AES_KEY_WRAP, &ECDH_AES},
    {CKM_EDDSA, &EDDSA},
    {CKM_ML_DSA, &CONTEXT},
    {CKM_AES_GCM, &GCM},
    {CKM_AES_GCM, &NSS_GCM},
    {CKM_AES_GCM, &GCM_WRAP},
    {CKM_AES_GMAC, &GCM},
    {CKM_AES_GMAC, &NSS_GCM},
    {CKM_AES_CCM, &CCM},
    {CKM_AES_CCM, &CCM_WRAP},
    {CKM_CHACHA20, &CHACHA20},
    {CKM_SALSA20, &SALSA20},
    {CKM_CHACHA20_POLY1305, &POLY1305},
    {CKM_SALSA20_POLY1305, &POLY1305},
    {CKM_CONCATENATE_BASE_AND_DATA, &STRING_DATA},
    {CKM_CONCATENATE_DATA_AND_BASE, &STRING_DATA},
    {CKM_XOR_BASE_AND_DATA, &STRING_DATA},
    {CKM_DES_ECB_ENCRYPT_DATA, &STRING_DATA},
    {CKM_DES3_ECB_ENCRYPT_DATA, &STRING_DATA},
    {CKM_AES_ECB_ENCRYPT_DATA, &STRING_DATA},
    {CKM_DES_CBC_ENCRYPT_DATA, &DES_CBC_DATA},
    {CKM_DES3_CBC_ENCRYPT_DATA, &DES_CBC_DATA},
    {CKM_AES_CBC_ENCRYPT_DATA, &AES_CBC_DATA},
    {CKM_HKDF_DERIVE, &HKDF},
    {CKM_HKDF_DATA, &HKDF},
    {CKM_PKCS5_PBKD2, &PBKD2},
    {CKM_SP800_108_COUNTER_KDF, &KDF},
    {CKM_SP800_108_DOUBLE_PIPELINE_KDF, &KDF},
    {CKM_SP800_108_FEEDBACK_KDF, &FEEDBACK_KDF},
};

/* Return the struct of a message's parameter, which C_MessageEncryptInit and C_WrapKeyAuthenticated take, too:
 * sizes would not tell it from the mechanism's. */
static const struct MechanismLayout MESSAGE_LAYOUTS[] = {
    {CKM_AES_GCM, &GCM_MESSAGE},
    {CKM_AES_CCM, &CCM_MESSAGE},
    {CKM_CHACHA20_POLY1305, &POLY1305_MESSAGE},
    {CKM_SALSA20_POLY1305, &POLY1305_MESSAGE},
};

#define COUNT(table) (sizeof(table) / sizeof *(table))

static const Layout *mechanism_layout(const CK_MECHANISM *mechanism, bool of_message)
{
    if (mechanism->pParameter == NULL)
        return NULL;
    for (size_t i = 0; of_message && i < COUNT(MESSAGE_LAYOUTS); i++)
        if (MESSAGE_LAYOUTS[i].mechanism == mechanism->mechanism &&
            MESSAGE_LAYOUTS[i].layout->size == mechanism->ulParameterLen)
            return MESSAGE_LAYOUTS[i].layout;
    for (size_t i = 0; i < COUNT(LAYOUTS); i++)
        if (LAYOUTS[i].mechanism == mechanism->mechanism && LAYOUTS[i].layout->size == mechanism->ulParameterLen)
            return LAYOUTS[i].layout;
    return NULL;
}

/* Return the struct of a message's parameter by its size, as the functions of messages do not name the mechanism. */
static const Layout *message_layout(const void *parameter, CK_ULONG length)
{
    for (size_t i = 0; parameter != NULL && i < COUNT(MESSAGE_LAYOUTS); i++)
        if (MESSAGE_LAYOUTS[i].layout->size == length)
            return MESSAGE_LAYOUTS[i].layout;
    return NULL;
}

/* Copy memory that the application points to; return false if it is not readable. */
static bool copy(void *to, const void *from, size_t size)
{
    struct iovec here = {to, size}, there = {(void *)(uintptr_t)from, size};
    if (size == 0)
        return true;
    ssize_t copied = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
    if (copied < 0 && errno != EFAULT) { /* a sandbox forbids asking */
        memcpy(to, from, size);
        return true;
    }
    return copied == (ssize_t)size;
}

/* Read where a field of a struct points and to how many bytes; return false for more than is possible. */
static bool follow(const uint8_t *structure, const Field *field, uint8_t **pointer, size_t *size)
{
    CK_ULONG length = 1;
    memcpy(pointer, structure + field->pointer, sizeof *pointer);
    if (field->length != ONCE)
        memcpy(&length, structure + field->length, sizeof length);
    if (field->is_indirect && length > MAX_DIRECT && !copy(&length, (const void *)(uintptr_t)length, sizeof length))
        return false;
    if (length > FRAME_LIMIT)
        return false;
    *size = (length * field->bits + 7) / 8;
    return *size <= FRAME_LIMIT;
}

#define MAX_INNER 64u
_Static_assert(sizeof(CK_RSA_PKCS_OAEP_PARAMS) <= MAX_INNER && sizeof(CK_PRF_DATA_PARAM) <= MAX_INNER, "inner structs");

/* Write the memory that a field points to. With `may_lack` a NULL pointer with a length is no error. */
static CK_RV put_pointed(Frame *frame, const uint8_t *structure, const Layout *layout, bool may_lack, uint32_t *count)
{
    for (size_t i = 0; i < layout->count; i++) {
        const Field *field = &layout->fields[i];
        uint8_t *pointer;
        size_t size;
        if (++*count > MAX_POINTERS || !follow(structure, field, &pointer, &size) ||
            (pointer == NULL && size != 0 && !may_lack))
            return CKR_MECHANISM_PARAM_INVALID;
        put_u64(frame, pointer == NULL ? NO_LENGTH : size);
        if (pointer == NULL || size == 0)
            continue;
        if (!frame_reserve(frame, frame->used + size))
            return CKR_HOST_MEMORY;
        size_t at = frame->used;
        if (!copy(frame->data + at, pointer, size))
            return CKR_MECHANISM_PARAM_INVALID;
        frame->used += size;
        for (size_t done = 0; field->inner != NULL && done < size; done += field->inner->size) {
            uint8_t inner[MAX_INNER]; /* the frame may move */
            memcpy(inner, frame->data + at + done, field->inner->size);
            CK_RV rv = put_pointed(frame, inner, field->inner, may_lack, count);
            if (rv != CKR_OK)
                return rv;
        }
    }
    return CKR_OK;
}

/* Write the struct, the number of its pointers, and the memory pointed to. */
static CK_RV put_parameter(Frame *frame, const void *parameter, CK_ULONG length, const Layout *layout, bool may_lack)
{
    if (length > MAX_PARAMETER || (parameter == NULL && length != 0))
        return CKR_MECHANISM_PARAM_INVALID;
    put_string(frame, parameter, length);
    size_t at = frame->used;
    uint32_t count = 0;
    put_u32(frame, count);
    CK_RV rv = layout == NULL ? CKR_OK : put_pointed(frame, parameter, layout, may_lack, &count);
    if (!frame->broken)
        memcpy(frame->data + at, &count, sizeof count);
    return rv;
}

CK_RV put_mechanism(Frame *frame, const CK_MECHANISM *mechanism, bool of_message)
{
    put_u64(frame, mechanism->mechanism);
    return put_parameter(frame, mechanism->pParameter, mechanism->ulParameterLen,
                         mechanism_layout(mechanism, of_message), of_message);
}

CK_RV put_message_parameter(Frame *frame, const void *parameter, CK_ULONG length, bool in_and_out)
{
    return put_parameter(frame, parameter, length, in_and_out ? message_layout(parameter, length) : NULL, true);
}

/* Read what the token wrote: for each pointer its bytes, or that they stay. Never write more than there was room
 * for, nor to what is only input. */
static void get_outputs(Frame *reply, const uint8_t *structure, const Layout *layout)
{
    uint32_t count = get_u32(reply);
    if (count > (layout == NULL ? 0 : layout->count))
        reply->broken = true;
    for (uint32_t i = 0; i < count && !reply->broken; i++) {
        uint64_t length = get_u64(reply);
        if (length == NO_LENGTH)
            continue;
        uint8_t *pointer = NULL;
        size_t room = 0;
        const uint8_t *data = length <= FRAME_LIMIT ? get_bytes(reply, length) : NULL;
        if (data == NULL || !layout->fields[i].output || !follow(structure, &layout->fields[i], &pointer, &room) ||
            pointer == NULL || length > room || !copy(pointer, data, length))
            reply->broken = true;
    }
}

void get_mechanism_outputs(Frame *reply, const CK_MECHANISM *mechanism, bool of_message)
{
    const Layout *layout = mechanism == NULL ? NULL : mechanism_layout(mechanism, of_message);
    get_outputs(reply, mechanism == NULL ? NULL : mechanism->pParameter, layout);
}

void get_message_outputs(Frame *reply, void *parameter, CK_ULONG length)
{
    get_outputs(reply, parameter, message_layout(parameter, length));
}
