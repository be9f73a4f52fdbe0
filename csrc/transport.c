/* SPDX-License-Identifier: MIT */
/* Connections to the simulator: one for each call that is under way, kept in a pool.
 *
 * The lock guards the pool only and is never held while anything is waited for, so a call that blocks keeps nobody
 * waiting. Every descriptor that is opened here is in the pool before the lock is released: a child of fork closes what
 * is there. Every C_Initialize and C_Finalize begins a new generation; a call of an older one ends as soon as its
 * connection is shut.
 *
 * A call may take hours (C_WaitForSlotEvent, a PIN pad). When one has been quiet for a while, the simulator is asked for
 * a welcome on a new connection. One that does not even greet is stopped or hangs: it is given up as if it had died,
 * and should it come back, it finds another application without sessions. Until it greets, calls lose patience sooner.
 *
 * A want of descriptors or memory, here or there, says nothing of the simulator: the call fails and all else stays.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef PATIENCE_MS
#define PATIENCE_MS 10000 /* without an answer, until the simulator is asked whether it lives; and for its answer */
#define IMPATIENCE_MS 1000 /* for the greeting of one that has not greeted the last time */
#endif

#define MOST_ATTEMPTS 4 /* to greet a simulator while others come and go */

typedef struct Connection {
    int fd;
    int record; /* of the slots, as it came with a welcome, until it has its place; else -1 */
    bool busy;
    bool given_up; /* shut, for its simulator is gone or hangs; whoever uses it closes it */
} Connection;

static struct {
    pthread_mutex_t lock;
    bool open;
    bool had_simulator; /* one that knows this application by its name */
    bool was_alone; /* there was a time since C_Initialize without one */
    bool hangs; /* it could be reached, but has not greeted */
    bool leaves_calls; /* the simulator's wish: C_Finalize does not end calls that are under way */
    unsigned generation;
    unsigned meetings; /* how often a simulator has welcomed us */
    unsigned answers;  /* how often one has answered a call */
    struct sockaddr_un address;
    uint8_t application[16];
    char program[17];
    size_t count, room;
    Connection *connections;
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

static void before_fork(void)
{
    lock_pool();
    slots_lock();
}

static void forked_parent(void)
{
    slots_unlock();
    unlock_pool();
}

static void close_both(Connection connection)
{
    close(connection.fd);
    if (connection.record >= 0)
        close(connection.record);
}

/* After fork: the parent's connections are closed unused, and the child has not called C_Initialize. */
static void forked_child(void)
{
    for (size_t i = 0; i < pool.count; i++)
        close_both(pool.connections[i]);
    pool.count = 0;
    pool.had_simulator = false;
    begin_generation(false);
    thread_id = 0;
    slots_unlock();
    slots_forget();
    unlock_pool();
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(before_fork, forked_parent, forked_child);
}

__attribute__((destructor)) static void leave(void)
{
    transport_close(false);
    lock_pool();
    if (pool.count == 0) {
        free(pool.connections);
        pool.connections = NULL;
        pool.room = 0;
    }
    unlock_pool();
}

CK_RV transport_open(const char *path)
{
    struct sockaddr_un address;
    uint8_t application[16];
    if (!greeting_find(path, &address) && path != NULL)
        return CKR_ARGUMENTS_BAD; /* where the environment is wrong, there is no simulator */
    if (getrandom(application, sizeof application, 0) != (ssize_t)sizeof application)
        return CKR_FUNCTION_FAILED;
    lock_pool();
    bool already = pool.open;
    if (!already) {
        begin_generation(true);
        pool.had_simulator = false;
        pool.was_alone = false;
        pool.hangs = false;
        pool.leaves_calls = false;
        pool.address = address;
        memcpy(pool.application, application, sizeof application);
        greeting_read_name(pool.program);
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

/* Closes the connections that nobody uses, and with `shut` ends the calls on the others. Under the lock. */
static void drop_connections(bool shut, bool given_up)
{
    size_t kept = 0;
    for (size_t i = 0; i < pool.count; i++) {
        Connection each = pool.connections[i];
        if (!each.busy) {
            close_both(each);
            continue;
        }
        if (shut)
            shutdown(each.fd, SHUT_RDWR);
        each.given_up |= given_up;
        pool.connections[kept++] = each;
    }
    pool.count = kept;
}

/* Ends the generation: calls that are under way on other threads come back at once, unless the simulator wants to end
 * them itself when the application calls C_Finalize. */
void transport_close(bool finalized)
{
    lock_pool();
    begin_generation(false);
    drop_connections(!(finalized && pool.leaves_calls), false);
    pool.had_simulator = false;
    slots_forget();
    unlock_pool();
}

/* Parts with a simulator that is gone or hangs: its cards have left, every call under way on it ends, and the
 * application gets another name, so that what it had there is out of reach for good. Under the lock. */
static void give_up_simulator(void)
{
    drop_connections(true, true);
    uint64_t name[2];
    memcpy(name, pool.application, sizeof name);
    if (getrandom(name, sizeof name, 0) != (ssize_t)sizeof name)
        name[0]++;
    memcpy(pool.application, name, sizeof name);
    if (pool.had_simulator)
        slots_lose_cards();
    pool.had_simulator = false;
    pool.was_alone = true;
}

/* A socket that is not connected yet, in the pool as one that is in use; -1 with errno. */
static int new_connection(void)
{
    int fd = -1;
    lock_pool();
    if (pool.count == pool.room) {
        size_t room = pool.room == 0 ? 16 : 2 * pool.room;
        Connection *larger = realloc(pool.connections, room * sizeof *larger);
        if (larger != NULL) {
            pool.connections = larger;
            pool.room = room;
        }
    }
    if (pool.count == pool.room)
        errno = ENOMEM;
    else
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        pool.connections[pool.count++] = (Connection){.fd = fd, .record = -1, .busy = true};
    unlock_pool();
    return fd;
}

/* Under the lock; NULL if the descriptor is no connection. */
static Connection *find_connection(int fd)
{
    for (size_t i = 0; i < pool.count; i++)
        if (pool.connections[i].fd == fd)
            return &pool.connections[i];
    return NULL;
}

/* Under the lock. */
static void close_connection(Connection *connection)
{
    close_both(*connection);
    *connection = pool.connections[--pool.count];
}

static void close_fd(int fd)
{
    lock_pool();
    Connection *connection = find_connection(fd);
    if (connection != NULL)
        close_connection(connection);
    unlock_pool();
}

/* Reads a piece of the welcome; the record of the slots, which comes with it, is kept beside the connection. `was_cut`:
 * there was no descriptor left for it. Nothing is waited for. */
ssize_t transport_receive(int fd, void *data, size_t size, bool *was_cut)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec into = {data, size};
    struct msghdr message = {
        .msg_iov = &into, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_LEN(sizeof(int))};
    lock_pool();
    ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    Connection *connection = find_connection(fd);
    struct cmsghdr *part = got >= 0 && connection != NULL ? CMSG_FIRSTHDR(&message) : NULL;
    *was_cut |= got >= 0 && (message.msg_flags & MSG_CTRUNC) != 0;
    if (part != NULL && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS &&
        part->cmsg_len == CMSG_LEN(sizeof(int))) {
        if (connection->record >= 0)
            close(connection->record);
        memcpy(&connection->record, CMSG_DATA(part), sizeof connection->record);
    }
    unlock_pool();
    return got;
}

/* What has come of a greeting, for the whole pool. Under the lock. */
static void take_note(int fd, Meeting meeting, uint32_t flags, bool continues)
{
    if (meeting == MET) {
        Connection *connection = find_connection(fd);
        pool.leaves_calls = (flags & LEAVES_CALLS) != 0;
        pool.meetings++;
        pool.had_simulator = true;
        if (!continues)
            slots_follow(connection->record);
        else if (connection->record >= 0) /* the one that is there already */
            close(connection->record);
        connection->record = -1;
    } else if (meeting != WANTING) {
        give_up_simulator();
    }
}

/* Connects a socket of the pool to the simulator of now. Where there is none, whatever was there is given up, too,
 * unless another thread knows better: then it is UNKNOWN, and to be tried again. */
static Meeting meet(int fd)
{
    Frame hello;
    frame_start(&hello);
    lock_pool();
    struct sockaddr_un address = pool.address;
    uint8_t application[sizeof pool.application];
    memcpy(application, pool.application, sizeof application);
    bool continues = pool.had_simulator;
    unsigned meetings = pool.meetings, answers = pool.answers;
    int64_t end = greeting_now() + (pool.hangs ? IMPATIENCE_MS : PATIENCE_MS);
    greeting_put_hello(&hello, application, pool.program, (continues ? CONTINUES : 0) | (pool.was_alone ? COMES_LATER : 0));
    unlock_pool();
    uint32_t flags = 0;
    Meeting meeting = greeting_meet(fd, &address, &hello, &flags, end);
    int error = errno;
    frame_drop(&hello);
    greeting_set_patience(fd, PATIENCE_MS);
    lock_pool();
    bool same = pool.open && memcmp(pool.application, application, sizeof application) == 0;
    if (meeting == QUIET && pool.answers != answers) /* neither stopped nor hanging */
        meeting = WANTING;
    bool outdated = !same || (meeting != MET && meeting != WANTING && pool.meetings != meetings);
    pool.hangs = meeting == QUIET && !outdated;
    if (!outdated)
        take_note(fd, meeting, flags, continues);
    unlock_pool();
    errno = error;
    return outdated ? UNKNOWN : meeting;
}

/* A call has been quiet: whether its simulator lives all the same. Who cannot ask goes on waiting. */
static bool simulator_lives(void)
{
    int fd = new_connection();
    if (fd < 0)
        return true;
    Meeting meeting = meet(fd);
    close_fd(fd);
    return meeting != NOBODY && meeting != QUIET;
}

/* Calls. */

/* Takes a connection out of the pool, or makes one; -1 with what came of that. Whether one out of the pool is still
 * alive is seen when something is sent on it. */
static int take(unsigned *generation, bool *fresh, Meeting *meeting)
{
    int fd = -1;
    *meeting = UNKNOWN;
    for (int attempt = 0; attempt < MOST_ATTEMPTS && *meeting == UNKNOWN; attempt++) {
        lock_pool();
        *generation = pool.generation;
        bool open = pool.open;
        for (size_t i = 0; open && i < pool.count && fd < 0; i++) {
            if (pool.connections[i].busy)
                continue;
            pool.connections[i].busy = true;
            fd = pool.connections[i].fd;
        }
        unlock_pool();
        *fresh = fd < 0;
        if (fd >= 0 || !open)
            return fd;
        fd = new_connection();
        *meeting = fd >= 0 ? meet(fd) : WANTING;
        if (*meeting == MET)
            return fd;
        int error = errno;
        if (fd >= 0)
            close_fd(fd);
        fd = -1;
        errno = error;
    }
    return fd;
}

/* Gives a connection back; one that failed, or that belongs to an older generation, is closed. */
static void give_back(int fd, unsigned generation, bool sound)
{
    lock_pool();
    Connection *connection = find_connection(fd);
    bool current = connection != NULL && pool.open && pool.generation == generation && !connection->given_up;
    if (sound && current) {
        connection->busy = false;
        pool.answers++;
    } else if (connection != NULL) { /* a signal handler may have forked, and this be the child */
        close_connection(connection);
        if (current)
            give_up_simulator();
    }
    unlock_pool();
}

/* Makes the application known to the simulator, if there is one: from now on it collects slot events. */
CK_RV transport_announce(void)
{
    unsigned generation;
    bool fresh;
    Meeting meeting;
    int fd = take(&generation, &fresh, &meeting);
    if (fd >= 0) {
        notice_not_needed();
        give_back(fd, generation, true);
    } else if (meeting == WANTING) {
        return CKR_FUNCTION_FAILED;
    } else if (meeting != UNKNOWN) {
        int error = meeting == QUIET ? ETIMEDOUT : errno;
        lock_pool();
        struct sockaddr_un address = pool.address;
        unlock_pool();
        notice_no_simulator(address.sun_path, error);
    }
    return CKR_OK;
}

/* Whether to go on after a send or recv that has failed: it was interrupted, or it was quiet and the simulator lives.
 * Signals that come all the time do not keep it from being asked. */
static bool goes_on(int64_t *interrupted)
{
    if (errno == EINTR) {
        int64_t now = greeting_now();
        if (*interrupted == 0)
            *interrupted = now;
        if (now - *interrupted < PATIENCE_MS)
            return true;
    } else if (errno != EAGAIN) {
        return false;
    }
    *interrupted = 0;
    return simulator_lives();
}

static bool send_all(int fd, const uint8_t *data, size_t size)
{
    int64_t interrupted = 0;
    while (size != 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && goes_on(&interrupted))
            continue;
        if (sent <= 0)
            return false;
        data += sent;
        size -= (size_t)sent;
    }
    return true;
}

static size_t receive(int fd, void *data, size_t size)
{
    int64_t interrupted = 0;
    for (;;) {
        ssize_t got = recv(fd, data, size, 0);
        if (got >= 0)
            return (size_t)got;
        if (!goes_on(&interrupted))
            return 0;
    }
}

/* Reads one frame and steps over its length: for most calls one recv. Memory grows with the bytes that come; when there
 * is no more, the frame is read to its end all the same, for the connection is needed further on. */
static Outcome receive_frame(int fd, Frame *frame)
{
    frame_drop(frame);
    size_t wanted = sizeof(uint32_t), lost = 0;
    while (frame->used + lost < wanted) {
        if (frame->used == frame->room && !frame->broken)
            frame_reserve(frame, wanted < 2 * frame->room ? wanted : 2 * frame->room);
        uint8_t rest[4096];
        size_t missing = wanted - frame->used - lost;
        size_t got = frame->broken ? receive(fd, rest, missing < sizeof rest ? missing : sizeof rest)
                                   : receive(fd, frame->data + frame->used, frame->room - frame->used);
        if (got == 0)
            return LOST;
        *(frame->broken ? &lost : &frame->used) += got;
        if (wanted == sizeof(uint32_t) && frame->used >= wanted) {
            uint32_t length = get_u32(frame);
            if (length == 0 || length > FRAME_LIMIT - wanted)
                return LOST;
            wanted += length;
        }
    }
    return frame->broken ? NO_MEMORY : frame->used == wanted ? ANSWERED : LOST;
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
        Meeting meeting;
        int fd = take(&generation, &fresh, &meeting);
        if (fd < 0 || generation != first) {
            if (fd >= 0)
                give_back(fd, generation, true);
            if (!transport_is_open() || generation != first)
                return FINALIZED;
            return meeting == WANTING ? NO_ROOM : UNREACHABLE;
        }
        bool sent = send_all(fd, frame->data, frame->used);
        Outcome outcome = sent ? receive_frame(fd, frame) : fresh ? UNREACHABLE : LOST;
        give_back(fd, generation, outcome == ANSWERED || outcome == NO_MEMORY);
        if (outcome == ANSWERED)
            return outcome;
        if (transport_generation() != generation)
            return FINALIZED;
        if (sent || fresh)
            return outcome;
    }
}
