# SPDX-License-Identifier: MIT
"""The types of what users call: programs that are right, and wrong ones, which type checkers refuse as running does.

scripts/check runs mypy --strict over this file. Each wrong line has `type: ignore` with mypy's code: mypy reports one
that it would not refuse, as an unused one.
"""

from __future__ import annotations

from dataclasses import InitVar, fields
from pathlib import Path
from typing import get_type_hints

import cardtear.lab.testing
import pytest
from cardtear import CardRequest, RemoteSimulator, Trigger
from cardtear.card.issuing import profiles
from cardtear.card.issuing.certificate_options import CertificateOptions
from cardtear.card.token_traits import CERTIFICATE_RULES, RULES
from cardtear.lab.simulator.moments import MomentFields, OnApdu, OnCall, OnEvent, OnSignal, OnTime
from cardtear.lab.testing import Firefox, NssDatabase, RemoteReader


def test_right_programs() -> None:
    card = CardRequest("piv-ec", name="Bob", pin="654321", pin_tries=5, mechanisms=["CKM_ECDSA"], upn="bob@corp.test")
    assert (card.name, card.pin_tries) == ("Bob", 5)
    assert Trigger("remove", {"reader": "front"}, call="C_Sign", when="during", thread=2).on == OnCall(
        "C_Sign", "during", thread=2
    )
    assert Trigger("remove", {"reader": "front"}, ins=None, times=None).on == OnApdu()


def test_wrong_parameters_of_a_card() -> None:
    with pytest.raises(profiles.ProfileError, match="subject_typo"):
        CardRequest(subject_typo="CN=Bob")  # type: ignore[call-arg]
    with pytest.raises(profiles.ProfileError, match="pin_tries"):
        CardRequest(pin_tries="3")  # type: ignore[arg-type]
    with pytest.raises(profiles.ProfileError, match="subject"):
        CardRequest(subject=1)  # type: ignore[arg-type]
    with pytest.raises(profiles.ProfileError, match="certificates"):
        CardRequest(certificates=())  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        CardRequest("piv", "Bob")  # type: ignore[misc]


def test_wrong_moments_of_a_trigger() -> None:
    with pytest.raises(ValueError, match="moment"):
        Trigger("remove", {"reader": "front"}, reader=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="number"):
        Trigger("remove", {"reader": "front"}, ins="87")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="moment"):
        Trigger("remove", {"reader": "front"}, cal="C_Sign")  # type: ignore[call-arg]


def a_right_test(bench: RemoteSimulator, reader: RemoteReader, card: CardRequest, nss_db: NssDatabase) -> str:
    """Use fixtures by their types; type checkers read it, it is not run."""
    reader.insert(card)
    bench.signal("go")
    return nss_db.name


def a_wrong_test(reader: RemoteReader, card: CardRequest, firefox: Firefox, module_path: Path) -> None:
    """Use fixtures wrongly; type checkers refuse each line."""
    reader.insert("Bob")  # type: ignore[arg-type]
    reader.pull()  # type: ignore[attr-defined]
    firefox.open(module_path)  # type: ignore[arg-type]
    card.pin = "1"  # type: ignore[misc]


def test_the_types_of_fixtures_are_there() -> None:
    for name in cardtear.lab.testing.__all__:
        assert isinstance(getattr(cardtear.lab.testing, name), type)
    with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
        _ = cardtear.lab.testing.nosuch


def test_type_checkers_know_every_parameter_of_a_card() -> None:
    """The fields of the class, and for its certificates the fields of CertificateOptions, of the same types."""
    assert {each.name for each in fields(CardRequest)} == {*RULES, "certificates"}
    written = Path(profiles.__file__).read_text()
    hints = CertificateOptions.__annotations__
    assert hints.keys() == CERTIFICATE_RULES.keys()
    for name, kind in hints.items():
        given = kind.replace("tuple[str, ...]", "tuple[str, ...] | list[str]")
        assert f"        {name}: {InitVar.__name__}[{given}] = None\n" in written


def test_type_checkers_know_every_field_of_a_moment() -> None:
    kinds = (OnCall, OnApdu, OnEvent, OnSignal, OnTime)
    assert {each.name for kind in kinds for each in fields(kind)} == get_type_hints(MomentFields).keys()
