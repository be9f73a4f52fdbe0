/* SPDX-License-Identifier: MIT */
/* A program with the module in it, which says what it finds.
 *
 *   program [SOCKET]     how many slots there are, and the names of them; SOCKET is what C_Initialize is given
 *   program fork         the same, then C_Finalize and once more, then both in a child
 *   program file         the same, with a file of that name opened first
 *   program signals      C_Initialize while a timer interrupts it every millisecond
 *   program fork-always  threads greet a simulator again and again while others fork; what a child has open beside the
 *                        parent's own files
 *   program memory       calls on a session, each with the first, second, ... allocation that fails
 */
#include "cryptoki.h"
#include "functions.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list);

static CK_FUNCTION_LIST *p11;

static CK_RV look(char *socket)
{
    char reserved[256];
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    CK_ULONG slots[8], count = 8;
    if (socket != NULL) {
        snprintf(reserved, sizeof reserved, "socket=%s", socket);
        arguments.pReserved = reserved;
    }
    CK_RV rv = p11->C_Initialize(&arguments);
    if (rv == CKR_OK)
        rv = p11->C_GetSlotList(CK_FALSE, NULL, &count);
    if (rv == CKR_OK && count <= 8)
        rv = p11->C_GetSlotList(CK_FALSE, slots, &count);
    if (rv != CKR_OK)
        return rv;
    printf("%lu slots", count);
    for (CK_ULONG i = 0; i < count && i < 8; i++) {
        CK_SLOT_INFO info;
        if (p11->C_GetSlotInfo(slots[i], &info) == CKR_OK)
            printf(" %.*s", (int)strcspn((char *)info.slotDescription, " "), info.slotDescription);
    }
    puts("");
    fflush(stdout);
    return CKR_OK;
}

static CK_RV look_again_and_again(void)
{
    look(NULL);
    p11->C_Finalize(NULL);
    look(NULL);
    int status = 1;
    pid_t child = fork();
    if (child == 0)
        _exit(look(NULL) == CKR_OK ? 0 : 1);
    waitpid(child, &status, 0);
    return (CK_RV)status;
}

static void interrupt(int number)
{
    (void)number;
}

static CK_RV look_under_signals(void)
{
    struct sigaction action = {.sa_handler = interrupt};
    struct itimerval often = {{0, 1000}, {0, 1000}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    return look(NULL);
}

static int open_files(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

static _Atomic bool over;

static void *greet(void *unused)
{
    (void)unused;
    while (!over) {
        CK_ULONG count = 0;
        p11->C_GetSlotList(CK_FALSE, NULL, &count);
    }
    return NULL;
}

static void *reopen(void *unused)
{
    (void)unused;
    while (!over) {
        p11->C_Finalize(NULL);
        p11->C_Initialize(NULL);
    }
    return NULL;
}

static CK_RV fork_always(void)
{
    pthread_t threads[4];
    int most = 0, before = open_files();
    if (p11->C_Initialize(NULL) != CKR_OK)
        return 1;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, i < 3 ? greet : reopen, NULL);
    for (int i = 0; i < 300; i++) {
        int status;
        pid_t child = fork();
        if (child == 0)
            _exit(open_files() - before);
        waitpid(child, &status, 0);
        most = WEXITSTATUS(status) > most ? WEXITSTATUS(status) : most;
    }
    over = true;
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    printf("%d more files in a child\n", most);
    return CKR_OK;
}

/* Linked in the place of malloc and realloc: so many go well, the next does not. */
static _Thread_local int allocations = -1;

void *__real_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
    return allocations >= 0 && allocations-- == 0 ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return allocations >= 0 && allocations-- == 0 ? NULL : __real_realloc(old, size);
}

static CK_BYTE data[1 << 20];

static CK_RV call(int number, CK_ULONG session)
{
    CK_ULONG count = 0;
    switch (number) {
    case 0:
        return p11->C_SeedRandom(session, data, sizeof data); /* a large request */
    case 1:
        return p11->C_GenerateRandom(session, data, sizeof data); /* a large reply */
    default:
        return p11->C_GetSlotList(CK_FALSE, NULL, &count);
    }
}

static CK_RV without_memory(void)
{
    CK_ULONG session;
    CK_SESSION_INFO info;
    int refused = 0;
    for (int first = 0; first < 2; first++) { /* C_Initialize makes a connection */
        allocations = first;
        CK_RV rv = p11->C_Initialize(NULL);
        allocations = -1;
        if (rv == CKR_OK)
            p11->C_Finalize(NULL);
        else if (rv != CKR_HOST_MEMORY && rv != CKR_FUNCTION_FAILED)
            return rv;
    }
    if (p11->C_Initialize(NULL) != CKR_OK || p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session) != CKR_OK)
        return 1;
    for (int number = 0; number < 3; number++)
        for (int first = 0; first < 16; first++) {
            allocations = first;
            CK_RV rv = call(number, session);
            allocations = -1;
            refused += rv != CKR_OK;
            if (rv != CKR_OK && rv != CKR_HOST_MEMORY && rv != CKR_FUNCTION_FAILED)
                return rv;
            if (p11->C_GetSessionInfo(session, &info) != CKR_OK || call(number, session) != CKR_OK)
                return 2;
        }
    printf("%s\n", refused > 8 ? "refused, and nothing lost" : "hardly any allocation");
    return CKR_OK;
}

int main(int count, char **arguments)
{
    const char *what = count > 1 ? arguments[1] : "";
    C_GetFunctionList(&p11);
    if (strcmp(what, "file") == 0) {
        what = "";
        count = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600) == 2 ? 1 : 0;
    }
    CK_RV rv = strcmp(what, "fork") == 0          ? look_again_and_again()
               : strcmp(what, "memory") == 0      ? without_memory()
               : strcmp(what, "signals") == 0     ? look_under_signals()
               : strcmp(what, "fork-always") == 0 ? fork_always()
                                                  : look(count > 1 ? arguments[1] : NULL);
    if (rv != CKR_OK)
        printf("CKR 0x%lX\n", rv);
    return rv == CKR_OK ? 0 : 1;
}
