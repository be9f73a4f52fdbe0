# SPDX-License-Identifier: MIT
"""Broken certificates in the hands of programs: all are listed or passed over, nobody crashes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card import certificates
from cardtear.card.issuing.key_files import Contents
from cardtear.card.issuing.profiles import CardRequest
from cardtear.card.tables import SLOTS
from cardtear.lab.cards.personalisation import put_certificates
from cardtear.lab.control.simulator import Simulator

from ..p11.token.test_broken_certificates import with_objects
from ..shared.broken_certificates import KINDS, certificate, extension, mutated, name

Succeed = Callable[..., str]
BASIC_CONSTRAINTS = bytes.fromhex("551D13")
RETIRED = [slot.certificate for number, slot in SLOTS.items() if number < 0x9A]


@pytest.fixture(params=[0, 1])
def broken(simulator: Simulator, tmp_path: Path, request: Any) -> Simulator:
    """Twenty broken certificates beside four good ones with their keys."""
    chosen = [*list(KINDS.values())[request.param :: 2], *mutated(4, seed=request.param + 2)][: len(RETIRED)]
    objects = {tag: certificates.encode(der) for tag, der in zip(RETIRED, chosen, strict=True)}
    simulator.swap("front", with_objects(tmp_path, objects, CardRequest("piv-ec")))
    return simulator


@pytest.mark.needs("pkcs11-tool", "p11tool", "certutil", "modutil")
def test_everybody_can_list_them(broken: Simulator, succeed: Succeed, module: str) -> None:
    """And the good ones are found among them."""
    listed = succeed("pkcs11-tool", "--module", module, "--list-objects", "--type", "cert")
    assert listed.count("Certificate Object") == 24
    assert "Certificate for PIV Authentication" in listed
    listed = succeed("p11tool", "--provider", module, "--list-all-certs")
    assert "Certificate%20for%20PIV%20Authentication" in listed
    succeed("certutil", "-N", "-d", "sql:.", "--empty-password")
    succeed("modutil", "-force", "-dbdir", "sql:.", "-add", "cardtear", "-libfile", module)
    listed = succeed("certutil", "-L", "-d", "sql:.", "-h", "all")
    assert "Alice:Certificate for PIV Authentication" in listed
    assert "Alice:Certificate for Card Authentication" in listed


@pytest.mark.needs("p11tool", "certutil", "modutil")
def test_everybody_finds_the_certificates_of_cas(
    simulator: Simulator, succeed: Succeed, module: str, tmp_path: Path
) -> None:
    """Those that `card import` puts beside the key slots."""
    image = with_objects(tmp_path, {}, CardRequest("piv-ec"))
    authority = certificate(subject=name(b"my CA"), extensions=extension(BASIC_CONSTRAINTS, b"\x30\3\1\1\xff"))
    put_certificates(image, None, Contents(certificates=[authority]), "ca.pem")
    simulator.swap("front", image)
    listed = succeed("p11tool", "--provider", module, "--list-all-certs")
    assert "object=my%20CA" in listed
    succeed("certutil", "-N", "-d", "sql:.", "--empty-password")
    succeed("modutil", "-force", "-dbdir", "sql:.", "-add", "cardtear", "-libfile", module)
    assert "Alice:my CA" in succeed("certutil", "-L", "-d", "sql:.", "-h", "all")


@pytest.mark.needs("pkcs11-tool", "openssl")
def test_opensc_writes_one(blank: Simulator, tool: Succeed, tmp_path: Path) -> None:
    """It gives the fields as OpenSSL codes them."""
    kinds = ("negative serial", "version 7", "serial of 30 bytes", "zero serial")
    for number, kind in enumerate(kinds, 1):
        (tmp_path / "broken.der").write_bytes(KINDS[kind])
        tool("--write-object", "broken.der", "--type", "cert", "--id", f"{number:02}", "--label", kind)
        tool("--read-object", "--type", "cert", "--label", kind, "--output-file", "again.der")
        assert (tmp_path / "again.der").read_bytes() == KINDS[kind]
