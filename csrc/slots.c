/* SPDX-License-Identifier: MIT */
/* The slots that the application has been shown. When the simulator goes, they stay listed, empty; when another comes,
 * it is told of them and keeps their numbers. */
#include "shim.h"

#include <pthread.h>
#include <string.h>

#define MAX_SLOTS 1024

static struct {
    pthread_mutex_t lock;
    CK_ULONG count;
    struct {
        CK_SLOT_ID id;
        bool event; /* its card went with the simulator, and C_WaitForSlotEvent has not said so yet */
        CK_SLOT_INFO info;
    } slots[MAX_SLOTS];
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

static CK_ULONG find(CK_SLOT_ID id)
{
    CK_ULONG i = 0;
    while (i < known.count && known.slots[i].id != id)
        i++;
    return i;
}

void slots_forget(void)
{
    pthread_mutex_lock(&known.lock);
    known.count = 0;
    pthread_mutex_unlock(&known.lock);
}

/* In a forked child: whoever held the lock is not there. */
void slots_forget_in_child(void)
{
    pthread_mutex_init(&known.lock, NULL);
    known.count = 0;
}

bool slots_know(CK_SLOT_ID id)
{
    pthread_mutex_lock(&known.lock);
    bool found = find(id) < known.count;
    pthread_mutex_unlock(&known.lock);
    return found;
}

void slots_remember(CK_SLOT_ID id, const CK_SLOT_INFO *info)
{
    pthread_mutex_lock(&known.lock);
    CK_ULONG i = find(id);
    if (i < MAX_SLOTS) {
        if (i == known.count) {
            known.count++;
            known.slots[i].event = false;
        }
        known.slots[i].id = id;
        known.slots[i].info = *info;
    }
    pthread_mutex_unlock(&known.lock);
}

void slots_lose_cards(void)
{
    pthread_mutex_lock(&known.lock);
    for (CK_ULONG i = 0; i < known.count; i++) {
        known.slots[i].event |= (known.slots[i].info.flags & CKF_TOKEN_PRESENT) != 0;
        known.slots[i].info.flags &= ~CKF_TOKEN_PRESENT;
    }
    pthread_mutex_unlock(&known.lock);
}

bool slots_take_event(CK_SLOT_ID *id)
{
    bool found = false;
    pthread_mutex_lock(&known.lock);
    for (CK_ULONG i = 0; i < known.count && !found; i++) {
        found = known.slots[i].event;
        if (found) {
            known.slots[i].event = false;
            *id = known.slots[i].id;
        }
    }
    pthread_mutex_unlock(&known.lock);
    return found;
}

bool slots_info(CK_SLOT_ID id, CK_SLOT_INFO *info)
{
    pthread_mutex_lock(&known.lock);
    CK_ULONG i = find(id);
    bool found = i < known.count;
    if (found)
        *info = known.slots[i].info;
    pthread_mutex_unlock(&known.lock);
    return found;
}

/* The known slots' numbers, as many as there is room for; the answer counts all of them. */
CK_ULONG slots_list(CK_SLOT_ID *ids, CK_ULONG room)
{
    pthread_mutex_lock(&known.lock);
    CK_ULONG count = known.count;
    for (CK_ULONG i = 0; ids != NULL && i < count && i < room; i++)
        ids[i] = known.slots[i].id;
    pthread_mutex_unlock(&known.lock);
    return count;
}

/* For the hello: number and description (64 bytes, blank-padded) of each. */
void slots_put(Frame *hello)
{
    pthread_mutex_lock(&known.lock);
    put_u32(hello, (uint32_t)known.count);
    for (CK_ULONG i = 0; i < known.count; i++) {
        put_u64(hello, known.slots[i].id);
        put_bytes(hello, known.slots[i].info.slotDescription, sizeof known.slots[i].info.slotDescription);
    }
    pthread_mutex_unlock(&known.lock);
}
