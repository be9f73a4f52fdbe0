# SPDX-License-Identifier: MIT
"""One Thunderbird in front of one simulator, and the post office to which it sends."""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.csrc import module_path
from cardtear.lab.clients.thunderbird import Thunderbird
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import paths

DEADLINE = 30.0
"""Seconds that a mail may take."""

_NUMBERS = itertools.count(1)


class PostOffice:
    """An SMTP server on a free port of the loopback interface that keeps what it is given; a context manager."""

    def __init__(self) -> None:
        self._mails: queue.Queue[bytes] = queue.Queue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    async def _listen(self) -> int:
        from aiosmtpd.smtp import SMTP

        server = await self._loop.create_server(lambda: SMTP(self, loop=self._loop), "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """A mail has come; the server calls this."""
        self._mails.put(envelope.original_content)
        return "250 OK"

    def mail(self) -> bytes:
        """The next mail. Raises queue.Empty when none comes."""
        return self._mails.get(timeout=DEADLINE)

    @property
    def is_empty(self) -> bool:
        """Whether there is no mail that has not been fetched."""
        return self._mails.empty()

    def __enter__(self) -> PostOffice:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(DEADLINE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)


@pytest.fixture(scope="session")
def post_office() -> Iterator[PostOffice]:
    """Where the mail goes."""
    with PostOffice() as office:
        yield office


@pytest.fixture(scope="session")
def bench(_own_places: None) -> Iterator[Simulator]:
    """One simulator for all tests."""
    with Simulator() as simulator:
        simulator.plug("front")
        yield simulator


@pytest.fixture(scope="session")
def program(bench: Simulator, post_office: PostOffice) -> Iterator[Thunderbird]:
    """One Thunderbird for all of them."""
    ca = paths.test_ca().certificate
    with Thunderbird(module_path(), bench.environment, ca, post_office.port) as thunderbird:
        yield thunderbird


@pytest.fixture
def card(request: pytest.FixtureRequest) -> CardRequest:
    """A card of Alice's that nobody has seen before."""
    profile = getattr(request, "param", "piv")
    return CardRequest(name=f"Alice {next(_NUMBERS)}", profile=profile, email="alice@example.com")


@pytest.fixture
def thunderbird(bench: Simulator, program: Thunderbird, card: CardRequest) -> Iterator[Thunderbird]:
    """Thunderbird, with that card in the reader, to which nobody is logged in, and its certificates chosen."""
    if bench.testbed.reader("front").insertion is None:
        bench.insert("front", card)
    else:
        bench.swap("front", card)
    program.wait_for_card(card.name)
    program.choose_certificates(card.name)
    yield program
    program.close_windows()
