/* SPDX-License-Identifier: MIT */
/* The measuring end of scripts/benchmark: an application that loads any PKCS #11 module and takes times inside itself.
 *
 *   host first MODULE ARGUMENT PIN                       nanoseconds from dlopen to the first RSA signature
 *   host measure MODULE ARGUMENT PIN ECHO CONTROL SLOT   measurements by lines on standard input: NAME COUNT
 *
 * ARGUMENT is the string for C_Initialize or empty; the RSA key has CKA_ID 01, the P-256 key 04. ECHO is a socket on
 * which each byte comes back, CONTROL the simulator's control socket; both may be empty. SLOT counts the tokens from 0.
 */
#define _GNU_SOURCE
#include "cryptoki.h"
#include "functions.h"

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ID_RSA 1
#define ID_EC 4
#define THREADS 4
#define OBJECTS 100
#define MEGABYTE (1 << 20)

static CK_FUNCTION_LIST *p11;
static CK_SLOT_ID slot;
static long wanted_slot;
static CK_ULONG session, rsa_key, ec_key;
static const char *pin;
static int echo_socket = -1, control_socket = -1;

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void need(bool fine, const char *what, unsigned long value)
{
    if (fine)
        return;
    fprintf(stderr, "benchmark host: %s (0x%lx)\n", what, value);
    exit(1);
}

static void check(CK_RV rv, const char *function)
{
    need(rv == CKR_OK, function, rv);
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(strlen(path) < sizeof address.sun_path, "socket path too long", 0);
    strcpy(address.sun_path, path);
    need(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, path, 0);
    return fd;
}

/* The application */

static void load(const char *path, const char *argument)
{
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    need(module != NULL, "dlopen", 0);
    CK_RV (*get_list)(CK_FUNCTION_LIST **);
    *(void **)&get_list = dlsym(module, "C_GetFunctionList");
    need(get_list != NULL, "C_GetFunctionList is missing", 0);
    check(get_list(&p11), "C_GetFunctionList");
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    arguments.pReserved = *argument == '\0' ? NULL : (void *)argument;
    check(p11->C_Initialize(&arguments), "C_Initialize");
    CK_SLOT_ID slots[16];
    CK_ULONG count = sizeof slots / sizeof *slots;
    check(p11->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList");
    long left = wanted_slot;
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        check(p11->C_GetTokenInfo(slots[i], &info), "C_GetTokenInfo");
        slot = slots[i];
        if ((info.flags & CKF_TOKEN_INITIALIZED) != 0 && left-- == 0)
            return;
    }
    need(false, "no token", count);
}

static CK_ULONG find_key(CK_BYTE id)
{
    CK_ULONG class = CKO_PRIVATE_KEY, key = 0, count = 0;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class}, {CKA_ID, &id, sizeof id}};
    check(p11->C_FindObjectsInit(session, template, 2), "C_FindObjectsInit");
    check(p11->C_FindObjects(session, &key, 1, &count), "C_FindObjects");
    check(p11->C_FindObjectsFinal(session), "C_FindObjectsFinal");
    need(count == 1, "no such key", id);
    return key;
}

static void log_in(void)
{
    check(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session), "C_OpenSession");
    check(p11->C_Login(session, CKU_USER, (CK_BYTE *)pin, strlen(pin)), "C_Login");
}

/* What is measured; each call makes one measurement */

static void echo(void)
{
    char byte = 0;
    need(send(echo_socket, &byte, 1, 0) == 1 && recv(echo_socket, &byte, 1, 0) == 1, "echo", 0);
}

static void get_slot_info(void)
{
    CK_SLOT_INFO info;
    check(p11->C_GetSlotInfo(slot, &info), "C_GetSlotInfo");
}

static void get_session_info(void)
{
    CK_SESSION_INFO info;
    check(p11->C_GetSessionInfo(session, &info), "C_GetSessionInfo");
}

static void sign(CK_ULONG type, CK_ULONG key, CK_BYTE *data, CK_ULONG size)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    CK_BYTE signature[512];
    CK_ULONG length = sizeof signature;
    check(p11->C_SignInit(session, &mechanism, key), "C_SignInit");
    check(p11->C_Sign(session, data, size, signature, &length), "C_Sign");
}

static void sign_rsa(void)
{
    /* DigestInfo of a SHA-256 (RFC 8017, 9.2 note 1) */
    static CK_BYTE data[51] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                               0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
    data[sizeof data - 1]++;
    sign(CKM_RSA_PKCS, rsa_key, data, sizeof data);
}

static void sign_ec(void)
{
    static CK_BYTE data[32];
    data[sizeof data - 1]++;
    sign(CKM_ECDSA, ec_key, data, sizeof data);
}

/* All objects of the token. */
static void find_all(void)
{
    CK_ULONG found[2 * OBJECTS], count = 0;
    check(p11->C_FindObjectsInit(session, NULL, 0), "C_FindObjectsInit");
    check(p11->C_FindObjects(session, found, sizeof found / sizeof *found, &count), "C_FindObjects");
    check(p11->C_FindObjectsFinal(session), "C_FindObjectsFinal");
    need(count >= OBJECTS, "objects are missing", count);
}

/* One more object on the token. */
static void create_object(void)
{
    static CK_BYTE value[512];
    CK_ULONG class = CKO_DATA, handle;
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof class}, {CKA_TOKEN, &yes, sizeof yes}, {CKA_VALUE, value, sizeof value}};
    check(p11->C_CreateObject(session, template, 3, &handle), "C_CreateObject");
}

/* AES-GCM of a megabyte with a key of the session. */
static void encrypt(void)
{
    static CK_BYTE plain[MEGABYTE], sealed[MEGABYTE + 16], iv[12], value[16];
    static CK_ULONG key;
    if (key == 0) {
        CK_ULONG class = CKO_SECRET_KEY, type = CKK_AES;
        CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
        CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type},
                                   {CKA_TOKEN, &no, sizeof no},       {CKA_ENCRYPT, &yes, sizeof yes},
                                   {CKA_VALUE, value, sizeof value}};
        check(p11->C_CreateObject(session, template, 5, &key), "C_CreateObject");
    }
    CK_GCM_PARAMS parameters = {iv, sizeof iv, 8 * sizeof iv, NULL, 0, 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &parameters, sizeof parameters};
    CK_ULONG length = sizeof sealed;
    check(p11->C_EncryptInit(session, &mechanism, key), "C_EncryptInit");
    check(p11->C_Encrypt(session, plain, sizeof plain, sealed, &length), "C_Encrypt");
}

static const struct {
    const char *name;
    void (*once)(void);
} MEASUREMENTS[] = {
    {"echo", echo},         {"C_GetSlotInfo", get_slot_info}, {"C_GetSessionInfo", get_session_info},
    {"sign_rsa", sign_rsa}, {"sign_ec", sign_ec},             {"find", find_all},
    {"create", create_object}, {"encrypt", encrypt},
};

/* RSA key pairs on the token; each is destroyed again, which is not measured. */
static void measure_generation(long count)
{
    for (long i = 0; i < count; i++) {
        CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
        CK_ULONG bits = 2048, keys[2];
        CK_BYTE exponent[] = {1, 0, 1};
        CK_BBOOL yes = CK_TRUE;
        CK_ATTRIBUTE public[] = {{CKA_TOKEN, &yes, sizeof yes},
                                 {CKA_MODULUS_BITS, &bits, sizeof bits},
                                 {CKA_PUBLIC_EXPONENT, exponent, sizeof exponent}};
        CK_ATTRIBUTE private[] = {
            {CKA_TOKEN, &yes, sizeof yes}, {CKA_PRIVATE, &yes, sizeof yes}, {CKA_SIGN, &yes, sizeof yes}};
        int64_t start = now();
        check(p11->C_GenerateKeyPair(session, &mechanism, public, 3, private, 3, keys, keys + 1), "C_GenerateKeyPair");
        printf("%lld ", (long long)(now() - start));
        check(p11->C_DestroyObject(session, keys[0]), "C_DestroyObject");
        check(p11->C_DestroyObject(session, keys[1]), "C_DestroyObject");
    }
}

static void *sign_in_a_session(void *count)
{
    CK_ULONG own;
    check(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &own), "C_OpenSession");
    for (long i = 0; i < (long)count; i++) {
        CK_MECHANISM mechanism = {CKM_SHA256_RSA_PKCS, NULL, 0};
        CK_BYTE signature[512], data[32] = {(CK_BYTE)i};
        CK_ULONG length = sizeof signature;
        check(p11->C_SignInit(own, &mechanism, rsa_key), "C_SignInit");
        check(p11->C_Sign(own, data, sizeof data, signature, &length), "C_Sign");
    }
    check(p11->C_CloseSession(own), "C_CloseSession");
    return NULL;
}

/* Nanoseconds per RSA signature when several threads sign, each in a session of its own. */
static void measure_threads(long count)
{
    pthread_t threads[THREADS];
    int64_t start = now();
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, sign_in_a_session, (void *)(count / THREADS));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("%lld ", (long long)((now() - start) / (count / THREADS * THREADS)));
}

/* Removals */

/* One verb of the control channel; back when it has taken effect. */
static void control(const char *verb)
{
    char line[4096];
    size_t used = (size_t)snprintf(line, sizeof line, "{\"do\": \"%s\", \"reader\": \"front\"}\n", verb);
    need(send(control_socket, line, used, 0) == (ssize_t)used, "control", 0);
    used = 0;
    do {
        ssize_t got = recv(control_socket, line + used, sizeof line - 1 - used, 0);
        need(got > 0, "control", 0);
        used += (size_t)got;
        line[used] = '\0';
    } while (strchr(line, '\n') == NULL);
    need(strstr(line, "\"ok\":true") != NULL, line, 0);
}

static sem_t about_to_wait, event_came;
static int64_t came_at;
static pid_t waiter_id;

/* Takes `count` slot events in a thread of its own. */
static void *wait_for_events(void *count)
{
    waiter_id = (pid_t)syscall(SYS_gettid);
    for (long i = 0; i < (long)count; i++) {
        CK_SLOT_ID id;
        sem_post(&about_to_wait);
        check(p11->C_WaitForSlotEvent(0, &id, NULL), "C_WaitForSlotEvent");
        came_at = now();
        sem_post(&event_came);
    }
    return NULL;
}

/* Until the waiter has asked, and sleeps until it is answered. */
static void until_waiting(void)
{
    char path[64], line[256];
    sem_wait(&about_to_wait);
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", waiter_id);
    for (int asleep = 0; asleep < 3;) {
        FILE *file = fopen(path, "r");
        need(file != NULL && fgets(line, sizeof line, file) != NULL, path, 0);
        fclose(file);
        asleep = strstr(line, ") S ") != NULL ? asleep + 1 : 0;
        usleep(200);
    }
}

/* Nanoseconds from before the request to remove the card until a blocked C_WaitForSlotEvent is back. */
static void measure_wait(long count)
{
    CK_SLOT_ID id;
    pthread_t waiter;
    while (p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &id, NULL) == CKR_OK)
        continue;
    sem_init(&about_to_wait, 0, 0);
    sem_init(&event_came, 0, 0);
    pthread_create(&waiter, NULL, wait_for_events, (void *)(2 * count));
    for (long i = 0; i < count; i++) {
        until_waiting();
        int64_t start = now();
        control("remove");
        sem_wait(&event_came);
        printf("%lld ", (long long)(came_at - start));
        until_waiting();
        control("insert");
        sem_wait(&event_came);
    }
    pthread_join(waiter, NULL);
    log_in();
}

/* How often a session was still alive when the removal of its card had returned. */
static void measure_window(long count)
{
    long alive = 0;
    for (long i = 0; i < count; i++) {
        CK_SESSION_INFO info;
        CK_RV rv;
        get_session_info();
        control("remove");
        rv = p11->C_GetSessionInfo(session, &info);
        alive += rv != CKR_SESSION_HANDLE_INVALID;
        control("insert");
        check(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session), "C_OpenSession");
    }
    check(p11->C_CloseSession(session), "C_CloseSession");
    log_in();
    printf("%ld ", alive);
}

/* The first search on a card that has just been inserted. */
static void measure_cold_search(long count)
{
    for (long i = 0; i < count; i++) {
        control("remove");
        control("insert");
        log_in();
        int64_t start = now();
        find_all();
        printf("%lld ", (long long)(now() - start));
    }
}

static void measure(const char *name, long count)
{
    if (strcmp(name, "generate") == 0) {
        measure_generation(count);
    } else if (strcmp(name, "threads") == 0) {
        measure_threads(count);
    } else if (strcmp(name, "find_cold") == 0) {
        measure_cold_search(count);
    } else if (strcmp(name, "wait") == 0) {
        measure_wait(count);
    } else if (strcmp(name, "window") == 0) {
        measure_window(count);
    } else {
        size_t which = 0;
        while (which < sizeof MEASUREMENTS / sizeof *MEASUREMENTS && strcmp(name, MEASUREMENTS[which].name) != 0)
            which++;
        need(which < sizeof MEASUREMENTS / sizeof *MEASUREMENTS, name, 0);
        for (long i = 0; i < count; i++) {
            int64_t start = now();
            MEASUREMENTS[which].once();
            printf("%lld ", (long long)(now() - start));
        }
    }
    rsa_key = find_key(ID_RSA);
    ec_key = find_key(ID_EC);
    printf("\n");
    fflush(stdout);
}

int main(int count, char **arguments)
{
    int64_t start = now();
    need(count >= 5, "usage: see the source", 0);
    pin = arguments[4];
    wanted_slot = count == 8 ? atol(arguments[7]) : 0;
    load(arguments[2], arguments[3]);
    log_in();
    rsa_key = find_key(ID_RSA);
    if (strcmp(arguments[1], "first") == 0) {
        sign_rsa();
        printf("%lld\n", (long long)(now() - start));
        return 0;
    }
    need(count == 8, "usage: see the source", 0);
    ec_key = find_key(ID_EC);
    if (*arguments[5] != '\0')
        echo_socket = connect_to(arguments[5]);
    if (*arguments[6] != '\0')
        control_socket = connect_to(arguments[6]);
    printf("ready\n");
    fflush(stdout);
    char name[32];
    long wanted;
    while (scanf("%31s %ld", name, &wanted) == 2)
        measure(name, wanted);
    return 0;
}
