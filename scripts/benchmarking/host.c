/* SPDX-License-Identifier: MIT */
/* The measuring end of scripts/benchmark: an application that loads any PKCS #11 module and takes times inside itself.
 *
 *   host first MODULE ARGUMENT PIN TOKEN                 nanoseconds from dlopen to the first RSA signature
 *   host measure MODULE ARGUMENT PIN TOKEN ECHO CONTROL  measurements by lines on standard input: NAME COUNT
 *
 * ARGUMENT is the string for C_Initialize or empty; TOKEN counts the tokens that are there from 0. The RSA key has
 * CKA_ID 01, the P-256 key 04. ECHO is a socket on which each byte comes back, CONTROL the simulator's control socket;
 * both may be empty.
 */
#define _GNU_SOURCE
#include "cryptoki.h"
#include "functions.h"

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
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
#define OBJECTS 100
#define MEGABYTE (1u << 20)
#define MOST_THREADS 16
#define RATE_NS 250000000

static CK_FUNCTION_LIST *p11;
static CK_SLOT_ID slot;
static CK_ULONG session, rsa_key, ec_key, aes_key;
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

static void load(const char *path, const char *argument, long token)
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
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        check(p11->C_GetTokenInfo(slots[i], &info), "C_GetTokenInfo");
        slot = slots[i];
        if ((info.flags & CKF_TOKEN_INITIALIZED) != 0 && token-- == 0)
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
    aes_key = 0; /* it went with the session before */
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

static void sign(CK_ULONG in, CK_ULONG type, CK_ULONG key, CK_BYTE *data, CK_ULONG size)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    CK_BYTE signature[512];
    CK_ULONG length = sizeof signature;
    check(p11->C_SignInit(in, &mechanism, key), "C_SignInit");
    check(p11->C_Sign(in, data, size, signature, &length), "C_Sign");
}

static void sign_rsa_in(CK_ULONG in, unsigned char number)
{
    /* DigestInfo of a SHA-256 (RFC 8017, 9.2 note 1) */
    CK_BYTE data[51] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                        0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
    data[sizeof data - 1] = number;
    sign(in, CKM_RSA_PKCS, rsa_key, data, sizeof data);
}

static void sign_rsa(void)
{
    static unsigned char number;
    sign_rsa_in(session, number++);
}

static void sign_ec(void)
{
    static CK_BYTE data[32];
    data[sizeof data - 1]++;
    sign(session, CKM_ECDSA, ec_key, data, sizeof data);
}

/* One megabyte by AES-GCM in one part, with a key of the session that is made at the first time. */
static void aes_gcm(void)
{
    static CK_BYTE data[MEGABYTE], encrypted[MEGABYTE + 16], iv[12];
    CK_GCM_PARAMS parameters = {.pIv = iv, .ulIvLen = sizeof iv, .ulIvBits = 8 * sizeof iv, .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &parameters, sizeof parameters};
    CK_ULONG length = sizeof encrypted;
    iv[0]++;
    check(p11->C_EncryptInit(session, &mechanism, aes_key), "C_EncryptInit");
    check(p11->C_Encrypt(session, data, sizeof data, encrypted, &length), "C_Encrypt");
    need(length == sizeof encrypted, "C_Encrypt gives another length", length);
}

static void make_aes_key(void)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG size = 32;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE template[] = {
        {CKA_VALUE_LEN, &size, sizeof size}, {CKA_TOKEN, &no, 1}, {CKA_ENCRYPT, &yes, 1}, {CKA_DECRYPT, &yes, 1}};
    if (aes_key == 0)
        check(p11->C_GenerateKey(session, &mechanism, template, 4, &aes_key), "C_GenerateKey");
}

/* The search for the objects that `make_objects` has put on the token. */
static CK_BYTE application[] = "cardtear benchmark";
static CK_ULONG found[2 * OBJECTS], found_count;

static void search_begin(void)
{
    CK_ULONG class = CKO_DATA;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class}, {CKA_APPLICATION, application, sizeof application}};
    check(p11->C_FindObjectsInit(session, template, 2), "C_FindObjectsInit");
}

static void search_give(void)
{
    check(p11->C_FindObjects(session, found, 2 * OBJECTS, &found_count), "C_FindObjects");
}

static void search(void)
{
    search_begin();
    search_give();
    check(p11->C_FindObjectsFinal(session), "C_FindObjectsFinal");
    need(found_count == OBJECTS, "other objects than there are", found_count);
}

static void make_objects(void)
{
    CK_ULONG class = CKO_DATA, object;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    for (int i = 0; i < OBJECTS; i++) {
        CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class},
                                   {CKA_TOKEN, &yes, 1},
                                   {CKA_PRIVATE, &no, 1},
                                   {CKA_APPLICATION, application, sizeof application},
                                   {CKA_VALUE, &i, sizeof i}};
        check(p11->C_CreateObject(session, template, 5, &object), "C_CreateObject");
    }
}

static void destroy_objects(void)
{
    search();
    for (CK_ULONG i = 0; i < found_count; i++)
        check(p11->C_DestroyObject(session, found[i]), "C_DestroyObject");
}

static CK_ULONG new_pair[2];

/* An RSA key pair that stays on the token. */
static void generate_rsa(void)
{
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_ULONG bits = 2048;
    CK_BBOOL yes = CK_TRUE;
    CK_BYTE exponent[] = {1, 0, 1};
    CK_ATTRIBUTE public[] = {{CKA_TOKEN, &yes, 1},
                             {CKA_VERIFY, &yes, 1},
                             {CKA_MODULUS_BITS, &bits, sizeof bits},
                             {CKA_PUBLIC_EXPONENT, exponent, sizeof exponent}};
    CK_ATTRIBUTE private[] = {{CKA_TOKEN, &yes, 1}, {CKA_PRIVATE, &yes, 1}, {CKA_SIGN, &yes, 1}};
    check(p11->C_GenerateKeyPair(session, &mechanism, public, 4, private, 3, &new_pair[0], &new_pair[1]),
          "C_GenerateKeyPair");
}

static void destroy_pair(void)
{
    check(p11->C_DestroyObject(session, new_pair[1]), "C_DestroyObject");
    check(p11->C_DestroyObject(session, new_pair[0]), "C_DestroyObject");
}

/* `before` and `after` are not timed. */
static const struct {
    const char *name;
    void (*before)(void);
    void (*once)(void);
    void (*after)(void);
} MEASUREMENTS[] = {
    {"echo", NULL, echo, NULL},
    {"C_GetSlotInfo", NULL, get_slot_info, NULL},
    {"C_GetSessionInfo", NULL, get_session_info, NULL},
    {"sign_rsa", NULL, sign_rsa, NULL},
    {"sign_ec", NULL, sign_ec, NULL},
    {"aes_gcm", make_aes_key, aes_gcm, NULL},
    {"make_objects", NULL, make_objects, NULL},
    {"search", NULL, search, NULL},
    {"destroy_objects", NULL, destroy_objects, NULL},
    {"generate_rsa", NULL, generate_rsa, destroy_pair},
};

/* Rates */

static atomic_bool started, over;

/* Signs in a session of its own until it is over; the number of signatures. */
static void *sign_all_the_time(void *argument)
{
    CK_ULONG mine, done = 0;
    (void)argument;
    check(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &mine), "C_OpenSession");
    sign_rsa_in(mine, 0);
    while (!atomic_load(&started))
        usleep(100);
    while (!atomic_load(&over)) {
        sign_rsa_in(mine, (unsigned char)done);
        done++;
    }
    check(p11->C_CloseSession(mine), "C_CloseSession");
    return (void *)done;
}

/* RSA signatures of several threads: the nanoseconds for one, all threads together. */
static void measure_rate(long threads)
{
    pthread_t thread[MOST_THREADS];
    unsigned long done = 0;
    need(threads <= MOST_THREADS, "too many threads", (unsigned long)threads);
    atomic_store(&started, false);
    atomic_store(&over, false);
    for (long i = 0; i < threads; i++)
        pthread_create(&thread[i], NULL, sign_all_the_time, NULL);
    usleep(20000);
    int64_t start = now();
    atomic_store(&started, true);
    usleep(RATE_NS / 1000);
    atomic_store(&over, true);
    for (long i = 0; i < threads; i++) {
        void *result;
        pthread_join(thread[i], &result);
        done += (unsigned long)result;
    }
    printf("%lld ", (long long)((now() - start) / (int64_t)(done == 0 ? 1 : done)));
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

/* Nanoseconds of the first search after an insertion, when nothing is known of the card yet. */
static void measure_cold_search(long count)
{
    for (long i = 0; i < count; i++) {
        control("remove");
        control("insert");
        check(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session), "C_OpenSession");
        int64_t start = now();
        search();
        printf("%lld ", (long long)(now() - start));
        check(p11->C_CloseSession(session), "C_CloseSession");
    }
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

static const struct {
    const char *name;
    void (*measure)(long count);
} SERIES[] = {
    {"wait", measure_wait},
    {"window", measure_window},
    {"cold_search", measure_cold_search},
    {"rate", measure_rate},
};

static void measure(const char *name, long count)
{
    for (size_t i = 0; i < sizeof SERIES / sizeof *SERIES; i++) {
        if (strcmp(name, SERIES[i].name) == 0) {
            SERIES[i].measure(count);
            return;
        }
    }
    size_t which = 0;
    while (which < sizeof MEASUREMENTS / sizeof *MEASUREMENTS && strcmp(name, MEASUREMENTS[which].name) != 0)
        which++;
    need(which < sizeof MEASUREMENTS / sizeof *MEASUREMENTS, name, 0);
    for (long i = 0; i < count; i++) {
        if (MEASUREMENTS[which].before != NULL)
            MEASUREMENTS[which].before();
        int64_t start = now();
        MEASUREMENTS[which].once();
        printf("%lld ", (long long)(now() - start));
        if (MEASUREMENTS[which].after != NULL)
            MEASUREMENTS[which].after();
    }
}

int main(int count, char **arguments)
{
    int64_t start = now();
    need(count >= 6, "usage: see the source", 0);
    pin = arguments[4];
    load(arguments[2], arguments[3], strtol(arguments[5], NULL, 10));
    log_in();
    rsa_key = find_key(ID_RSA);
    if (strcmp(arguments[1], "first") == 0) {
        sign_rsa();
        printf("%lld\n", (long long)(now() - start));
        return 0;
    }
    need(count == 8, "usage: see the source", 0);
    if (*arguments[6] != '\0')
        echo_socket = connect_to(arguments[6]);
    if (*arguments[7] != '\0')
        control_socket = connect_to(arguments[7]);
    printf("ready\n");
    fflush(stdout);
    char name[32];
    long wanted;
    while (scanf("%31s %ld", name, &wanted) == 2) {
        /* After a removal the handles are others; and so each measurement has its own end in the trace. */
        rsa_key = find_key(ID_RSA);
        ec_key = find_key(ID_EC);
        measure(name, wanted);
        printf("\n");
        fflush(stdout);
    }
    return 0;
}
