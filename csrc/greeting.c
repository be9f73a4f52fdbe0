/* SPDX-License-Identifier: MIT */
/* Finding a simulator, and the hello and welcome that begin a connection (p11/wire.py). */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Return whether a lack of descriptors or memory is the reason of an error. */
static bool is_want(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

int64_t greeting_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* Write the path of a socket, given in two parts; return false, and an empty path, if it is too long. */
static bool put_path(struct sockaddr_un *address, const char *folder, const char *file)
{
    const size_t room = sizeof address->sun_path;
    if ((size_t)snprintf(address->sun_path, room, "%s%s", folder, file) < room)
        return true;
    char whole[512];
    snprintf(whole, sizeof whole, "%s%s", folder, file);
    notice_no_simulator(whole, ENAMETOOLONG);
    address->sun_path[0] = '\0';
    return false;
}

/* Write the simulator's address: the path given to C_Initialize, else CARDTEAR_SOCKET, else the user's own folder.
 * The environment of a program with more rights than its caller is the caller's and is ignored; the user is the
 * effective one, and peer_is_ours checks that the simulator runs as that user. Return false for too long a path. */
bool greeting_find(const char *path, struct sockaddr_un *address)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (path == NULL)
        path = secure_getenv("CARDTEAR_SOCKET");
    if (path != NULL && *path != '\0')
        return put_path(address, path, "");
    const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
    if (runtime != NULL && *runtime == '/')
        return put_path(address, runtime, "/cardtear/p11.sock");
    snprintf(address->sun_path, sizeof address->sun_path, "/tmp/cardtear-%lu/p11.sock", (unsigned long)geteuid());
    return true;
}

/* Read the program's name from the kernel, for the trace. */
void greeting_read_name(char name[17])
{
    int comm = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
    ssize_t got = comm < 0 ? 0 : read(comm, name, 16);
    name[got > 0 ? got : 0] = '\0';
    name[strcspn(name, "\n")] = '\0';
    if (comm >= 0)
        close(comm);
}

void greeting_set_patience(int fd, int64_t milliseconds)
{
    struct timeval patience = {milliseconds / 1000, milliseconds % 1000 * 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

/* Wait until `fd` can be read or written: return 1, 0 when `end` has passed, -1 with errno. */
static int wait_ready(int fd, short events, int64_t end)
{
    struct pollfd wanted = {.fd = fd, .events = events};
    for (;;) {
        int64_t left = end - greeting_now();
        int ready = poll(&wanted, 1, left > 0 ? (int)left : 0);
        if (ready > 0 || (ready < 0 && errno != EINTR))
            return ready;
        if (left <= 0)
            return 0;
    }
}

/* Connect, also if a signal interrupts it while the queue of the listening socket is full. */
static bool reach(int fd, const struct sockaddr_un *address, int64_t end)
{
    for (;;) {
        int64_t left = end - greeting_now();
        greeting_set_patience(fd, left > 1 ? left : 1);
        if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
            return true;
        if (errno != EINTR)
            return false;
        if (left <= 0) {
            errno = EAGAIN;
            return false;
        }
    }
}

/* Check that the simulator runs as our user: a folder of another user could link to another socket of ours. */
static bool is_in_our_folder(const struct sockaddr_un *address)
{
    char folder[sizeof address->sun_path] = ".";
    const char *slash = strrchr(address->sun_path, '/');
    struct stat status;
    if (slash != NULL)
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - address->sun_path) + 1, address->sun_path);
    if (slash != NULL && slash != address->sun_path)
        folder[slash - address->sun_path] = '\0';
    return lstat(folder, &status) != 0 || status.st_uid == geteuid() || status.st_uid == 0;
}

static bool peer_is_ours(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == geteuid() || peer.uid == 0);
}

/* Send the hello. A busy simulator replies and closes before it has read anything: a failure to send is no error
 * then. */
static void send_hello(int fd, const Frame *hello, int64_t end)
{
    size_t sent = 0;
    while (sent < hello->used && wait_ready(fd, POLLOUT, end) > 0) {
        ssize_t some = send(fd, hello->data + sent, hello->used - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (some >= 0)
            sent += (size_t)some;
        else if (errno != EINTR && errno != EAGAIN)
            return;
    }
}

/* Receive the welcome; errno is EPERM for the simulator of another user, EPROTO for another program. */
static Greeting receive_welcome(int fd, uint32_t *flags, int64_t end, Receive *receive)
{
    uint32_t welcome[3];
    size_t have = 0;
    bool was_cut = false;
    while (have < sizeof welcome) {
        int ready = wait_ready(fd, POLLIN, end);
        if (ready <= 0)
            return ready == 0 ? NO_REPLY : NO_RESOURCES;
        ssize_t got = receive(fd, (uint8_t *)welcome + have, sizeof welcome - have, &was_cut);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0) {
            if (got < 0 && is_want(errno))
                return NO_RESOURCES;
            errno = EPROTO;
            return NO_SIMULATOR;
        }
        have += (size_t)got;
    }
    if (welcome[0] != sizeof welcome - sizeof *welcome || welcome[1] != WIRE_VERSION) {
        errno = EPROTO;
        return NO_SIMULATOR;
    }
    *flags = welcome[2];
    return was_cut || (*flags & IS_BUSY) != 0 ? NO_RESOURCES : (*flags & IS_UNKNOWN) != 0 ? OTHER_SIMULATOR : GREETED;
}

/* Write the hello: name of the application, and the slots that it has been shown. */
void greeting_put_hello(Frame *hello, const uint8_t *application, const char *program, uint32_t flags)
{
    put_u32(hello, 0);
    put_u32(hello, WIRE_VERSION);
    put_u32(hello, sizeof(CK_ULONG));
    put_bytes(hello, application, 16);
    put_u32(hello, (uint32_t)getpid());
    put_u32(hello, flags);
    put_string(hello, program, strlen(program));
    if ((flags & CONTINUES) != 0)
        put_u32(hello, 0); /* it has them */
    else
        slots_put(hello);
    uint32_t length = (uint32_t)(hello->used - sizeof length);
    memcpy(hello->data, &length, sizeof length);
}

/* Connect a socket, send the hello and receive the welcome with its `flags`. */
Greeting greeting_exchange(int fd, const struct sockaddr_un *address, const Frame *hello, uint32_t *flags, int64_t end,
                           Receive *receive)
{
    if (hello->broken)
        return NO_RESOURCES;
    if (address->sun_path[0] == '\0') {
        errno = ENAMETOOLONG;
        return NO_SIMULATOR;
    }
    bool ours = is_in_our_folder(address);
    if (ours && !reach(fd, address, end))
        return is_want(errno) ? NO_RESOURCES : errno == EAGAIN ? NO_REPLY : NO_SIMULATOR;
    if (!ours || !peer_is_ours(fd)) {
        errno = EPERM;
        return NO_SIMULATOR;
    }
    send_hello(fd, hello, end);
    return receive_welcome(fd, flags, end, receive);
}
