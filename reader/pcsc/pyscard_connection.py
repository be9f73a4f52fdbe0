# SPDX-License-Identifier: MIT
"""Adapter for Python programs with pyscard: its Reader and CardConnection over a virtual reader, without pcscd.

A connection is what pcscd would give the program, with pyscard's own exceptions: it ends with the insertion of the
card, and a reset by anybody else asks for a reconnect. It does not simulate sharing: exclusive connections are not
exclusive.
"""

from __future__ import annotations

from smartcard import scard
from smartcard.ATR import ATR
from smartcard.CardConnection import CardConnection
from smartcard.Exceptions import CardConnectionException, NoCardException
from smartcard.reader.Reader import Reader as ReaderOfPyscard

from ..errors import CardMute, CardRemoved
from ..reader import Insertion, Reader

_ANY = CardConnection.T0_protocol | CardConnection.T1_protocol
_RESETS = (scard.SCARD_RESET_CARD, scard.SCARD_UNPOWER_CARD)


class PyscardReader(ReaderOfPyscard):
    """A virtual reader as `smartcard.System.readers()` has readers."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader.name)
        self._reader = reader

    def createConnection(self) -> PyscardConnection:
        """Return a connection that is not connected yet."""
        return PyscardConnection(self._reader)


class PyscardConnection(CardConnection):
    """A connection to the card that is in `reader` at the time of `connect`.

    As with pcscd, `connect` raises NoCardException without a card. All else is CardConnectionException, with the code
    of PC/SC in `hresult`: SCARD_W_REMOVED_CARD once the card has left, SCARD_W_RESET_CARD after somebody else's reset
    until `reconnect`, SCARD_E_NOT_TRANSACTED for a mute card; and of a reader that was unplugged SCARD_E_UNKNOWN_READER
    from `connect`, SCARD_E_READER_UNAVAILABLE from what is under way and SCARD_E_INVALID_VALUE afterwards.
    """

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader.name)
        self._reader = reader
        self._insertion: Insertion | None = None
        self._activation: object = None
        self._disposition = scard.SCARD_UNPOWER_CARD

    def connect(self, protocol: int | None = None, mode: int | None = None, disposition: int | None = None) -> None:
        """Connect to the card in the reader; `disposition` is for `disconnect`."""
        super().connect(protocol, mode, disposition)
        if not self._reader.plugged:
            raise _error("Unable to connect", scard.SCARD_E_UNKNOWN_READER)
        insertion = self._reader.insertion
        if insertion is None:
            raise NoCardException("Unable to connect", hresult=scard.SCARD_E_NO_SMARTCARD)
        if insertion.is_mute:
            raise _error("Unable to connect", scard.SCARD_W_UNRESPONSIVE_CARD)
        self._begin(insertion, protocol)
        self._disposition = scard.SCARD_UNPOWER_CARD if disposition is None else disposition

    def reconnect(self, protocol: int | None = None, mode: int | None = None, disposition: int | None = None) -> None:
        """Connect to the same card again, and reset it unless `disposition` is SCARD_LEAVE_CARD."""
        super().reconnect(protocol, mode, disposition)
        insertion = self._connected()
        if self._is_reader_gone(insertion):
            raise _error("Unable to reconnect", scard.SCARD_E_INVALID_VALUE)
        self._disposition = scard.SCARD_RESET_CARD if disposition is None else disposition
        try:
            if self._disposition in _RESETS:
                insertion.reset(is_warm=self._disposition != scard.SCARD_UNPOWER_CARD)
        except CardRemoved:
            self._insertion = None
            raise NoCardException("Unable to reconnect", hresult=scard.SCARD_W_REMOVED_CARD) from None
        self._begin(insertion, protocol)

    def disconnect(self) -> None:
        """Disconnect, and reset the card unless SCARD_LEAVE_CARD was given. Does nothing if not connected."""
        insertion, self._insertion = self._insertion, None
        if insertion is None:
            return
        super().disconnect()
        if self._disposition in _RESETS and not insertion.removed.is_set():
            try:
                insertion.reset(is_warm=self._disposition != scard.SCARD_UNPOWER_CARD)
            except CardRemoved:  # it went by itself
                return

    def getATR(self) -> list[int]:
        """Return the ATR."""
        insertion = self._connected()
        if self._is_reader_gone(insertion):
            raise _error("Failed to get status", scard.SCARD_E_READER_UNAVAILABLE)
        if insertion.removed.is_set():
            raise _error("Failed to get status", scard.SCARD_W_REMOVED_CARD)
        return list(insertion.atr)

    def doTransmit(self, command: list[int], protocol: int | None = None) -> tuple[list[int], int, int]:
        """Transmit one command APDU; return data, SW1 and SW2."""
        insertion = self._connected()
        if self._is_reader_gone(insertion):
            raise _error("Failed to transmit", scard.SCARD_E_INVALID_VALUE)
        with insertion.lock:
            if not insertion.removed.is_set() and insertion.activation is not self._activation:
                raise _error("Failed to transmit", scard.SCARD_W_RESET_CARD)
            try:
                response = insertion.transmit(bytes(command))
            except CardRemoved:
                is_gone = self._is_reader_gone(insertion)
                code = scard.SCARD_E_READER_UNAVAILABLE if is_gone else scard.SCARD_W_REMOVED_CARD
                raise _error("Failed to transmit", code) from None
            except CardMute:
                raise _error("Failed to transmit", scard.SCARD_E_NOT_TRANSACTED) from None
        if len(response) < 2:  # a fault's doing
            raise CardConnectionException("Card returned no valid response", hresult=scard.SCARD_S_SUCCESS)
        return list(response[:-2]), response[-2], response[-1]

    def _is_reader_gone(self, insertion: Insertion) -> bool:
        """Return whether the reader was unplugged; one plugged in again is another reader."""
        return insertion.is_reader_gone or not self._reader.plugged

    def _connected(self) -> Insertion:
        """Return the current insertion. Raises CardConnectionException."""
        if self._insertion is None:
            raise CardConnectionException("Card not connected")
        return self._insertion

    def _begin(self, insertion: Insertion, wanted: int | None) -> None:
        """Begin with an insertion and choose a protocol. Raises CardConnectionException."""
        offered = _offered(insertion.atr)
        chosen = next((each for each in offered if each & (wanted or _ANY)), None)
        if chosen is None:
            raise _error("Unable to connect", scard.SCARD_E_PROTO_MISMATCH)
        self._insertion, self._activation = insertion, insertion.activation
        self.setProtocol(chosen)


def _offered(atr: bytes) -> list[int]:
    """Return the protocols of an ATR, the default first (ISO/IEC 7816-3, 8.2.3); T=0 if it cannot be read."""
    try:
        protocols = ATR(list(atr)).getSupportedProtocols()
    except Exception:  # its parser runs off the end of ATRs that a bad contact makes
        protocols = {}
    known = {"T=0": CardConnection.T0_protocol, "T=1": CardConnection.T1_protocol}
    return [known[name] for name in protocols if name in known] or [CardConnection.T0_protocol]


def _error(what: str, code: int) -> CardConnectionException:
    """Return the exception with a PC/SC error code."""
    return CardConnectionException(what, hresult=code)
