# SPDX-License-Identifier: MIT
"""Errors of readers and cards. Each message says what happened, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable


class TestbedError(Exception):
    """A verb of the testbed could not be carried out; nothing has changed. `code` is for programs."""

    __test__ = False  # not a test, whatever pytest makes of the name
    code = "bench-error"


class NoSuchReader(TestbedError):
    """Raised when no reader of that name is plugged in."""

    code = "no-such-reader"

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        there = ", ".join(known)
        super().__init__(
            f"no reader {name!r} is plugged in; " + (f"there are: {there}" if there else "plug one in first")
        )


class ReaderExists(TestbedError):
    """Raised when a reader of that name is plugged in already."""

    code = "reader-exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"a reader {name!r} is plugged in already; unplug it first or choose another name")


class ReaderOccupied(TestbedError):
    """Raised when the reader holds a card already."""

    code = "reader-occupied"

    def __init__(self, name: str, card: str, remedy: str = "remove or swap it") -> None:
        super().__init__(f"reader {name!r} holds the card {card!r} already; {remedy}")


class ReaderEmpty(TestbedError):
    """Raised when the reader holds no card."""

    code = "reader-empty"

    def __init__(self, name: str) -> None:
        super().__init__(f"reader {name!r} holds no card; insert one first")


class NoRetryCounter(TestbedError):
    """Raised when the card is not a PIV card, and so has no retry counter to set."""

    code = "no-tries"

    def __init__(self, card: str, reader: str) -> None:
        super().__init__(
            f"the card {card!r} in reader {reader!r} is no PIV card of this simulator, whose tries could be used up; "
            "insert one"
        )


class CardElsewhere(TestbedError):
    """Raised when the card is in another reader."""

    code = "card-elsewhere"

    def __init__(self, card: str, reader: str, remedy: str = "; remove it there first") -> None:
        super().__init__(f"the card {card!r} is in reader {reader!r}{remedy}")


class PcscdNotOurs(TestbedError):
    """Raised when the simulator has no pcscd of its own to stop or start."""

    code = "pcscd-not-ours"

    def __init__(self) -> None:
        super().__init__(
            "this simulator has no pcscd of its own to stop and start; it has one in `cardtear run --own-pcscd`, in a "
            "scenario with `pcsc`, and in pytest with --cardtear-pcsc, for root"
        )


class PcscdFailed(TestbedError):
    """pcscd could not be stopped or started; the message says why."""

    code = "pcscd-failed"


class CardRemoved(Exception):
    """The card was removed during or before an exchange; the insertion is over."""

    code = "card-removed"

    def __init__(self, reader: str) -> None:
        super().__init__(f"the card was removed from reader {reader!r}")


class CardMute(Exception):
    """The card does not respond: it needs a reset, or stays mute. It is still in the reader."""

    code = "card-mute"

    def __init__(self, reader: str) -> None:
        super().__init__(f"the card in reader {reader!r} does not answer")
