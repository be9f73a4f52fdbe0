/* SPDX-License-Identifier: MIT */
/* An application that signs once with the RSA key, and misbehaves as its argument says when its card goes.
 *
 *   clean      exit 1 at the first error
 *   crash      a null pointer
 *   hang       waits for ever
 *   spin       asks for ever
 *   retry      enters the PIN again after any error
 *   patient    waits until a card is there and signs once more
 *   stuck      leaves a file `lock`, with which it does not start again
 *   threads    two threads, one of which only asks for slots, with no order between them
 *   twice      a child process does the same after its parent
 *   daemon     leaves a process behind that belongs to nobody
 *   flood      prints without end
 *   short FILE makes one call less from its third run on; runs are counted in FILE
 *   murder     kills its parent at the first error
 */
#include "cryptoki.h"
#include "functions.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static CK_FUNCTION_LIST *p11;
static const char *mode;

static int is(const char *name)
{
    return strcmp(mode, name) == 0;
}

/* A call that changes nothing. */
static void ask_once(void)
{
    CK_ULONG count;
    p11->C_GetSlotList(0, NULL, &count);
}

static void misbehave(CK_RV value)
{
    if (is("crash"))
        *(volatile int *)NULL = 1;
    while (is("hang"))
        pause();
    while (is("spin"))
        ask_once();
    if (is("murder"))
        kill(getppid(), SIGKILL);
    if (is("stuck"))
        fclose(fopen("lock", "w"));
    fprintf(stderr, "error 0x%lX\n", value);
    exit(1);
}

static CK_RV sign_once(void)
{
    CK_ULONG slot, count = 1, session, key, found = 0, length = 512, class = CKO_PRIVATE_KEY;
    CK_BYTE id = 1, signature[512];
    CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &class, sizeof class}, {CKA_ID, &id, 1}};
    CK_MECHANISM mechanism = {CKM_SHA256_RSA_PKCS, NULL, 0};
    CK_RV value;
    if ((value = p11->C_GetSlotList(1, &slot, &count)) != CKR_OK)
        return value;
    if (count == 0)
        return CKR_TOKEN_NOT_PRESENT;
    if ((value = p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session)) != CKR_OK)
        return value;
    value = p11->C_Login(session, CKU_USER, (CK_BYTE *)"123456", 6);
    if (value == CKR_OK && (value = p11->C_FindObjectsInit(session, wanted, 2)) == CKR_OK) {
        value = p11->C_FindObjects(session, &key, 1, &found);
        p11->C_FindObjectsFinal(session);
    }
    if (value == CKR_OK && found == 0)
        value = CKR_KEY_HANDLE_INVALID;
    if (value == CKR_OK && (value = p11->C_SignInit(session, &mechanism, key)) == CKR_OK)
        value = p11->C_Sign(session, (CK_BYTE *)"data", 4, signature, &length);
    if (value != CKR_OK && is("retry"))
        p11->C_Login(session, CKU_USER, (CK_BYTE *)"123456", 6);
    return value;
}

static void work(void)
{
    CK_RV value = p11->C_Initialize(NULL);
    if (value == CKR_OK)
        value = sign_once();
    for (CK_ULONG slot, count = 0; is("patient") && value != CKR_OK;) {
        do {
            count = 1;
            p11->C_GetSlotList(1, &slot, &count);
        } while (count == 0 && usleep(1000) == 0);
        value = sign_once();
    }
    if (value != CKR_OK)
        misbehave(value);
}

static void *ask(void *unused)
{
    for (int i = 0; i < 20; i++)
        ask_once();
    return unused;
}

static void leave_a_daemon(void)
{
    if (fork() == 0) {
        setsid();
        if (fork() == 0) {
            signal(SIGTERM, SIG_IGN);
            for (;;)
                pause();
        }
        _exit(0);
    }
    wait(NULL);
}

static int runs(const char *path)
{
    FILE *file = fopen(path, "a");
    fputc('x', file);
    int count = (int)ftell(file);
    fclose(file);
    return count;
}

int main(int count, char **arguments)
{
    mode = count > 1 ? arguments[1] : "clean";
    if (is("stuck") && access("lock", F_OK) == 0) {
        fprintf(stderr, "locked\n");
        return 3;
    }
    if (is("idle"))
        return 0;
    while (is("flood"))
        puts("the same line again and again");
    if (is("daemon"))
        leave_a_daemon();
    void *library = dlopen(getenv("CARDTEAR_MODULE"), RTLD_NOW);
    if (library == NULL)
        return 2;
    CK_RV (*get)(CK_FUNCTION_LIST **) = (CK_RV(*)(CK_FUNCTION_LIST **))dlsym(library, "C_GetFunctionList");
    get(&p11);
    if (is("twice")) {
        pid_t child = fork();
        int status = 0;
        if (child != 0)
            waitpid(child, &status, 0);
        if (status != 0)
            return 4;
    }
    pthread_t other;
    int has_thread = is("threads") && p11->C_Initialize(&(CK_C_INITIALIZE_ARGS){.flags = CKF_OS_LOCKING_OK}) == CKR_OK;
    if (has_thread) {
        CK_RV value;
        ask_once();
        pthread_create(&other, NULL, ask, NULL);
        value = sign_once();
        pthread_join(other, NULL);
        if (value != CKR_OK)
            misbehave(value);
    } else {
        work();
    }
    if (is("short") && runs(arguments[2]) < 3)
        ask_once();
    p11->C_Finalize(NULL);
    puts("signed");
    return 0;
}
