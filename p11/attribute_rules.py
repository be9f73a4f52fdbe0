# SPDX-License-Identifier: MIT
"""The rules for attributes: one table of what a template may and must contain.

The table is that of the standard (PKCS #11 3.1, 4.4 to 4.13, with the footnotes of table 13); templates.py applies it.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Flag, StrEnum, auto, unique
from functools import cache
from typing import Any

from .attributes import FALSE, TRUE, UNAVAILABLE_INFORMATION, as_boolean, as_ulong, boolean
from .constants import CKA, CKK, CKO, CKR
from .errors import P11Error
from .wire import ULONG_SIZE


@unique
class AttributeForm(StrEnum):
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
class AttributeRule:
    """One attribute of one kind of object.

    `needed` and `barred` are the functions whose template has to have it, or must not; `one_way` is the value from
    which it cannot be changed back, `so_only` the one that only the SO may give; `secret` values do not leave a
    sensitive key. What is `erasable` may be changed to nothing.
    """

    type: CKA
    form: AttributeForm
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
    "post-quantum public": """
        PARAMETER_SET ulong c g
        VALUE         bytes c G
    """,
    "post-quantum private": """
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
_POST_QUANTUM = (CKK.ML_DSA, CKK.ML_KEM)
_PARTS: dict[tuple[int, int | None], tuple[str, ...]] = {
    (CKO.DATA, None): ("storage", "data"),
    (CKO.CERTIFICATE, None): ("storage", "certificate"),
    (CKO.PROFILE, None): ("storage", "profile"),
    (CKO.PUBLIC_KEY, CKK.RSA): ("storage", "key", "public", "rsa public"),
    (CKO.PRIVATE_KEY, CKK.RSA): ("storage", "key", "private", "rsa private"),
    **{(CKO.PUBLIC_KEY, kind): ("storage", "key", "public", "post-quantum public") for kind in _POST_QUANTUM},
    **{(CKO.PRIVATE_KEY, kind): ("storage", "key", "private", "post-quantum private") for kind in _POST_QUANTUM},
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
_DEFAULTS = {"0": FALSE, "1": TRUE, "e": b"", "x": UNAVAILABLE_INFORMATION}


@cache
def rules(object_class: int, key_type: int | None) -> Mapping[int, AttributeRule] | None:
    """Return the rules of a class and type of object by attribute type, None if the module has no such objects."""
    parts = _PARTS.get((object_class, key_type))
    if parts is None:
        return None
    lines = [line.split() for part in parts for line in _TABLES[part].strip().splitlines()]
    table: dict[int, AttributeRule] = {
        rule.type: rule for rule in (_rule(name, form, marks) for name, form, *marks in lines)
    }
    return table


def checked(rule: AttributeRule, value: Any) -> Any:
    """Return the canonical value: 1 for any true boolean, numbers without leading zeros. Raises P11Error."""
    form = rule.form
    if form is AttributeForm.TEMPLATE:
        return value
    if form is AttributeForm.BOOLEAN:
        return boolean(as_boolean(value))
    if form is AttributeForm.ULONG:
        as_ulong(value)
    elif form is AttributeForm.ULONGS:
        if len(value) % ULONG_SIZE:
            raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
    elif form is AttributeForm.NUMBER:
        return value.lstrip(b"\0") or value[:1]
    elif form is AttributeForm.DATE and value:
        try:
            datetime.date(int(value[:4]), int(value[4:6]), int(value[6:]))
        except ValueError:
            raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID) from None
        if len(value) != 8:
            raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
    return value


def _rule(name: str, form: str, marks: list[str]) -> AttributeRule:
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
            default = [] if form == AttributeForm.TEMPLATE else _DEFAULTS[mark[1:]]
    return AttributeRule(
        CKA[name], AttributeForm(form), needed, barred, default, one_way, "o" in marks, "s" in marks, "v" in marks
    )
