# SPDX-License-Identifier: MIT
"""Virtual readers on a bench: insertion, removal, events, the trace, and the doors through which APDUs come."""

from .errors import (
    BenchError,
    CardElsewhere,
    CardMute,
    CardRemoved,
    NoSuchReader,
    ReaderEmpty,
    ReaderExists,
    ReaderOccupied,
)
from .events import ApduMoment, CallMoment, Change, Event, Moment, When
from .reader import Insertion, Reader
from .testbed import Bench
from .trace import Trace

__all__ = [
    "ApduMoment",
    "Bench",
    "BenchError",
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
    "Trace",
    "When",
]
