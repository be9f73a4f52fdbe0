/* SPDX-License-Identifier: MIT */
/* A file system without links and without files that have no name, as FAT; with NO_RENAMEAT2, on an old kernel. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>

static int refuse(int number)
{
    errno = number;
    return -1;
}

int link(const char *from, const char *to)
{
    (void)from, (void)to;
    return refuse(EPERM);
}

int linkat(int from, const char *name, int to, const char *other, int flags)
{
    (void)from, (void)name, (void)to, (void)other, (void)flags;
    return refuse(EPERM);
}

int renameat2(int from, const char *name, int to, const char *other, unsigned flags)
{
    int (*real)(int, const char *, int, const char *, unsigned) = dlsym(RTLD_NEXT, "renameat2");
    return getenv("NO_RENAMEAT2") ? refuse(EINVAL) : real(from, name, to, other, flags);
}

#define OPEN(called)                                                                                                   \
    int called(int folder, const char *name, int flags, ...)                                                           \
    {                                                                                                                  \
        int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, #called);                                          \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        int mode = va_arg(more, int);                                                                                  \
        va_end(more);                                                                                                  \
        return (flags & O_TMPFILE) == O_TMPFILE ? refuse(EOPNOTSUPP) : real(folder, name, flags, mode);                \
    }
OPEN(openat)
OPEN(openat64)
