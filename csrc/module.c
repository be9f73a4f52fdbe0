/* SPDX-License-Identifier: MIT */
/* The functions that the module carries out itself: C_Initialize, C_Finalize and C_GetInfo. */
#include "shim.h"
#include "functions.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Return whether a pointer can be read at all: some callers pass garbage in a reserved field. */
static bool readable(const void *pointer)
{
    return access(pointer, F_OK) == 0 || errno != EFAULT;
}

CK_RV C_Initialize(CK_VOID_PTR pInitArgs)
{
    const CK_C_INITIALIZE_ARGS *args = pInitArgs;
    const char *path = NULL;
    if (args != NULL) {
        int callbacks = (args->CreateMutex != NULL) + (args->DestroyMutex != NULL) + (args->LockMutex != NULL) +
                        (args->UnlockMutex != NULL);
        if (callbacks != 0 && callbacks != 4)
            return CKR_ARGUMENTS_BAD;
        if (args->pReserved != NULL) {
            if (!readable(args->pReserved))
                return CKR_ARGUMENTS_BAD;
            path = args->pReserved;
            if (strncmp(path, "socket=", 7) == 0)
                path += 7;
            else if (*path == '\0')
                path = NULL;
            else
                return CKR_ARGUMENTS_BAD;
        }
    }
    CK_RV rv = pool_open(path);
    if (rv != CKR_OK)
        return rv;
    rv = transport_announce();
    if (rv != CKR_OK)
        pool_close(false);
    return rv;
}

CK_RV C_Finalize(CK_VOID_PTR pReserved)
{
    CK_RV rv = invoke(CALL_C_Finalize, SIGNATURE_C_Finalize, pReserved);
    if (rv == CKR_OK)
        pool_close(true);
    return rv;
}

static void fill(CK_UTF8CHAR *field, size_t size, const char *text)
{
    memset(field, ' ', size);
    memcpy(field, text, strlen(text));
}

CK_RV get_info(CK_VERSION version, CK_INFO *pInfo)
{
    if (!pool_is_open())
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (pInfo == NULL)
        return CKR_ARGUMENTS_BAD;
    memset(pInfo, 0, sizeof *pInfo);
    pInfo->cryptokiVersion = version;
    pInfo->libraryVersion = (CK_VERSION){0, 4};
    fill(pInfo->manufacturerID, sizeof pInfo->manufacturerID, "cardtear");
    fill(pInfo->libraryDescription, sizeof pInfo->libraryDescription, "cardtear virtual smart card");
    return CKR_OK;
}
