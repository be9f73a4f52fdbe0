# SPDX-License-Identifier: MIT
"""Profiles: the quirks of some real middleware, as far as an application can observe them."""

from __future__ import annotations

from typing import NamedTuple


class QuirkProfile(NamedTuple):
    """A name for some settings."""

    about: str
    link: str
    settings: tuple[str, ...]


PROFILES: dict[str, QuirkProfile] = {
    "opensc": QuirkProfile(
        "OpenSC as it was when browsers lost cards (0.19 to 0.22): removals are noticed when slots are queried, "
        "polling sends commands to the card, an unplugged reader gives no event and has no slot info",
        "https://github.com/OpenSC/OpenSC/issues/1822",
        (
            "unnoticed_removal=between-calls",
            "session_info_apdus=1",
            "unplugged_rv=CKR_TOKEN_NOT_PRESENT",
            "event_drop=unplug",
            "event_eaters=C_GetSlotList",
            "tokeninfo_rv=CKR_TOKEN_NOT_PRESENT",
            "stale_login=state",
        ),
    ),
    "ykcs11": QuirkProfile(
        "Yubico's module up to 2.1: sessions that survive a removal, no events, no login after re-plugging",
        "https://github.com/Yubico/yubico-piv-tool/issues/270",
        (
            "wfse_mode=notsupp",
            "handle_reuse",
            "unnoticed_removal=always",
            "torn_call=CKR_DEVICE_ERROR",
            "reinserted_rv=C_Login:CKR_PIN_INCORRECT",
        ),
    ),
    "softhsm": QuirkProfile(
        "SoftHSM 2: the token is always present, there are no events, handles are small numbers",
        "https://github.com/softhsm/SoftHSMv2/blob/develop/src/lib/SoftHSM.cpp",
        (
            "removable=false",
            "hw_slot=false",
            "unnoticed_removal=always",
            "wfse_mode=dontblock",
            "event_drop=insert,remove,plug,unplug",
            "slotlist_policy=fixed",
            "handle_reuse",
        ),
    ),
    "mozilla-test-module": QuirkProfile(
        "the test module in Firefox's sources: an event every 50 ms, an insertion or a removal; small handles",
        "https://searchfox.org/mozilla-central/source/security/manager/ssl/tests/unit/pkcs11testmodule/pkcs11testmodule.cpp",
        ("wfse_mode=ticking", "handle_reuse", "hw_slot=false"),
    ),
    "nss-poll": QuirkProfile(
        "a module without C_WaitForSlotEvent, so that NSS polls",
        "https://searchfox.org/nss/source/lib/pk11wrap/pk11util.c",
        ("wfse_mode=notsupp",),
    ),
    "permissive": QuirkProfile(
        "what the standard's usage guide permits: a removal is not noticed if the card is back before the module looks",
        "https://docs.oasis-open.org/pkcs11/pkcs11-ug/v2.40/pkcs11-ug-v2.40.html",
        ("unnoticed_removal=between-calls", "stale_login=state"),
    ),
}
