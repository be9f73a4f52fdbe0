# SPDX-License-Identifier: MIT
"""Checks of what works on this machine, and the packages to install for the rest."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path
from typing import NamedTuple

from ...csrc import module_path
from ...reader import private_socket
from ...reader.pcsc import pcscd_call, reader_conf, tcp_peer, vpcd_wire
from ..control.client import Control, ControlFailure
from ..processes import paths
from ..simulator import own_pcscd


class Finding(NamedTuple):
    """The result of one check. Without a `needed` one cardtear does not work; `package` is Debian's."""

    what: str
    purpose: str
    works: bool
    detail: str
    needed: bool = False
    package: str | None = None


class ClientProgram(NamedTuple):
    """Something that uses smart cards: a program on the search path, or a file that matches a pattern."""

    what: str
    purpose: str
    package: str
    pattern: str | None = None


CLIENTS = (
    ClientProgram("firefox-esr", "TLS client authentication, scripts/demo firefox", "firefox-esr"),
    ClientProgram("thunderbird", "S/MIME: signing and decrypting mail", "thunderbird"),
    ClientProgram("certutil", "NSS: certificates on the card", "libnss3-tools"),
    ClientProgram("pkcs11-tool", "OpenSC: everything PKCS #11", "opensc"),
    ClientProgram("p11tool", "GnuTLS, p11-kit", "gnutls-bin"),
    ClientProgram("openssl", "signatures, certificate requests", "openssl"),
    ClientProgram(
        "openssl engine", "openssl with the card", "libengine-pkcs11-openssl", "/usr/lib/*/engines-3/pkcs11.so"
    ),
    ClientProgram("ssh-keygen", "ssh with the card", "openssh-client"),
    ClientProgram("sshd", "login to a server of one's own", "openssh-server", "/usr/sbin/sshd"),
    ClientProgram("p11-kit", "the module behind a proxy, or from another process", "p11-kit"),
    ClientProgram("softhsm2-util", "comparisons of speed", "softhsm2"),
    ClientProgram("java", "SunPKCS11", "default-jre-headless"),
    ClientProgram("pkcs11_eventmgr", "commands to run when the card is pulled", "libpam-pkcs11"),
    ClientProgram(
        "strongSwan", "IPsec with the card", "libstrongswan-extra-plugins", "/usr/lib/ipsec/plugins/*-pkcs11.so"
    ),
    ClientProgram("pcscd", "PC/SC applications", "pcscd"),
    ClientProgram("yubico-piv-tool", "Yubico's PIV tool", "yubico-piv-tool"),
    ClientProgram("ykcs11", "Yubico's PKCS #11 module", "ykcs11", "/usr/lib/*/libykcs11.so"),
    ClientProgram("yubikey-agent", "an agent of ssh, of piv-go", "yubikey-agent"),
    ClientProgram("vpcd", "the virtual reader in pcscd", "vsmartcard-vpcd", "/etc/reader.conf.d/vpcd"),
)


def examine() -> list[Finding]:
    """Check what cardtear itself needs, then the programs that it can be tried with."""
    return [_module(), _folder(), _simulator(), _vpcd(), *map(_client, CLIENTS)]


def _module() -> Finding:
    what, purpose, path = "PKCS #11 module", "what applications load", module_path()
    try:
        ctypes.CDLL(str(path)).C_GetFunctionList  # noqa: B018 - found or not is the question
    except (OSError, AttributeError) as error:
        return Finding(
            what, purpose, False, f"{error}; install cardtear again, with a C compiler", True, "gcc libc6-dev"
        )
    return Finding(what, purpose, True, str(path), True)


def _folder() -> Finding:
    what, purpose, folder = "socket folder", "where the simulator listens", paths.runtime_folder()
    try:
        private_socket.check_folder(folder)
    except private_socket.UnsafeFolder as unsafe:
        return Finding(what, purpose, False, str(unsafe), True)
    if folder.exists():
        return Finding(what, purpose, True, str(folder), True)
    works = os.access(next(each for each in folder.parents if each.exists()), os.W_OK | os.X_OK)
    detail = "will be made" if works else f"cannot be made; {private_socket.OWN_FOLDER}"
    return Finding(what, purpose, works, f"{folder} {detail}", True)


def _simulator() -> Finding:
    what, purpose = "running simulator", "cardtear insert, remove, status ..."
    try:
        with Control() as control:
            return Finding(what, purpose, True, str(control.path))
    except ControlFailure as failure:
        return Finding(what, purpose, False, str(failure))


def _vpcd() -> Finding:
    """Check for the machine's pcscd or one of our own: either will do."""
    reason = own_pcscd.why_not()
    own = "one of your own: cardtear run --own-pcscd" if reason is None else f"none of your own: {reason}"
    works, machines = _machines_pcscd()
    return Finding(
        "pcscd with vpcd",
        "cardtear serve --pcsc, run --own-pcscd",
        works or reason is None,
        f"{machines}; {own}",
        package=None if reason is None or reader_conf.find_driver() is not None else "pcscd vsmartcard-vpcd",
    )


def _machines_pcscd() -> tuple[bool, str]:
    """Return whether the machine's pcscd can be used, and why."""
    port = vpcd_wire.PORT
    refused = pcscd_call.refusal()
    owner = tcp_peer.listener(port)
    if refused is not None:
        return False, refused
    if owner is None:
        return False, f"the machine's has no vpcd, or does not run: nobody listens on port {port}"
    if not pcscd_call.may_listen(owner):
        return False, f"user {owner} listens on port {port}, and gets no card: that is no pcscd"
    return True, f"the machine's listens on port {port}, on all interfaces (docs/pcsc.md)"


def _client(client: ClientProgram) -> Finding:
    if client.pattern is not None:
        root = Path("/")
        path = next(map(str, root.glob(client.pattern.lstrip("/"))), None)
    else:
        path = shutil.which(client.what, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    return Finding(client.what, client.purpose, path is not None, path or "", package=client.package)
