/* SPDX-License-Identifier: MIT */
/* Calls to the simulator: one frame sent and one received on a connection of the pool (pool.c). */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local uint32_t thread_id;

/* Forget the number of this thread, which is another one in a child of fork. */
static void forget_thread(void)
{
    thread_id = 0;
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, forget_thread);
}

/* Connect to the simulator, if there is one: from now on it records slot events for the application. */
CK_RV transport_announce(void)
{
    unsigned generation;
    bool fresh;
    Greeting greeting;
    int fd = pool_take(&generation, &fresh, &greeting);
    if (fd >= 0) {
        notice_not_needed();
        pool_give_back(fd, generation, true);
    } else if (greeting == NO_RESOURCES) {
        return CKR_FUNCTION_FAILED;
    } else if (greeting != OTHER_SIMULATOR) {
        int error = greeting == NO_REPLY ? ETIMEDOUT : errno;
        struct sockaddr_un address = pool_address();
        notice_no_simulator(address.sun_path, error);
    }
    return CKR_OK;
}

/* Return whether to go on after a failed send or recv: it was interrupted, or timed out and the simulator runs.
 * Signals that never cease do not keep this from asking the simulator. */
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
    return pool_simulator_runs();
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

/* Read one frame and skip its length: one recv for most calls. Memory grows with the bytes received; without
 * memory the frame is read to its end all the same, for the connection is used again. */
static CallResult receive_frame(int fd, Frame *frame)
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
    return frame->broken ? NO_MEMORY : frame->used == wanted ? REPLIED : LOST;
}

/* One round trip: `frame` holds the arguments behind room for the header, and afterwards the reply from its CK_RV on.
 *
 * A call that could not be sent whole has not been carried out. On a connection out of the pool that only says that
 * its simulator has gone since, so the next one is tried, and at last a fresh one. */
CallResult transport_call(uint16_t number, Frame *frame)
{
    if (thread_id == 0)
        thread_id = (uint32_t)syscall(SYS_gettid);
    uint32_t header[3] = {(uint32_t)(frame->used - sizeof(uint32_t)), number, thread_id};
    memcpy(frame->data, header, sizeof header);
    unsigned first = pool_generation(), generation;
    for (;;) {
        bool fresh;
        Greeting greeting;
        int fd = pool_take(&generation, &fresh, &greeting);
        if (fd < 0 || generation != first) {
            if (fd >= 0)
                pool_give_back(fd, generation, true);
            if (!pool_is_open() || generation != first)
                return FINALIZED;
            return greeting == NO_RESOURCES ? NO_ROOM : UNREACHABLE;
        }
        bool sent = send_all(fd, frame->data, frame->used);
        CallResult result = sent ? receive_frame(fd, frame) : fresh ? UNREACHABLE : LOST;
        pool_give_back(fd, generation, result == REPLIED || result == NO_MEMORY);
        if (result == REPLIED)
            return result;
        if (pool_generation() != generation)
            return FINALIZED;
        if (sent || fresh)
            return result;
    }
}
