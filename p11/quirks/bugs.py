# SPDX-License-Identifier: MIT
"""Bugs of real software around insertion and removal, and the quirks that reproduce each."""

from __future__ import annotations

from typing import NamedTuple


class Bug(NamedTuple):
    """What went wrong, a link to the report, and the settings that reproduce what the application saw."""

    what: str
    link: str
    settings: tuple[str, ...]


_OPENSC = "https://github.com/OpenSC/OpenSC/"
_MOZILLA = "https://bugzilla.mozilla.org/show_bug.cgi?id="
_P11_KIT = "https://github.com/p11-glue/p11-kit/"
_YUBICO = "https://github.com/Yubico/yubico-piv-tool/issues/"

BUGS: dict[str, Bug] = {
    "B01": Bug(
        "the card is pulled during the PIN prompt, and the prompt is shown again and again",
        _OPENSC + "issues/1935",
        ("absent_handle_rv=CKR_DEVICE_REMOVED", "stale_handle_rv=CKR_DEVICE_REMOVED", "torn_call=CKR_PIN_INCORRECT"),
    ),
    "B02": Bug(
        "after re-insertion every signature fails, because the slot was not queried",
        _OPENSC + "issues/1822",
        ("unnoticed_removal=between-calls", "stale_login=state"),
    ),
    "B03": Bug(
        "slot numbers change when a reader is unplugged", _OPENSC + "issues/1945", ("slotlist_policy=renumber",)
    ),
    "B04": Bug(
        "an empty slot has a new number at each query, and the application queries again",
        _OPENSC + "pull/687",
        ("slotlist_policy=restless",),
    ),
    "B05": Bug(
        "when all readers are unplugged, there are no slots", _OPENSC + "pull/1961", ("slotlist_policy=shrink",)
    ),
    "B06": Bug("a reader that is detached gives no event", _OPENSC + "issues/629", ("event_drop=unplug",)),
    "B07": Bug(
        "there is no event for a removal between C_OpenSession and C_Login",
        _OPENSC + "issues/143",
        ("event_held=until-login",),
    ),
    "B08": Bug("C_Finalize hangs while a thread waits", _OPENSC + "issues/1065", ("finalize_mode=hang",)),
    "B09": Bug(
        "C_Finalize while a thread waits crashes the application", _OPENSC + "issues/3334", ("finalize_mode=crash",)
    ),
    "B10": Bug(
        "C_WaitForSlotEvent returns CKR_NO_EVENT after C_Finalize",
        "https://github.com/smartcardservices/smartcardservices/issues/113",
        ("finalize_mode=no_event",),
    ),
    "B11": Bug(
        "C_WaitForSlotEvent does not return at an insertion or removal",
        _OPENSC + "issues/2021",
        ("event_held=until-reader", "event_eaters=C_GetSlotList"),
    ),
    "B12": Bug("polling does not notice that a reader is unplugged", _OPENSC + "issues/2415", ("event_drop=unplug",)),
    "B13": Bug("one change, two events", _OPENSC + "commit/36247d85b", ("event_dup",)),
    "B14": Bug(
        "an unknown card does not wake C_WaitForSlotEvent", _OPENSC + "issues/943", ("event_drop=unrecognised",)
    ),
    "B15": Bug(
        "an unknown card is reported as absent, and Firefox gets slow",
        _OPENSC + "issues/2030",
        ("tokeninfo_rv=CKR_TOKEN_NOT_PRESENT",),
    ),
    "B16": Bug(
        "after a fast swap the slot is reported as `changed` for ever", _OPENSC + "commit/f9d93446b", ("event_stuck",)
    ),
    "B17": Bug("polling makes the reader's light flicker", _OPENSC + "issues/1771", ("session_info_apdus=1",)),
    "B18": Bug(
        "another program has reset the card, and the session state is still `user`",
        _OPENSC + "issues/596",
        ("stale_login=state",),
    ),
    "B19": Bug("a removal is never noticed", _OPENSC + "issues/1706", ("unnoticed_removal=always",)),
    "B20": Bug(
        "certificates stay when reader and card are removed", _OPENSC + "issues/1908", ("unnoticed_removal=always",)
    ),
    "B21": Bug("removal in the middle of a command: a crash", _OPENSC + "issues/2111", ("torn_call=crash",)),
    "B22": Bug(
        "Firefox freezes when a card is inserted, or crashes after hibernation",
        _OPENSC + "issues/1278",
        ("latency=C_GetTokenInfo:3", "reinserted_rv=C_GetSessionInfo:crash"),
    ),
    "B23": Bug("a slow module blocks every thread", _MOZILLA + "1682863", ("latency=C_GetSlotInfo:5",)),
    "B24": Bug("a deadlock of threads when the card is removed", _MOZILLA + "1381784", ("torn_call=hang",)),
    "B25": Bug(
        "threads that begin right after insertion get CKR_TOKEN_NOT_PRESENT",
        _MOZILLA + "1297397",
        ("recognition_failures=4", "recognition_rv=CKR_TOKEN_NOT_PRESENT"),
    ),
    "B26": Bug(
        "a TLS session of a card that was pulled is resumed",
        _MOZILLA + "167756",
        ("unnoticed_removal=always", "stale_login=works", "handle_reuse"),
    ),
    "B27": Bug("session handle 0 is used", _MOZILLA + "200704", ("zero_handle=accepted",)),
    "B28": Bug("no PIN is needed after re-plugging", _YUBICO + "445", ("stale_login=works",)),
    "B29": Bug(
        "after re-plugging the right PIN is refused as wrong",
        _YUBICO + "270",
        ("reinserted_rv=C_Login:CKR_PIN_INCORRECT",),
    ),
    "B30": Bug(
        "after re-insertion the token is reported as absent",
        "https://github.com/Fedict/eid-mw/issues/103",
        (
            "stale_handle_rv=CKR_TOKEN_NOT_PRESENT",
            "reinserted_rv=C_OpenSession:CKR_TOKEN_NOT_PRESENT,C_GetTokenInfo:CKR_TOKEN_NOT_PRESENT",
        ),
    ),
    "B31": Bug(
        "the slots stay those of C_Initialize, and C_WaitForSlotEvent does not block",
        _P11_KIT + "issues/221",
        ("slotlist_policy=fixed", "wfse_mode=dontblock"),
    ),
    "B32": Bug("a forked child waits for ever", "https://github.com/OpenSC/libp11/issues/156", ("forked_child=hang",)),
    "B33": Bug(
        "removals are noticed only sometimes",
        "https://bugzilla.redhat.com/show_bug.cgi?id=232983",
        ("event_loss=0.3",),
    ),
}
