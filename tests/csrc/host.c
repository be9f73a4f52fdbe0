/* SPDX-License-Identifier: MIT */
/* An application that is linked with the module, for the sanitizers.
 *
 *   host          threads sign on while others wait, finalize and fork, and somebody outside moves the card
 *   host calls    every kind of parameter and result, to a simulator that answers what it likes, in four threads
 */
#include "cryptoki.h"
#include "functions.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list);
CK_RV C_GetInterface(CK_UTF8CHAR *name, CK_VERSION *version, CK_INTERFACE **interface, CK_FLAGS flags);

static CK_FUNCTION_LIST *p11;
static CK_FUNCTION_LIST_3_2 *p11_3_2;

static void *work(void *unused)
{
    (void)unused;
    for (int i = 0; i < 150; i++) {
        CK_ULONG slots[4], count = 4, session, found[8], keys = 0;
        CK_SLOT_INFO info;
        CK_ATTRIBUTE id = {CKA_ID, NULL, 0};
        p11->C_GetSlotList(0, NULL, &count);
        count = 4;
        p11->C_GetSlotList(0, slots, &count);
        p11->C_GetSlotInfo(0, &info);
        if (p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session) != CKR_OK)
            continue;
        p11->C_Login(session, CKU_USER, (CK_BYTE *)"123456", 6);
        if (p11->C_FindObjectsInit(session, NULL, 0) == CKR_OK)
            p11->C_FindObjects(session, found, 8, &keys);
        p11->C_FindObjectsFinal(session);
        for (CK_ULONG k = 0; k < keys; k++) {
            CK_BYTE value[2048];
            p11->C_GetAttributeValue(session, found[k], &id, 1);
            id.pValue = value;
            p11->C_GetAttributeValue(session, found[k], &id, 1);
            id = (CK_ATTRIBUTE){CKA_ID, NULL, 0};
            CK_MECHANISM mechanism = {CKM_SHA256_RSA_PKCS, NULL, 0};
            CK_ULONG length = sizeof value;
            if (p11->C_SignInit(session, &mechanism, found[k]) == CKR_OK)
                p11->C_Sign(session, (CK_BYTE *)"data", 4, value, &length);
        }
        p11->C_CloseSession(session);
    }
    return NULL;
}

static void *wait_for_events(void *unused)
{
    (void)unused;
    CK_ULONG slot;
    while (p11->C_WaitForSlotEvent(0, &slot, NULL) == CKR_OK)
        continue;
    return NULL;
}

/* A copy on the heap, of just this size, that the sanitizer watches. */
static void *heap(const void *data, size_t size)
{
    void *copy = malloc(size);
    if (copy == NULL)
        abort();
    memcpy(copy, data, size);
    return copy;
}

/* Each call has buffers of its own, of just the size that it tells. */
static void call_everything(void)
{
    CK_BYTE *iv = heap("twelve bytes", 12), *tag = heap("tag of 16 bytes!", 16), *aad = heap("aad", 3);
    CK_BYTE *out = heap("room", 4), *label = heap("label", 5);
    CK_ULONG length = 4, handle = 0, *handles = heap((CK_ULONG[2]){0, 0}, 2 * sizeof(CK_ULONG));
    CK_GCM_MESSAGE_PARAMS gcm = {iv, 12, 32, CKG_GENERATE, tag, 128};
    CK_CCM_MESSAGE_PARAMS ccm = {4, iv, 12, 0, CKG_GENERATE, tag, 16};
    CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS chacha = {iv, 12, tag};
    const struct {
        CK_ULONG mechanism;
        void *data;
        CK_ULONG size;
    } messages[] = {{CKM_AES_GCM, &gcm, sizeof gcm},
                    {CKM_AES_CCM, &ccm, sizeof ccm},
                    {CKM_CHACHA20_POLY1305, &chacha, sizeof chacha},
                    {CKM_AES_CBC, iv, 12},
                    {CKM_AES_CBC, NULL, 0}};
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        CK_MECHANISM mechanism = {messages[i].mechanism, messages[i].data, messages[i].size};
        p11_3_2->C_MessageEncryptInit(1, &mechanism, 2);
        length = 4;
        p11_3_2->C_EncryptMessage(1, messages[i].data, messages[i].size, aad, 3, aad, 3, out, &length);
        p11_3_2->C_EncryptMessageBegin(1, messages[i].data, messages[i].size, aad, 3);
        length = 4;
        p11_3_2->C_DecryptMessageNext(1, messages[i].data, messages[i].size, aad, 3, out, &length, CKF_END_OF_MESSAGE);
        length = 4;
        p11_3_2->C_SignMessage(1, messages[i].data, messages[i].size, aad, 3, out, &length);
        length = 4;
        p11_3_2->C_WrapKeyAuthenticated(1, &mechanism, 2, 3, aad, 3, out, &length);
        p11_3_2->C_UnwrapKeyAuthenticated(1, &mechanism, 2, aad, 3, NULL, 0, aad, 3, &handle);
    }
    CK_RSA_PKCS_OAEP_PARAMS *oaep =
        heap(&(CK_RSA_PKCS_OAEP_PARAMS){CKM_SHA_1, 1, CKZ_DATA_SPECIFIED, label, 5}, sizeof *oaep);
    CK_RSA_AES_KEY_WRAP_PARAMS rsa_aes = {256, oaep};
    CK_GCM_WRAP_PARAMS wrap = {iv, 12, 32, CKG_GENERATE, aad, 3, 128};
    CK_PRF_DATA_PARAM *parts = heap((CK_PRF_DATA_PARAM[2]){{4, label, 5}, {4, aad, 3}}, 2 * sizeof *parts);
    CK_SP800_108_KDF_PARAMS kdf = {CKM_SHA256_HMAC, 2, parts, 0, NULL};
    CK_MECHANISM mechanisms[] = {{CKM_RSA_AES_KEY_WRAP, &rsa_aes, sizeof rsa_aes},
                                 {CKM_AES_GCM, &wrap, sizeof wrap},
                                 {CKM_SP800_108_COUNTER_KDF, &kdf, sizeof kdf}};
    for (size_t i = 0; i < sizeof mechanisms / sizeof *mechanisms; i++) {
        length = 4;
        p11->C_WrapKey(1, &mechanisms[i], 2, 3, out, &length);
        p11->C_DeriveKey(1, &mechanisms[i], 2, NULL, 0, &handle);
        length = 4;
        p11_3_2->C_EncapsulateKey(1, &mechanisms[i], 2, NULL, 0, out, &length, &handle);
    }
    CK_ATTRIBUTE *inner = heap((CK_ATTRIBUTE[2]){{0, label, 5}, {0, NULL, 0}}, 2 * sizeof *inner);
    CK_ATTRIBUTE query[] = {{CKA_ID, out, 4}, {CKA_LABEL, NULL, 0}, {CKA_WRAP_TEMPLATE, inner, 2 * sizeof *inner}};
    p11->C_GetAttributeValue(1, 2, query, 2);
    p11->C_GetAttributeValue(1, 2, query + 2, 1);
    p11->C_FindObjects(1, handles, 2, &length);
    p11->C_GenerateRandom(1, out, 4);
    p11_3_2->C_AsyncGetID(1, (CK_UTF8CHAR *)"C_Sign", &length);
    void *all[] = {iv, tag, aad, out, label, handles, oaep, parts, inner};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void *call_on(void *unused)
{
    (void)unused;
    for (int i = 0; i < 25; i++)
        call_everything();
    return NULL;
}

static int calls(void)
{
    pthread_t threads[4];
    if (p11->C_Initialize(NULL) != CKR_OK)
        return 2;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, call_on, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    return p11->C_Finalize(NULL) == CKR_OK ? 0 : 3;
}

static int come_and_go(void)
{
    for (int round = 0; round < 5; round++) {
        pthread_t workers[4], waiter;
        if (p11->C_Initialize(NULL) != CKR_OK)
            return 2;
        pthread_create(&waiter, NULL, wait_for_events, NULL);
        for (int i = 0; i < 4; i++)
            pthread_create(&workers[i], NULL, work, NULL);
        for (int i = 0; i < (round % 2 ? 0 : 4); i++) /* every other round C_Finalize comes in the middle */
            pthread_join(workers[i], NULL);
        if (p11->C_Finalize(NULL) != CKR_OK)
            return 3;
        pthread_join(waiter, NULL);
        for (int i = 0; i < (round % 2 ? 4 : 0); i++)
            pthread_join(workers[i], NULL);
    }
    if (p11->C_Initialize(NULL) != CKR_OK)
        return 4;
    pid_t child = fork();
    if (child == 0) {
        CK_ULONG count = 0;
        _exit(p11->C_GetSlotList(0, NULL, &count) == CKR_CRYPTOKI_NOT_INITIALIZED ? 0 : 1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    if (status != 0)
        return 5;
    return 0;
}

int main(int count, char **arguments)
{
    CK_INTERFACE *interface;
    CK_VERSION newest = {3, 2};
    if (C_GetFunctionList(&p11) != CKR_OK || C_GetInterface(NULL, &newest, &interface, 0) != CKR_OK)
        return 1;
    p11_3_2 = interface->pFunctionList;
    int status = count > 1 && strcmp(arguments[1], "calls") == 0 ? calls() : come_and_go();
    if (status == 0)
        puts("done");
    return status;
}
