# SPDX-License-Identifier: MIT
"""A private key on the card never leaves it: its attributes say so, or a template that asks for more is refused."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Failed
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKK, CKM, CKO, CKR
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

YES, NO = b"\1", b"\0"
P256 = bytes.fromhex("06082a8648ce3d030107")
NUMBER = bytes(31) + b"\7"
ON_CARD = {CKA.TOKEN: YES, CKA.LABEL: b"made here", CKA.PRIVATE: YES}
Given = dict[CKA, bytes]


def _imported(m: Any, session: int, given: Given) -> int:
    number = {CKA.EC_PARAMS: P256, CKA.VALUE: NUMBER}
    return int(m.create(session, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.EC, **number, **ON_CARD, **given}))


def _generated(m: Any, session: int, given: Given) -> int:
    public = {CKA.EC_PARAMS: P256, CKA.TOKEN: YES, CKA.LABEL: b"made here"}
    return int(m.generate_pair(session, CKM.EC_KEY_PAIR_GEN, public, {**ON_CARD, **given})[1])


def _copied(m: Any, session: int, given: Given) -> int:
    """From a key of the session that can be read and wrapped, unless the template makes it another one."""
    readable = {CKA.SENSITIVE: NO, CKA.EXTRACTABLE: YES, CKA.TOKEN: NO}
    return int(m.copy(session, _imported(m, session, readable), {CKA.TOKEN: YES, **given}))


def _unwrapped(m: Any, session: int, given: Given) -> int:
    ffi = m.ffi
    aes = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: bytes(16), CKA.WRAP: YES, CKA.UNWRAP: YES}
    wrapping, key = m.create(session, aes), _imported(m, session, {CKA.EXTRACTABLE: YES, CKA.TOKEN: NO})
    mechanism, _kept = m.mechanism(CKM.AES_KEY_WRAP_PAD)
    wrapped, length = ffi.new("unsigned char[512]"), ffi.new("CK_ULONG *", 512)
    m.check("C_WrapKey", session, mechanism, wrapping, key, wrapped, length)
    whole = {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.EC, **ON_CARD, **given}
    template, _kept_too = m.template(whole)
    handle = ffi.new("CK_ULONG *")
    m.check("C_UnwrapKey", session, mechanism, wrapping, wrapped, length[0], template, len(whole), handle)
    return int(handle[0])


WAYS = {"imported": _imported, "generated": _generated, "copied": _copied, "unwrapped": _unwrapped}


@pytest.fixture
def session(module: tuple[Simulator, Any]) -> int:
    """A read/write session of the user; no key of an earlier test is left."""
    _, m = module
    m.call("C_CloseAllSessions", 0)
    live = int(m.open_session(0, read_write=True))
    m.login(live)
    for handle in m.find(live, {CKA.LABEL: b"made here"}):
        m.destroy(live, handle)
    return live


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "given", [{}, {CKA.SENSITIVE: YES}, {CKA.EXTRACTABLE: NO}, {CKA.SENSITIVE: YES, CKA.EXTRACTABLE: NO}]
)
def test_it_says_what_it_is(module: tuple[Simulator, Any], session: int, way: str, given: Given) -> None:
    """The same whichever way it came; that it has never been another only where the card has made it."""
    _, m = module
    if way == "copied":
        given = {CKA.SENSITIVE: YES, CKA.EXTRACTABLE: NO}
    handle = WAYS[way](m, session, given)
    kinds = (CKA.SENSITIVE, CKA.EXTRACTABLE, CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE, CKA.LOCAL, CKA.COPYABLE)
    told = [m.attribute(session, handle, kind) for kind in kinds]
    made_here = YES if way == "generated" else NO
    assert told == [YES, NO, made_here, made_here, made_here, NO]
    with pytest.raises(Failed, match="SENSITIVE"):
        m.attribute(session, handle, CKA.VALUE)
    with pytest.raises(Failed, match="PROHIBITED"):
        m.copy(session, handle, {CKA.TOKEN: NO})
    for kind, value in ((CKA.SENSITIVE, NO), (CKA.EXTRACTABLE, YES), (CKA.COPYABLE, YES)):
        with pytest.raises(Failed, match="READ_ONLY"):
            m.change(session, handle, {kind: value})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "given",
    [{CKA.SENSITIVE: NO}, {CKA.EXTRACTABLE: YES}, {CKA.COPYABLE: YES}, {CKA.SENSITIVE: NO, CKA.EXTRACTABLE: YES}],
)
def test_what_it_cannot_be_is_refused(module: tuple[Simulator, Any], session: int, way: str, given: Given) -> None:
    """ "A template with an attribute that violates some token specific requirement" (4.1.1); nothing is made."""
    _, m = module
    if way == "copied":
        given = {CKA.SENSITIVE: YES, CKA.EXTRACTABLE: NO, **given}
    with pytest.raises(Failed) as refused:
        WAYS[way](m, session, given)
    assert refused.value.value == CKR.TEMPLATE_INCONSISTENT
    assert m.find(session, {CKA.LABEL: b"made here", CKA.TOKEN: YES}) == []


@pytest.mark.parametrize("way", WAYS)
def test_it_is_told_the_same_after_a_removal(module: tuple[Simulator, Any], session: int, way: str) -> None:
    """What has been written of it is on the card."""
    simulator, m = module
    WAYS[way](m, session, {CKA.SENSITIVE: YES, CKA.EXTRACTABLE: NO})
    kinds = (CKA.SENSITIVE, CKA.EXTRACTABLE, CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE, CKA.COPYABLE)
    wanted = {CKA.LABEL: b"made here", CKA.CLASS: CKO.PRIVATE_KEY, CKA.TOKEN: YES}
    (handle,) = m.find(session, wanted)
    before = [m.attribute(session, handle, kind) for kind in kinds]
    simulator.insert("front", simulator.remove("front"))
    again = m.open_session(0, read_write=True)
    m.login(again)
    (handle,) = m.find(again, wanted)
    assert [m.attribute(again, handle, kind) for kind in kinds] == before


def test_asks_each_time_only_if_private(module: tuple[Simulator, Any], session: int) -> None:
    """CKA_ALWAYS_AUTHENTICATE without CKA_PRIVATE has no meaning (4.9)."""
    _, m = module
    for way in (_imported, _generated):
        for token in (YES, NO):
            with pytest.raises(Failed, match="INCONSISTENT"):
                way(m, session, {CKA.PRIVATE: NO, CKA.ALWAYS_AUTHENTICATE: YES, CKA.TOKEN: token})
    private = _imported(m, session, {CKA.ALWAYS_AUTHENTICATE: YES, CKA.TOKEN: NO})
    for token in (YES, NO):
        with pytest.raises(Failed, match="INCONSISTENT"):
            m.copy(session, private, {CKA.PRIVATE: NO, CKA.TOKEN: token})


@pytest.mark.parametrize("way", ["imported", "copied", "unwrapped"])
def test_the_same_key_twice(module: tuple[Simulator, Any], session: int, way: str) -> None:
    """Under another CKA_ID it is another object; public keys go to the one with their CKA_ID. Each goes alone.

    Where no CKA_ID would tell the two apart, the second is refused.
    """
    _, m = module
    given = {CKA.SENSITIVE: YES, CKA.EXTRACTABLE: NO} if way == "copied" else {}
    first = WAYS["imported"](m, session, {CKA.ID: b"one"})
    for name in (b"one", b""):
        with pytest.raises(Failed, match="TEMPLATE_INCONSISTENT"):
            WAYS[way](m, session, {**given, CKA.ID: name})
    second = WAYS[way](m, session, {**given, CKA.ID: b"two"})
    halves = {CKA.CLASS: CKO.PRIVATE_KEY, CKA.LABEL: b"made here", CKA.TOKEN: YES}
    assert sorted(m.find(session, halves)) == sorted((first, second))
    point = (
        ec.derive_private_key(7, ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    )
    half = {CKA.CLASS: CKO.PUBLIC_KEY, CKA.KEY_TYPE: CKK.EC, CKA.EC_PARAMS: P256, CKA.EC_POINT: b"\4\x41" + point}
    for name, private in ((b"two", second), (b"one", first)):
        m.create(session, {**half, CKA.TOKEN: YES, CKA.LABEL: b"made here", CKA.ID: name})
        slot = m.attribute(session, private, CKA.UNIQUE_ID)[:2]
        public = m.find(session, {CKA.CLASS: CKO.PUBLIC_KEY, CKA.ID: name})
        assert [m.attribute(session, each, CKA.UNIQUE_ID)[:2] for each in public] == [slot]
        m.sign_init(session, private, CKM.ECDSA)
        assert len(m.sign(session, bytes(32))) == 64
    m.destroy(session, first)
    assert m.find(session, halves) == [second]
    m.sign_init(session, second, CKM.ECDSA)
    assert len(m.sign(session, bytes(32))) == 64
