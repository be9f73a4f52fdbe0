# SPDX-License-Identifier: MIT
"""PyKCS11 and python-pkcs11 on a token that they write: programs of a few lines, each in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger

from ..shared.dsa_domains import DOMAINS

pytestmark = pytest.mark.needs("PyKCS11", "pkcs11", "pkcs11-tool")

Run = Callable[..., Any]
Succeed = Callable[..., str]
BLANK = CardRequest(profile="blank")

PYKCS11 = """
import sys
from PyKCS11 import *
library = PyKCS11Lib()
library.load(sys.argv[1])
slot, = library.getSlotList(tokenPresent=True)
def enter():
    session = library.openSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION)
    session.login("123456")
    return session
"""
PYTHON_PKCS11 = """
import sys, pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
token, = pkcs11.lib(sys.argv[1]).get_tokens()
"""


@pytest.fixture
def python(succeed: Succeed, module: str) -> Callable[[str], str]:
    """Runs a program with the module's path as its argument; what it prints."""
    return lambda program: succeed(sys.executable, "-c", program, module).strip()


def test_pykcs11_keys(blank: Simulator, python: Any, contents: Any) -> None:
    """Key pairs are made, sign, verify, get another label, and go."""
    done = python(
        PYKCS11
        + """
session = enter()
common = [(CKA_TOKEN, CK_TRUE), (CKA_ID, (0x10,)), (CKA_LABEL, "pair")]
public = [*common, (CKA_MODULUS_BITS, 2048), (CKA_VERIFY, CK_TRUE)]
private = [*common, (CKA_SIGN, CK_TRUE), (CKA_PRIVATE, CK_TRUE)]
verifier, signer = session.generateKeyPair(public, private)
mechanism = Mechanism(CKM_SHA256_RSA_PKCS, None)
signature = session.sign(signer, b"data", mechanism)
print(session.verify(verifier, b"data", signature, mechanism), session.verify(verifier, b"other", signature, mechanism))
session.setAttributeValue(signer, [(CKA_LABEL, "renamed")])
session.destroyObject(verifier)
"""
    )
    assert done == "True False"
    assert contents().count("Private Key", "label: renamed", "ID: 10") == 1
    assert contents().objects.total() == 1


def test_pykcs11_ciphers(blank: Simulator, python: Any) -> None:
    """AES-GCM in parts, which gives nothing before the tag has been seen; keys wrapped and unwrapped."""
    done = python(
        PYKCS11
        + """
session = enter()
use = [(CKA_TOKEN, CK_FALSE), (CKA_CLASS, CKO_SECRET_KEY), (CKA_KEY_TYPE, CKK_AES), (CKA_EXTRACTABLE, CK_TRUE),
       *((each, CK_TRUE) for each in (CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP))]
one, other = (session.generateKey([*use, (CKA_VALUE_LEN, 32)], MechanismAESGENERATEKEY) for _ in "12")
mechanism = AES_GCM_Mechanism(bytes(12), b"header", 128)
session.encryptInit(mechanism, one)
secret, tag = session.encryptUpdate(b"twenty bytes of data"), session.encryptFinal()
session.decryptInit(mechanism, one)
print(len(session.decryptUpdate(secret)), len(session.decryptUpdate(tag)), bytes(session.decryptFinal()).decode())
wrapping = Mechanism(CKM_AES_KEY_WRAP_PAD, None)
again = session.unwrapKey(other, session.wrapKey(other, one, wrapping), use, wrapping)
print(session.getAttributeValue(one, [CKA_VALUE]) == session.getAttributeValue(again, [CKA_VALUE]))
session.seedRandom(b"seed")
"""
    )
    assert done.splitlines() == ["0 0 twenty bytes of data", "True"]


def test_pykcs11_token(simulator: Simulator, python: Any) -> None:
    """C_InitToken with a label that ends in a NUL instead of being padded, C_InitPIN, C_SetPIN."""
    simulator.swap("front", CardRequest(profile="uninitialised"))
    done = python(
        PYKCS11
        + """
library.initToken(slot, "12345678", "my label")
session = library.openSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION)
session.login("12345678", CKU_SO)
session.initPin("654321")
session.logout()
session.login("654321")
session.setPin("654321", "123456")
session.logout()
session.login("123456")
print(library.getTokenInfo(slot).label.strip())
"""
    )
    assert done == "my label"


def test_python_pkcs11_keys(blank: Simulator, python: Any, contents: Any) -> None:
    """Key pairs and secret keys on the token; one process makes them, another finds them."""
    python(
        PYTHON_PKCS11
        + """
with token.open(rw=True, user_pin="123456") as session:
    session.generate_keypair(KeyType.RSA, 2048, id=b"\\x10", label="rsa", store=True)
    session.generate_key(KeyType.AES, 256, label="secret", store=True)
"""
    )
    assert contents().count("label: rsa") == 2
    done = python(
        PYTHON_PKCS11
        + """
with token.open(rw=True, user_pin="123456") as session:
    public = session.get_key(object_class=ObjectClass.PUBLIC_KEY, label="rsa")
    private = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label="rsa")
    print(public.verify(b"data", private.sign(b"data")), private.decrypt(public.encrypt(b"data")))
    secret = session.get_key(object_class=ObjectClass.SECRET_KEY, label="secret")
    iv = bytes(16)
    print(secret.decrypt(secret.encrypt(b"a secret", mechanism_param=iv), mechanism_param=iv))
    fresh = session.generate_key(KeyType.AES, 128, template={Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False})
    again = private.unwrap_key(ObjectClass.SECRET_KEY, KeyType.AES, public.wrap_key(fresh),
                               template={Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False})
    print(again[Attribute.VALUE] == fresh[Attribute.VALUE])
    for each in (public, private, secret):
        each.destroy()
"""
    )
    assert done.splitlines() == ["True b'data'", "b'a secret'", "True"]
    assert contents().objects.total() == 0


def test_session_key_that_asks_each_time(blank: Simulator, python: Any) -> None:
    """CKA_ALWAYS_AUTHENTICATE means what it says also for a key that is on no card."""
    done = python(
        PYTHON_PKCS11
        + """
with token.open(user_pin="123456") as session:
    public, private = session.generate_keypair(
        KeyType.RSA, 2048, private_template={Attribute.ALWAYS_AUTHENTICATE: True})
    print(public.verify(b"data", private.sign(b"data", pin="123456")))
    try:
        private.sign(b"data")
    except pkcs11.PKCS11Error as error:
        print(type(error).__name__)
"""
    )
    assert done.splitlines() == ["True", "UserNotLoggedIn"]


@pytest.mark.parametrize("ins", [0x47, 0xDB, 0x87])
@pytest.mark.parametrize("when", ["before", "after"])
def test_card_goes(blank: Simulator, run: Run, module: str, contents: Any, ins: int, when: str) -> None:
    """While python-pkcs11 generates: DEVICE_REMOVED, the whole pair on the card or nothing; then the program works."""
    program = (
        PYTHON_PKCS11
        + """
with token.open(rw=True, user_pin="123456") as session:
    try:
        public, private = session.generate_keypair(KeyType.RSA, 1024, id=b"\\x10", label="rsa", store=True)
        print("made")
    except pkcs11.PKCS11Error as error:
        print(type(error).__name__)
        raise SystemExit(0)
"""
    )
    blank.arm(Trigger("remove", {"reader": "front"}, ins=ins, when=when))
    ended = run(sys.executable, "-c", program, module)
    assert "DeviceRemoved" in ended.output, ended.output
    assert blank.testbed.reader("front").insertion is None
    blank.insert("front", BLANK)
    found = contents()
    assert found.count("label: rsa", "ID: 10") == found.objects.total()
    assert found.objects.total() in (0, 2)
    assert "made" in run(sys.executable, "-c", program, module).output


def test_python_pkcs11_dsa(simulator: Simulator, python: Any) -> None:
    """On a card that has it: a pair is made on the token in a domain that is given, signs, verifies, and goes."""
    simulator.swap("front", CardRequest(profile="blank", legacy=True))
    names = ("PRIME", "SUBPRIME", "BASE")
    numbers = {name: f"{number:x}" for name, number in zip(names, DOMAINS[1024], strict=True)}
    done = python(
        PYTHON_PKCS11
        + f"numbers = {numbers}\n"
        + """
domain = {Attribute[name]: bytes.fromhex(value.zfill(len(value) + len(value) % 2)) for name, value in numbers.items()}
with token.open(rw=True, user_pin="123456") as session:
    parameters = session.create_domain_parameters(KeyType.DSA, domain, local=True)
    public, private = parameters.generate_keypair(store=True, label="old", id=b"\\7")
    signature = private.sign(b"data", mechanism=Mechanism.DSA_SHA1)
    print(public.verify(b"data", signature, mechanism=Mechanism.DSA_SHA1), len(signature))
    print(public.verify(b"other", signature, mechanism=Mechanism.DSA_SHA1))
with token.open(rw=True, user_pin="123456") as session:
    found, = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.KEY_TYPE: KeyType.DSA})
    print(found.label, len(found.sign(b"data", mechanism=Mechanism.DSA_SHA256)))
    found.destroy()
"""
    )
    assert done.split() == ["True", "40", "False", "old", "40"]


def test_python_pkcs11_domains(simulator: Simulator, python: Any) -> None:
    """Domains are made by the token; keys in them sign, and agree on a secret."""
    simulator.swap("front", CardRequest(profile="blank", legacy=True))
    done = python(
        PYTHON_PKCS11
        + """
with token.open(rw=True, user_pin="123456") as session:
    public, private = session.generate_domain_parameters(KeyType.DSA, 1024).generate_keypair()
    signature = private.sign(b"data", mechanism=Mechanism.DSA_SHA1)
    print(public.verify(b"data", signature, mechanism=Mechanism.DSA_SHA1))
    domain = session.generate_domain_parameters(KeyType.DH, 512)
    (public, private), (others_public, others_private) = domain.generate_keypair(), domain.generate_keypair()
    for key, other in ((private, others_public), (others_private, public)):
        template = {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True}
        secret = key.derive_key(KeyType.AES, 128, mechanism_param=other[Attribute.VALUE], template=template)
        print(secret[Attribute.VALUE].hex())
"""
    )
    verified, one, other = done.split()
    assert (verified, len(one)) == ("True", 32)
    assert one == other
