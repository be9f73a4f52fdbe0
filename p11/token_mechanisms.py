# SPDX-License-Identifier: MIT
"""The mechanisms of a token: those of the module that the token's traits allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..card.issuing.profiles import CardRequest, ProfileError
from ..card.token_traits import Traits
from ..card.wording import meant
from .constants import CKF, CKK, CKM
from .mechanisms import KNOWN, MECHANISMS, MechanismRule

_OLD = frozenset({CKK.DES, CKK.DSA, CKK.DH, CKK.X9_42_DH})
"""Key types that only old test suites use."""


_PASSWORDS = frozenset({CKM.PKCS5_PBKD2})
"""NSS would derive the keys of PKCS #12 files on the token, and send it the password."""


def token_mechanisms(traits: Traits) -> Mapping[int, MechanismRule]:
    """Return the rows of the mechanism table that a token has, with the flags that it has."""
    rows = {}
    for number, rule in MECHANISMS.items():
        if traits.mechanisms is not None and f"CKM_{rule.type.name}" not in traits.mechanisms:
            continue
        if not traits.legacy and _is_old(rule):
            continue
        if rule.flags & CKF.GENERATE_KEY_PAIR and not traits.key_generation:
            continue
        rows[number] = rule if traits.hardware else replace(rule, flags=rule.flags & ~CKF.HW)
    return rows


def _is_old(rule: MechanismRule) -> bool:
    """Return whether only a token with `legacy` has the mechanism."""
    return rule.type in _PASSWORDS or not _OLD.isdisjoint(rule.key_types[:1])


def require_known(wanted: CardRequest) -> None:
    """Raise ProfileError for names of mechanisms that the token would not have."""
    if not wanted.mechanisms:
        return
    known = {f"CKM_{each}": KNOWN.get(number) for each, number in CKM.__members__.items()}
    for name in wanted.mechanisms:
        if name not in known:
            raise ProfileError(f"there is no mechanism {name!r}{meant(name, known)}")
        rule = known[name]
        if rule is None:
            raise ProfileError(f"no token here has the mechanism {name!r}; those that there are: docs/mechanisms.md")
        if _is_old(rule) and not wanted.legacy:
            raise ProfileError(f"the mechanism {name!r} is an old one: it needs legacy=true, too")
