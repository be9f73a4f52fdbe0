# SPDX-License-Identifier: MIT
"""The local TLS server, as others on the machine find it."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import urllib.request
from urllib.parse import urlsplit

import pytest
from cardtear.card.issuing.ca import TestCA
from cardtear.lab.clients.tls_server import TlsServer

STRANGER = 64321
"""A user who has nothing."""

KNOCK = """
import encodings.idna, os, socket, sys
os.setuid(int(sys.argv[2]))
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.sendall(bytes.fromhex("16030100"))
    connection.settimeout(10)
    try: print(connection.recv(1).hex() or "nothing")
    except ConnectionError: print("nothing")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_it_serves_its_own_user_only() -> None:
    ca = TestCA.create()
    with TlsServer(ca, required=False) as server:
        port = urlsplit(server.url).port
        command = (sys.executable, "-c", KNOCK, str(port), str(STRANGER))
        told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        assert told.stdout.strip() == "nothing"
        context = ssl.create_default_context(cadata=ca.certificate_pem().decode())
        page = urllib.request.urlopen(server.url, context=context, timeout=10).read()
        assert b"client: nobody" in page
        assert server.requests == 1
