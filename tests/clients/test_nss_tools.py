# SPDX-License-Identifier: MIT
"""NSS's certutil and modutil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger

pytestmark = pytest.mark.needs("certutil", "modutil")

LABELS = ("PIV Authentication", "Digital Signature", "Key Management", "Card Authentication")


@pytest.fixture
def database(succeed: Callable[..., str], module: str, tmp_path: Path) -> str:
    """An NSS database with the module in it, and the PIN in the file `pin`."""
    folder = tmp_path / "nss"
    folder.mkdir()
    (tmp_path / "pin").write_text("123456\n")
    succeed("certutil", "-N", "-d", f"sql:{folder}", "--empty-password")
    succeed("modutil", "-force", "-dbdir", f"sql:{folder}", "-add", "cardtear", "-libfile", module)
    return f"sql:{folder}"


def test_module_is_listed(succeed: Callable[..., str], database: str) -> None:
    """modutil -list shows slot and token."""
    listed = succeed("modutil", "-dbdir", database, "-list")
    assert "slot: front" in listed
    assert "token: Alice" in listed


def test_certificates_appear_by_themselves(succeed: Callable[..., str], database: str) -> None:
    """Without login, as user certificates, named by token and label."""
    listed = succeed("certutil", "-L", "-d", database, "-h", "all")
    for label in LABELS:
        assert f"Alice:Certificate for {label}" in listed
    assert listed.count("u,u,u") == 4


def test_keys(succeed: Callable[..., str], database: str) -> None:
    """After login."""
    listed = succeed("certutil", "-K", "-d", database, "-h", "Alice", "-f", "pin")
    assert listed.count("rsa ") == 2
    assert listed.count("ec ") == 2


def test_certificate_request_by_a_key_on_the_card(succeed: Callable[..., str], database: str) -> None:
    """certutil -R with an existing key."""
    request = (
        "certutil",
        "-R",
        "-d",
        database,
        "-h",
        "Alice",
        "-f",
        "pin",
        "-k",
        "01",
    )
    succeed(*request, "-s", "CN=Alice", "-a", "-o", "request.pem")
    assert "verify OK" in succeed("openssl", "req", "-in", "request.pem", "-verify", "-noout")


@pytest.mark.parametrize(
    "on",
    [{"call": "C_Login"}, {"ins": 0x20}, {"call": "C_FindObjects", "nth": 3}, {"call": "C_GetAttributeValue"}],
    ids=str,
)
def test_card_goes(
    simulator: Simulator,
    run: Callable[..., Any],
    succeed: Callable[..., str],
    database: str,
    on: dict[str, Any],
) -> None:
    """An end with a message, and with the card back the keys are there again."""
    keys = ("certutil", "-K", "-d", database, "-h", "Alice", "-f", "pin")
    simulator.arm(Trigger("remove", {"reader": "front"}, **on))
    ended = run(*keys)
    assert ended.code != 0 or "rsa " not in ended.output
    assert "certutil:" in ended.output
    simulator.insert("front")
    assert succeed(*keys).count("rsa ") == 2


def test_empty_reader(
    simulator: Simulator, run: Callable[..., Any], succeed: Callable[..., str], database: str
) -> None:
    """No token, no certificates; both are back with the card."""
    simulator.remove("front")
    assert "Alice" not in run("certutil", "-L", "-d", database, "-h", "all").output
    assert "slot: front" in succeed("modutil", "-dbdir", database, "-list")
    simulator.insert("front")
    assert "Alice:" in succeed("certutil", "-L", "-d", database, "-h", "all")
