# SPDX-License-Identifier: MIT
"""The record of the slots that a simulator leaves behind, whatever is in it."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Failed, Module
from cardtear.p11.constants import CKF, CKR
from cardtear.p11.slot_record import SlotRecord
from cardtear.p11.slots import Slot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SIZE = 128


@pytest.fixture
def record(fake: Any) -> Any:
    """A file that the fake simulator hands out as its record."""
    with os.fdopen(os.memfd_create("record"), "r+b", buffering=0) as file:
        fake.record = file.fileno()
        yield file


@pytest.fixture
def follower(fake: Any, record: Any, module: Module) -> Any:
    """The module, which has the record: it met the simulator again after the file was there."""
    module.finalize()
    module.initialize(fake.path)
    return module


def listed(module: Module) -> list[int]:
    """What the module says of slots by itself, each call of it."""
    slots = module.slots()
    for slot in slots:
        assert not module.slot_info(slot)[1] & CKF.TOKEN_PRESENT
        assert module.call(
            "C_OpenSession", slot, 4, module.ffi.NULL, module.ffi.NULL, module.ffi.new("CK_ULONG *")
        ) in (CKR.TOKEN_NOT_PRESENT,)
    number = module.ffi.new("CK_ULONG *")
    while module.call("C_WaitForSlotEvent", CKF.DONT_BLOCK, number, module.ffi.NULL) == CKR.OK:
        assert number[0] in slots
    return slots


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=3 * SIZE + 5))
def test_bytes_at_random(fake: Any, record: Any, follower: Module, noise: bytes) -> None:
    """Whole records count, the rest does not; nothing is read beyond."""
    os.pwrite(record.fileno(), noise, 0)
    os.truncate(record.fileno(), len(noise))
    fake.path.rename(fake.path.with_suffix(".away"))
    try:
        fake.drop()
        states = [noise[at + 8] for at in range(0, len(noise) - SIZE + 1, SIZE)]
        assert len(listed(follower)) == sum(not state & 4 for state in states)
    finally:
        fake.path.with_suffix(".away").rename(fake.path)
        follower.call("C_CloseSession", 1)  # meets the simulator again


@pytest.mark.parametrize("kind", ["none", "pipe", "folder", "device", "huge", "closed for reading"])
def test_what_is_no_record(fake: Any, module: Module, kind: str) -> None:
    """Nothing is known of slots then, and no call waits for something to read."""
    ours, theirs = os.pipe()
    descriptor = {
        "none": lambda: None,
        "pipe": lambda: ours,
        "folder": lambda: os.open("/", os.O_RDONLY),
        "device": lambda: os.open("/dev/zero", os.O_RDONLY),
        "huge": lambda: _huge(),
        "closed for reading": lambda: os.open("/dev/null", os.O_WRONLY),
    }[kind]()
    fake.record = descriptor
    module.finalize()
    module.initialize(fake.path)
    fake.close()
    assert module.slots() == []
    for each in {ours, theirs, descriptor} - {None}:
        os.close(each)  # type: ignore[arg-type]


def _huge() -> int:
    file = os.memfd_create("huge")
    os.truncate(file, 1 << 40)
    return file


def test_more_descriptors_than_one(fake: Any, record: Any, module: Module) -> None:
    """What nobody has asked for is not kept, and the call fails as without room for descriptors."""
    fake.copies = 2
    module.finalize()

    def own() -> list[str]:
        return [each for each in os.listdir("/proc/self/fd") if _leads_to(each, "memfd:record")]

    before = own()
    for _ in range(3):
        with pytest.raises(Failed, match="CKR_FUNCTION_FAILED"):
            module.initialize(fake.path)
        assert own() == before
    fake.copies = 1
    module.initialize(fake.path)


def _leads_to(descriptor: str, name: str) -> bool:
    with contextlib.suppress(OSError):
        return name in os.readlink(f"/proc/self/fd/{descriptor}")
    return False


def test_a_record_as_a_simulator_writes_it(fake: Any, record: Any, follower: Module) -> None:
    """Listed and new ones, one with an event, one with a card, and one that C_GetSlotList has dropped."""
    written = SlotRecord()
    fake.record = written.fileno()
    follower.finalize()
    follower.initialize(fake.path)
    for position, (number, name, event) in enumerate([(0, "quiet", False), (3, "told", True), (4, "dropped", True)]):
        slot = Slot(number, name, True)
        slot.record_position, slot.event = position, event
        written.write(slot, name != "dropped")
    written.close()
    fake.close()
    assert follower.slots() == [0, 3]
    assert follower.slot_info(3)[0] == "told"
    assert follower.wait_for_slot_event(block=False) == 3
    assert follower.call("C_GetTokenInfo", 4, follower.ffi.new("CK_TOKEN_INFO *")) == CKR.SLOT_ID_INVALID
