# SPDX-License-Identifier: MIT
"""The holder of a card, and the identifiers that objects and certificates on it share."""

from __future__ import annotations

import datetime
import unicodedata
import uuid
from dataclasses import dataclass, field

YEARS = 5
"""So long a card is good, unless asked for otherwise (FIPS 201-3, 2.8: at most six years)."""

_START, _FIELD, _END = 0xB, 0xD, 0xF


@dataclass(frozen=True)
class Cardholder:
    """The holder's name and the card's UUID, version 4 unless its end is given."""

    name: str
    address: str
    guid: bytes
    years: int = YEARS
    issued: datetime.date = field(default_factory=datetime.date.today)

    @property
    def expires(self) -> datetime.date:
        """Return the day from which the card and everything on it is expired."""
        return self.issued + datetime.timedelta(days=365 * self.years)

    @property
    def printed_name(self) -> str:
        """Return the name in ASCII, without what ASCII does not have."""
        ascii_only = unicodedata.normalize("NFKD", self.name).encode("ascii", "ignore").decode()
        return ascii_only.strip() or "Cardholder"

    @property
    def uri(self) -> str:
        """Return the card's UUID as a URI (RFC 4122, 3)."""
        return uuid.UUID(bytes=self.guid).urn

    @property
    def fasc_n(self) -> bytes:
        """Return 25 bytes: agency and system 9999 as for non-federal issuers; the rest comes from the UUID."""
        number = int.from_bytes(self.guid, "big")
        credential, person = f"{number % 10**6:06}", f"{number // 10**6 % 10**10:010}"
        return fasc_n("9999", "9999", credential, "1", "1", f"{person}199991")


def fasc_n(*fields: str) -> bytes:
    """Encode agency, system, credential, series, issue, and a person identifier of 16 digits.

    Each digit is four bits, the lowest first, and one of odd parity; the last is over all of them (TIG SCEPACS 2.3).
    """
    codes = [_START]
    for each in fields:
        codes += [int(digit) for digit in each] + [_FIELD]
    codes[-1] = _END
    check = 0
    for code in codes:
        check ^= code
    return int("".join(map(_with_parity, [*codes, check])), 2).to_bytes(25, "big")


def _with_parity(code: int) -> str:
    """Return the bits of a digit, the lowest first, with odd parity."""
    return f"{code:04b}"[::-1] + str(1 - code.bit_count() % 2)
