# SPDX-License-Identifier: MIT
"""Elements that PIV's data objects must have for software to accept them.

A card takes any bytes; this is for telling who writes them (SP 800-73-5 part 1, appendix A).
"""

from __future__ import annotations

from .. import certificate_reader, certificates, tables, tlv

_CERTIFICATES = {slot.certificate for slot in tables.SLOTS.values()} | {tables.SECURE_MESSAGING_SIGNER}
_MUST_HAVE: dict[int, tuple[int, ...]] = {
    tables.CCC: (0xF0, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE),
    tables.CHUID: (0x30, 0x34, 0x35, 0x3E, 0xFE),
    tables.FINGERPRINTS: (0xBC, 0xFE),
    tables.SECURITY_OBJECT: (0xBA, 0xBB, 0xFE),
    tables.FACE: (0xBC, 0xFE),
    tables.PRINTED_INFORMATION: (0x01, 0x02, 0x04, 0x05, 0x06, 0xFE),
    tables.DISCOVERY: (0x4F, 0x5F2F),
    tables.KEY_HISTORY: (0xC1, 0xC2, 0xFE),
    tables.IRISES: (0xBC, 0xFE),
    tables.BIT_GROUP: (0x02,),
    tables.PAIRING_CODE: (0x99, 0xFE),
    **dict.fromkeys(_CERTIFICATES, (0x70, 0x71, 0xFE)),
}
_KEPT_KEY = 0x88
"""What Yubico's software has in Printed Information in the place of all else."""


def problem(tag: int, value: bytes) -> str | None:
    """Return why software cannot take a value for the data object of a tag; None if it can, or for no object of PIV."""
    wanted = _MUST_HAVE.get(tag)
    if wanted is None or (tag in _CERTIFICATES and certificate_reader.read(value) is not None):  # as old writers had it
        return None
    try:
        found = [element for element, _ in tlv.decode(value)]
    except tlv.TlvError:
        return "it is not made of elements (BER-TLV)"
    missing = [f"{element:02X}" for element in wanted if element not in found]
    if not missing or (tag == tables.PRINTED_INFORMATION and found == [_KEPT_KEY]):
        return None
    if tag in _CERTIFICATES and certificate_reader.read(certificates.decode(value)) is not None:
        return None  # CertInfo and the like are often left out
    return f"the elements {', '.join(missing)} are missing"
