# SPDX-License-Identifier: MIT
"""Virtual readers on a testbed: insertion, removal, events, the trace, and the adapters that send APDUs."""

from .errors import (
    CardElsewhere,
    CardMute,
    CardRemoved,
    NoSuchReader,
    ReaderEmpty,
    ReaderExists,
    ReaderOccupied,
    TestbedError,
)
from .events import CallMoment, Change, When
from .reader import ApduMoment, Event, Insertion, Moment, Reader
from .testbed import Testbed
from .trace import Trace

__all__ = [
    "ApduMoment",
    "CallMoment",
    "CardElsewhere",
    "CardMute",
    "CardRemoved",
    "Change",
    "Event",
    "Insertion",
    "Moment",
    "NoSuchReader",
    "Reader",
    "ReaderEmpty",
    "ReaderExists",
    "ReaderOccupied",
    "Testbed",
    "TestbedError",
    "Trace",
    "When",
]
