# SPDX-License-Identifier: MIT
"""Copies, exports and imports of cards on the command line, and images under a passphrase."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.image.store import ImageError, create_image, read_image
from cardtear.card.issuing import key_files
from cardtear.card.issuing.ca import TestCA
from cardtear.card.issuing.profiles import PROFILES, CardRequest, create, open_card, ready_image
from cardtear.card.tables import PIN, SLOTS
from cardtear.lab.cards import export, personalisation
from cardtear.lab.control.client import Control, ControlFailure
from cardtear.lab.control.remote import RemoteSimulator
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.value_types import EncryptedImage
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from ..conftest import PASSPHRASE, Cli, certified, pem

SELECT = bytes.fromhex("00A4040005A000000308")
WRONG = bytes.fromhex("0020008008313233343537FFFF")


def refused(result: subprocess.CompletedProcess[str], *words: str, code: int) -> None:
    """One line says why, and nothing else is said."""
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (code, "", 1), result
    assert all(word in result.stderr for word in words), result.stderr
    assert PASSPHRASE not in result.stderr


# Exports


@pytest.mark.parametrize("profile", sorted(name for name, each in PROFILES.items() if each.piv))
def test_an_export_makes_the_same_card(tmp_path: Path, ready: Path, profile: str) -> None:
    """Whatever is on it."""
    ca = TestCA.load_or_create(ready.parent / "ca")
    state = read_image(ready_image(CardRequest(profile), ready.parent, ca))
    assert export.from_json(export.as_json(state, with_keys=True).encode(), "x.json") == state


def test_an_export_may_have_what_only_its_make_of_card_has(ready: Path) -> None:
    """Yubico's keeps data objects that no other does."""
    ca = TestCA.load_or_create(ready.parent / "ca")
    for profile, is_taken in (("yubikey", True), ("blank", False)):
        state = read_image(ready_image(CardRequest(profile), ready.parent, ca))
        state.objects[0x5F0001] = b"anything"
        exported = export.as_json(state, with_keys=True).encode()
        with contextlib.nullcontext() if is_taken else pytest.raises(ValueError, match="no object 5F0001"):
            assert export.from_json(exported, "x.json") == state


def test_an_export_with_keys_is_the_card(cli: Cli, image: Path, tmp_path: Path) -> None:
    assert cli("card", "export", image, "-o", "all.json", "--with-keys").returncode == 0
    assert stat.S_IMODE((tmp_path / "all.json").stat().st_mode) == 0o600
    assert cli("card", "import", "b.card", "all.json").returncode == 0
    assert read_image(tmp_path / "b.card") == read_image(image)
    assert stat.S_IMODE((tmp_path / "b.card").stat().st_mode) == 0o600


def test_an_export_without_keys_tells_no_secret(cli: Cli, image: Path, tmp_path: Path) -> None:
    """What a card does not tell everybody is not in it, in whatever coding, and it makes no card."""
    text = cli("card", "export", image).stdout
    state = read_image(image)
    secrets = [state.references[PIN].value, *(key.value for key in state.keys.values())]
    assert not any(secret.hex().upper() in text.upper() for secret in secrets)
    assert "PRIVATE" not in text
    assert json.loads(text)["objects"]["5FC105"] == state.objects[0x5FC105].hex().upper()
    (tmp_path / "open.json").write_text(text)
    refused(cli("card", "import", "b.card", "open.json"), "without keys", "--with-keys", code=2)
    assert not (tmp_path / "b.card").exists()


def test_keys_are_not_printed_and_nothing_is_overwritten(cli: Cli, image: Path, tmp_path: Path) -> None:
    refused(cli("card", "export", image, "--with-keys"), "-o", code=2)
    (tmp_path / "mine").write_text("mine")
    refused(cli("card", "export", image, "-o", "mine"), "mine", code=1)
    refused(cli("card", "copy", image, "mine"), "already", code=1)
    assert (tmp_path / "mine").read_text() == "mine"


def fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in items:
        yield (*path, name)
        yield from fields(each, (*path, name))


def is_refused(content: bytes, path: Path) -> bool:
    """Whether an export is refused, in a line that names it; if not, it makes a card."""
    try:
        state = export.from_json(content, "x.json")
    except ValueError as error:
        message = str(error)
    else:
        create_image(path, state)
        card = open_card(path)
        assert card.store.state == state
        assert card.activate().transmit(SELECT)[-2:] == b"\x90\0"
        card.close()
        path.unlink()
        return False
    assert "x.json" in message
    assert "\n" not in message
    return True


def test_a_broken_export_says_which_field(image: Path, tmp_path: Path) -> None:
    """Each field in turn is missing, of another type, or odd: a card that works or one clear line, nothing else."""
    text = export.as_json(read_image(image), with_keys=True)
    asked = refusals = 0
    for path in list(fields(json.loads(text))):
        for odd in (None, [], {}, -1, 10**30, "", "zz", "00", 1.5, "delete"):
            changed = json.loads(text)
            place = changed
            for name in path[:-1]:
                place = place[name]
            if odd == "delete":
                del place[path[-1]]
            else:
                place[path[-1]] = odd
            asked += 1
            refusals += is_refused(json.dumps(changed).encode(), tmp_path / "odd.card")
    assert asked > refusals > asked / 2
    for noise in (b"", b"[]", b"nonsense", b"\xff\xfe", text.encode()[:-20]):
        with pytest.raises(ValueError, match=r"x\.json"):
            export.from_json(noise, "x.json")


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity", "9" * 5000], ids=lambda each: each[:9])
def test_numbers_of_an_export_that_are_none(ready: Path, number: str) -> None:
    """They are named, as they are written, with their field."""
    exported = json.loads(export.as_json(read_image(ready), with_keys=True))
    text = json.dumps(exported | {"capacity": "X"}).replace('"X"', number)
    with pytest.raises(ValueError, match=re.escape(f"no card can be made of x.json: 'capacity' is {number[:40]}")):
        export.from_json(text.encode(), "x.json")


def test_an_export_that_holds_more_than_its_card_does(image: Path) -> None:
    text = export.as_json(read_image(image), with_keys=True).replace('"capacity": 1048576', '"capacity": 10')
    with pytest.raises(ValueError, match=r"its capacity is 10 bytes, and what it holds takes \d+"):
        export.from_json(text.encode(), "export")


@pytest.mark.parametrize("options", [(), ("--with-keys",)], ids=["open", "with keys"])
def test_an_export_as_pem_makes_no_card(cli: Cli, image: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    """It is called what it is, whatever the file is called; nothing is made."""
    assert cli("card", "export", image, "--pem", "-o", "a.json", *options).returncode == 0
    refused(
        cli("card", "import", "again.card", "a.json"), "a.json is PEM", "`card export --pem`", "--with-keys", code=2
    )
    assert not (tmp_path / "again.card").exists()


@pytest.mark.parametrize("out", ["-", "/dev/stdout"])
@pytest.mark.parametrize("options", [(), ("--pem",), ("--with-keys",)])
def test_an_export_to_standard_output(cli: Cli, image: Path, out: str, options: tuple[str, ...]) -> None:
    done = cli("card", "export", image, "-o", out, *options)
    assert done.returncode == 0
    assert done.stderr.startswith(f"standard output has what is on {image}")


def test_certificates_as_pem(cli: Cli, image: Path) -> None:
    """Those of the slots, in order; with keys each has its own."""
    found = x509.load_pem_x509_certificates(cli("card", "export", image, "--pem").stdout.encode())
    assert len(found) == 4
    text = export.as_pem(read_image(image), with_keys=True)
    assert text.count("PRIVATE KEY") == 8
    first = text.split("# 9C")[0].encode()
    contents = key_files.read(first, None, "first")
    assert contents.keys[0].public_key() == found[0].public_key()
    assert contents.certificates == [found[0].public_bytes(serialization.Encoding.DER)]


# Keys and certificates into slots


KEYS = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("form", ["pem", "encrypted pem", "pkcs12"])
def test_a_key_and_its_certificate_into_a_slot(image: Path, kind: str, form: str) -> None:
    """The card then signs with it."""
    key = KEYS[kind]()
    certificate, password = certified(key), None if form == "pem" else b"secret"
    content = pem(key, certificate, password)
    if form == "pkcs12":
        encryption = serialization.BestAvailableEncryption(b"secret")
        content = pkcs12.serialize_key_and_certificates(b"me", key, certificate, None, encryption)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="me cannot be taken"):
            key_files.read(content, b"wrong", "me")
    if password is not None:
        with pytest.raises(ValueError, match="--password-file"):
            key_files.read(content, None, "me")
    with pytest.raises(ValueError, match="--slot"):
        export.from_json(content, "me")
    personalisation.put_in_slot(image, None, "9e", key_files.read(content, password, "me"), "me")
    state = read_image(image)
    assert state.keys[0x9E].imported
    stored: Any = serialization.load_der_private_key(state.keys[0x9E].value, None)
    assert stored.public_key() == key.public_key()  # type: ignore[attr-defined]
    assert certificate.public_bytes(serialization.Encoding.DER) in state.objects[SLOTS[0x9E].certificate]
    card = open_card(image)
    activation = card.activate()
    activation.transmit(SELECT)
    algorithm = state.keys[0x9E].algorithm
    data = b"\0\1" + b"\xff" * 221 + b"\0" + bytes(32) if kind == "rsa" else bytes(32)
    body = b"\x82\0\x81" + (b"\x82\1\0" if kind == "rsa" else b"\x20") + data
    template = b"\x7c" + (b"\x82" + len(body).to_bytes(2, "big") if kind == "rsa" else bytes([len(body)])) + body
    command = bytes((0, 0x87, algorithm, 0x9E, 0)) + len(template).to_bytes(2, "big") + template + b"\0\0"
    assert activation.transmit(command)[-2:] == b"\x90\0"
    card.close()


def test_what_does_not_belong_into_a_slot(cli: Cli, image: Path, tmp_path: Path) -> None:
    """Refused in one line, and the card is as it was."""
    before = read_image(image)
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    files = {
        "strange.pem": pem(ec.generate_private_key(ec.BrainpoolP256R1())),
        "two.pem": pem(key) + pem(other),
        "foreign.pem": pem(key, certified(other)),
        "alone.pem": certified(key).public_bytes(serialization.Encoding.PEM),
        "nothing.pem": b"-----BEGIN PUBLIC KEY-----\n",
        "locked.pem": pem(key, None, b"secret"),
        "noise.bin": bytes(100),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        refused(cli("card", "import", image, name, "--slot", "9A"), code=2)
    (tmp_path / "good.pem").write_bytes(pem(key))
    refused(cli("card", "import", image, "good.pem", "--slot", "9B"), "9A, 9C", code=2)
    assert read_image(image) == before
    assert cli("card", "import", image, "good.pem", "--slot", "9A").returncode == 0
    assert cli("card", "import", image, "alone.pem", "--slot", "9A").returncode == 0


def test_a_card_in_use_is_copied_but_not_changed(cli: Cli, image: Path, tmp_path: Path) -> None:
    """The copy has what was counted until then, and no more."""
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "good.pem").write_bytes(pem(key))
    with Simulator() as simulator:
        simulator.plug("front")
        simulator.insert("front", image)
        insertion = simulator.testbed.reader("front").insertion
        assert insertion is not None
        insertion.transmit(SELECT)
        assert insertion.transmit(WRONG) == b"\x63\xc2"
        assert cli("card", "copy", image, "copy.card").returncode == 0
        assert insertion.transmit(WRONG) == b"\x63\xc1"
        words = f"process {os.getpid()}"
        refused(cli("card", "import", image, "good.pem", "--slot", "9A"), "in another simulator", words, code=1)
        refused(cli("card", "export", image), "in another simulator", words, code=1)
    assert read_image(tmp_path / "copy.card").references[PIN].remaining == 2
    assert read_image(image).references[PIN].remaining == 1
    assert stat.S_IMODE((tmp_path / "copy.card").stat().st_mode) == 0o600


# Passphrases


def test_a_card_under_a_passphrase(cli: Cli, tmp_path: Path) -> None:
    """Made, shown, copied, exported with it; without it, and with another, one line says what is wrong."""
    assert cli("card", "new", "e.card", "--profile", "piv-ec", "--passphrase-file", "passphrase").returncode == 0
    refused(cli("card", "show", "e.card"), "encrypted", "--passphrase-file", code=1)
    refused(cli("card", "show", "e.card", "--passphrase-file", "-", said="other\n"), "not the passphrase", code=1)
    refused(cli("card", "show", "e.card", "--passphrase-file", "-", said="\n"), "no passphrase", code=2)
    refused(cli("card", "show", "e.card", "--passphrase-file", "none"), "none", code=1)
    shown = cli("card", "show", "e.card", "--passphrase-file", "-", said=PASSPHRASE)
    assert "PIV Authentication" in shown.stdout
    assert cli("card", "show", "e.card", CARDTEAR_PASSPHRASE_FILE="passphrase").stdout == shown.stdout
    assert cli("card", "copy", "e.card", "same.card").returncode == 0
    refused(cli("card", "show", "same.card"), "encrypted", code=1)
    assert (
        cli("card", "copy", "e.card", "open.card", "--no-passphrase", "--passphrase-file", "passphrase").returncode == 0
    )
    again = cli("card", "copy", "open.card", "again.card", "--new-passphrase-file", "-", said="another")
    assert again.returncode == 0
    state = read_image(tmp_path / "e.card", PASSPHRASE.encode())
    assert state == read_image(tmp_path / "open.card") == read_image(tmp_path / "again.card", b"another")
    refused(cli("card", "copy", "e.card", "x", "--no-passphrase", "--new-passphrase-file", "passphrase"), code=2)


@pytest.mark.parametrize(
    "words",
    [
        "card show a.card",
        "card copy a.card new --no-passphrase",
        "card copy a.card new",
        "card export a.card",
        "card import a.card key.pem --slot 9A",
        "card put a.card 5FC109 key.pem",
        "insert front --image a.card",
        "run --image a.card",
    ],
)
def test_a_passphrase_that_nothing_needs(cli: Cli, image: Path, tmp_path: Path, words: str) -> None:
    """It is refused, for whoever gives it believes the card to be encrypted; from the environment it is for all."""
    (tmp_path / "key.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    before = image.read_bytes()
    more = ("--", "true") if words.startswith("run") else ()
    done = cli(*words.split(), "--passphrase-file", "passphrase", *more)
    refused(done, "a.card is not encrypted: --passphrase-file would do nothing", code=2)
    assert image.read_bytes() == before
    assert not (tmp_path / "new").exists()
    if not words.startswith("insert"):  # for which no simulator runs
        assert cli(*words.split(), *more, CARDTEAR_PASSPHRASE_FILE="passphrase").returncode == 0


@pytest.mark.parametrize("password", [None, b"secret"])
def test_a_password_that_nothing_needs(cli: Cli, image: Path, tmp_path: Path, password: bytes | None) -> None:
    """It is refused like other options that would do nothing; a key that has one takes it."""
    (tmp_path / "key.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256R1()), password=password))
    (tmp_path / "password").write_bytes(b"secret\n")
    before = image.read_bytes()
    done = cli("card", "import", "a.card", "key.pem", "--slot", "9A", "--password-file", "password")
    if password is not None:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        refused(done, "key.pem has no password: --password-file would do nothing", code=2)
        assert image.read_bytes() == before


@pytest.fixture
def sealed(tmp_path: Path, ready: Path) -> EncryptedImage:
    """An encrypted image, and the file of its passphrase."""
    create_image(tmp_path / "sealed.card", read_image(ready), PASSPHRASE.encode())
    (tmp_path / "passphrase").write_text(PASSPHRASE + "\n")
    return EncryptedImage(tmp_path / "sealed.card", tmp_path / "passphrase")


def test_in_a_simulator(sealed: EncryptedImage, cli: Cli, tmp_path: Path) -> None:
    """Over the control channel and the command line; the passphrase is in nothing that anybody is shown."""
    asked = {"image": str(sealed.image), "passphrase_file": str(sealed.passphrase_file)}
    with Simulator() as simulator, Control(simulator.control_socket) as control:
        control.do("plug", reader="front")
        with pytest.raises(ControlFailure, match="encrypted"):
            control.do("insert", reader="front", card=str(sealed.image))
        wrong = tmp_path / "wrong"
        wrong.write_text("wrong")
        with pytest.raises(ControlFailure, match="not the passphrase"):
            control.do("insert", reader="front", card=asked | {"passphrase_file": str(wrong)})
        with pytest.raises(ControlFailure, match="No such file"):
            control.do("insert", reader="front", card=asked | {"passphrase_file": "/none"})
        with pytest.raises(ControlFailure, match="passphrase_file"):
            control.do("insert", reader="front", card={"image": str(sealed.image)})
        assert control.do("insert", reader="front", card=asked) == {"card": "Alice"}
        control.do("arm", on={"signal": "x"}, then={"do": "swap", "reader": "front", "card": asked})
        status = json.dumps(control.do("status"))
        trace = json.dumps(list(control.stream("trace", after=0, follow=False)))
        assert PASSPHRASE not in status + trace
        control.do("remove", reader="front")
        words = ("insert", "front", "--image", sealed.image, "--passphrase-file", "-")
        result = cli(*words, said=PASSPHRASE, CARDTEAR_CONTROL=str(simulator.control_socket))
        assert (result.returncode, result.stdout) == (0, "Alice is in front\n")


def test_a_passphrase_that_nothing_needs_in_a_simulator(image: Path, cli: Cli, tmp_path: Path) -> None:
    """It is refused as on the command line: by every verb, before and while the image is open, with nothing done."""
    (tmp_path / "passphrase").write_text(PASSPHRASE + "\n")
    asked = {"image": str(image), "passphrase_file": str(tmp_path / "passphrase")}
    with Simulator() as simulator, Control(simulator.control_socket) as control:
        control.do("plug", reader="front")
        swap = {"do": "swap", "reader": "front", "card": asked}
        for verb, arguments in (
            ("insert", {"reader": "front", "card": asked}),
            ("arm", {"on": {"signal": "x"}, "then": swap}),
        ):
            with pytest.raises(ControlFailure, match=r"a\.card is not encrypted: the passphrase file") as caught:
                control.do(verb, **arguments)
            assert caught.value.code == "bad-request"
        read_image(image)  # nobody has it open
        control.do("insert", reader="front", card=str(image))
        control.do("plug", reader="back")
        with pytest.raises(ControlFailure, match="is not encrypted"):
            control.do("insert", reader="back", card=asked)
        assert [each["card"] for each in control.do("status")["readers"]] == ["Alice", None]
        control.do("remove", reader="front")
        remote = RemoteSimulator(simulator.environment)
        with pytest.raises(ControlFailure, match="is not encrypted"):
            remote.insert("front", EncryptedImage(image, tmp_path / "passphrase"))  # type: ignore[arg-type]
        remote.close()
        with pytest.raises(ValueError, match="is not encrypted"):
            simulator.insert("front", EncryptedImage(image, tmp_path / "passphrase"))
        env = {"CARDTEAR_CONTROL": str(simulator.control_socket), "CARDTEAR_PASSPHRASE_FILE": asked["passphrase_file"]}
        assert cli("insert", "front", "--image", image, **env).returncode == 0  # from the environment it is for all


def test_serve_and_run_take_one(sealed: EncryptedImage, cli: Cli) -> None:
    words = ("--image", sealed.image, "--passphrase-file", sealed.passphrase_file, "--", "true")
    assert cli("run", *words).returncode == 0
    refused(cli("run", "--image", sealed.image, "--", "true"), "encrypted", code=1)


def test_nothing_of_value_is_to_be_seen_in_the_file(sealed: EncryptedImage, ready: Path) -> None:
    content, state = sealed.image.read_bytes(), read_image(ready)
    values = [each.value for each in (*state.references.values(), *state.keys.values())] + list(state.objects.values())  # type: ignore[attr-defined]
    assert not any(value[:8] in content for value in values)
    assert any(value[:8] in ready.read_bytes() for value in values)
    assert PASSPHRASE.encode() not in content


def test_a_new_card_under_a_passphrase_keeps_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.card"
    create(CardRequest("blank", management="default"), path, TestCA.load_or_create(tmp_path / "ca"), b"secret")
    card = open_card(path, b"secret")
    card.store.own(owner := object())
    card.store.commit(owner, objects={0x5FFF8000: b"x" * 5000})
    card.store.commit(owner, objects={0x5FFF8001: b"y"})
    activation = card.activate()
    activation.transmit(SELECT)
    assert activation.transmit(WRONG) == b"\x63\xc2"
    before = card.store.state
    card.close()
    assert read_image(path, b"secret") == before
    with pytest.raises(ImageError, match="not the passphrase"):
        open_card(path, b"secrets")
