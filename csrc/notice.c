/* SPDX-License-Identifier: MIT */
/* One line on standard error, once in a process and its children, when a program finds no simulator: its user would
 * not know why there are no slots. Not after it has had one: the end of a simulator is a removal, not a mistake. */
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

/* Return whether the line is wanted; a program with more rights than its caller writes none. */
static bool is_wanted(void)
{
    const char *quiet = getenv("CARDTEAR_QUIET");
    return getauxval(AT_SECURE) == 0 && (quiet == NULL || *quiet == '\0' || strcmp(quiet, "0") == 0);
}

/* Return whether a line can be written at once. A descriptor that is closed on exec is not the standard error of
 * the program, but a file of its own with that number. */
static bool can_write(void)
{
    int flags = fcntl(STDERR_FILENO, F_GETFD);
    struct pollfd error = {.fd = STDERR_FILENO, .events = POLLOUT};
    return flags >= 0 && (flags & FD_CLOEXEC) == 0 && poll(&error, 1, 0) == 1 && (error.revents & POLLOUT) != 0;
}

/* Write once without causing a signal, also to a pipe without reader, a full file, or the terminal of another job. */
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

/* Copy text from outside, with all but printable ASCII as \xNN. */
static void show(char *shown, size_t room, const char *text)
{
    size_t used = 0;
    for (; *text != '\0' && used + 5 <= room; text++)
        used += (size_t)snprintf(shown + used, room - used, *text >= ' ' && *text <= '~' ? "%c" : "\\x%02x",
                                 (unsigned char)*text);
}

/* Write the line. `error` is EPERM for the simulator of another user, EPROTO for another program, ETIMEDOUT for a
 * simulator that does not reply, ENAMETOOLONG for a path that no socket can have. */
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
