/* SPDX-License-Identifier: MIT */
/* An application that is linked with the module, for the sanitizers: threads sign on while others wait, finalize and
 * fork, and somebody outside moves the card. */
#include "cryptoki.h"
#include "functions.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list);

static CK_FUNCTION_LIST *p11;

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

int main(void)
{
    if (C_GetFunctionList(&p11) != CKR_OK)
        return 1;
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
    puts("done");
    return 0;
}
