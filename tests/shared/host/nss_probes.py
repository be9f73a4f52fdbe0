# SPDX-License-Identifier: MIT
"""What a host process can be asked for the sake of NSS: keys and certificates by name, and what its FAQ speaks of."""

from __future__ import annotations

from cardtear.lab.clients.pkcs11 import Module
from cardtear.p11.constants import CKA, CKF, CKG, CKK, CKM, CKO, CKR


def identified(m: Module, /, session: int) -> list[tuple[str, bytes, bytes]]:
    """Class, label and CKA_ID of all keys and certificates, in order."""
    kinds = (CKO.CERTIFICATE, CKO.PUBLIC_KEY, CKO.PRIVATE_KEY)
    return sorted(
        (kind.name, m.attribute(session, handle, CKA.LABEL), m.attribute(session, handle, CKA.ID))
        for kind in kinds
        for handle in m.find(session, {CKA.CLASS: kind})
    )


def unsound_keys(m: Module, /, session: int) -> list[bytes]:
    """The CKA_IDs of private keys that have no public half on the token, or do not sign what that verifies."""
    unsound = []
    for private in m.find(session, {CKA.CLASS: CKO.PRIVATE_KEY}):
        identity = m.attribute(session, private, CKA.ID)
        public = m.find(session, {CKA.CLASS: CKO.PUBLIC_KEY, CKA.ID: identity})
        is_rsa = int.from_bytes(m.attribute(session, private, CKA.KEY_TYPE), "little") == CKK.RSA
        kind = CKM.SHA256_RSA_PKCS if is_rsa else CKM.ECDSA_SHA256
        m.sign_init(session, private, kind)
        signature = m.sign(session, b"data")
        mechanism, _keep = m.mechanism(kind)
        good = public and m.call("C_VerifyInit", session, mechanism, public[0]) == CKR.OK
        if not good or m.call("C_Verify", session, b"data", 4, signature, len(signature)) != CKR.OK:
            unsound.append(identity)
    return unsound


def digest_in_two_sessions(m: Module, /, first: bytes, second: bytes) -> bytes:
    """SHA-256, begun in a session that is closed after C_GetOperationState, ended in another."""
    session = m.open_session(0)
    mechanism, _keep = m.mechanism(CKM.SHA256)
    m.check("C_DigestInit", session, mechanism)
    m.check("C_DigestUpdate", session, first, len(first))
    length = m.ffi.new("CK_ULONG *")
    m.check("C_GetOperationState", session, m.ffi.NULL, length)
    state = m.ffi.new("unsigned char[]", length[0])
    m.check("C_GetOperationState", session, state, length)
    m.close_session(session)
    other = m.open_session(0)
    m.check("C_SetOperationState", other, state, length[0], 0, 0)
    m.check("C_DigestUpdate", other, second, len(second))
    digest = m.ffi.new("unsigned char[32]")
    m.check("C_DigestFinal", other, digest, m.ffi.new("CK_ULONG *", 32))
    return bytes(m.ffi.buffer(digest))


def start_signing(m: Module, /, session: int, handle: int, kind: int) -> None:
    """C_SignInit with the parameters that the mechanism wants, and the end of the operation."""
    parameter = b""
    name = CKM(kind).name
    if name.endswith("RSA_PKCS_PSS"):
        digest = name.removesuffix("RSA_PKCS_PSS").rstrip("_") or "SHA256"
        hashed, mask = CKM[digest.replace("SHA1", "SHA_1")], CKG[f"MGF1_{digest}"]
        parameter = bytes(m.ffi.buffer(m.ffi.new("CK_RSA_PKCS_PSS_PARAMS *", (hashed, mask, 20))))
    m.sign_init(session, handle, kind, parameter)
    m.check("C_SignInit", session, m.ffi.NULL, 0)


def session_with_callback(m: Module) -> int:
    """A session with pApplication and Notify."""
    handle = m.ffi.new("CK_ULONG *")
    notify = m.ffi.callback("CK_RV(CK_ULONG, CK_ULONG, void *)", lambda *_: 0)
    m.check("C_OpenSession", 0, CKF.SERIAL_SESSION, m.ffi.new("int *"), m.ffi.cast("void *", notify), handle)
    return int(handle[0])


def unwrapped_on_card(m: Module, /, session: int, identity: bytes) -> tuple[bytes, int]:
    """An AES key, wrapped for a card's RSA key and unwrapped by it: what it decrypts, and how it answers for its value.

    What it is to decrypt has been encrypted by another copy of the key, one that never was on the card.
    """
    ffi = m.ffi
    (public,) = m.find(session, {CKA.CLASS: CKO.PUBLIC_KEY, CKA.ID: identity})
    (private,) = m.find(session, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.ID: identity})
    value, text = bytes(range(32)), b"sixteen bytes..."
    rsa, _rsa = m.mechanism(CKM.RSA_PKCS)
    ecb, _ecb = m.mechanism(CKM.AES_ECB)
    wrapped, length = ffi.new("unsigned char[512]"), ffi.new("CK_ULONG *", 512)
    m.check("C_EncryptInit", session, rsa, public)
    m.check("C_Encrypt", session, value, len(value), wrapped, length)
    template, _kept = m.template(
        {
            CKA.CLASS: CKO.SECRET_KEY,
            CKA.KEY_TYPE: CKK.AES,
            CKA.TOKEN: b"\0",
            CKA.SENSITIVE: b"\1",
            CKA.EXTRACTABLE: b"\0",
            CKA.DECRYPT: b"\1",
        }
    )
    handle = ffi.new("CK_ULONG *")
    m.check("C_UnwrapKey", session, rsa, private, wrapped, length[0], template, 6, handle)
    known = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: value, CKA.ENCRYPT: b"\1", CKA.TOKEN: b"\0"}
    sealed, room = ffi.new("unsigned char[16]"), ffi.new("CK_ULONG *", 16)
    m.check("C_EncryptInit", session, ecb, m.create(session, known))
    m.check("C_Encrypt", session, text, len(text), sealed, room)
    opened = m.decrypt(session, int(handle[0]), bytes(ffi.buffer(sealed)), CKM.AES_ECB)
    attribute = ffi.new("CK_ATTRIBUTE[1]")
    attribute[0].type = CKA.VALUE
    return opened, m.call("C_GetAttributeValue", session, handle[0], attribute, 1)
