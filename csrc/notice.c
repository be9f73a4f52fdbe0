/* SPDX-License-Identifier: MIT */
/* One line on standard error, once in a process and its children, for a program that finds no simulator: it would see
 * no slots, and nobody would know why. Not when there has been one: that it has gone is a removal, and no mistake. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define MOST 1024 /* bytes: a pipe takes so many at once, or none */

static bool done;

void notice_not_needed(void)
{
    __atomic_store_n(&done, true, __ATOMIC_RELAXED);
}

/* With more rights than its caller a program says nothing that the caller has not asked it for. */
static bool is_wanted(void)
{
    const char *quiet = getenv("CARDTEAR_QUIET");
    return getauxval(AT_SECURE) == 0 && (quiet == NULL || *quiet == '\0' || strcmp(quiet, "0") == 0);
}

/* Whether a line can be written at once. A descriptor that is closed on exec is no standard error that the program was
 * given, but a file of its own that has the number by chance. */
static bool can_write(void)
{
    int flags = fcntl(STDERR_FILENO, F_GETFD);
    struct pollfd error = {.fd = STDERR_FILENO, .events = POLLOUT};
    return flags >= 0 && (flags & FD_CLOEXEC) == 0 && poll(&error, 1, 0) == 1 && (error.revents & POLLOUT) != 0;
}

/* One write, of which no signal comes: not of a pipe without a reader, a file that is full, or a terminal that belongs
 * to another job. */
static void write_line(const char *line, size_t length)
{
    sigset_t ours, before, pending;
    sigemptyset(&ours);
    sigaddset(&ours, SIGPIPE);
    sigaddset(&ours, SIGXFSZ);
    sigaddset(&ours, SIGTTOU);
    sigpending(&pending);
    if (pthread_sigmask(SIG_BLOCK, &ours, &before) != 0)
        return;
    ssize_t written = write(STDERR_FILENO, line, length);
    int made = written >= 0 ? 0 : errno == EPIPE ? SIGPIPE : errno == EFBIG ? SIGXFSZ : 0;
    if (made != 0 && !sigismember(&pending, made)) {
        sigset_t only;
        sigemptyset(&only);
        sigaddset(&only, made);
        sigtimedwait(&only, NULL, &(struct timespec){0, 0});
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Text from outside, with everything but printable ASCII as \xNN. */
static void show(char *shown, size_t room, const char *text)
{
    size_t used = 0;
    for (; *text != '\0' && used + 5 <= room; text++)
        used += (size_t)snprintf(shown + used, room - used, *text >= ' ' && *text <= '~' ? "%c" : "\\x%02x",
                                 (unsigned char)*text);
}

/* `error` is EPERM for a simulator of another user, EPROTO for what is none, ETIMEDOUT for one that does not answer,
 * ENAMETOOLONG for a path that no socket can have. */
void notice_no_simulator(const char *path, int error)
{
    int before = errno;
    if (!is_wanted() || __atomic_exchange_n(&done, true, __ATOMIC_RELAXED) || !can_write())
        return;
    char line[MOST], shown[512] = "", text[128];
    const char *reason = error == EPERM          ? "it belongs to another user"
                         : error == EPROTO       ? "what listens there is no simulator of this version"
                         : error == ETIMEDOUT    ? "it does not answer"
                         : error == ENAMETOOLONG ? "no socket's path is longer than 107 bytes"
                                                 : strerror_r(error, text, sizeof text);
    show(shown, sizeof shown, path);
    int length = snprintf(line, sizeof line,
                          "cardtear: no simulator at %s (%s), so there are no slots; start one with `cardtear serve`, "
                          "or set CARDTEAR_SOCKET to its socket (CARDTEAR_QUIET=1 silences this)\n",
                          shown, reason);
    if (length > 0 && (size_t)length < sizeof line)
        write_line(line, (size_t)length);
    errno = before;
}
