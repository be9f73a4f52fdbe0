# SPDX-License-Identifier: MIT
"""PyKCS11 and python-pkcs11, each in a process of its own; the test talks to it over its standard streams."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.csrc import module_path
from cardtear.lab.control.simulator import Simulator

PYKCS11 = """
import sys, PyKCS11
from PyKCS11 import CKA_CLASS, CKA_ID, CKO_PRIVATE_KEY, Mechanism, PyKCS11Error, CKM_SHA256_RSA_PKCS
library = PyKCS11.PyKCS11Lib()
library.load(sys.argv[1])

def log_in():
    global session
    slot, = library.getSlotList(tokenPresent=True)
    session = library.openSession(slot)
    session.login("123456")
    return library.getTokenInfo(slot).label.strip()

def sign():
    key, = session.findObjects([(CKA_CLASS, CKO_PRIVATE_KEY), (CKA_ID, (1,))])
    return len(bytes(session.sign(key, b"data", Mechanism(CKM_SHA256_RSA_PKCS, None))))

errors = (PyKCS11Error, ValueError)
"""

PYTHON_PKCS11 = """
import sys, pkcs11
library = pkcs11.lib(sys.argv[1])

def log_in():
    global session
    token, = library.get_tokens()
    session = token.open(user_pin="123456")
    return token.label.strip()

def sign():
    key = session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, id=b"\\1")
    return len(key.sign(b"data", mechanism=pkcs11.Mechanism.SHA256_RSA_PKCS))

errors = (pkcs11.PKCS11Error, ValueError)
"""

LOOP = """
for line in sys.stdin:
    try:
        print(globals()[line.strip()](), flush=True)
    except errors as error:
        print("error", type(error).__name__, error, flush=True)
"""


class Client:
    """A Python program with the client library; `do` calls one of its functions."""

    def __init__(self, program: str, simulator: Simulator) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program + LOOP, str(module_path())],
            env={**os.environ, **simulator.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, name: str) -> str:
        """The printed result."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self) -> int:
        """End it, without C_Finalize if the library has none."""
        self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.fixture(params=["PyKCS11", "pkcs11"])
def client(request: pytest.FixtureRequest, simulator: Simulator) -> Iterator[Client]:
    """One client after the other."""
    client = Client(PYKCS11 if request.param == "PyKCS11" else PYTHON_PKCS11, simulator)
    yield client
    client.process.kill()
    client.process.communicate()


@pytest.mark.needs("PyKCS11", "pkcs11")
def test_life_with_a_card(simulator: Simulator, client: Client) -> None:
    """Login and signature; the card goes: an error; the card is back: works again; another card: its name."""
    assert client.do("log_in") == "Alice"
    assert client.do("sign") == "256"
    simulator.remove("front")
    assert client.do("sign").startswith("error")
    assert client.do("log_in").startswith("error")
    simulator.insert("front")
    assert client.do("log_in") == "Alice"
    assert client.do("sign") == "256"
    simulator.swap("front", CardRequest(name="Bob"))
    assert client.do("sign").startswith("error")
    assert client.do("log_in") == "Bob"
    assert client.do("sign") == "256"
    assert client.close() == 0
