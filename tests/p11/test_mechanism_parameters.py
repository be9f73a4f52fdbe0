# SPDX-License-Identifier: MIT
"""Every mechanism with every wrong parameter: the standard's code, and the session goes on."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKF, CKK, CKR
from cardtear.p11.mechanisms import MECHANISMS, MechanismRule, Scheme

from ..shared.host import probes
from ..shared.host.host import NewHost

# The schemes whose parameter may be left out, and the length of the parameter where there is one of fixed length.
OPTIONAL = {Scheme.EDDSA, Scheme.ML_DSA, Scheme.KEY_WRAP, Scheme.KEY_WRAP_PAD}
LENGTHS: dict[Scheme, int] = {
    Scheme.RSA_PSS: 24,
    Scheme.RSA_OAEP: 40,
    Scheme.CBC: 16,
    Scheme.CBC_PAD: 16,
    Scheme.CTR: 24,
    Scheme.OFB: 16,
    Scheme.CFB: 16,
    Scheme.CFB8: 16,
}
INITS = {
    CKF.ENCRYPT: "C_EncryptInit",
    CKF.DECRYPT: "C_DecryptInit",
    CKF.DIGEST: "C_DigestInit",
    CKF.SIGN: "C_SignInit",
    CKF.VERIFY: "C_VerifyInit",
    CKF.SIGN_RECOVER: "C_SignRecoverInit",
    CKF.VERIFY_RECOVER: "C_VerifyRecoverInit",
}
NAMES = {int(flag): name for flag, name in INITS.items()}


def kinds_of(rule: MechanismRule) -> CKK | None:
    """The key type to try the mechanism with."""
    return rule.key_types[0] if rule.key_types else None


@pytest.fixture
def session(bare_simulator: Simulator, new_host: NewHost) -> tuple[Any, int, dict[int, list[int]]]:
    """A host, a session, and keys by type: [private or secret, public or secret]."""
    bare_simulator.plug("front")
    bare_simulator.insert("front", CardRequest(profile="blank", legacy=True))
    host = new_host(bare_simulator)
    handle = host.call(probes.user_session, read_write=True)
    return host, handle, host.call(probes.one_of_each, handle)


def test_wrong_parameters(session: tuple[Any, int, dict[int, list[int]]]) -> None:
    """Missing, empty, short, long, and random ones."""
    host, handle, keys = session
    wrong: list[str] = []
    for rule in MECHANISMS.values():
        for flag, function in NAMES.items():
            if not rule.flags & flag or rule.scheme is Scheme.DSA:  # its keys are in test_finite_fields.py
                continue
            pair = keys.get(int(kinds_of(rule) or 0), [0, 0])
            key = pair[1] if function in ("C_EncryptInit", "C_VerifyInit", "C_VerifyRecoverInit") else pair[0]
            right = LENGTHS.get(rule.scheme)
            if right == 16:
                right = rule.block
            for length in (0, 1, 7, 8, 15, 16, 17, 23, 24, 25, 39, 40, 41, 47, 48, 49, 56, 1000):
                value = host.call(probes.begun, function, handle, int(rule.type), b"\xa5" * length, key)
                refused = value == CKR.MECHANISM_PARAM_INVALID
                if (length == 0 and (right is None or rule.scheme in OPTIONAL)) or length == right:
                    fine = value == CKR.OK or refused
                else:
                    fine = refused
                if not fine:
                    wrong.append(f"{rule.type.name} {function} {length}: {CKR(value).name}")
    assert wrong == []
    assert len(host.call(Module.random, handle)) > 0
