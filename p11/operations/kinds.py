# SPDX-License-Identifier: MIT
"""The kinds of operation that a session can have active, and the functions that end each by failing (5.1, 5.2)."""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class OperationKind(StrEnum):
    """A kind of operation; a session can have one of each active (PKCS #11 3.1, 5.1)."""

    ENCRYPT = "encrypt"
    DECRYPT = "decrypt"
    DIGEST = "digest"
    SIGN = "sign"
    VERIFY = "verify"
    SIGN_RECOVER = "sign-recover"
    VERIFY_RECOVER = "verify-recover"
    VERIFY_SIGNATURE = "verify-signature"
    MESSAGE_ENCRYPT = "message-encrypt"
    MESSAGE_DECRYPT = "message-decrypt"


WORKS_ON: dict[str, OperationKind] = {
    **{
        f"C_{verb}{part}": kind
        for verb, kind in (
            ("Encrypt", OperationKind.ENCRYPT),
            ("Decrypt", OperationKind.DECRYPT),
            ("Digest", OperationKind.DIGEST),
            ("Sign", OperationKind.SIGN),
            ("Verify", OperationKind.VERIFY),
            ("VerifySignature", OperationKind.VERIFY_SIGNATURE),
        )
        for part in ("", "Update", "Final")
    },
    "C_SignRecover": OperationKind.SIGN_RECOVER,
    "C_VerifyRecover": OperationKind.VERIFY_RECOVER,
}
"""The operation that each function works on; any return value but OK and BUFFER_TOO_SMALL ends it (5.2).

C_DigestKey and C_FindObjects do not end their operation by failing; of the functions that work on two operations only
the one that failed ends.
"""

WORKS_ON_MESSAGE: dict[str, OperationKind] = {
    "C_EncryptMessageNext": OperationKind.MESSAGE_ENCRYPT,
    "C_DecryptMessageNext": OperationKind.MESSAGE_DECRYPT,
}
"""The same for a message in parts (5.9, 5.11): the message ends, the operation goes on to other messages."""
