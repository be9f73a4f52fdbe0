/* SPDX-License-Identifier: MIT */
/* The interfaces of the module, their function lists, and the three functions that applications look up. */
#include "shim.h"
#include "functions.h"

#include <string.h>

#define EXPORT __attribute__((visibility("default")))

#include "stubs.h"

EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST **ppFunctionList)
{
    if (ppFunctionList == NULL)
        return CKR_ARGUMENTS_BAD;
    *ppFunctionList = &functions_2_40;
    return CKR_OK;
}

EXPORT CK_RV C_GetInterfaceList(CK_INTERFACE *pInterfacesList, CK_ULONG *pulCount)
{
    const CK_ULONG count = sizeof interfaces / sizeof *interfaces;
    if (pulCount == NULL)
        return CKR_ARGUMENTS_BAD;
    CK_ULONG room = *pulCount;
    *pulCount = count;
    if (pInterfacesList == NULL)
        return CKR_OK;
    if (room < count)
        return CKR_BUFFER_TOO_SMALL;
    memcpy(pInterfacesList, interfaces, sizeof interfaces);
    return CKR_OK;
}

EXPORT CK_RV C_GetInterface(CK_UTF8CHAR *pInterfaceName, CK_VERSION *pVersion, CK_INTERFACE **ppInterface,
                            CK_FLAGS flags)
{
    if (ppInterface == NULL)
        return CKR_ARGUMENTS_BAD;
    for (size_t i = 0; i < sizeof interfaces / sizeof *interfaces; i++) {
        const CK_VERSION *version = interfaces[i].pFunctionList;
        if ((pInterfaceName == NULL || strcmp((const char *)pInterfaceName, "PKCS 11") == 0) &&
            (pVersion == NULL || (pVersion->major == version->major && pVersion->minor == version->minor)) &&
            (interfaces[i].flags & flags) == flags) {
            *ppInterface = &interfaces[i];
            return CKR_OK;
        }
    }
    return CKR_ARGUMENTS_BAD; /* nothing of that name, version and abilities */
}
