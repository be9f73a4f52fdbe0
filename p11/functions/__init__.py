# SPDX-License-Identifier: MIT
"""The functions of PKCS #11 by chapter of the standard, and the table in which dispatch finds them.

A handler has its function's name and parameters: the session is given as the open Session, pointer and length are one
argument, an output buffer appears as the room in it (None for a NULL pointer), results are returned. A function without
handler returns CKR_FUNCTION_NOT_SUPPORTED.
"""

from __future__ import annotations

from ..dispatch import Handler, in_session
from . import (
    combined,
    crypt,
    derive,
    digest,
    encapsulation,
    general,
    key_pairs,
    messages,
    objects,
    random,
    secrets,
    session,
    sign,
    slot_token,
    state,
    wrapping,
)

_CHAPTERS = (
    general,
    slot_token,
    session,
    state,
    objects,
    crypt,
    messages,
    digest,
    sign,
    combined,
    secrets,
    key_pairs,
    wrapping,
    derive,
    encapsulation,
    random,
)

HANDLERS: dict[str, Handler] = {
    name: in_session(name, function)
    for module in _CHAPTERS
    for name, function in vars(module).items()
    if name.startswith("C_")
}
