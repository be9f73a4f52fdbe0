# SPDX-License-Identifier: MIT
"""One connection to the card in a PC/SC reader; its functions raise PC/SC's errors.

Not thread-safe: whoever owns a channel calls it from one thread at a time. Knows nothing of our own readers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from smartcard import scard

GONE = frozenset(
    {
        scard.SCARD_W_REMOVED_CARD,
        scard.SCARD_E_NO_SMARTCARD,
        scard.SCARD_E_READER_UNAVAILABLE,
        scard.SCARD_E_UNKNOWN_READER,
        scard.SCARD_E_NO_READERS_AVAILABLE,
        scard.SCARD_E_NO_SERVICE,
        scard.SCARD_E_SERVICE_STOPPED,
        scard.SCARD_E_INVALID_HANDLE,
        scard.SCARD_F_COMM_ERROR,
    }
)
"""Codes that mean: this card cannot be had any more, nor its reader or the whole of PC/SC."""

_ANY_PROTOCOL = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
_SHORT_CASES_3_AND_4 = 5


class PcscError(Exception):
    """A function of PC/SC failed; `code` is its result, as an unsigned number."""

    def __init__(self, function: str, code: int) -> None:
        self.code = code & 0xFFFFFFFF
        super().__init__(f"{function}: {scard.SCardGetErrorMessage(code)} (0x{self.code:08X})")

    @property
    def is_gone(self) -> bool:
        """Return whether the card has gone."""
        return self.code in GONE


def call(name: str, *arguments: Any) -> list[Any]:
    """Call a function of PC/SC; return its results without the code. Raises PcscError."""
    result = getattr(scard, name)(*arguments)
    code, *values = result if isinstance(result, list | tuple) else (result,)
    if code != scard.SCARD_S_SUCCESS:
        raise PcscError(name, code)
    return values


class _ReaderState(ctypes.Structure):
    """SCARD_READERSTATE of pcsc-lite (pcsclite.h)."""

    _fields_ = (
        ("reader", ctypes.c_char_p),
        ("user_data", ctypes.c_void_p),
        ("current_state", ctypes.c_ulong),
        ("event_state", ctypes.c_ulong),
        ("atr_length", ctypes.c_ulong),
        ("atr", ctypes.c_ubyte * 33),
    )


def wait_for_change(context: int, milliseconds: int, known: Sequence[tuple[str, int]]) -> list[tuple[str, int, bytes]]:
    """Wait until a reader's state is not the known one; return name, state and ATR of each. Raises PcscError.

    pyscard's own SCardGetStatusChange takes names of ASCII only, and readers have others.
    """
    states = (_ReaderState * len(known))()
    for each, (name, state) in zip(states, known, strict=True):
        each.reader, each.current_state = name.encode(errors="surrogateescape"), state
    function = ctypes.CDLL("libpcsclite.so.1").SCardGetStatusChange
    code = function(ctypes.c_long(context), ctypes.c_ulong(milliseconds), states, ctypes.c_ulong(len(known)))
    if code != scard.SCARD_S_SUCCESS:
        raise PcscError("SCardGetStatusChange", code & 0xFFFFFFFF)
    return [
        (name, each.event_state, bytes(each.atr[: each.atr_length]))
        for each, (name, _) in zip(states, known, strict=True)
    ]


class Channel:
    """The card in `reader`, from construction to `close`, shared or not. Raises PcscError."""

    def __init__(self, reader: str, exclusive: bool = False) -> None:
        self._mode = scard.SCARD_SHARE_EXCLUSIVE if exclusive else scard.SCARD_SHARE_SHARED
        (self._context,) = call("SCardEstablishContext", scard.SCARD_SCOPE_SYSTEM)
        try:
            self._card, self._protocol = call("SCardConnect", self._context, reader, self._mode, _ANY_PROTOCOL)
            self.atr = self._read_atr()
        except PcscError:
            scard.SCardReleaseContext(self._context)
            raise

    def _read_atr(self) -> bytes:
        *_, atr = call("SCardStatus", self._card)
        return bytes(atr)

    def begin(self) -> bool:
        """Begin a transaction after those of others. Returns False if one of them has reset the card."""
        try:
            call("SCardBeginTransaction", self._card)
        except PcscError as error:
            if error.code != scard.SCARD_W_RESET_CARD:
                raise
            self._reconnect(scard.SCARD_LEAVE_CARD)
            call("SCardBeginTransaction", self._card)
            return False
        return True

    def end(self) -> None:
        """End the transaction; the card is left as it is."""
        call("SCardEndTransaction", self._card, scard.SCARD_LEAVE_CARD)

    def reset(self) -> None:
        """Reset the card, warm; PC/SC tells all other programs."""
        self._reconnect(scard.SCARD_RESET_CARD)

    def _reconnect(self, initialization: int) -> None:
        (self._protocol,) = call("SCardReconnect", self._card, self._mode, _ANY_PROTOCOL, initialization)
        self.atr = self._read_atr()

    def transmit(self, command: bytes) -> bytes:
        """Transmit one command APDU, and return its response APDU."""
        if self._protocol == scard.SCARD_PROTOCOL_T0:
            return self._transmit_by_t0(command)
        return self._exchange(scard.SCARD_PCI_T1, command)

    def _transmit_by_t0(self, command: bytes) -> bytes:
        """Transmit by T=0 (ISO/IEC 7816-3, 12.2.1): never both Lc and Le; a wrong Le is corrected once."""
        if len(command) > _SHORT_CASES_3_AND_4 and len(command) == _SHORT_CASES_3_AND_4 + command[4] + 1:
            command = command[:-1]
        response = self._exchange(scard.SCARD_PCI_T0, command)
        if len(response) == 2 and response[0] == 0x6C and len(command) == _SHORT_CASES_3_AND_4:
            response = self._exchange(scard.SCARD_PCI_T0, command[:-1] + response[1:])
        return response

    def _exchange(self, protocol: int, command: bytes) -> bytes:
        (response,) = call("SCardTransmit", self._card, protocol, list(command))
        return bytes(each & 0xFF for each in response)

    def close(self, power_off: bool = False) -> None:
        """Disconnect; with `power_off` the card loses its volatile state, as if removed. Never raises."""
        scard.SCardDisconnect(self._card, scard.SCARD_UNPOWER_CARD if power_off else scard.SCARD_LEAVE_CARD)
        scard.SCardReleaseContext(self._context)
