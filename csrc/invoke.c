/* SPDX-License-Identifier: MIT */
/* The way of a call to the simulator: from the stub's arguments to the return value, also without simulator. */
#include "shim.h"
#include "functions.h"
#include "listed.h"

#include <errno.h>
#include <poll.h>

#define RECONNECT_MS 50

static CK_RV offline_slot_list(va_list arguments)
{
    bool present = (va_arg(arguments, int) & 0xFF) != 0;
    CK_SLOT_ID *ids = va_arg(arguments, CK_SLOT_ID *);
    CK_ULONG *count = va_arg(arguments, CK_ULONG *);
    CK_ULONG room = *count;
    *count = present ? 0 : slots_list(ids, room);
    return ids != NULL && *count > room ? CKR_BUFFER_TOO_SMALL : CKR_OK;
}

/* Carry out a function without simulator: the known slots exist and are empty. */
static CK_RV offline(uint16_t number, va_list arguments)
{
    if (!slots_settle())
        return CKR_HOST_MEMORY;
    switch (number) {
    case CALL_C_Finalize:
        return CKR_OK;
    case CALL_C_GetSlotList:
        return offline_slot_list(arguments);
    case CALL_C_GetSlotInfo: {
        CK_SLOT_ID id = va_arg(arguments, CK_SLOT_ID);
        return slots_info(id, va_arg(arguments, CK_SLOT_INFO *)) ? CKR_OK : CKR_SLOT_ID_INVALID;
    }
    case CALL_C_GetTokenInfo:
    case CALL_C_GetMechanismList:
    case CALL_C_GetMechanismInfo:
    case CALL_C_InitToken:
    case CALL_C_OpenSession:
    case CALL_C_CloseAllSessions:
        return slots_know(va_arg(arguments, CK_SLOT_ID)) ? CKR_TOKEN_NOT_PRESENT : CKR_SLOT_ID_INVALID;
    default:
        return CKR_SESSION_HANDLE_INVALID;
    }
}

/* Carry out C_WaitForSlotEvent without simulator: return the events of the cards removed with it, then wait for
 * another simulator. */
static bool offline_wait(va_list arguments, CK_RV *rv)
{
    CK_FLAGS flags = va_arg(arguments, CK_FLAGS);
    CK_SLOT_ID *id = va_arg(arguments, CK_SLOT_ID *);
    if (!slots_settle() || slots_take_event(id)) {
        *rv = slots_settle() ? CKR_OK : CKR_HOST_MEMORY;
        return true;
    }
    if ((flags & CKF_DONT_BLOCK) != 0) {
        *rv = CKR_NO_EVENT;
        return true;
    }
    poll(NULL, 0, RECONNECT_MS);
    return false;
}

CK_RV invoke(uint16_t number, const char *signature, ...)
{
    if (!pool_is_open())
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    unsigned generation = pool_generation();
    for (;;) {
        va_list arguments;
        Frame frame;
        frame_start(&frame);
        frame.used = 3 * sizeof(uint32_t); /* the header, filled in when the frame is sent */
        va_start(arguments, signature);
        CK_RV rv = pack_arguments(&frame, signature, arguments);
        va_end(arguments);
        if (rv != CKR_OK) {
            frame_drop(&frame);
            return listed(number, rv);
        }
        CallResult result = transport_call(number, &frame);
        bool done = true;
        va_start(arguments, signature);
        switch (result) {
        case REPLIED:
            (void)get_u32(&frame);
            rv = get_u64(&frame);
            if (frame.broken || !unpack_results(&frame, rv, signature, arguments))
                rv = listed(number, CKR_DEVICE_ERROR);
            break;
        case NO_ROOM: /* C_Finalize closes all connections, and that is as good */
            rv = number == CALL_C_Finalize ? CKR_OK : CKR_FUNCTION_FAILED;
            break;
        case NO_MEMORY:
            rv = CKR_HOST_MEMORY;
            break;
        case FINALIZED:
            rv = CKR_CRYPTOKI_NOT_INITIALIZED;
            break;
        default:
            if (number == CALL_C_WaitForSlotEvent)
                done = offline_wait(arguments, &rv);
            else
                rv = result == LOST && number != CALL_C_GetSlotList && number != CALL_C_GetSlotInfo &&
                             number != CALL_C_Finalize
                         ? CKR_DEVICE_REMOVED
                         : offline(number, arguments);
            break;
        }
        va_end(arguments);
        frame_drop(&frame);
        if (done)
            return rv;
        if (pool_generation() != generation)
            return CKR_CRYPTOKI_NOT_INITIALIZED;
    }
}
