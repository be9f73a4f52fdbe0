/* SPDX-License-Identifier: MIT */
/* For LD_PRELOAD: socket() and connect() on Unix sockets fail with the errno that was asked for. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>

static int in_socket, in_connect;

void fail_socket(int error)
{
    in_socket = error;
}

void fail_connect(int error)
{
    in_connect = error;
}

int socket(int domain, int type, int protocol)
{
    if (domain == AF_UNIX && in_socket != 0) {
        errno = in_socket;
        return -1;
    }
    return ((int (*)(int, int, int))dlsym(RTLD_NEXT, "socket"))(domain, type, protocol);
}

int connect(int fd, const struct sockaddr *address, socklen_t size)
{
    if (address->sa_family == AF_UNIX && in_connect != 0) {
        errno = in_connect;
        return -1;
    }
    return ((int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect"))(fd, address, size);
}
