/* SPDX-License-Identifier: MIT */
/* The slots of the application when the simulator has gone: they stay listed, empty; when another comes, it is told of
 * them and keeps their numbers.
 *
 * The simulator keeps a record of them in a file without a name, of which the module gets a descriptor with the welcome
 * (p11/slot_record.py). It outlives the simulator, so that what happened to a slot since the last call is known, too.
 */
#include "shim.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IS_LISTED 1u /* C_GetSlotList has shown it */
#define HAS_EVENT 2u /* C_WaitForSlotEvent has not said yet that something happened to it */
#define IS_DROPPED 4u /* C_GetSlotList does not show it any more (only with quirks) */

typedef struct Record {
    uint64_t id;
    uint32_t state;
    uint32_t zero;
    CK_SLOT_INFO info;
} Record;

_Static_assert(sizeof(Record) == 128, "as in p11/slot_record.py");

static struct {
    pthread_mutex_t lock;
    int file; /* the simulator's record, or -1 */
    bool due; /* that simulator has gone, and its record has not been read yet */
    size_t count;
    Record *slots; /* of the last simulator that has gone */
} known = {.lock = PTHREAD_MUTEX_INITIALIZER, .file = -1};

void slots_lock(void)
{
    pthread_mutex_lock(&known.lock);
}

void slots_unlock(void)
{
    pthread_mutex_unlock(&known.lock);
}

static void close_file(void)
{
    if (known.file >= 0)
        close(known.file);
    known.file = -1;
}

void slots_forget(void)
{
    slots_lock();
    close_file();
    free(known.slots);
    known.slots = NULL;
    known.count = 0;
    known.due = false;
    slots_unlock();
}

/* Use the record of a simulator that has taken over the slots with their events; -1 if it keeps none. */
void slots_follow(int record)
{
    slots_lock();
    close_file();
    known.file = record;
    known.due = false;
    for (size_t i = 0; i < known.count; i++)
        known.slots[i].state &= ~HAS_EVENT;
    slots_unlock();
}

/* Read the record into memory; return false if there is not enough of it now. */
static bool read_record(void)
{
    struct stat status;
    if (known.file < 0 || fstat(known.file, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size > FRAME_LIMIT)
        return true;
    size_t wanted = (size_t)status.st_size / sizeof(Record), count = 0;
    Record *slots = malloc((wanted + 1) * sizeof *slots);
    if (slots == NULL)
        return false;
    for (size_t i = 0; i < wanted; i++)
        if (pread(known.file, &slots[count], sizeof *slots, (off_t)(i * sizeof *slots)) == sizeof *slots &&
            (slots[count].state & IS_DROPPED) == 0)
            count++;
    free(known.slots);
    known.slots = slots;
    known.count = count;
    return true;
}

/* Empty all slots, and set the event flags of those that had a card. Under the lock. */
static bool settle(void)
{
    if (known.due && read_record()) {
        known.due = false;
        close_file();
        for (size_t i = 0; i < known.count; i++) {
            if ((known.slots[i].info.flags & CKF_TOKEN_PRESENT) != 0)
                known.slots[i].state |= HAS_EVENT;
            known.slots[i].info.flags &= ~CKF_TOKEN_PRESENT;
        }
    }
    return !known.due;
}

/* Read the record of a simulator that has ended; one that is only stopped may go on writing it later. */
void slots_lose_cards(void)
{
    slots_lock();
    known.due = true;
    (void)settle();
    slots_unlock();
}

/* Bring the slots up to date, before all other questions; return false without memory. */
bool slots_settle(void)
{
    slots_lock();
    bool settled = settle();
    slots_unlock();
    return settled;
}

static Record *find(CK_SLOT_ID id)
{
    for (size_t i = 0; i < known.count; i++)
        if (known.slots[i].id == id)
            return &known.slots[i];
    return NULL;
}

bool slots_know(CK_SLOT_ID id)
{
    slots_lock();
    bool found = find(id) != NULL;
    slots_unlock();
    return found;
}

bool slots_take_event(CK_SLOT_ID *id)
{
    bool found = false;
    slots_lock();
    for (size_t i = 0; i < known.count && !found; i++) {
        found = (known.slots[i].state & HAS_EVENT) != 0;
        if (found) {
            known.slots[i].state &= ~HAS_EVENT;
            *id = known.slots[i].id;
        }
    }
    slots_unlock();
    return found;
}

bool slots_info(CK_SLOT_ID id, CK_SLOT_INFO *info)
{
    slots_lock();
    Record *slot = find(id);
    if (slot != NULL)
        *info = slot->info;
    slots_unlock();
    return slot != NULL;
}

/* Write the slots' numbers, as many as there is room for, and return how many there are. New ones are shown from
 * the next call without buffer on, as by the simulator. */
CK_ULONG slots_list(CK_SLOT_ID *ids, CK_ULONG room)
{
    CK_ULONG count = 0;
    slots_lock();
    for (size_t i = 0; i < known.count; i++) {
        if (ids == NULL)
            known.slots[i].state |= IS_LISTED;
        if ((known.slots[i].state & IS_LISTED) == 0)
            continue;
        if (ids != NULL && count < room)
            ids[count] = known.slots[i].id;
        count++;
    }
    slots_unlock();
    return count;
}

/* Write number, state and description (64 bytes, blank-padded) of each slot to the hello. */
void slots_put(Frame *hello)
{
    slots_lock();
    hello->broken |= !settle();
    put_u32(hello, (uint32_t)known.count);
    for (size_t i = 0; i < known.count; i++) {
        put_u64(hello, known.slots[i].id);
        put_u32(hello, known.slots[i].state);
        put_bytes(hello, known.slots[i].info.slotDescription, sizeof known.slots[i].info.slotDescription);
    }
    slots_unlock();
}
