# SPDX-License-Identifier: MIT
"""A program on pyscard: its monitors print what comes and goes; each line of input is an APDU, answered by a line."""

import sys
import threading

from smartcard.CardMonitoring import CardMonitor, CardObserver
from smartcard.Exceptions import SmartcardException
from smartcard.ReaderMonitoring import ReaderMonitor, ReaderObserver
from smartcard.System import readers
from smartcard.util import toBytes, toHexString

ONE_LINE = threading.Lock()


def say(*words: object) -> None:
    """A line."""
    with ONE_LINE:
        print(*words, flush=True)


class Cards(CardObserver):
    """What pyscard says of cards."""

    def update(self, observable: object, handlers: object) -> None:
        added, removed = handlers  # type: ignore[misc]
        for card in added:
            say("card in", toHexString(card.atr))
        for card in removed:
            say("card out", toHexString(card.atr))


class Readers(ReaderObserver):
    """What pyscard says of readers."""

    def update(self, observable: object, handlers: object) -> None:
        added, removed = handlers  # type: ignore[misc]
        for reader in added:
            say("reader in", reader)
        for reader in removed:
            say("reader out", reader)


def main() -> None:
    """Until the end of input."""
    reader_monitor = ReaderMonitor(period=0.1)
    reader_monitor.addObserver(Readers())
    card_monitor = CardMonitor()
    card_monitor.addObserver(Cards())
    connection = None
    for line in sys.stdin:
        try:
            if line.strip() == "connect":
                connection = readers()[0].createConnection()
                connection.connect()
                say("connected")
            else:
                answer, sw1, sw2 = connection.transmit(toBytes(line))
                say("answer", toHexString([*answer, sw1, sw2]))
        except SmartcardException as error:
            say("error", type(error).__name__, str(error).splitlines()[0])
    card_monitor.deleteObservers()
    reader_monitor.deleteObservers()


main()
