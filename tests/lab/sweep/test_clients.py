# SPDX-License-Identifier: MIT
"""Real programs, swept at a few of their points; `scripts/sweep-clients` does all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sweep_clients import CLIENTS

from ...shared.installed import version

PARTS = {
    "pkcs11-tool": "3/20",
    "p11tool": "5/25",
    "certutil": "6/35",
    "ssh-keygen": "9/25",
    "openssl": "10/81" if (0, 4, 13) <= version("libengine-pkcs11-openssl") < (0, 4, 21) else "9/25",
    "java": "70/80",
    "firefox": "60/150",
}
"""Which part of its points is played, as --shard has it: those where no fault of the program is known."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.needs(*client.needs)) for name, client in CLIENTS.items()]
)
def test_clients(sweep: Callable[..., Any], name: str) -> None:
    """In time, without a crash, and all works again when the card is back."""
    options = CLIENTS[name].arguments()
    split = options.index("--")
    swept = sweep([*options[:split], "--shard", PARTS[name]], *options[split + 1 :])
    assert swept.code == 0, swept.output
    assert len(swept.report["outcomes"]) == len(swept.report["points"]) > 0
    assert set(swept.counts) <= {"success", "clean error"}
    assert all(each["run"]["calls"] > 0 for each in swept.report["outcomes"])
