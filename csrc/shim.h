/* SPDX-License-Identifier: MIT */
/* The declarations that the files of the module share. */
#ifndef CARDTEAR_SHIM_H
#define CARDTEAR_SHIM_H

#include "cryptoki.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#define WIRE_VERSION 5u
#define FRAME_LIMIT (64u << 20) /* bytes in one frame, either way */
#define NO_BUFFER (UINT64_MAX - 1) /* on the wire: there is not even a pointer to the length */
#define NO_LENGTH UINT64_MAX     /* on the wire: a NULL pointer, or CK_UNAVAILABLE_INFORMATION */

/* wire.c: frames and the values in them. A frame that could not be written or read completely says so in `broken`. */
typedef struct Frame {
    uint8_t *data;
    size_t used; /* bytes written, or bytes that a reply holds */
    size_t room;
    size_t read; /* read position */
    bool broken;
    uint8_t small[1024];
} Frame;

void frame_start(Frame *frame);
void frame_drop(Frame *frame);
bool frame_reserve(Frame *frame, size_t size);
void put_bytes(Frame *frame, const void *data, size_t size);
void put_u32(Frame *frame, uint32_t value);
void put_u64(Frame *frame, uint64_t value);
void put_string(Frame *frame, const void *data, CK_ULONG length);
uint32_t get_u32(Frame *frame);
uint64_t get_u64(Frame *frame);
const uint8_t *get_bytes(Frame *frame, size_t size);

/* parameters.c: mechanism and message parameters, with what the pointers in them point to. */
CK_RV put_mechanism(Frame *frame, const CK_MECHANISM *mechanism, bool of_message);
CK_RV put_message_parameter(Frame *frame, const void *parameter, CK_ULONG length, bool in_and_out);
void get_mechanism_outputs(Frame *reply, const CK_MECHANISM *mechanism, bool of_message);
void get_message_outputs(Frame *reply, void *parameter, CK_ULONG length);

/* marshal.c: the arguments of a call into a frame, and results out of one, as its signature says (p11/calls.py). */
CK_RV pack_arguments(Frame *frame, const char *signature, va_list arguments);
bool unpack_results(Frame *reply, CK_RV rv, const char *signature, va_list arguments);

#ifndef PATIENCE_MS
#define PATIENCE_MS 10000 /* without a reply, until the simulator is asked whether it runs; and for its welcome */
#define IMPATIENCE_MS 1000 /* for the welcome of one that has not sent it the last time */
#endif

/* transport.c: calls to the simulator. */
typedef enum CallResult {
    REPLIED,    /* the reply is in the frame */
    UNREACHABLE, /* nothing was sent */
    LOST,        /* the simulator went away while it had the call */
    NO_ROOM,     /* nothing was sent: no descriptor or no memory for a connection, here or at the simulator */
    NO_MEMORY,   /* the reply came, and there was no memory for it */
    FINALIZED    /* C_Finalize ended the wait */
} CallResult;

CK_RV transport_announce(void);
CallResult transport_call(uint16_t number, Frame *frame);

/* greeting.c: finding a simulator; the flags of the hello and of the welcome. */
#define CONTINUES 1u   /* the simulator knows this application already */
#define COMES_LATER 2u /* there was a time since C_Initialize without a simulator */

#define LEAVES_CALLS 1u /* C_Finalize is to leave the calls that are under way to the simulator */
#define IS_UNKNOWN 2u   /* it does not know the application */
#define IS_BUSY 4u      /* it has no descriptors or threads left */

typedef enum Greeting {
    GREETED,
    NO_SIMULATOR,  /* there is no simulator, or none of ours */
    NO_REPLY,   /* one that does not answer */
    OTHER_SIMULATOR, /* another one than before: it does not know this application */
    NO_RESOURCES  /* no descriptors or no memory, here or there */
} Greeting;

int64_t greeting_now(void);
bool greeting_find(const char *path, struct sockaddr_un *address);
void greeting_read_name(char name[17]);
void greeting_set_patience(int fd, int64_t milliseconds);
void greeting_put_hello(Frame *hello, const uint8_t *application, const char *program, uint32_t flags);

/* Reads a part of the welcome, with the descriptor that comes with it; sets `was_cut` if that was lost. */
typedef ssize_t Receive(int fd, void *data, size_t size, bool *was_cut);

Greeting greeting_exchange(int fd, const struct sockaddr_un *address, const Frame *hello, uint32_t *flags, int64_t end,
                           Receive *receive);

/* pool.c: connections to the simulator. */
CK_RV pool_open(const char *path);
bool pool_is_open(void);
void pool_close(bool finalized);
unsigned pool_generation(void);
int pool_take(unsigned *generation, bool *fresh, Greeting *greeting);
void pool_give_back(int fd, unsigned generation, bool sound);
bool pool_simulator_runs(void);
struct sockaddr_un pool_address(void);

/* slots.c: the slots after the end of a simulator. */
void slots_lock(void);
void slots_unlock(void);
void slots_forget(void);
void slots_follow(int record);
void slots_lose_cards(void);
bool slots_settle(void);
bool slots_know(CK_SLOT_ID id);
bool slots_take_event(CK_SLOT_ID *id);
bool slots_info(CK_SLOT_ID id, CK_SLOT_INFO *info);
CK_ULONG slots_list(CK_SLOT_ID *ids, CK_ULONG room);
void slots_put(Frame *hello);

/* notice.c: the line on standard error of a program that finds no simulator. */
void notice_no_simulator(const char *path, int error);
void notice_not_needed(void);

/* invoke.c: one call, from the stub's arguments to its return value. */
CK_RV invoke(uint16_t number, const char *signature, ...);

/* module.c: the functions that need no simulator. */
CK_RV C_Initialize(CK_VOID_PTR pInitArgs);
CK_RV C_Finalize(CK_VOID_PTR pReserved);
CK_RV get_info(CK_VERSION version, CK_INFO *pInfo);

#endif
