# SPDX-License-Identifier: MIT
"""Attributes: their values as bytes, and one table of the rules for each.

The table is that of the standard (PKCS #11 3.1, 4.4 to 4.13, with the footnotes of table 13); templates.py applies it.
"""

from __future__ import annotations

import datetime
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Flag, StrEnum, auto, unique
from functools import cache
from typing import Any

from .constants import CKA, CKK, CKO, CKR
from .errors import P11Error
from .wire import ATTRIBUTE_SIZE, Answer, Query, Room

TRUE, FALSE = b"\1", b"\0"

UNAVAILABLE = -1
"""Stands for CK_UNAVAILABLE_INFORMATION in the answer to a query."""

Attributes = dict[int, Any]
"""By type: bytes; a template again for CKA_WRAP_TEMPLATE and its like."""


@unique
class Form(StrEnum):
    """The type of the value of an attribute."""

    BYTES = "bytes"
    BOOLEAN = "boolean"
    ULONG = "ulong"
    NUMBER = "number"
    DATE = "date"
    ULONGS = "ulongs"
    TEMPLATE = "template"


class On(Flag):
    """The functions that take or return attributes, as the rules tell them apart."""

    CREATE = auto()
    GENERATE = auto()
    UNWRAP = auto()
    DERIVE = auto()
    COPY = auto()
    SET = auto()


NEVER = On(0)
_CHANGING = On.COPY | On.SET


@dataclass(frozen=True, slots=True)
class Rule:
    """One attribute of one kind of object.

    `needed` and `barred` are the occasions on which a template has to have it, or must not; `one_way` is the value from
    which it cannot be changed back, `so_only` the one that only the SO may give; `secret` values do not leave a
    sensitive key. What is `erasable` may be changed to nothing.
    """

    type: CKA
    form: Form
    needed: On = NEVER
    barred: On = NEVER
    default: Any = None
    one_way: bytes | None = None
    so_only: bool = False
    secret: bool = False
    erasable: bool = False


# One line for each attribute: name, form, then marks:
#   c g u   needed to create, generate, unwrap           C G U D   must not be there to create, generate, unwrap, derive
#   m       may be modified with C_SetAttributeValue and while copying        p   may be given anew while copying only
#   t f     cannot be changed any more once true, once false                  s   secret        o   true by the SO only
#   v       may be set to nothing
#   =...    the default: 0, 1, e (empty), x (unavailable information); without one there is none, or the code gives it

_TABLES: dict[str, str] = {
    "storage": """
        CLASS       ulong    -
        TOKEN       boolean  p =0
        PRIVATE     boolean  p
        MODIFIABLE  boolean  p f =1
        COPYABLE    boolean  m f =1
        DESTROYABLE boolean  m =1
        LABEL       bytes    m =e
        UNIQUE_ID   bytes    C G U D
    """,
    "data": """
        APPLICATION bytes    m =e
        OBJECT_ID   bytes    m =e
        VALUE       bytes    m D =e
    """,
    "certificate": """
        CERTIFICATE_TYPE     ulong   c
        TRUSTED              boolean m o =0
        CERTIFICATE_CATEGORY ulong   =0
        CHECK_VALUE          bytes   v
        START_DATE           date    -
        END_DATE             date    -
        PUBLIC_KEY_INFO      bytes   -
        SUBJECT              bytes   c
        ID                   bytes   m
        ISSUER               bytes   m
        SERIAL_NUMBER        bytes   m
        VALUE                bytes   c
        URL                  bytes   =e
        HASH_OF_SUBJECT_PUBLIC_KEY bytes =e
        HASH_OF_ISSUER_PUBLIC_KEY  bytes =e
        NAME_HASH_ALGORITHM  ulong   -
        JAVA_MIDP_SECURITY_DOMAIN ulong =0
    """,
    "key": """
        KEY_TYPE          ulong    c u
        ID                bytes    m
        START_DATE        date     m =e
        END_DATE          date     m =e
        DERIVE            boolean  m
        LOCAL             boolean  C G U D =0
        KEY_GEN_MECHANISM ulong    C G U D =x
        ALLOWED_MECHANISMS ulongs  -
    """,
    "public": """
        SUBJECT         bytes    m =e
        ENCRYPT         boolean  m
        VERIFY          boolean  m
        VERIFY_RECOVER  boolean  m
        WRAP            boolean  m
        ENCAPSULATE     boolean  m
        TRUSTED         boolean  m o =0
        WRAP_TEMPLATE   template =e
        PUBLIC_KEY_INFO bytes    -
    """,
    "private": """
        SUBJECT             bytes    m =e
        SENSITIVE           boolean  m t
        DECRYPT             boolean  m
        SIGN                boolean  m
        SIGN_RECOVER        boolean  m
        UNWRAP              boolean  m
        DECAPSULATE         boolean  m
        EXTRACTABLE         boolean  m f
        ALWAYS_SENSITIVE    boolean  C G U D
        NEVER_EXTRACTABLE   boolean  C G U D
        WRAP_WITH_TRUSTED   boolean  m t =0
        UNWRAP_TEMPLATE     template =e
        DERIVE_TEMPLATE     template =e
        ALWAYS_AUTHENTICATE boolean  =0
        PUBLIC_KEY_INFO     bytes    -
    """,
    "secret": """
        SENSITIVE         boolean  m t
        ENCRYPT           boolean  m
        DECRYPT           boolean  m
        SIGN              boolean  m
        VERIFY            boolean  m
        WRAP              boolean  m
        UNWRAP            boolean  m
        EXTRACTABLE       boolean  m f
        ALWAYS_SENSITIVE  boolean  C G U D
        NEVER_EXTRACTABLE boolean  C G U D
        CHECK_VALUE       bytes    v
        WRAP_WITH_TRUSTED boolean  m t =0
        TRUSTED           boolean  m o =0
        WRAP_TEMPLATE     template =e
        UNWRAP_TEMPLATE   template =e
        DERIVE_TEMPLATE   template =e
        VALUE             bytes    c G U D s
        VALUE_LEN         ulong    C
    """,
    "rsa public": """
        MODULUS         number c G
        MODULUS_BITS    ulong  C g
        PUBLIC_EXPONENT number c
    """,
    "rsa private": """
        MODULUS          number c G U
        PUBLIC_EXPONENT  number G U
        PRIVATE_EXPONENT number c G U s
        PRIME_1          number G U s
        PRIME_2          number G U s
        EXPONENT_1       number G U s
        EXPONENT_2       number G U s
        COEFFICIENT      number G U s
    """,
    "ec public": """
        EC_PARAMS bytes c g
        EC_POINT  bytes c G
    """,
    "ec private": """
        EC_PARAMS bytes  c G U
        EC_POINT  bytes  G U
        VALUE     bytes  c G U s
    """,
    "lattice public": """
        PARAMETER_SET ulong c g
        VALUE         bytes c G
    """,
    "lattice private": """
        PARAMETER_SET ulong c G U
        SEED          bytes G U s
        VALUE         bytes G U s
    """,
    "dsa public": """
        PRIME    number c g
        SUBPRIME number c g
        BASE     number c g
        VALUE    number c G
    """,
    "dsa private": """
        PRIME    number c G U
        SUBPRIME number c G U
        BASE     number c G U
        VALUE    number c G U s
    """,
    "dh public": """
        PRIME number c g
        BASE  number c g
        VALUE number c G
    """,
    "dh private": """
        PRIME      number c G U
        BASE       number c G U
        VALUE      number c G U s
        VALUE_BITS ulong  C U
    """,
    "x9.42 private": """
        PRIME      number c G U
        SUBPRIME   number c G U
        BASE       number c G U
        VALUE      number c G U s
        VALUE_BITS ulong  C U
    """,
    "domain": """
        KEY_TYPE ulong   c
        LOCAL    boolean C G U D =0
    """,
    "dsa domain": """
        PRIME         number c G
        SUBPRIME      number c G
        BASE          number c G
        PRIME_BITS    ulong  C g
        SUBPRIME_BITS ulong  C
    """,
    "dh domain": """
        PRIME      number c G
        BASE       number c G
        PRIME_BITS ulong  C g
    """,
    "x9.42 domain": """
        PRIME         number c G
        SUBPRIME      number c G
        BASE          number c G
        PRIME_BITS    ulong  C g
        SUBPRIME_BITS ulong  C g
    """,
    "profile": "PROFILE_ID ulong -",
    "feature": """
        HW_FEATURE_TYPE ulong   -
        RESET_ON_INIT   boolean -
        HAS_RESET       boolean -
        VALUE           bytes   -
    """,
    "mechanism": "MECHANISM_TYPE ulong -",
}

_HASHES = "MD5 SHA_1 SHA224 SHA256 SHA384 SHA512 SHA512_224 SHA512_256 SHA3_224 SHA3_256 SHA3_384 SHA3_512"
HMAC_KEYS = tuple(CKK[f"{name}_HMAC"] for name in _HASHES.split())
"""Secret keys for one HMAC only."""

_CURVES = (CKK.EC, CKK.EC_EDWARDS, CKK.EC_MONTGOMERY)
_LATTICES = (CKK.ML_DSA, CKK.ML_KEM)
_PARTS: dict[tuple[int, int | None], tuple[str, ...]] = {
    (CKO.DATA, None): ("storage", "data"),
    (CKO.CERTIFICATE, None): ("storage", "certificate"),
    (CKO.PROFILE, None): ("storage", "profile"),
    (CKO.PUBLIC_KEY, CKK.RSA): ("storage", "key", "public", "rsa public"),
    (CKO.PRIVATE_KEY, CKK.RSA): ("storage", "key", "private", "rsa private"),
    **{(CKO.PUBLIC_KEY, kind): ("storage", "key", "public", "lattice public") for kind in _LATTICES},
    **{(CKO.PRIVATE_KEY, kind): ("storage", "key", "private", "lattice private") for kind in _LATTICES},
    **{(CKO.PUBLIC_KEY, kind): ("storage", "key", "public", "dsa public") for kind in (CKK.DSA, CKK.X9_42_DH)},
    (CKO.PRIVATE_KEY, CKK.DSA): ("storage", "key", "private", "dsa private"),
    (CKO.PUBLIC_KEY, CKK.DH): ("storage", "key", "public", "dh public"),
    (CKO.PRIVATE_KEY, CKK.DH): ("storage", "key", "private", "dh private"),
    (CKO.PRIVATE_KEY, CKK.X9_42_DH): ("storage", "key", "private", "x9.42 private"),
    (CKO.DOMAIN_PARAMETERS, CKK.DSA): ("storage", "domain", "dsa domain"),
    (CKO.DOMAIN_PARAMETERS, CKK.DH): ("storage", "domain", "dh domain"),
    (CKO.DOMAIN_PARAMETERS, CKK.X9_42_DH): ("storage", "domain", "x9.42 domain"),
    **{(CKO.PUBLIC_KEY, curve): ("storage", "key", "public", "ec public") for curve in _CURVES},
    **{(CKO.PRIVATE_KEY, curve): ("storage", "key", "private", "ec private") for curve in _CURVES},
    **{
        (CKO.SECRET_KEY, kind): ("storage", "key", "secret")
        for kind in (CKK.GENERIC_SECRET, CKK.AES, CKK.DES3, CKK.DES2, CKK.DES, CKK.CHACHA20, CKK.HKDF, *HMAC_KEYS)
    },
}
"""The kinds of object that applications make: by class, and for keys and domains by key type."""

_MARKS = {"c": On.CREATE, "g": On.GENERATE, "u": On.UNWRAP}
_BARS = {"C": On.CREATE, "G": On.GENERATE, "U": On.UNWRAP, "D": On.DERIVE}
_ULONG = struct.Struct("@L")


def ulong(value: int) -> bytes:
    """Encode a CK_ULONG."""
    return _ULONG.pack(value)


def boolean(value: bool) -> bytes:
    """Encode a CK_BBOOL."""
    return TRUE if value else FALSE


def number(value: int) -> bytes:
    """Encode a big integer: big-endian, without leading zeros."""
    return value.to_bytes((value.bit_length() + 7) // 8 or 1, "big")


def date(value: datetime.datetime | None) -> bytes:
    """Encode a CK_DATE, empty for none."""
    return b"" if value is None else f"{value.year:04}{value.month:02}{value.day:02}".encode()


def as_ulong(value: bytes) -> int:
    """Read a CK_ULONG from a template. Raises P11Error(ATTRIBUTE_VALUE_INVALID)."""
    if len(value) != _ULONG.size:
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
    return int(_ULONG.unpack(value)[0])


def as_boolean(value: bytes) -> bool:
    """Read a CK_BBOOL from a template. Raises P11Error(ATTRIBUTE_VALUE_INVALID)."""
    if len(value) != 1:
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
    return value != FALSE


UNAVAILABLE_INFORMATION = ulong(2**64 - 1)
"""CK_UNAVAILABLE_INFORMATION as a value."""

_DEFAULTS = {"0": FALSE, "1": TRUE, "e": b"", "x": UNAVAILABLE_INFORMATION}


@cache
def rules(object_class: int, key_type: int | None) -> Mapping[int, Rule] | None:
    """Return the rules of a class and type of object by attribute type, None if the module has no such objects."""
    parts = _PARTS.get((object_class, key_type))
    if parts is None:
        return None
    lines = [line.split() for part in parts for line in _TABLES[part].strip().splitlines()]
    table: dict[int, Rule] = {rule.type: rule for rule in (_rule(name, form, marks) for name, form, *marks in lines)}
    return table


def checked(rule: Rule, value: Any) -> Any:
    """Return the canonical value: 1 for any true boolean, numbers without leading zeros. Raises P11Error."""
    form = rule.form
    if form is Form.TEMPLATE:
        return value
    if form is Form.BOOLEAN:
        return boolean(as_boolean(value))
    if form is Form.ULONG:
        as_ulong(value)
    elif form is Form.ULONGS:
        if len(value) % _ULONG.size:
            raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
    elif form is Form.NUMBER:
        return value.lstrip(b"\0") or value[:1]
    elif form is Form.DATE and value:
        try:
            datetime.date(int(value[:4]), int(value[4:6]), int(value[6:]))
        except ValueError:
            raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID) from None
        if len(value) != 8:
            raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
    return value


def as_ulongs(value: bytes) -> tuple[int, ...]:
    """Read the numbers of an array such as CKA_ALLOWED_MECHANISMS."""
    return struct.unpack(f"@{len(value) // _ULONG.size}L", value)


def query(attributes: Attributes, hidden: frozenset[int], wanted: Query) -> list[Answer]:
    """Return the attributes that C_GetAttributeValue asks for; each is looked up, whatever is wrong with another.

    Raises P11Error with the same as its result: ATTRIBUTE_SENSITIVE, ATTRIBUTE_TYPE_INVALID or BUFFER_TOO_SMALL.
    """
    problems: list[CKR] = []
    answers: list[Answer] = []
    for kind, room in wanted:
        value = attributes.get(kind)
        if value is None and kind == CKA.ALLOWED_MECHANISMS and CKA.KEY_TYPE in attributes:
            value = b""  # nothing was said, so any may be used; an empty list that was given allows none
        if kind in hidden:
            problems.append(CKR.ATTRIBUTE_SENSITIVE)
            answers.append(UNAVAILABLE)
        elif isinstance(room, Room) and isinstance(value, list) and room >= ATTRIBUTE_SIZE * len(value):
            inner = zip(value, room.inner, strict=False)
            answers.append([(kind, _told(each, its_room, problems)) for (kind, each), its_room in inner])
        else:
            answers.append(_told(value, room, problems))
    if problems:
        raise P11Error(problems[-1], answers)
    return answers


def _told(value: Any, room: int | None, problems: list[CKR]) -> bytes | int:
    """Return a value if there is room, its length without buffer, or UNAVAILABLE and add the reason to `problems`."""
    if isinstance(value, bytes):
        length = len(value)
    elif isinstance(value, list) and room is None:
        length = ATTRIBUTE_SIZE * len(value)
    else:  # also a template in a template: it is kept, but a query has no room for what is in it
        problems.append(CKR.BUFFER_TOO_SMALL if isinstance(value, list) else CKR.ATTRIBUTE_TYPE_INVALID)
        return UNAVAILABLE
    if room is None:
        return length
    if room < length:
        problems.append(CKR.BUFFER_TOO_SMALL)
        return UNAVAILABLE
    return bytes(value)


def _rule(name: str, form: str, marks: list[str]) -> Rule:
    needed, barred = NEVER, _CHANGING
    default: Any = None
    one_way: bytes | None = None
    for mark in marks:
        if mark in _MARKS:
            needed |= _MARKS[mark]
        elif mark in _BARS:
            barred |= _BARS[mark]
        elif mark == "m":
            barred &= ~_CHANGING
        elif mark == "p":
            barred &= ~On.COPY
        elif mark in "tf":
            one_way = TRUE if mark == "t" else FALSE
        elif mark.startswith("="):
            default = [] if form == Form.TEMPLATE else _DEFAULTS[mark[1:]]
    return Rule(CKA[name], Form(form), needed, barred, default, one_way, "o" in marks, "s" in marks, "v" in marks)
