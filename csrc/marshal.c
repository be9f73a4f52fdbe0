/* SPDX-License-Identifier: MIT */
/* Arguments into a frame and results out of one, letter by letter of a call's signature.
 *
 * This file checks pointers and lengths and copies; what a call means is known at the other end only.
 */
#include "shim.h"

#include <string.h>

#define MAX_ATTRIBUTES 4096u
#define MAX_NESTING 2
#define MAX_NAME 64u
#define MAX_PIN 4096u

/* Return whether the value of an attribute is a template in turn. */
static bool is_template(CK_ULONG type)
{
    return (type & CKF_ARRAY_ATTRIBUTE) != 0 && type != CKA_ALLOWED_MECHANISMS;
}

/* Write a template: the count, then type and value of each attribute. An array attribute holds a template in turn. */
static CK_RV put_template(Frame *frame, const CK_ATTRIBUTE *attributes, CK_ULONG count, int depth)
{
    if (count > MAX_ATTRIBUTES || depth > MAX_NESTING || (attributes == NULL && count != 0))
        return CKR_ARGUMENTS_BAD;
    put_u32(frame, (uint32_t)count);
    for (CK_ULONG i = 0; i < count; i++) {
        const CK_ATTRIBUTE *attribute = &attributes[i];
        put_u64(frame, attribute->type);
        if (attribute->pValue == NULL && attribute->ulValueLen != 0)
            return CKR_ATTRIBUTE_VALUE_INVALID;
        if (is_template(attribute->type)) {
            if (attribute->ulValueLen % sizeof(CK_ATTRIBUTE) != 0)
                return CKR_ATTRIBUTE_VALUE_INVALID;
            CK_RV rv =
                put_template(frame, attribute->pValue, attribute->ulValueLen / sizeof(CK_ATTRIBUTE), depth + 1);
            if (rv != CKR_OK)
                return rv;
        } else {
            if (attribute->ulValueLen > FRAME_LIMIT)
                return CKR_ATTRIBUTE_VALUE_INVALID;
            put_u64(frame, attribute->ulValueLen);
            put_bytes(frame, attribute->pValue, attribute->ulValueLen);
        }
    }
    return CKR_OK;
}

static void put_room(Frame *frame, const CK_ATTRIBUTE *attribute)
{
    put_u64(frame, attribute->pValue == NULL ? NO_LENGTH : attribute->ulValueLen);
}

/* Write the attributes to read: the count, then type and room of each, of a template also the rooms in it. */
static CK_RV put_query(Frame *frame, const CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    if (attributes == NULL || count > MAX_ATTRIBUTES)
        return CKR_ARGUMENTS_BAD;
    put_u32(frame, (uint32_t)count);
    for (CK_ULONG i = 0; i < count; i++) {
        put_u64(frame, attributes[i].type);
        put_room(frame, &attributes[i]);
        if (!is_template(attributes[i].type) || attributes[i].pValue == NULL)
            continue;
        const CK_ATTRIBUTE *inner = attributes[i].pValue;
        CK_ULONG rooms = attributes[i].ulValueLen / sizeof *inner;
        if (rooms > MAX_ATTRIBUTES)
            return CKR_ARGUMENTS_BAD;
        put_u32(frame, (uint32_t)rooms);
        for (CK_ULONG j = 0; j < rooms; j++)
            put_room(frame, &inner[j]);
    }
    return CKR_OK;
}

CK_RV pack_arguments(Frame *frame, const char *signature, va_list arguments)
{
    CK_RV rv = CKR_OK;
    for (const char *letter = signature; *letter != '\0' && rv == CKR_OK; letter++) {
        switch (*letter) {
        case 'u':
            put_u64(frame, va_arg(arguments, CK_ULONG));
            break;
        case 'y':
            put_u64(frame, (CK_ULONG)(va_arg(arguments, int) & 0xFF));
            break;
        case 'b':
        case 'n': {
            const void *data = va_arg(arguments, const void *);
            CK_ULONG length = va_arg(arguments, CK_ULONG);
            bool missing = data == NULL && length != 0;
            if (*letter == 'n' && missing)
                return CKR_ARGUMENTS_BAD;
            if (*letter == 'n' && length > MAX_PIN)
                length = MAX_PIN; /* longer than any PIN as it is */
            if (missing || length > FRAME_LIMIT)
                put_u64(frame, NO_LENGTH); /* the other end knows what that is the end of */
            else
                put_string(frame, data == NULL && *letter == 'b' ? "" : data, length);
            break;
        }
        case 'l': {
            const void *label = va_arg(arguments, const void *);
            if (label == NULL)
                return CKR_ARGUMENTS_BAD;
            put_string(frame, label, 32);
            break;
        }
        case 's': {
            const char *name = va_arg(arguments, const char *);
            size_t length = name == NULL ? 0 : strnlen(name, MAX_NAME);
            if (name == NULL || length == MAX_NAME)
                return CKR_ARGUMENTS_BAD;
            put_string(frame, name, length);
            break;
        }
        case 'm':
        case 'M':
        case 'w':
        case 'W': {
            const CK_MECHANISM *mechanism = va_arg(arguments, const CK_MECHANISM *);
            if (mechanism == NULL && (*letter == 'm' || *letter == 'w'))
                return CKR_ARGUMENTS_BAD;
            put_u32(frame, mechanism != NULL);
            if (mechanism != NULL)
                rv = put_mechanism(frame, mechanism, *letter == 'W');
            break;
        }
        case 'p':
        case 'P': {
            const void *parameter = va_arg(arguments, const void *);
            rv = put_message_parameter(frame, parameter, va_arg(arguments, CK_ULONG), *letter == 'p');
            break;
        }
        case 't': {
            const CK_ATTRIBUTE *attributes = va_arg(arguments, const CK_ATTRIBUTE *);
            rv = put_template(frame, attributes, va_arg(arguments, CK_ULONG), 0);
            break;
        }
        case 'q': {
            const CK_ATTRIBUTE *attributes = va_arg(arguments, const CK_ATTRIBUTE *);
            rv = put_query(frame, attributes, va_arg(arguments, CK_ULONG));
            break;
        }
        case 'B':
        case 'L': {
            const void *buffer = va_arg(arguments, const void *);
            const CK_ULONG *room = va_arg(arguments, const CK_ULONG *);
            if (room == NULL && *letter == 'L')
                return CKR_ARGUMENTS_BAD;
            put_u64(frame, room == NULL ? NO_BUFFER : buffer == NULL ? NO_LENGTH : *room);
            break;
        }
        case 'F': {
            const void *buffer = va_arg(arguments, const void *);
            CK_ULONG room = va_arg(arguments, CK_ULONG);
            if (va_arg(arguments, const void *) == NULL || (buffer == NULL && room != 0))
                return CKR_ARGUMENTS_BAD;
            put_u64(frame, room);
            break;
        }
        case 'r': {
            const void *buffer = va_arg(arguments, const void *);
            CK_ULONG length = va_arg(arguments, CK_ULONG);
            if ((buffer == NULL && length != 0) || length > FRAME_LIMIT / 2)
                return CKR_ARGUMENTS_BAD;
            put_u64(frame, length);
            break;
        }
        case 'U':
        case 'S':
        case 'K':
        case 'E':
        case 'H':
            if (va_arg(arguments, const void *) == NULL)
                return CKR_ARGUMENTS_BAD;
            break;
        case '0':
            if (va_arg(arguments, const void *) != NULL)
                return CKR_ARGUMENTS_BAD;
            break;
        default: /* '-': pApplication, Notify */
            (void)va_arg(arguments, const void *);
            break;
        }
    }
    return rv != CKR_OK ? rv : frame->broken ? CKR_HOST_MEMORY : CKR_OK;
}

/* Read a list of `unit`-sized elements with its length; the elements follow only if there was room for them. */
static void get_list(Frame *reply, CK_RV rv, void *buffer, CK_ULONG room, size_t unit, CK_ULONG *length)
{
    CK_ULONG count = get_u64(reply);
    if (!reply->broken && rv == CKR_OK && buffer != NULL) {
        if (count > room || count > FRAME_LIMIT) {
            reply->broken = true;
            return;
        }
        const uint8_t *data = get_bytes(reply, count * unit);
        if (data != NULL && count != 0)
            memcpy(buffer, data, count * unit);
    }
    if (!reply->broken && length != NULL)
        *length = count;
}

/* Read the length of a value, or that it is unavailable, and the value if there was room for it. */
static void get_value(Frame *reply, CK_ATTRIBUTE *attribute, bool nested)
{
    uint64_t length = get_u64(reply);
    bool filled = get_u32(reply) != 0;
    if (reply->broken)
        return;
    if (filled && (attribute->pValue == NULL || length > FRAME_LIMIT || length > attribute->ulValueLen)) {
        reply->broken = true;
        return;
    }
    if (filled && is_template(attribute->type)) {
        CK_ATTRIBUTE *inner = attribute->pValue;
        reply->broken = nested || length % sizeof *inner != 0;
        for (CK_ULONG i = 0; i < length / sizeof *inner && !reply->broken; i++) {
            inner[i].type = get_u64(reply);
            get_value(reply, &inner[i], true);
        }
    } else if (filled) {
        const uint8_t *data = get_bytes(reply, length);
        if (data != NULL && length != 0)
            memcpy(attribute->pValue, data, length);
    }
    if (!reply->broken)
        attribute->ulValueLen = length;
}

static void get_query(Frame *reply, CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    for (CK_ULONG i = 0; i < count && !reply->broken; i++)
        get_value(reply, &attributes[i], false);
}

static void get_struct(Frame *reply, void *target, size_t size)
{
    const uint8_t *data = get_bytes(reply, size);
    if (data != NULL)
        memcpy(target, data, size);
}

/* Read the results into the application's buffers, by the signature; those of a mechanism's parameter come last.
 * Returns false if the reply does not fit the call. */
bool unpack_results(Frame *reply, CK_RV rv, const char *signature, va_list arguments)
{
    char last = '\0'; /* the letter of the parameter that takes outputs */
    void *parameter = NULL;
    CK_ULONG length = 0;
    if (reply->read == reply->used)
        return rv != CKR_OK || strpbrk(signature, "UBLFrqSKEH") == NULL;
    for (const char *letter = signature; *letter != '\0' && !reply->broken; letter++) {
        switch (*letter) {
        case 'y':
            (void)va_arg(arguments, int);
            break;
        case 'b':
        case 'n':
        case 't':
        case 'P':
            (void)va_arg(arguments, const void *);
            (void)va_arg(arguments, CK_ULONG);
            break;
        case 'w':
        case 'W':
            last = *letter;
            parameter = va_arg(arguments, void *);
            break;
        case 'p':
            last = *letter;
            parameter = va_arg(arguments, void *);
            length = va_arg(arguments, CK_ULONG);
            break;
        case 'U': {
            CK_ULONG *target = va_arg(arguments, CK_ULONG *);
            *target = get_u64(reply);
            break;
        }
        case 'B':
        case 'L': {
            void *buffer = va_arg(arguments, void *);
            CK_ULONG *count = va_arg(arguments, CK_ULONG *);
            CK_ULONG room = count == NULL ? 0 : *count;
            get_list(reply, rv, buffer, room, *letter == 'B' ? 1 : sizeof(CK_ULONG), count);
            break;
        }
        case 'F': {
            void *buffer = va_arg(arguments, void *);
            CK_ULONG room = va_arg(arguments, CK_ULONG);
            get_list(reply, rv, buffer, room, sizeof(CK_ULONG), va_arg(arguments, CK_ULONG *));
            break;
        }
        case 'r': {
            void *buffer = va_arg(arguments, void *);
            CK_ULONG wanted = va_arg(arguments, CK_ULONG), got = 0;
            get_list(reply, rv, buffer, wanted, 1, &got);
            reply->broken |= rv == CKR_OK && got != wanted;
            break;
        }
        case 'q': {
            CK_ATTRIBUTE *attributes = va_arg(arguments, CK_ATTRIBUTE *);
            get_query(reply, attributes, va_arg(arguments, CK_ULONG));
            break;
        }
        case 'S':
            get_struct(reply, va_arg(arguments, void *), sizeof(CK_SLOT_INFO));
            break;
        case 'K':
            get_struct(reply, va_arg(arguments, void *), sizeof(CK_TOKEN_INFO));
            break;
        case 'E':
            get_struct(reply, va_arg(arguments, void *), sizeof(CK_SESSION_INFO));
            break;
        case 'H':
            get_struct(reply, va_arg(arguments, void *), sizeof(CK_MECHANISM_INFO));
            break;
        default: /* one word each: u l s m M - 0 */
            (void)va_arg(arguments, CK_ULONG);
            break;
        }
    }
    if (last == 'p')
        get_message_outputs(reply, parameter, length);
    else if (last != '\0')
        get_mechanism_outputs(reply, parameter, last == 'W');
    return !reply->broken && reply->read == reply->used;
}
