# SPDX-License-Identifier: MIT
"""The list of private keys, as NSS gives it: with NULL for each that it could not read."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.lab.clients.drivers.nss_library import first_rsa_key, interface

RSA, EC = 1, 6


@pytest.mark.parametrize(
    ("types", "found"),
    [
        ((), None),
        ((None,), None),
        ((EC, None), None),
        ((None, RSA), 1),
        ((EC, None, RSA, RSA), 2),
        ((RSA, None), 0),
    ],
    ids=str,
)
def test_keys_that_nss_cannot_read(types: tuple[int | None, ...], found: int | None) -> None:
    """They are passed over: the first RSA key behind them is found, and none is no crash."""
    ffi = interface()
    keys = [ffi.NULL if each is None else ffi.new("SECKEYPrivateKey *", {"keyType": each}) for each in types]
    nodes = [ffi.new("SECKEYPrivateKeyListNode *", {"key": key}) for key in keys]
    whole: Any = ffi.new("SECKEYPrivateKeyList *")
    ring = [ffi.addressof(whole, "list"), *(ffi.addressof(node, "links") for node in nodes)]
    for here, there in zip(ring, [*ring[1:], ring[0]], strict=True):
        here.next, there.prev = there, here
    assert first_rsa_key(ffi, whole) == (None if found is None else keys[found])
