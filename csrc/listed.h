/* SPDX-License-Identifier: MIT */
/* made by csrc/generate.py; do not edit */
/* Return what a function has for `rv`, which it got without the simulator (p11/return_values.py). */
static CK_RV listed(uint16_t number, CK_RV rv)
{
    switch (rv) {
    case CKR_ARGUMENTS_BAD:
        switch (number) {
        case CALL_C_EncryptInit:
            return CKR_MECHANISM_INVALID;
        case CALL_C_MessageEncryptInit:
            return CKR_MECHANISM_INVALID;
        case CALL_C_EncryptMessageBegin:
            return CKR_MECHANISM_PARAM_INVALID;
        case CALL_C_GetSessionValidationFlags:
            return CKR_FUNCTION_FAILED;
        }
        return rv;
    case CKR_DEVICE_ERROR:
        switch (number) {
        case CALL_C_Finalize:
            return CKR_FUNCTION_FAILED;
        case CALL_C_GetSlotList:
            return CKR_FUNCTION_FAILED;
        case CALL_C_WaitForSlotEvent:
            return CKR_FUNCTION_FAILED;
        }
        return rv;
    }
    return rv;
}
