# SPDX-License-Identifier: MIT
"""Which mechanisms a token offers: of all that this module has, those that its traits leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..card.profiles import CardRequest, ProfileError
from ..card.traits import Traits
from ..card.wording import meant
from .constants import CKF, CKK, CKM
from .mechanisms import MECHANISMS, MechanismRule

_OLD = frozenset({CKK.DES, CKK.DSA, CKK.DH, CKK.X9_42_DH})
"""Keys that only old test suites make."""


_PASSWORDS = frozenset({CKM.PKCS5_PBKD2})
"""NSS would make the keys of PKCS #12 files by it on the token, and send it the password."""


def offered(traits: Traits) -> Mapping[int, MechanismRule]:
    """The rows of the mechanism table, with the flags that are true for this token."""
    rows = {}
    for number, rule in MECHANISMS.items():
        if traits.mechanisms is not None and f"CKM_{rule.type.name}" not in traits.mechanisms:
            continue
        if not traits.legacy and (rule.type in _PASSWORDS or not _OLD.isdisjoint(rule.key_types[:1])):
            continue
        if rule.flags & CKF.GENERATE_KEY_PAIR and not traits.key_generation:
            continue
        rows[number] = rule if traits.hardware else replace(rule, flags=rule.flags & ~CKF.HW)
    return rows


def require_known(wanted: CardRequest) -> None:
    """Refuse names of mechanisms that there are none of. Raises ProfileError."""
    known = [f"CKM_{each}" for each in CKM.__members__]
    for name in wanted.mechanisms or ():
        if name not in known:
            raise ProfileError(f"there is no mechanism {name!r}{meant(name, known)}")
