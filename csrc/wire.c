/* SPDX-License-Identifier: MIT */
/* Frames: native-endian values in a buffer that starts on the stack and moves to the heap when it has to. */
#include "shim.h"

#include <stdlib.h>
#include <string.h>

void frame_start(Frame *frame)
{
    frame->data = frame->small;
    frame->room = sizeof frame->small;
    frame->used = 0;
    frame->read = 0;
    frame->broken = false;
}

void frame_drop(Frame *frame)
{
    if (frame->data != frame->small)
        free(frame->data);
    frame_start(frame);
}

/* Make room for `size` bytes in all, and keep those written. */
bool frame_reserve(Frame *frame, size_t size)
{
    if (frame->broken || size > FRAME_LIMIT) {
        frame->broken = true;
        return false;
    }
    if (size <= frame->room)
        return true;
    size_t room = size < 2 * frame->room ? 2 * frame->room : size;
    uint8_t *data = realloc(frame->data == frame->small ? NULL : frame->data, room);
    if (data == NULL) {
        frame->broken = true;
        return false;
    }
    if (frame->data == frame->small)
        memcpy(data, frame->small, frame->used);
    frame->data = data;
    frame->room = room;
    return true;
}

void put_bytes(Frame *frame, const void *data, size_t size)
{
    if (size > FRAME_LIMIT || !frame_reserve(frame, frame->used + size)) {
        frame->broken = true;
        return;
    }
    if (size != 0)
        memcpy(frame->data + frame->used, data, size);
    frame->used += size;
}

void put_u32(Frame *frame, uint32_t value)
{
    put_bytes(frame, &value, sizeof value);
}

void put_u64(Frame *frame, uint64_t value)
{
    put_bytes(frame, &value, sizeof value);
}

/* Write a byte string with its length; NULL differs from an empty one. */
void put_string(Frame *frame, const void *data, CK_ULONG length)
{
    put_u64(frame, data == NULL ? NO_LENGTH : length);
    if (data != NULL)
        put_bytes(frame, data, length);
}

const uint8_t *get_bytes(Frame *frame, size_t size)
{
    if (frame->broken || size > frame->used - frame->read) {
        frame->broken = true;
        return NULL;
    }
    const uint8_t *data = frame->data + frame->read;
    frame->read += size;
    return data;
}

uint32_t get_u32(Frame *frame)
{
    uint32_t value = 0;
    const uint8_t *data = get_bytes(frame, sizeof value);
    if (data != NULL)
        memcpy(&value, data, sizeof value);
    return value;
}

uint64_t get_u64(Frame *frame)
{
    uint64_t value = 0;
    const uint8_t *data = get_bytes(frame, sizeof value);
    if (data != NULL)
        memcpy(&value, data, sizeof value);
    return value;
}
