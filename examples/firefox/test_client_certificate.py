# SPDX-License-Identifier: MIT
"""A page that only a client certificate opens, in a real Firefox, and a card that comes and goes.

`firefox`, `reader` and `card` come with cardtear: the module is loaded, its test CA trusted, the PIN answered.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cardtear import CardRequest
from cardtear.lab.clients.firefox import NOT_PRESENT, Firefox
from cardtear.lab.clients.tls_server import TlsServer
from cardtear.lab.control.remote import RemoteReader
from cardtear.lab.processes import paths

ERROR = "about:neterror"


@pytest.fixture
def server(firefox: Firefox) -> Iterator[TlsServer]:
    """A server of its own that greets whoever has a certificate of the test CA."""
    with TlsServer(paths.test_ca()) as server:
        yield server


def test_the_card_is_pulled_out(firefox: Firefox, server: TlsServer, reader: RemoteReader, card: CardRequest) -> None:
    assert firefox.open(server.url) == "client: Alice"
    assert firefox.prompts() == 1

    reader.remove()
    firefox.wait_for_status(NOT_PRESENT)
    assert firefox.open(server.url).startswith(ERROR)

    reader.insert(card)
    firefox.wait_for_card("Alice")
    assert firefox.open(server.url) == "client: Alice"
    assert firefox.prompts() == 2

    reader.swap(CardRequest(name="Bob"))
    firefox.wait_for_card("Bob")
    assert firefox.open(server.url) == "client: Bob"
