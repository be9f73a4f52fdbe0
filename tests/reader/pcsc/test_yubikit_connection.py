# SPDX-License-Identifier: MIT
"""yubikit (PyPI: yubikey-manager) on a card of the profile `yubikey`, without pcscd: all that its PIV session does."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.reader import ApduMoment, Moment, When
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.x509.oid import NameOID

pytestmark = pytest.mark.needs("yubikit", "smartcard")

PIN, PUK = "123456", "12345678"
MANAGEMENT_KEY = bytes.fromhex("010203040506070801020304050607080102030405060708")
MESSAGE = b"something"


def load(name: str) -> Any:
    """A module of yubikit or its friends, for a test that has them."""
    return importlib.import_module(name)


class Card:
    """A card in the reader `front`, and sessions with it."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self._connections: list[Any] = []

    def connect(self, **options: Any) -> Any:
        """A connection that nobody uses yet."""
        from cardtear.reader.pcsc.yubikit_connection import YubikitConnection

        connection = YubikitConnection(self.simulator.testbed.reader("front"), **options)
        self._connections.append(connection)
        return connection

    def session(self, **options: Any) -> Any:
        """What a program has after it has found the card."""
        return load("yubikit.piv").PivSession(self.connect(**options))

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@pytest.fixture
def card(bare_simulator: Simulator) -> Iterator[Card]:
    bare_simulator.plug("front")
    bare_simulator.insert("front", CardRequest(profile="yubikey"))
    card = Card(bare_simulator)
    yield card
    card.close()


@pytest.fixture
def session(card: Card) -> Any:
    return card.session()


@pytest.fixture
def manager(session: Any) -> Any:
    """A session in which the management key has been proved."""
    session.authenticate(MANAGEMENT_KEY)
    return session


def slot(name: str) -> Any:
    return load("yubikit.piv").SLOT[name]


def kind(name: str) -> Any:
    return load("yubikit.piv").KEY_TYPE[name]


def certificate_for(key: Any) -> x509.Certificate:
    """Any certificate; the signer's key is another one."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "yubikit")])
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key, 1, begin, begin + timedelta(days=365))
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())


def verify(key: Any, signature: bytes) -> None:
    """Raises InvalidSignature."""
    match key:
        case rsa.RSAPublicKey():
            key.verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())
        case ec.EllipticCurvePublicKey():
            key.verify(signature, MESSAGE, ec.ECDSA(hashes.SHA256()))
        case ed25519.Ed25519PublicKey():
            key.verify(signature, MESSAGE)
        case _:
            raise AssertionError(key)


def sign(session: Any, where: str, algorithm: str) -> bytes:
    session.verify_pin(PIN)
    signature: bytes = session.sign(slot(where), kind(algorithm), MESSAGE, hashes.SHA256(), padding.PKCS1v15())
    return signature


def test_what_a_new_card_says_of_itself(card: Card, session: Any) -> None:
    assert session.version >= (5, 7, 0)
    assert card.session().get_serial() == session.get_serial() > 0
    assert session.management_key_type is load("yubikit.piv").MANAGEMENT_KEY_TYPE.AES192
    for metadata in (session.get_pin_metadata(), session.get_puk_metadata()):
        assert (metadata.default_value, metadata.total_attempts, metadata.attempts_remaining) == (True, 3, 3)
    assert session.get_management_key_metadata().default_value
    with pytest.raises(load("yubikit.core.smartcard").ApduError) as caught:
        session.get_slot_metadata(slot("AUTHENTICATION"))
    assert caught.value.sw == load("yubikit.core.smartcard").SW.REFERENCE_DATA_NOT_FOUND
    with pytest.raises(load("yubikit.core").NotSupportedError):
        session.get_bio_metadata()


@pytest.mark.parametrize("algorithm", ["RSA1024", "RSA2048", "ECCP256", "ECCP384", "ED25519"])
def test_generate_sign_and_attest(manager: Any, algorithm: str) -> None:
    key = manager.generate_key(slot("AUTHENTICATION"), kind(algorithm))
    verify(key, sign(manager, "AUTHENTICATION", algorithm))
    metadata = manager.get_slot_metadata(slot("AUTHENTICATION"))
    assert (metadata.key_type, metadata.generated, metadata.public_key) == (kind(algorithm), True, key)
    attested = manager.attest_key(slot("AUTHENTICATION"))
    assert attested.public_key() == key
    issuer = manager.get_certificate(slot("ATTESTATION"))
    attested.verify_directly_issued_by(issuer)


@pytest.mark.parametrize("algorithm", ["RSA2048", "ECCP256", "ECCP384", "ED25519"])
def test_import_and_sign(manager: Any, algorithm: str) -> None:
    make = {
        "RSA2048": lambda: rsa.generate_private_key(65537, 2048),
        "ECCP256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ECCP384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "ED25519": ed25519.Ed25519PrivateKey.generate,
    }
    key = make[algorithm]()
    assert manager.put_key(slot("RETIRED1"), key) is kind(algorithm)
    verify(key.public_key(), sign(manager, "RETIRED1", algorithm))  # type: ignore[attr-defined]
    metadata = manager.get_slot_metadata(slot("RETIRED1"))
    assert (metadata.generated, metadata.public_key) == (False, key.public_key())  # type: ignore[attr-defined]
    with pytest.raises(load("yubikit.core.smartcard").ApduError):
        manager.attest_key(slot("RETIRED1"))


def test_decrypt_and_agree(manager: Any) -> None:
    key = manager.generate_key(slot("KEY_MANAGEMENT"), kind("RSA2048"))
    manager.verify_pin(PIN)
    secret = key.encrypt(MESSAGE, padding.PKCS1v15())
    assert manager.decrypt(slot("KEY_MANAGEMENT"), secret, padding.PKCS1v15()) == MESSAGE
    point = manager.generate_key(slot("KEY_MANAGEMENT"), kind("ECCP256"))
    peer = ec.generate_private_key(ec.SECP256R1())
    agreed = manager.calculate_secret(slot("KEY_MANAGEMENT"), peer.public_key())
    assert agreed == peer.exchange(ec.ECDH(), point)
    other = x25519.X25519PrivateKey.generate()
    theirs = manager.generate_key(slot("RETIRED2"), kind("X25519"))
    assert manager.calculate_secret(slot("RETIRED2"), other.public_key()) == other.exchange(theirs)


def test_policies(manager: Any, card: Card) -> None:
    piv = load("yubikit.piv")
    key = manager.generate_key(slot("SIGNATURE"), kind("ECCP256"))
    verify(key, sign(manager, "SIGNATURE", "ECCP256"))
    with pytest.raises(load("yubikit.core.smartcard").ApduError) as caught:  # the PIN for each signature
        manager.sign(slot("SIGNATURE"), kind("ECCP256"), MESSAGE, hashes.SHA256())
    assert caught.value.sw == 0x6982
    manager.generate_key(slot("AUTHENTICATION"), kind("ECCP256"), piv.PIN_POLICY.NEVER, piv.TOUCH_POLICY.ALWAYS)
    metadata = manager.get_slot_metadata(slot("AUTHENTICATION"))
    assert (metadata.pin_policy, metadata.touch_policy) == (piv.PIN_POLICY.NEVER, piv.TOUCH_POLICY.ALWAYS)
    card.simulator.touch("front")
    verify(metadata.public_key, manager.sign(slot("AUTHENTICATION"), kind("ECCP256"), MESSAGE, hashes.SHA256()))


@pytest.mark.parametrize("compress", [False, True])
def test_certificates(manager: Any, compress: bool) -> None:
    certificate = certificate_for(manager.generate_key(slot("AUTHENTICATION"), kind("ECCP256")))
    manager.put_certificate(slot("AUTHENTICATION"), certificate, compress)
    assert manager.get_certificate(slot("AUTHENTICATION")) == certificate
    manager.delete_certificate(slot("AUTHENTICATION"))
    with pytest.raises(load("yubikit.core.smartcard").ApduError) as caught:
        manager.get_certificate(slot("AUTHENTICATION"))
    assert caught.value.sw == 0x6A82


def test_objects(manager: Any) -> None:
    piv = load("yubikit.piv")
    chuid = piv.Chuid(
        fasc_n=piv.FascN(9999, 9999, 999999, 0, 1, 0000000000, 3, 0000, 1),
        guid=bytes(range(16)),
        expiration_date=datetime(2030, 1, 1, tzinfo=UTC).date(),
        asymmetric_signature=b"",
    )
    manager.put_object(piv.OBJECT_ID.CHUID, bytes(chuid))
    assert piv.Chuid.from_bytes(manager.get_object(piv.OBJECT_ID.CHUID)) == chuid
    manager.put_object(piv.OBJECT_ID.FACIAL, b"face" * 700)
    with pytest.raises(load("yubikit.core.smartcard").ApduError) as caught:
        manager.get_object(piv.OBJECT_ID.FACIAL)
    assert caught.value.sw == 0x6982
    manager.verify_pin(PIN)
    assert manager.get_object(piv.OBJECT_ID.FACIAL) == b"face" * 700


def test_moving_and_deleting_keys(manager: Any) -> None:
    key = manager.generate_key(slot("AUTHENTICATION"), kind("ECCP256"))
    manager.move_key(slot("AUTHENTICATION"), slot("RETIRED3"))
    verify(key, sign(manager, "RETIRED3", "ECCP256"))
    manager.delete_key(slot("RETIRED3"))
    for each in ("AUTHENTICATION", "RETIRED3"):
        with pytest.raises(load("yubikit.core.smartcard").ApduError):
            manager.get_slot_metadata(slot(each))


def test_pin_and_puk(session: Any) -> None:
    invalid = load("yubikit.core").InvalidPinError
    session.change_pin(PIN, "654321")
    session.change_puk(PUK, "87654321")
    for tries in (2, 1, 0):
        with pytest.raises(invalid) as caught:
            session.verify_pin(PIN)
        assert caught.value.attempts_remaining == tries == session.get_pin_attempts()
    with pytest.raises(invalid):
        session.unblock_pin(PUK, "111111")
    session.unblock_pin("87654321", "111111")
    session.verify_pin("111111")
    assert not session.get_pin_metadata().default_value


def test_retries_and_reset(manager: Any) -> None:
    manager.generate_key(slot("AUTHENTICATION"), kind("ECCP256"))
    manager.verify_pin(PIN)
    manager.set_pin_attempts(5, 8)
    assert manager.get_pin_metadata().total_attempts == 5
    assert manager.get_puk_metadata().total_attempts == 8
    manager.reset()
    assert manager.get_pin_metadata().total_attempts == 3
    with pytest.raises(load("yubikit.core.smartcard").ApduError):
        manager.get_slot_metadata(slot("AUTHENTICATION"))
    manager.authenticate(MANAGEMENT_KEY)


@pytest.mark.parametrize("algorithm", ["TDES", "AES128", "AES192", "AES256"])
def test_management_keys(card: Card, manager: Any, algorithm: str) -> None:
    of = load("yubikit.piv").MANAGEMENT_KEY_TYPE[algorithm]
    key = bytes(range(1, of.key_len + 1))
    manager.set_management_key(of, key)
    fresh = card.session()
    assert fresh.management_key_type is of
    with pytest.raises(load("yubikit.core.smartcard").ApduError):
        fresh.authenticate(bytes(reversed(key)))
    fresh.authenticate(key)
    assert not fresh.get_management_key_metadata().default_value


def test_management_key_protected_by_the_pin(card: Card, manager: Any) -> None:
    """It lies on the card where the PIN opens it, as ykman has it."""
    piv, tool = load("yubikit.piv"), load("ykman.piv")
    key = bytes(range(32))
    manager.verify_pin(PIN)
    tool.pivman_set_mgm_key(manager, key, piv.MANAGEMENT_KEY_TYPE.AES256, store_on_device=True)
    card.simulator.reset("front")
    fresh = card.session()
    assert tool.get_pivman_data(fresh).has_stored_key
    with pytest.raises(load("yubikit.core.smartcard").ApduError):
        tool.get_pivman_protected_data(fresh)
    fresh.verify_pin(PIN)
    fresh.authenticate(tool.get_pivman_protected_data(fresh).key)
    fresh.generate_key(slot("AUTHENTICATION"), kind("ECCP256"))


def test_reset_by_disconnecting(card: Card) -> None:
    """As Yubico's own tests do it, through pyscard's connection below; selecting alone makes the card forget, too."""
    connection = card.connect()
    session = load("yubikit.piv").PivSession(connection)
    session.authenticate(MANAGEMENT_KEY)
    connection.connection.disconnect()
    connection.connection.connect()
    session.protocol.select(load("yubikit.core.smartcard").AID.PIV)
    with pytest.raises(load("yubikit.core.smartcard").ApduError):
        session.generate_key(slot("AUTHENTICATION"), kind("ECCP256"))
    session.verify_pin(PIN)
    session.protocol.select(load("yubikit.core.smartcard").AID.PIV)
    assert session.get_pin_attempts() == 3


def test_over_nfc_with_short_apdus(card: Card) -> None:
    session = card.session(transport=load("yubikit.core").TRANSPORT.NFC)
    session.authenticate(MANAGEMENT_KEY)
    certificate = certificate_for(rsa.generate_private_key(65537, 2048).public_key())
    session.put_certificate(slot("AUTHENTICATION"), certificate)
    assert session.get_certificate(slot("AUTHENTICATION")) == certificate


@pytest.mark.parametrize("when", [When.BEFORE, When.AFTER])
@pytest.mark.parametrize("ins", [0x47, 0x87, 0xDB])
def test_the_card_is_pulled(card: Card, manager: Any, ins: int, when: When) -> None:
    """pyscard's exception, as over PC/SC; with the card back, a new session works."""

    def pull(moment: Moment) -> None:
        if isinstance(moment, ApduMoment) and moment.when is when and moment.command[1] == ins:
            card.simulator.remove("front")

    key = manager.generate_key(slot("AUTHENTICATION"), kind("ECCP256"))
    manager.verify_pin(PIN)
    inserted = card.simulator.testbed.reader("front").insertion
    assert inserted is not None
    commands = {
        0x47: lambda: manager.generate_key(slot("RETIRED1"), kind("ECCP256")),
        0x87: lambda: manager.sign(slot("AUTHENTICATION"), kind("ECCP256"), MESSAGE, hashes.SHA256()),
        0xDB: lambda: manager.put_certificate(slot("AUTHENTICATION"), certificate_for(key)),
    }
    with card.simulator.testbed.watching(pull), pytest.raises(load("smartcard.Exceptions").CardConnectionException):
        commands[ins]()
    with pytest.raises(load("smartcard.Exceptions").CardConnectionException):
        manager.get_pin_attempts()
    with pytest.raises(load("smartcard.Exceptions").NoCardException):
        card.connect()
    card.simulator.insert("front", inserted.card)
    fresh = card.session()
    with pytest.raises(load("yubikit.core.smartcard").ApduError):  # the PIN is forgotten
        fresh.sign(slot("AUTHENTICATION"), kind("ECCP256"), MESSAGE, hashes.SHA256())
    signature = sign(fresh, "AUTHENTICATION", "ECCP256")
    verify(key, signature)
    with pytest.raises(InvalidSignature):
        verify(key, signature[:-1] + bytes([signature[-1] ^ 1]))


def test_yubikits_own_connection_over_pyscards(card: Card) -> None:
    """ykman's class over our reader, for programs that take a reader of pyscard."""
    from cardtear.reader.pcsc.pyscard_connection import PyscardReader

    reader = PyscardReader(card.simulator.testbed.reader("front"))
    device = load("ykman.pcsc").ScardYubiKeyDevice(reader)
    with device.open_connection(load("yubikit.core.smartcard").SmartCardConnection) as connection:
        assert load("yubikit.piv").PivSession(connection).version >= (5, 7, 0)
