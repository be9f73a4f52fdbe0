# SPDX-License-Identifier: MIT
"""Domain parameters: made by the token, kept on the card, used; and what calculates for long when the card goes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import gmpy2
import pytest
from cardtear.lab.clients.pkcs11 import Failed
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.attributes import as_ulong
from cardtear.p11.constants import CKA, CKK, CKM, CKO, CKP, CKR

from ..shared.dsa_domains import DOMAINS
from ..shared.waiting import wait_until

YES, NO = b"\1", b"\0"
DEADLINE = 20.0
NUMBERS = (CKA.PRIME, CKA.SUBPRIME, CKA.BASE)
Given = dict[CKA, Any]


@pytest.fixture
def session(m: Any) -> int:
    """A read/write session of the user."""
    m.call("C_CloseAllSessions", 0)
    live = int(m.open_session(0, read_write=True))
    m.login(live)
    return live


def octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def generated(m: Any, session: int, mechanism: CKM, template: Given, parameter: bytes = b"") -> int:
    """The handle of the domain. Raises Failed."""
    built, _kept = m.mechanism(mechanism, parameter)
    given, _kept_too = m.template(template)
    handle = m.ffi.new("CK_ULONG *")
    m.check("C_GenerateKey", session, built, given, len(template), handle)
    return int(handle[0])


def numbers(m: Any, session: int, handle: int, *kinds: CKA) -> list[int]:
    return [int.from_bytes(m.attribute(session, handle, kind), "big") for kind in kinds]


@pytest.mark.parametrize(
    ("mechanism", "bits", "asked", "order_bits", "making"),
    [
        (CKM.DSA_PARAMETER_GEN, 1024, None, 160, CKM.DSA_KEY_PAIR_GEN),
        (CKM.DSA_PARAMETER_GEN, 1024, 160, 160, CKM.DSA_KEY_PAIR_GEN),
        (CKM.DSA_PARAMETER_GEN, 2048, None, 256, CKM.DSA_KEY_PAIR_GEN),
        (CKM.DSA_PARAMETER_GEN, 2048, 224, 224, CKM.DSA_KEY_PAIR_GEN),
        (CKM.X9_42_DH_PARAMETER_GEN, 512, 160, 160, CKM.X9_42_DH_KEY_PAIR_GEN),
        (CKM.X9_42_DH_PARAMETER_GEN, 1000, 256, 256, CKM.X9_42_DH_KEY_PAIR_GEN),
    ],
)
def test_with_an_order(
    m: Any, session: int, mechanism: CKM, bits: int, asked: int | None, order_bits: int, making: CKM
) -> None:
    """Primes of those lengths, the smaller in the order of the base; a pair of keys is made in it."""
    template = {CKA.PRIME_BITS: bits} | ({} if asked is None else {CKA.SUBPRIME_BITS: asked})
    handle = generated(m, session, mechanism, template)
    p, q, g = numbers(m, session, handle, *NUMBERS)
    assert (p.bit_length(), q.bit_length()) == (bits, order_bits)
    assert gmpy2.is_prime(p)
    assert gmpy2.is_prime(q)
    assert 1 < g < p
    assert pow(g, q, p) == 1
    told = [as_ulong(m.attribute(session, handle, kind)) for kind in (CKA.CLASS, CKA.PRIME_BITS, CKA.SUBPRIME_BITS)]
    assert told == [CKO.DOMAIN_PARAMETERS, bits, order_bits]
    assert m.attribute(session, handle, CKA.LOCAL) == YES
    domain = {kind: m.attribute(session, handle, kind) for kind in NUMBERS}
    m.generate_pair(session, making, domain, {CKA.PRIVATE: NO})


@pytest.mark.parametrize("bits", [512, 600])
def test_in_a_safe_prime(m: Any, session: int, bits: int) -> None:
    handle = generated(m, session, CKM.DH_PKCS_PARAMETER_GEN, {CKA.PRIME_BITS: bits})
    p, g = numbers(m, session, handle, CKA.PRIME, CKA.BASE)
    assert p.bit_length() == bits
    assert gmpy2.is_prime(p)
    assert gmpy2.is_prime((p - 1) // 2)
    assert pow(g, (p - 1) // 2, p) == 1
    domain = {kind: m.attribute(session, handle, kind) for kind in (CKA.PRIME, CKA.BASE)}
    m.generate_pair(session, CKM.DH_PKCS_KEY_PAIR_GEN, domain, {CKA.PRIVATE: NO})
    assert m.call("C_GetAttributeValue", session, handle, *m.template({CKA.SUBPRIME: b""})[:1], 1) != CKR.OK


def test_kept_on_the_card(module: tuple[Simulator, Any], session: int) -> None:
    """There after a removal, and gone when it is destroyed."""
    simulator, m = module
    handle = generated(m, session, CKM.DSA_PARAMETER_GEN, {CKA.PRIME_BITS: 1024, CKA.TOKEN: YES, CKA.LABEL: b"kept"})
    before = numbers(m, session, handle, *NUMBERS)
    simulator.insert("front", simulator.remove("front"))
    again = m.open_session(0, read_write=True)
    m.login(again)
    (found,) = m.find(again, {CKA.CLASS: CKO.DOMAIN_PARAMETERS, CKA.LABEL: b"kept"})
    assert numbers(m, again, found, *NUMBERS) == before
    assert m.attribute(again, found, CKA.LOCAL) == YES
    m.destroy(again, found)
    assert m.find(again, {CKA.CLASS: CKO.DOMAIN_PARAMETERS}) == []


WRONG: list[tuple[CKM, Given]] = [
    *((CKM.DSA_PARAMETER_GEN, {CKA.PRIME_BITS: bits}) for bits in (0, 512, 1000, 1025, 4096, 2**40)),
    *((CKM.DSA_PARAMETER_GEN, {CKA.PRIME_BITS: 1024, CKA.SUBPRIME_BITS: bits}) for bits in (0, 159, 224, 1024)),
    *((CKM.DH_PKCS_PARAMETER_GEN, {CKA.PRIME_BITS: bits}) for bits in (0, 511, 4097, 2**40)),
    *((CKM.X9_42_DH_PARAMETER_GEN, {CKA.PRIME_BITS: 512, CKA.SUBPRIME_BITS: bits}) for bits in (0, 100, 511, 512, 513)),
]


@pytest.mark.parametrize(("mechanism", "template"), WRONG)
def test_wrong_lengths(m: Any, session: int, mechanism: CKM, template: Given) -> None:
    with pytest.raises(Failed) as caught:
        generated(m, session, mechanism, template)
    assert caught.value.value == CKR.ATTRIBUTE_VALUE_INVALID


@pytest.mark.parametrize("mechanism", [CKM.DSA_PARAMETER_GEN, CKM.DH_PKCS_PARAMETER_GEN, CKM.X9_42_DH_PARAMETER_GEN])
def test_no_parameter(m: Any, session: int, mechanism: CKM) -> None:
    with pytest.raises(Failed) as caught:
        generated(m, session, mechanism, {CKA.PRIME_BITS: 1024, CKA.SUBPRIME_BITS: 160}, b"x")
    assert caught.value.value == CKR.MECHANISM_PARAM_INVALID


def test_domains_from_outside(m: Any, session: int) -> None:
    """With the lengths of their numbers; what is none is refused."""
    domain = dict(zip(NUMBERS, map(octets, DOMAINS[2048]), strict=True))
    common = {CKA.CLASS: CKO.DOMAIN_PARAMETERS}
    for key_type, given in (
        (CKK.DSA, domain),
        (CKK.X9_42_DH, domain),
        (CKK.DH, {kind: domain[kind] for kind in (CKA.PRIME, CKA.BASE)}),
    ):
        handle = m.create(session, {**common, CKA.KEY_TYPE: key_type, **given})
        assert as_ulong(m.attribute(session, handle, CKA.PRIME_BITS)) == 2048
        assert m.attribute(session, handle, CKA.LOCAL) == NO
        for changed in ({CKA.BASE: b"\1"}, {CKA.BASE: given[CKA.PRIME]}, {CKA.PRIME: b"\7"}):
            with pytest.raises(Failed) as caught:
                m.create(session, {**common, CKA.KEY_TYPE: key_type, **given, **changed})
            assert caught.value.value in (CKR.ATTRIBUTE_VALUE_INVALID, CKR.KEY_SIZE_RANGE)
        if key_type is not CKK.DH:
            with pytest.raises(Failed, match="VALUE_INVALID"):
                m.create(session, {**common, CKA.KEY_TYPE: key_type, **given, CKA.SUBPRIME: b"\7"})


# What calculates for long


def stretched(m: Any, session: int, iterations: int = 1 << 21) -> int:
    """C_GenerateKey with PBKDF2."""
    ffi = m.ffi
    salt, password = ffi.new("unsigned char[]", b"salt"), ffi.new("unsigned char[]", b"password")
    fields = (1, salt, 4, iterations, CKP.PKCS5_PBKD2_HMAC_SHA1, ffi.NULL, 0, password, 8)
    parameter = ffi.new("CK_PKCS5_PBKD2_PARAMS2 *", fields)
    built = ffi.new("CK_MECHANISM *", (CKM.PKCS5_PBKD2, parameter, ffi.sizeof("CK_PKCS5_PBKD2_PARAMS2")))
    template, _kept = m.template({CKA.VALUE_LEN: 16})
    return int(m.call("C_GenerateKey", session, built, template, 1, ffi.new("CK_ULONG *")))


def long_domain(m: Any, session: int) -> int:
    try:
        return generated(m, session, CKM.DH_PKCS_PARAMETER_GEN, {CKA.PRIME_BITS: 4096}) and 0
    except Failed as failed:
        return failed.value


def calculating() -> set[threading.Thread]:
    """Threads of the simulator, which is in this process, that calculate; also those for which nobody waits."""
    return {each for each in threading.enumerate() if each.name == "p11-calculation" and each.is_alive()}


class Calculation:
    """A call in a thread, which is waited for until it calculates."""

    def __init__(self, call: Callable[[], int]) -> None:
        self.value: int | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        others = calculating()
        self._thread.start()
        wait_until(lambda: calculating() - others, "the calculation begins")

    def _run(self) -> None:
        self.value = self._call()

    def result(self) -> int | None:
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "it hangs"
        return self.value


LONG = pytest.mark.parametrize("work", [stretched, long_domain], ids=["a password", "a domain"])


@LONG
def test_a_removal_ends_it(module: tuple[Simulator, Any], session: int, work: Any) -> None:
    """At once, and other calls work meanwhile; on the card that comes nothing of it is left."""
    simulator, m = module
    calculation = Calculation(lambda: work(m, session))
    assert len(m.random(session)) > 0
    simulator.remove("front")
    assert calculation.result() == CKR.DEVICE_REMOVED
    simulator.insert("front")
    again = m.open_session(0, read_write=True)
    m.login(again)
    assert m.find(again, {CKA.CLASS: CKO.DOMAIN_PARAMETERS}) == []
    assert stretched(m, again, 1000) == CKR.OK


@LONG
def test_closing_the_session_ends_it(module: tuple[Simulator, Any], session: int, work: Any) -> None:
    _, m = module
    other = m.open_session(0)
    calculation = Calculation(lambda: work(m, other))
    m.close_session(other)
    assert calculation.result() == CKR.SESSION_CLOSED
    assert stretched(m, session, 1000) == CKR.OK


PROGRAM = """
from cardtear.csrc import module_path
from cardtear.lab.clients.pkcs11 import Module
from cardtear.p11.constants import CKA, CKM
m = Module(module_path())
m.initialize()
session = m.open_session(0)
(mechanism, _), (template, _kept) = m.mechanism(CKM.DH_PKCS_PARAMETER_GEN), m.template({CKA.PRIME_BITS: 4096})
m.call("C_GenerateKey", session, mechanism, template, 1, m.ffi.new("CK_ULONG *"))
"""


def test_the_end_of_the_program_ends_it(module: tuple[Simulator, Any]) -> None:
    """Nothing calculates for somebody who has gone."""
    simulator, _ = module
    others = calculating()
    with subprocess.Popen([sys.executable, "-c", PROGRAM], env={**os.environ, **simulator.environment}) as program:
        new = wait_until(lambda: calculating() - others, "the calculation begins")
        program.kill()
    for each in new:
        each.join(DEADLINE)
        assert not each.is_alive()


def test_a_password_that_would_take_hours(m: Any, session: int) -> None:
    """Refused, for nothing could stop it."""
    for iterations in ((1 << 25) + 1, 1 << 31, 1 << 40):
        assert stretched(m, session, iterations) == CKR.MECHANISM_PARAM_INVALID
