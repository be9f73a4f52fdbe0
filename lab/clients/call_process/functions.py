# SPDX-License-Identifier: MIT
"""The functions that a scenario can call in its built-in client: those of PKCS #11 2.40, and a few of its own.

From the call table: what has to be given, in the standard's order, and whether anything comes back. Buffers and their
lengths are the client's business.
"""

from __future__ import annotations

from typing import NamedTuple

from ....p11.calls import CALLS
from ....p11.constants import CKF

GIVEN = "uybnrtqmMwWlsF"
"""Letters of the parameters that a scenario gives; of F, how many at most."""
BACK = "UBrLFqSKEH"
"""Letters of the parameters that come back."""

WORDS = {
    "u": "a number",
    "y": "TRUE or FALSE",
    "b": "bytes or a string",
    "n": "a PIN",
    "r": "a length",
    "t": "a template, as {CKA_LABEL: 'name'}",
    "q": "a list of attributes, as [CKA_LABEL]",
    **dict.fromkeys("mMwW", "a mechanism, or [mechanism, parameter]"),
    "l": "a label",
    "s": "a name",
    "F": "how many at most",
}


class Function(NamedTuple):
    """What can be called: the letters of what is given, values for what may be left out, the calls that it makes."""

    name: str
    given: str
    defaults: tuple[object, ...] = ()
    gives: bool = False
    calls: tuple[str, ...] = ()

    @property
    def most(self) -> int:
        """Return how many arguments it takes."""
        return len(self.given)

    @property
    def least(self) -> int:
        """Return how many arguments it needs; the last ones have defaults."""
        return len(self.given) - len(self.defaults)

    @property
    def usage(self) -> str:
        """Return the arguments in words."""
        words = [WORDS[letter] for letter in self.given]
        optional = [f"{word} (may be left out)" for word in words[self.least :]]
        return "; ".join(words[: self.least] + optional) or "nothing"


_DEFAULTS: dict[str, tuple[object, ...]] = {
    "C_GetSlotList": (False,),
    "C_OpenSession": (int(CKF.SERIAL_SESSION),),
    "C_WaitForSlotEvent": (0,),
    "C_FindObjectsInit": ({},),
    "C_FindObjects": (16,),
}

_BY_HAND = (
    Function("C_Initialize", "", calls=()),
    Function("C_GetInfo", "", gives=True),
    Function("find", "ut", ({},), True, ("C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal")),
    Function("events", "", (), True, ("C_WaitForSlotEvent",)),
    Function("unload", ""),
    Function("fork", "s"),
)
"""`find` gives the handles of a whole search, `events` the slots of all events that are pending; `unload` is dlclose;
`fork` makes a child process, which is a client by that name."""


def _functions() -> dict[str, Function]:
    found = {each.name: each for each in _BY_HAND}
    for call in CALLS:
        if (call.version, call.minor) == (2, 40):
            given = "".join(letter for letter in call.signature if letter in GIVEN)
            gives = any(letter in BACK for letter in call.signature)
            twice = 2 if "L" in call.signature else 1  # lists are asked for their length first, as applications do
            found[call.name] = Function(call.name, given, _DEFAULTS.get(call.name, ()), gives, twice * (call.name,))
    return found


FUNCTIONS: dict[str, Function] = _functions()
"""What can be called, by name."""
