# SPDX-License-Identifier: MIT
"""Authentication with the management key (SP 800-73-4 part 2, 3.2.4 and appendix A.1, A.2).

Single: the card sends a challenge, the host returns it enciphered. Mutual: the card sends an enciphered witness, the
host returns it in clear with a challenge of its own, which the card returns enciphered.
"""

from __future__ import annotations

import hmac
import os
import warnings

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.utils import CryptographyDeprecationWarning

with warnings.catch_warnings():
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES

from . import tlv
from .security import SecurityStatus
from .status import SW, CardError
from .store import StoredKey
from .tables import BLOCK_LENGTHS, Algorithm

WITNESS, CHALLENGE, RESPONSE = 0x80, 0x81, 0x82


def authenticate(key: StoredKey, status: SecurityStatus, fields: dict[int, bytes]) -> bytes:
    """One step of either protocol. Returns the dynamic authentication template, empty when the host is accepted.

    Raises CardError: 6300 for a wrong answer, 6985 for one that was not asked for, 6A80 for a malformed template.
    """
    length = BLOCK_LENGTHS[Algorithm(key.algorithm)]
    challenge, witness = status.challenge, status.witness
    status.challenge = status.witness = None
    if WITNESS in fields and CHALLENGE in fields:
        answer, question = fields[WITNESS], fields[CHALLENGE]
        if witness is None:
            raise CardError(SW.CONDITIONS_NOT_SATISFIED)
        if len(question) != length:
            raise CardError(SW.INCORRECT_DATA)
        _accept(status, hmac.compare_digest(answer, witness[1]))
        return tlv.encode(0x7C, tlv.encode(RESPONSE, _encipher(key, question)))
    if fields.get(RESPONSE):
        if challenge is None:
            raise CardError(SW.CONDITIONS_NOT_SATISFIED)
        _accept(status, hmac.compare_digest(fields[RESPONSE], _encipher(key, challenge[1])))
        return b""
    if fields.get(CHALLENGE) == b"":
        status.challenge = (key.algorithm, os.urandom(length))
        return tlv.encode(0x7C, tlv.encode(CHALLENGE, status.challenge[1]))
    if fields.get(WITNESS) == b"":
        status.witness = (key.algorithm, os.urandom(length))
        return tlv.encode(0x7C, tlv.encode(WITNESS, _encipher(key, status.witness[1])))
    raise CardError(SW.INCORRECT_DATA)


def _accept(status: SecurityStatus, right: bool) -> None:
    status.management_authenticated = right
    if not right:
        raise CardError(SW.VERIFICATION_FAILED)


def _encipher(key: StoredKey, block: bytes) -> bytes:
    cipher = TripleDES(key.value) if key.algorithm == Algorithm.TDES else algorithms.AES(key.value)
    encryptor = Cipher(cipher, modes.ECB()).encryptor()  # one block: no chaining mode is involved
    return encryptor.update(block) + encryptor.finalize()
