# SPDX-License-Identifier: MIT
"""Data objects: GET DATA and PUT DATA under the access rules of the table (SP 800-73-5 part 2, 3.1.2 and 3.3.1)."""

from __future__ import annotations

from .. import tlv
from ..status import SW, CardError
from ..tables import SELF_TAGGED, DataObject, object_rules
from .commands import GetData, PutData
from .context import CommandContext

_DATA = 0x53
_FURTHER = DataObject("Further")


def get_data(context: CommandContext, command: GetData) -> bytes:
    """Return a data object with its tag. Raises CardError: 6A82 if it is missing, 6982 if it may not be read now."""
    tag, rules = command.tag, _rules(context, command.tag)
    context.status.require(rules.contactless if context.is_restricted else rules.read)
    value = context.store.state.objects.get(tag)
    if value is None:
        raise CardError(SW.NOT_FOUND)
    return tlv.encode(tag if tag in SELF_TAGGED else _DATA, value)


def put_data(context: CommandContext, command: PutData) -> bytes:
    """Write a data object; an empty value deletes it. Raises CardError(6A84) if it is too long or the card is full."""
    rules = _rules(context, command.tag)
    context.status.require(rules.write)
    if len(command.value) > rules.limit:
        raise CardError(SW.NOT_ENOUGH_MEMORY)
    context.commit(objects={command.tag: command.value})
    return b""


def _rules(context: CommandContext, tag: int) -> DataObject:
    """Return the access rules of a data object. Raises CardError(6A82) for a tag that the card does not have."""
    rules = object_rules(tag)
    if rules is not None:
        return rules
    if tag in context.variant.further_objects:
        return _FURTHER
    raise CardError(SW.NOT_FOUND)
