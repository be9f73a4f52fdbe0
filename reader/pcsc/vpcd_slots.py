# SPDX-License-Identifier: MIT
"""The assignment of readers to slots of vpcd.

A slot is a TCP port, the slots of one vpcd follow each other. Debian's vpcd has two; readers beyond them wait until
pcscd is configured for more.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from time import monotonic

from ..events import Change
from ..reader import Event, Reader
from ..testbed import Testbed
from . import vpcd_wire
from .network_namespace import Inside
from .slot_adapter import Daemon, SlotAdapter
from .vpcd import VpcdAdapter
from .vpcd_reversed import ReversedVpcdAdapter

SLOTS_OF_VPCD = 2
"""How many slots a reader of Debian's vpcd has in pcscd."""


_LAST_PORT = 0xFFFF
_TOO_MANY = f"Debian's vpcd has {SLOTS_OF_VPCD} slots, `cardtear pcsc --readers N` tells how to have more"


@dataclass(frozen=True, slots=True)
class PcscSlots:
    """The location of pcscd's vpcd: the port of its first slot, and whether it connects to us instead of listening.

    `inside` makes a block in which this thread's new sockets are in vpcd's network (NetworkNamespace.entered). `daemon`
    is that pcscd, if it is ours to stop and start.
    """

    port: int = vpcd_wire.PORT
    is_reversed: bool = False
    inside: Inside = nullcontext
    daemon: Daemon | None = None


class VpcdSlots:
    """Shows all readers of a testbed to pcscd until `close`, each in the first slot free when it is plugged in.

    An unplugged reader keeps its slot until another needs it. Raises ValueError for ports that do not exist.
    """

    def __init__(self, testbed: Testbed, slots: PcscSlots) -> None:
        if not 0 < slots.port <= _LAST_PORT:
            raise ValueError(f"not a TCP port: {slots.port}")
        self._testbed = testbed
        self._slots = slots
        self._adapters: list[SlotAdapter] = []
        self._add_adapters(None)
        with testbed.lock:
            for reader in testbed.readers:
                self._find_slot(Event(Change.PLUG, reader))
            self._unsubscribe = testbed.add_part(self._find_slot)

    def close(self, wait: bool = True) -> None:
        """Take all cards from pcscd; with `wait` after their current commands."""
        self._unsubscribe()
        for adapter in self._adapters:
            adapter.close(wait)

    def adapter_of(self, reader: Reader) -> SlotAdapter | None:
        """Return the adapter of the slot that a reader is in, None if there is none."""
        return next((adapter for adapter in self._adapters if adapter.reader is reader), None)

    def wait_until_shown(self, seconds: float) -> list[str]:
        """Wait until pcscd has all inserted cards, or for so long; return the readers it lacks."""
        deadline = monotonic() + seconds
        return [
            adapter.reader.name
            for adapter in self._adapters
            if adapter.reader is not None
            and adapter.reader.insertion is not None
            and not adapter.wait_until_shown(max(0.0, deadline - monotonic()))
        ]

    def _find_slot(self, event: Event) -> None:
        """Give a slot to each reader that is plugged in. Called with the testbed's lock held."""
        reader = event.reader
        if event.change is not Change.PLUG or any(adapter.reader is reader for adapter in self._adapters):
            return
        for adapter in self._adapters:
            if adapter.reader is None or not adapter.reader.plugged:
                adapter.show(reader)
                return
        self._add_adapters(reader)

    def _add_adapters(self, reader: Reader | None) -> None:
        """Add slots: one by one for readers, or all at once for a vpcd that connects to all of them."""
        first = self._slots.port + len(self._adapters)
        if not self._slots.is_reversed:
            if reader is not None and first <= _LAST_PORT:
                hint = {} if len(self._adapters) < SLOTS_OF_VPCD else {"hint": _TOO_MANY}
                slots = self._slots
                self._adapters.append(
                    VpcdAdapter(self._testbed, first, reader, inside=slots.inside, daemon=slots.daemon, **hint)
                )
            return
        for port in range(first, min(first + SLOTS_OF_VPCD, _LAST_PORT + 1)):
            self._adapters.append(ReversedVpcdAdapter(self._testbed, port, reader, self._slots.inside))
            reader = None
