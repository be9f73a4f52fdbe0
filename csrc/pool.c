/* SPDX-License-Identifier: MIT */
/* The pool of connections to the simulator: one for each call under way.
 *
 * The lock guards the pool only and is never held during a wait, so that a call that blocks delays no other. Every
 * descriptor that is opened here is in the pool before the lock is released: a child of fork closes those in it. Every
 * C_Initialize and C_Finalize begins a new generation; a call of an older one ends when its connection is shut down.
 *
 * A call may take hours (C_WaitForSlotEvent, a PIN pad). When there has been no reply for a while, the simulator is
 * asked for a welcome on a new connection. One that does not send it is stopped or hangs: it is given up as if it had
 * ended, and if it goes on later, it finds another application without sessions. Until then calls wait shorter.
 *
 * A lack of descriptors or memory, on either side, says nothing of the simulator: the call fails, all else stays.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST_ATTEMPTS 4 /* to connect to a simulator while others start and end */

typedef struct Connection {
    int fd;
    int record; /* of the slots, received with a welcome and not used yet; else -1 */
    bool busy;
    bool given_up; /* shut down, for its simulator has ended or hangs; its user closes it */
} Connection;

static struct {
    pthread_mutex_t lock;
    bool open;
    bool had_simulator; /* one that knows this application */
    bool was_alone; /* there was none for some time since C_Initialize */
    bool hangs; /* it has accepted a connection and sent no welcome */
    bool leaves_calls; /* as the simulator has asked: C_Finalize does not end calls under way */
    unsigned generation;
    unsigned greetings; /* welcomes received */
    unsigned replies;  /* calls with a reply */
    struct sockaddr_un address;
    uint8_t application[16];
    char program[17];
    size_t count, room;
    Connection *connections;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void lock_pool(void)
{
    pthread_mutex_lock(&pool.lock);
}

static void unlock_pool(void)
{
    pthread_mutex_unlock(&pool.lock);
}

/* Begin a generation. Under the lock; both values are also read without it. */
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

/* Close the parent's connections in a child of fork, which has not called C_Initialize. */
static void forked_child(void)
{
    for (size_t i = 0; i < pool.count; i++)
        close_both(pool.connections[i]);
    pool.count = 0;
    pool.had_simulator = false;
    begin_generation(false);
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
    pool_close(false);
    lock_pool();
    if (pool.count == 0) {
        free(pool.connections);
        pool.connections = NULL;
        pool.room = 0;
    }
    unlock_pool();
}

CK_RV pool_open(const char *path)
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

bool pool_is_open(void)
{
    return __atomic_load_n(&pool.open, __ATOMIC_ACQUIRE);
}

unsigned pool_generation(void)
{
    return __atomic_load_n(&pool.generation, __ATOMIC_ACQUIRE);
}

/* Close the unused connections, and with `shut` ends the calls on the others. Under the lock. */
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

/* End the generation: calls on other threads return at once, unless the simulator has asked to end them itself at
 * C_Finalize. */
void pool_close(bool finalized)
{
    lock_pool();
    begin_generation(false);
    drop_connections(!(finalized && pool.leaves_calls), false);
    pool.had_simulator = false;
    slots_forget();
    unlock_pool();
}

/* Give up a simulator that has ended or hangs: its cards are removed, all calls to it end, and the application gets
 * another name, so that its state there is never used again. Under the lock. */
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

/* Add a socket that is not connected yet to the pool, in use; return -1 with errno on failure. */
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

/* Return the connection of a descriptor, NULL if it is none. Under the lock. */
static Connection *find_connection(int fd)
{
    for (size_t i = 0; i < pool.count; i++)
        if (pool.connections[i].fd == fd)
            return &pool.connections[i];
    return NULL;
}

/* Close a connection and remove it from the pool. Under the lock. */
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

/* Read a part of the welcome without waiting; keep the record of the slots, which comes with it, in the
 * connection. Set `was_cut` if there was no descriptor left for it. */
static ssize_t receive_welcome(int fd, void *data, size_t size, bool *was_cut)
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

/* Apply the result of a greeting to the pool. Under the lock. */
static void apply_greeting(int fd, Greeting greeting, uint32_t flags, bool continues)
{
    if (greeting == GREETED) {
        Connection *connection = find_connection(fd);
        pool.leaves_calls = (flags & LEAVES_CALLS) != 0;
        pool.greetings++;
        pool.had_simulator = true;
        if (!continues)
            slots_follow(connection->record);
        else if (connection->record >= 0) /* the one that is there already */
            close(connection->record);
        connection->record = -1;
    } else if (greeting != NO_RESOURCES) {
        give_up_simulator();
    }
}

/* Connect a socket of the pool to the present simulator. Without one, the earlier one is given up, unless another
 * thread has connected meanwhile: then return OTHER_SIMULATOR, to be tried again. */
static Greeting connect_to_simulator(int fd)
{
    Frame hello;
    frame_start(&hello);
    lock_pool();
    struct sockaddr_un address = pool.address;
    uint8_t application[sizeof pool.application];
    memcpy(application, pool.application, sizeof application);
    bool continues = pool.had_simulator;
    unsigned greetings = pool.greetings, replies = pool.replies;
    int64_t end = greeting_now() + (pool.hangs ? IMPATIENCE_MS : PATIENCE_MS);
    greeting_put_hello(&hello, application, pool.program, (continues ? CONTINUES : 0) | (pool.was_alone ? COMES_LATER : 0));
    unlock_pool();
    uint32_t flags = 0;
    Greeting greeting = greeting_exchange(fd, &address, &hello, &flags, end, receive_welcome);
    int error = errno;
    frame_drop(&hello);
    greeting_set_patience(fd, PATIENCE_MS);
    lock_pool();
    bool same = pool.open && memcmp(pool.application, application, sizeof application) == 0;
    if (greeting == NO_REPLY && pool.replies != replies) /* neither stopped nor hanging */
        greeting = NO_RESOURCES;
    bool outdated = !same || (greeting != GREETED && greeting != NO_RESOURCES && pool.greetings != greetings);
    pool.hangs = greeting == NO_REPLY && !outdated;
    if (!outdated)
        apply_greeting(fd, greeting, flags, continues);
    unlock_pool();
    errno = error;
    return outdated ? OTHER_SIMULATOR : greeting;
}

/* Ask whether the simulator of a call without reply still runs; return true if it cannot ask. */
bool pool_simulator_runs(void)
{
    int fd = new_connection();
    if (fd < 0)
        return true;
    Greeting greeting = connect_to_simulator(fd);
    close_fd(fd);
    return greeting != NO_SIMULATOR && greeting != NO_REPLY;
}

/* Take a connection from the pool, or makes one; return -1 with the result of the greeting on failure. Sending
 * shows whether one from the pool is still connected. */
int pool_take(unsigned *generation, bool *fresh, Greeting *greeting)
{
    int fd = -1;
    *greeting = OTHER_SIMULATOR;
    for (int attempt = 0; attempt < MOST_ATTEMPTS && *greeting == OTHER_SIMULATOR; attempt++) {
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
        *greeting = fd >= 0 ? connect_to_simulator(fd) : NO_RESOURCES;
        if (*greeting == GREETED)
            return fd;
        int error = errno;
        if (fd >= 0)
            close_fd(fd);
        fd = -1;
        errno = error;
    }
    return fd;
}

/* Give a connection back to the pool; close one that has failed or is of an older generation. */
void pool_give_back(int fd, unsigned generation, bool sound)
{
    lock_pool();
    Connection *connection = find_connection(fd);
    bool current = connection != NULL && pool.open && pool.generation == generation && !connection->given_up;
    if (sound && current) {
        connection->busy = false;
        pool.replies++;
    } else if (connection != NULL) { /* a signal handler may have forked, and this be the child */
        close_connection(connection);
        if (current)
            give_up_simulator();
    }
    unlock_pool();
}

/* Return the address on which the simulator of this generation listens. */
struct sockaddr_un pool_address(void)
{
    lock_pool();
    struct sockaddr_un address = pool.address;
    unlock_pool();
    return address;
}
