/* SPDX-License-Identifier: MIT */
/* Connections to the simulator: one for each call that is under way, kept in a pool.
 *
 * The lock guards the pool only and is never held over I/O, so a call that blocks keeps nobody waiting. Every
 * C_Initialize and C_Finalize begins a new generation; a call of an older one ends as soon as its connection is shut.
 *
 * A call may take hours (C_WaitForSlotEvent, a PIN pad). When one has been quiet for a while, the simulator is asked for
 * a welcome on a new connection. One that does not even greet is stopped or hangs: it is given up as if it had died,
 * and should it come back, it finds another application without sessions. Until it greets, calls lose patience sooner.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define POOL 1024
#ifndef PATIENCE_MS
#define PATIENCE_MS 10000 /* without an answer, until the simulator is asked whether it lives; and for its answer */
#define IMPATIENCE_MS 1000 /* for the greeting of one that has not greeted the last time */
#endif

typedef struct Connection {
    int fd;
    bool busy;
    bool given_up; /* shut because the simulator hangs; whoever uses it closes it */
} Connection;

static struct {
    pthread_mutex_t lock;
    bool open;
    bool had_simulator;
    bool hangs; /* it could be reached, but has not greeted */
    bool leaves_calls; /* the simulator's wish: C_Finalize does not end calls that are under way */
    unsigned generation;
    struct sockaddr_un address;
    uint8_t application[16];
    size_t count;
    Connection connections[POOL];
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local uint32_t thread_id;

static void lock_pool(void)
{
    pthread_mutex_lock(&pool.lock);
}

static void unlock_pool(void)
{
    pthread_mutex_unlock(&pool.lock);
}

/* Under the lock; but both are also read without it. */
static void begin_generation(bool open)
{
    __atomic_store_n(&pool.open, open, __ATOMIC_RELEASE);
    __atomic_add_fetch(&pool.generation, 1, __ATOMIC_ACQ_REL);
}

/* After fork: the parent's connections are closed unused, and the child has not called C_Initialize. */
static void forked_child(void)
{
    for (size_t i = 0; i < pool.count; i++)
        close(pool.connections[i].fd);
    pool.count = 0;
    begin_generation(false);
    thread_id = 0;
    slots_forget_in_child();
    pthread_mutex_init(&pool.lock, NULL);
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(lock_pool, unlock_pool, forked_child);
}

__attribute__((destructor)) static void leave(void)
{
    transport_close(false);
}

/* Where the simulator listens: what C_Initialize was given, else CARDTEAR_SOCKET, else the user's own folder. */
CK_RV transport_open(const char *path)
{
    char standard[sizeof pool.address.sun_path + 32];
    if (path == NULL)
        path = getenv("CARDTEAR_SOCKET");
    if (path == NULL || *path == '\0') {
        const char *runtime = getenv("XDG_RUNTIME_DIR");
        if (runtime != NULL && *runtime == '/')
            snprintf(standard, sizeof standard, "%s/cardtear/p11.sock", runtime);
        else
            snprintf(standard, sizeof standard, "/tmp/cardtear-%lu/p11.sock", (unsigned long)getuid());
        path = standard;
    }
    if (strlen(path) >= sizeof pool.address.sun_path)
        return CKR_ARGUMENTS_BAD;
    uint8_t application[16];
    if (getrandom(application, sizeof application, 0) != (ssize_t)sizeof application)
        return CKR_FUNCTION_FAILED;
    lock_pool();
    bool already = pool.open;
    if (!already) {
        begin_generation(true);
        pool.had_simulator = false;
        pool.hangs = false;
        pool.leaves_calls = false;
        memset(&pool.address, 0, sizeof pool.address);
        pool.address.sun_family = AF_UNIX;
        memcpy(pool.address.sun_path, path, strlen(path) + 1);
        memcpy(pool.application, application, sizeof application);
        slots_forget();
    }
    unlock_pool();
    return already ? CKR_CRYPTOKI_ALREADY_INITIALIZED : CKR_OK;
}

bool transport_is_open(void)
{
    return __atomic_load_n(&pool.open, __ATOMIC_ACQUIRE);
}

unsigned transport_generation(void)
{
    return __atomic_load_n(&pool.generation, __ATOMIC_ACQUIRE);
}

/* Ends the generation: calls that are under way on other threads come back at once, unless the simulator wants to end
 * them itself when the application calls C_Finalize. */
void transport_close(bool finalized)
{
    lock_pool();
    bool leaves_calls = finalized && pool.leaves_calls;
    begin_generation(false);
    size_t kept = 0;
    for (size_t i = 0; i < pool.count; i++) {
        if (pool.connections[i].busy) {
            if (!leaves_calls)
                shutdown(pool.connections[i].fd, SHUT_RDWR);
            pool.connections[kept++] = pool.connections[i];
        } else {
            close(pool.connections[i].fd);
        }
    }
    pool.count = kept;
    unlock_pool();
}

/* Whether to go on after a send or recv that has failed: it was interrupted, or it was quiet and `patient` says so. */
static bool goes_on(bool (*patient)(void))
{
    return errno == EINTR || ((errno == EAGAIN || errno == EWOULDBLOCK) && patient != NULL && patient());
}

static bool send_all(int fd, const uint8_t *data, size_t size, bool (*patient)(void))
{
    while (size != 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && goes_on(patient))
            continue;
        if (sent <= 0)
            return false;
        data += sent;
        size -= (size_t)sent;
    }
    return true;
}

/* Reads one frame and steps over its length: for most calls one recv. */
static bool receive_frame(int fd, Frame *frame, bool (*patient)(void))
{
    frame_drop(frame);
    size_t wanted = sizeof(uint32_t);
    while (frame->used < wanted) {
        ssize_t got = recv(fd, frame->data + frame->used, frame->room - frame->used, 0);
        if (got < 0 && goes_on(patient))
            continue;
        if (got <= 0)
            return false;
        frame->used += (size_t)got;
        if (wanted == sizeof(uint32_t) && frame->used >= wanted) {
            wanted += get_u32(frame);
            if (!frame_reserve(frame, wanted))
                return false;
        }
    }
    return frame->used == wanted;
}

static bool peer_is_ours(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == getuid() || peer.uid == 0);
}

/* The first frame on a connection: who we are, and which slots we have shown to the application. */
static bool greet(int fd, const uint8_t *application, bool *leaves_calls)
{
    char name[17] = "";
    int comm = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
    if (comm >= 0) {
        ssize_t got = read(comm, name, sizeof name - 1);
        name[got > 0 ? got : 0] = '\0';
        name[strcspn(name, "\n")] = '\0';
        close(comm);
    }
    Frame frame;
    frame_start(&frame);
    put_u32(&frame, 0);
    put_u32(&frame, WIRE_VERSION);
    put_u32(&frame, sizeof(CK_ULONG));
    put_bytes(&frame, application, 16);
    put_u32(&frame, (uint32_t)getpid());
    put_string(&frame, name, strlen(name));
    slots_put(&frame);
    uint32_t length = (uint32_t)(frame.used - sizeof length);
    memcpy(frame.data, &length, sizeof length);
    bool welcome = !frame.broken && send_all(fd, frame.data, frame.used, NULL) && receive_frame(fd, &frame, NULL) &&
                   get_u32(&frame) == WIRE_VERSION;
    *leaves_calls = get_u32(&frame) != 0;
    welcome = welcome && !frame.broken;
    frame_drop(&frame);
    return welcome;
}

static void set_patience(int fd, int milliseconds)
{
    struct timeval patience = {milliseconds / 1000, milliseconds % 1000 * 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

/* A socket that loses patience, also while it connects. */
static int patient_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        set_patience(fd, PATIENCE_MS);
    return fd;
}

/* Its cards are gone; said once for each simulator. Under the lock. */
static void lose_simulator(void)
{
    if (pool.had_simulator)
        slots_lose_cards();
    pool.had_simulator = false;
}

/* Parts with a simulator that hangs: every call under way on it ends, and the application gets another name, so that
 * what it had there is out of reach for good. Under the lock. */
static void give_up_simulator(void)
{
    size_t kept = 0;
    for (size_t i = 0; i < pool.count; i++) {
        if (pool.connections[i].busy) {
            pool.connections[i].given_up = true;
            shutdown(pool.connections[i].fd, SHUT_RDWR);
            pool.connections[kept++] = pool.connections[i];
        } else {
            close(pool.connections[i].fd);
        }
    }
    pool.count = kept;
    uint64_t name[2];
    memcpy(name, pool.application, sizeof name);
    if (getrandom(name, sizeof name, 0) != (ssize_t)sizeof name)
        name[0]++;
    memcpy(pool.application, name, sizeof name);
    lose_simulator();
}

/* Connects a socket to the simulator of now. False when there is none: whatever was there is given up, too. */
static bool meet_or_part(int fd)
{
    lock_pool();
    struct sockaddr_un address = pool.address;
    uint8_t application[sizeof pool.application];
    memcpy(application, pool.application, sizeof application);
    bool hangs = pool.hangs;
    unlock_pool();
    if (hangs)
        set_patience(fd, IMPATIENCE_MS);
    bool leaves_calls = false;
    bool reached = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN;
    bool met = reached && peer_is_ours(fd) && greet(fd, application, &leaves_calls);
    if (hangs)
        set_patience(fd, PATIENCE_MS);
    lock_pool();
    pool.hangs = reached && !met;
    /* Another thread may have given it up meanwhile, or C_Finalize may have been called. */
    bool same = pool.open && memcmp(pool.application, application, sizeof application) == 0;
    if (same && !met)
        give_up_simulator();
    if (same && met)
        pool.leaves_calls = leaves_calls;
    unlock_pool();
    return same && met;
}

/* A call has been quiet: whether its simulator lives all the same. Who cannot ask goes on waiting. */
static bool simulator_lives(void)
{
    int fd = patient_socket();
    bool lives = fd < 0 || meet_or_part(fd);
    if (fd >= 0)
        close(fd);
    return lives;
}

/* Takes a connection out of the pool, or makes one; -1 when there is no simulator. Whether one out of the pool is still
 * alive is seen when something is sent on it. */
static int take(unsigned *generation, bool *fresh)
{
    lock_pool();
    *generation = pool.generation;
    *fresh = false;
    for (size_t i = 0; pool.open && i < pool.count; i++) {
        if (pool.connections[i].busy)
            continue;
        pool.connections[i].busy = true;
        int fd = pool.connections[i].fd;
        unlock_pool();
        return fd;
    }
    bool open = pool.open;
    unlock_pool();

    int fd = open ? patient_socket() : -1;
    if (fd < 0)
        return -1;
    if (!meet_or_part(fd)) {
        close(fd);
        return -1;
    }
    lock_pool();
    bool usable = pool.open && pool.generation == *generation && pool.count < POOL;
    if (usable) {
        pool.connections[pool.count++] = (Connection){.fd = fd, .busy = true};
        pool.had_simulator = true;
    }
    unlock_pool();
    if (!usable) {
        close(fd);
        return -1;
    }
    *fresh = true;
    return fd;
}

/* Gives a connection back; one that failed, or that belongs to an older generation, is closed. */
static void give_back(int fd, unsigned generation, bool sound)
{
    lock_pool();
    for (size_t i = 0; i < pool.count; i++) {
        if (pool.connections[i].fd != fd)
            continue;
        if (sound && pool.open && pool.generation == generation && !pool.connections[i].given_up) {
            pool.connections[i].busy = false;
        } else {
            bool lost = !sound && pool.generation == generation && !pool.connections[i].given_up;
            pool.connections[i] = pool.connections[--pool.count];
            close(fd);
            if (lost)
                lose_simulator();
        }
        break;
    }
    unlock_pool();
}

/* Makes the application known to the simulator, if there is one: from now on it collects slot events. */
void transport_announce(void)
{
    unsigned generation;
    bool fresh;
    int fd = take(&generation, &fresh);
    if (fd >= 0)
        give_back(fd, generation, true);
}

/* One round trip: `frame` holds the arguments behind room for the header, and afterwards the reply from its CK_RV on.
 *
 * A call that could not be sent whole has not been carried out. On a connection out of the pool that only says that
 * its simulator has gone since, so the next one is tried, and at last a fresh one. */
Outcome transport_call(uint16_t number, Frame *frame)
{
    if (thread_id == 0)
        thread_id = (uint32_t)syscall(SYS_gettid);
    uint32_t header[3] = {(uint32_t)(frame->used - sizeof(uint32_t)), number, thread_id};
    memcpy(frame->data, header, sizeof header);
    unsigned first = transport_generation(), generation;
    for (;;) {
        bool fresh;
        int fd = take(&generation, &fresh);
        if (fd < 0 || generation != first) {
            if (fd >= 0)
                give_back(fd, generation, true);
            return transport_is_open() && generation == first ? UNREACHABLE : FINALIZED;
        }
        bool sent = send_all(fd, frame->data, frame->used, simulator_lives);
        bool sound = sent && receive_frame(fd, frame, simulator_lives);
        give_back(fd, generation, sound);
        if (sound)
            return ANSWERED;
        if (transport_generation() != generation)
            return FINALIZED;
        if (sent || fresh)
            return sent ? LOST : UNREACHABLE;
    }
}
