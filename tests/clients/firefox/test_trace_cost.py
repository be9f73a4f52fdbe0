# SPDX-License-Identifier: MIT
"""What the trace costs an application: it is always recorded, and somebody may follow it."""

from __future__ import annotations

import pytest
from benchmarking.in_tests import cost, page
from cardtear.card.issuing.ca import TestCA
from cardtear.lab.clients.firefox import Firefox
from cardtear.lab.clients.tls_server import TlsServer
from cardtear.lab.control.simulator import Simulator
from cardtear.reader.trace import CallEntry

pytestmark = pytest.mark.needs("firefox-esr", "marionette_driver")


def test_the_trace_of_a_page_takes_less_than_a_twentieth_of_its_time(
    bench: Simulator, firefox: Firefox, ca: TestCA
) -> None:
    """Measured in the same minute on the same machine."""
    with TlsServer(ca) as server:
        entries, seconds = page(bench, firefox, server.url)
    calls = sum(isinstance(entry, CallEntry) for entry in entries)
    assert calls > 20
    work = min(cost(entries) for _ in range(3))
    assert work < 0.05 * seconds
