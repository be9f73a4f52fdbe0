# SPDX-License-Identifier: MIT
"""The quirks: one table of how real middleware departs from what a removable token should do.

Each row is a field: default (no quirk), type of value, effect, a program known to behave so with a link, and the bugs
(docs/quirks.md) that it reproduces.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from ...card.wording import meant
from ..constants import CKR
from .values import (
    CALLS,
    COUNT,
    FLAG,
    OUTCOME,
    SECONDS,
    SHARE,
    CallOutcome,
    Calls,
    QuirkValueType,
    by_call,
    choice,
    show,
    subset,
)

_OPENSC = "https://github.com/OpenSC/OpenSC/"
_YUBICO = "https://github.com/Yubico/yubico-piv-tool/"
_MOZILLA = "https://bugzilla.mozilla.org/show_bug.cgi?id="
_SOFTHSM = "https://github.com/softhsm/SoftHSMv2/blob/develop/src/lib/SoftHSM.cpp"


# ruff: noqa: RUF009 - `_row` is dataclasses.field


class QuirkRow(NamedTuple):
    """The description of a quirk."""

    kind: QuirkValueType
    about: str
    seen: str
    link: str
    bugs: tuple[str, ...] = ()


def _row(default: Any, kind: QuirkValueType, about: str, seen: str, link: str, bugs: str = "") -> Any:
    return dataclasses.field(default=default, metadata={"row": QuirkRow(kind, about, seen, link, tuple(bugs.split()))})


@dataclass(frozen=True, kw_only=True)
class Quirks:
    """The settings of a module; the defaults are the standard."""

    # Handles, sessions and login after a removal

    stale_handle_rv: CallOutcome | None = _row(
        None,
        OUTCOME,
        "return value in a session of a card that was pulled, when a card is in the slot again",
        "Belgian eID middleware 4.4: CKR_TOKEN_NOT_PRESENT in the old session although the card is back",
        "https://github.com/Fedict/eid-mw/issues/103",
        "B01 B30",
    )
    absent_handle_rv: CallOutcome | None = _row(
        None,
        OUTCOME,
        "return value in a session of a card that was pulled, while the slot is empty",
        "Belgian eID middleware 4.4: CKR_TOKEN_NOT_PRESENT in the session of a removed card",
        "https://github.com/Fedict/eid-mw/issues/103",
        "B01 B30",
    )
    handle_reuse: bool = _row(
        False,
        FLAG,
        "handles are small numbers, which are used again after a removal",
        "SoftHSM 2 and NSS's softoken count handles from 1; a fast swap then looks like the old session",
        _MOZILLA + "167756",
        "B26",
    )
    zero_handle: str = _row(
        "invalid",
        choice("invalid", "accepted", "crash"),
        "calls with the session handle 0, which no session has",
        "NSS has called modules with it, and some of them crashed",
        _MOZILLA + "200704",
        "B27",
    )
    unnoticed_removal: str = _row(
        "no",
        choice("no", "between-calls", "always"),
        "a removal is not noticed if the same card is back at the application's next call (between-calls), or not at "
        "all (always)",
        "OpenSC up to 0.19 checks for cards in slot functions only; the standard's usage guide permits it",
        _OPENSC + "issues/1822",
        "B02 B19 B20 B26",
    )
    stale_login: str = _row(
        "no",
        choice("no", "state", "works"),
        "after re-insertion, reset or another program's logout the session state is still `user` (state), "
        "and the module sends the PIN to the card again without the user (works)",
        "state: OpenSC, another program resets the card; works: ykcs11 in ssh-agent, no PIN after re-plugging",
        _YUBICO + "issues/445",
        "B18 B28",
    )
    reinserted_rv: tuple[tuple[str, CallOutcome], ...] = _row(
        (),
        by_call(OUTCOME),
        "return values of calls on a slot from which a card has been removed since C_Initialize, whatever is in it now",
        "ykcs11 up to 2.1: CKR_PIN_INCORRECT from C_Login after re-plugging",
        _YUBICO + "issues/270",
        "B02 B22 B29 B30",
    )
    torn_call: CallOutcome | None = _row(
        None,
        OUTCOME,
        "return value of a call during which the card is removed, or that finds it removed",
        "OpenSC's PIV driver: recursion without end until the stack is full",
        _OPENSC + "issues/2111",
        "B01 B21 B24",
    )

    idle_timeout: float = _row(
        0.0,
        SECONDS,
        "a session that no call has used for this time is closed, with its login if it was the last one; the card "
        "stays. 0 for never (`cardtear close-sessions` does it at once)",
        "YubiHSM 2: a session ends after 30 seconds without use, which its module notices at the next command",
        "https://developers.yubico.com/YubiHSM2/Concepts/Session.html",
    )

    # Slots

    slotlist_policy: str = _row(
        "keep",
        choice("keep", "shrink", "renumber", "restless", "late", "fixed"),
        "slots of unplugged readers are dropped (shrink), those behind them get new numbers (renumber), an empty slot "
        "gets a new number at each C_GetSlotList (restless); new readers come one C_GetSlotList late or never (fixed)",
        "OpenSC 0.20 drops slots, 0.15 renumbers the empty one; p11-kit's proxy fixes the list at C_Initialize",
        _OPENSC + "issues/1945",
        "B03 B04 B05 B31",
    )
    slotlist_present: str = _row(
        "right",
        choice("right", "seen", "blind", "late"),
        "C_GetSlotList(TRUE) contradicts C_GetSlotInfo: it also has the empty slots that it has shown before (seen), "
        "has no slot with a token (blind), or gives the state at the C_GetSlotList before (late)",
        "OpenSC 0.21: slots stay in the list, with a token or without; blind: OpenSC with some Rutokens",
        _OPENSC + "pull/2248",
    )
    slotinfo_rv: CallOutcome | None = _row(
        None,
        OUTCOME,
        "return value of C_GetSlotInfo for an empty slot",
        "modules of smart card vendors that read it from the card; NSS then sees insertions and removals",
        _MOZILLA + "1682863",
        "B15",
    )
    unplugged_rv: CallOutcome | None = _row(
        None,
        OUTCOME,
        "return value of C_GetSlotInfo for an unplugged reader",
        "OpenSC: CKR_TOKEN_NOT_PRESENT for the slot of a detached reader",
        _OPENSC + "blob/master/src/pkcs11/pkcs11-global.c",
        "B20",
    )
    presence_flaps: bool = _row(
        False,
        FLAG,
        "every other call of C_GetSlotInfo reports no card",
        "seen with NSS when a slot function fails while CKF_TOKEN_PRESENT is cached",
        _MOZILLA + "1682863",
        "B15 B24",
    )
    removable: bool = _row(
        True, FLAG, "whether all slots have CKF_REMOVABLE_DEVICE", "SoftHSM 2: a slot stays for ever", _SOFTHSM
    )
    hw_slot: bool = _row(True, FLAG, "whether all slots have CKF_HW_SLOT", "SoftHSM 2: no hardware", _SOFTHSM)

    # Recognition

    tokeninfo_rv: CallOutcome | None = _row(
        None,
        OUTCOME,
        "return value for a card that is not recognised, instead of CKR_TOKEN_NOT_RECOGNIZED",
        "OpenSC 0.20: CKR_TOKEN_NOT_PRESENT with a token present, which makes Firefox slow",
        _OPENSC + "issues/2030",
        "B15",
    )
    recognition_delay: float = _row(
        0.0,
        SECONDS,
        "how long a card is not recognised after its insertion, although it is present",
        "any middleware that reads the card first: seconds with slow cards and many certificates",
        _OPENSC + "issues/1278",
        "B22",
    )
    recognition_failures: int = _row(
        0,
        COUNT,
        "how many calls for the token fail after an insertion",
        "NSS: threads that begin right after an insertion get CKR_TOKEN_NOT_PRESENT",
        _MOZILLA + "1297397",
        "B25",
    )
    recognition_rv: CallOutcome | None = _row(
        None,
        OUTCOME,
        "return value of recognition_delay and recognition_failures, instead of CKR_TOKEN_NOT_RECOGNIZED",
        "the same modules",
        _MOZILLA + "1297397",
        "B25",
    )

    # Events

    wfse_mode: str = _row(
        "block",
        choice("block", "notsupp", "dontblock", "error", "no_event", "deaf", "ticking"),
        "C_WaitForSlotEvent is not supported, only with CKF_DONT_BLOCK, always fails with CKR_GENERAL_ERROR, never has "
        "an event, waits without noticing one (deaf), or has one of the first slot every 50 ms, with a token at every "
        "other one (ticking)",
        "p11-kit's proxy and SoftHSM 2: CKF_DONT_BLOCK only; Firefox's test module: ticking",
        "https://github.com/p11-glue/p11-kit/pull/225",
        "B11 B31",
    )
    event_drop: tuple[str, ...] = _row(
        (),
        subset("insert", "remove", "plug", "unplug", "unrecognised"),
        "changes without an event; `unplug` also of the card that was in the reader, `unrecognised` is the insertion "
        "of a card that is not recognised",
        "OpenSC 0.22: polling does not notice an unplugged reader; OpenSC 0.16: an unknown card wakes no waiting call",
        _OPENSC + "issues/2415",
        "B06 B11 B12 B14",
    )
    event_loss: float = _row(
        0.0,
        SHARE,
        "the probability that an event is lost; the same events in every run",
        "CoolKey with the ESC smart card manager",
        "https://bugzilla.redhat.com/show_bug.cgi?id=232983",
        "B33",
    )
    event_dup: bool = _row(
        False,
        FLAG,
        "each event is returned twice",
        "OpenSC, mended by this commit: two notifications for one reader",
        _OPENSC + "commit/36247d85b",
        "B13",
    )
    event_stuck: bool = _row(
        False,
        FLAG,
        "two changes of a slot before the application has taken the first event: its event is returned again and again",
        "OpenSC, mended by this commit: a reader that was pulled and plugged in fast stays `changed` for ever",
        _OPENSC + "commit/f9d93446b",
        "B16",
    )
    event_held: str = _row(
        "no",
        choice("no", "until-reader", "until-login"),
        "events of cards are held back until a reader comes or goes, or while a session is open but not logged in",
        "OpenSC master of April 2020: until-reader; OpenSC 0.13: until-login",
        _OPENSC + "issues/143",
        "B07 B11",
    )
    event_eaters: Calls = _row(
        (),
        CALLS,
        "calls that take the events of their slot (C_GetSlotList: of all) away from C_WaitForSlotEvent",
        "OpenSC master of April 2020: only C_GetSlotList notices the card",
        _OPENSC + "issues/2021",
        "B11",
    )

    # Time, the library's end, and the card

    latency: tuple[tuple[str, float], ...] = _row(
        (),
        by_call(SECONDS),
        "how much longer calls take",
        "network and other slow modules in Firefox: five seconds of C_GetSlotInfo block every thread",
        _MOZILLA + "1682863",
        "B22 B23 B24",
    )
    hang: Calls = _row(
        (),
        CALLS,
        "calls that never return",
        "any module whose reader or server is stuck; libp11 with p11-kit: C_Finalize never returns",
        _MOZILLA + "1461731",
        "B23 B24 B32",
    )
    finalize_mode: str = _row(
        "clean",
        choice("clean", "hang", "no_event", "crash", "flag_only"),
        "C_Finalize while another thread waits for an event: it waits for that thread (hang), that call returns "
        "CKR_NO_EVENT, the application crashes, or the call only checks a flag and never returns when C_Initialize "
        "follows at once (flag_only)",
        "OpenSC 0.17: hang; OpenSC 0.25: crash; the smart card services of macOS: no_event",
        _OPENSC + "issues/1065",
        "B08 B09 B10",
    )
    forked_child: str = _row(
        "works",
        choice("works", "hang"),
        "in a child of a process that has the module initialised, every call never returns",
        "libp11 with p11-kit: a lock that was held at fork",
        "https://github.com/OpenSC/libp11/issues/156",
        "B32",
    )
    session_info_apdus: int = _row(
        0,
        COUNT,
        "how many commands each C_GetSessionInfo sends to the card",
        "OpenSC 0.19: each poll reads the state of the PIN, and the reader's light flickers",
        _OPENSC + "issues/1771",
        "B17",
    )

    # Reading and showing

    @classmethod
    def parse(cls, settings: Iterable[str]) -> Self:
        """Return the quirks of profile names and settings NAME=VALUE, later ones before earlier ones.

        A quirk that is true or false may be named alone. Raises ValueError.
        """
        from .profiles import PROFILES

        quirks = cls()
        for setting in settings:
            name, equals, text = setting.partition("=")
            if not equals and name in PROFILES:
                quirks = dataclasses.replace(quirks, **cls.parse(PROFILES[name].settings).given)
                continue
            row = ROWS.get(name)
            if row is None:
                question = meant(name, [*PROFILES, *ROWS]) or f"; the profiles are {', '.join(PROFILES)}"
                raise ValueError(f"there is no quirk {name!r}{question} (`cardtear quirks` lists them)")
            if not equals and row.kind is not FLAG:
                raise ValueError(f"the quirk {name!r} needs a value: {name}={row.kind.words}")
            try:
                value = row.kind.read(text if equals else "true")
            except (ValueError, KeyError, IndexError):
                if row.kind is OUTCOME and text.startswith("CKR_"):
                    question = meant(text, [f"CKR_{each}" for each in CKR.__members__]) or f"; it is {row.kind.words}"
                    raise ValueError(f"the quirk {name!r}: there is no return value {text!r}{question}") from None
                raise ValueError(f"the quirk {name!r} is {row.kind.words}, not {text!r}") from None
            quirks = dataclasses.replace(quirks, **{name: value})
        return quirks

    @property
    def given(self) -> dict[str, Any]:
        """Return the quirks that differ from their defaults, by name."""
        return {name: getattr(self, name) for name in ROWS if getattr(self, name) != DEFAULTS[name]}

    def __str__(self) -> str:
        """Return the settings that `parse` takes, separated by blanks."""
        return " ".join(f"{name}={show(value)}" for name, value in self.given.items())


ROWS: dict[str, QuirkRow] = {each.name: each.metadata["row"] for each in dataclasses.fields(Quirks)}
"""The table, by name."""

DEFAULTS: dict[str, Any] = {each.name: each.default for each in dataclasses.fields(Quirks)}
