# SPDX-License-Identifier: MIT
"""docs/mechanisms.md, generated from the table of mechanisms: python -m pages.mechanisms_page > docs/mechanisms.md"""

from __future__ import annotations

import textwrap

from cardtear.card.token_traits import Traits
from cardtear.p11.constants import CKF, CKM
from cardtear.p11.mechanisms import KNOWN, MechanismRule
from cardtear.p11.token_mechanisms import token_mechanisms

_HEAD = """# Mechanisms

What a token offers unless its card is made with `--set mechanisms=...`. Those marked *old* need
`--set legacy=true`; those marked *card* also work with keys of the card. ML-DSA and ML-KEM need
`cryptography` 47 or newer. Sizes are those of C_GetMechanismInfo.

| mechanism | for | keys | sizes | |
|---|---|---|---|---|
"""

_MISSING = """
## Not there

Of the mechanisms that the module knows by name these are missing:

"""

_FAMILIES = """
Whole families are missing: GOST; Camellia, ARIA, SEED, Blowfish, Twofish, IDEA, CAST, RC2, RC4, RC5
and Skipjack; KEA, Fortezza and X9.42's two-pass and MQV derivations; the derivations of SSL, TLS,
WTLS, IKE, X3DH and the double ratchet; password-based ones but PBKDF2; one-time passwords; HSS and
XMSS.

Of the mechanisms that are there, these parts are missing: Ed25519ctx, Ed25519ph, Ed448 with a
context and Ed448ph with keys of a YubiKey, whose command takes the message alone; PBKDF2 of more
than 2^25 iterations, counted for all blocks; ML-KEM-512, and ML-DSA without randomness; RSA keys of
more than 4096 bits, and new ones of less than 1024; DSA keys of other lengths than 1024, 2048, 3072
and (in a session) 4096 bits; DSA domains with a seed; DH and X9.42 keys on the card; further keys
(`CK_DERIVED_KEY`) and key handles in an SP 800-108 derivation.
"""

_USES = {
    CKF.DIGEST: "digest",
    CKF.SIGN: "sign",
    CKF.SIGN_RECOVER: "sign with recovery",
    CKF.ENCRYPT: "encrypt",
    CKF.WRAP: "wrap",
    CKF.DERIVE: "derive",
    CKF.ENCAPSULATE: "encapsulate",
    CKF.GENERATE: "generate",
    CKF.GENERATE_KEY_PAIR: "generate a pair",
}
"""Each with its counterpart, which is always there, too."""
_MOST_KEY_TYPES = 4
_WIDTH = 100


def page() -> str:
    """Return the page as Markdown."""
    old = token_mechanisms(Traits(legacy=True)).keys() - token_mechanisms(Traits()).keys()
    rows = [_row(rule, is_old=number in old) for number, rule in sorted(KNOWN.items())]
    missing = ", ".join(f"`CKM_{each.name}`" for each in CKM if each not in KNOWN and each is not CKM.VENDOR_DEFINED)
    return _HEAD + "\n".join(rows) + "\n" + _MISSING + textwrap.fill(missing + ".", _WIDTH) + "\n" + _FAMILIES


def _row(rule: MechanismRule, is_old: bool) -> str:
    uses = ", ".join(word for flag, word in _USES.items() if rule.flags & flag)
    types = [kind.name for kind in rule.key_types]
    shown = ", ".join(types) if len(types) <= _MOST_KEY_TYPES else "any secret key"
    least, most = rule.sizes
    sizes = f"{least}" if least == most else f"{least} to {most}"
    marks = ", ".join(word for word, is_so in (("old", is_old), ("card", bool(rule.flags & CKF.HW))) if is_so)
    return f"| `CKM_{rule.type.name}` | {uses} | {shown} | {sizes if most else ''} | {marks} |"


if __name__ == "__main__":
    print(page(), end="")
