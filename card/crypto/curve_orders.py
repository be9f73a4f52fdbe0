# SPDX-License-Identifier: MIT
"""Private keys on Weierstrass curves, of numbers below the order of the base point only.

cryptography before 47 takes any number, and makes keys of it that other programs cannot read.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec

# SP 800-186, 3.2; SEC 2, 2.4.1; RFC 5639, 3; that of secp192r1: FIPS 186-4, D.1.2.1.
_ORDERS = {
    "secp192r1": 0xFFFFFFFFFFFFFFFFFFFFFFFF99DEF836146BC9B1B4D22831,
    "secp224r1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFF16A2E0B8F03E13DD29455C5C2A3D,
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": 2**384 - 0x389CB27E0BC8D220A7E5F24DB74F58851313E695333AD68D,
    "secp521r1": 2**521 - 0x5AE79787C40D069948033FEB708F65A2FC44A36477663B851449048E16EC79BF7,
    "secp256k1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    "brainpoolP256r1": 0xA9FB57DBA1EEA9BC3E660A909D838D718C397AA3B561A6F7901E0E82974856A7,
    "brainpoolP384r1": int(
        "8CB91E82A3386D280F5D6F7E50E641DF152F7109ED5456B31F166E6CAC0425A7CF3AB6AF6B7FC3103B883202E9046565", 16
    ),
    "brainpoolP512r1": int(
        "AADD9DB8DBE9C48B3FD4E6AE33C9FC07CB308DB3B3C9D20ED6639CCA70330870"
        "553E5C414CA92619418661197FAC10471DB1D381085DDADDB58796829CA90069",
        16,
    ),
}


def private_key(number: int, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    """Make the private key of a number. Raises ValueError unless it is from 1 to the order less one."""
    _require_below(number, curve)
    return ec.derive_private_key(number, curve)


def require_in_range(key: object) -> None:
    """Check a private key that was read from a file or unwrapped. Raises ValueError as private_key()."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        _require_below(key.private_numbers().private_value, key.curve)


def _require_below(number: int, curve: ec.EllipticCurve) -> None:
    """Require a number from 1 to the order of the curve less one. Raises ValueError."""
    if not 1 <= number < _ORDERS.get(curve.name, number + 1):
        raise ValueError("a number beyond the order of the curve")
