# SPDX-License-Identifier: MIT
"""A real, headless Thunderbird with the module in its profile: S/MIME mail is written, sent and read in its windows.

Needs thunderbird and NSS's tools, which make the profile.
"""

from __future__ import annotations

import base64
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from .mozilla import DEADLINE, MODULE_NAME, Mozilla, MozillaError

_TOKENS_CERTIFICATES = """
const [token] = arguments;
const db = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
return db.getCerts().filter(each => each.tokenName === token)
  .map(each => [each.dbKey, each.displayName, each.getBase64DERString()]);
"""

# As the account's settings do it.
_CHOOSE = """
const [purpose, name, key] = arguments;
Services.prefs.setStringPref(`mail.identity.id1.${purpose}_cert_name`, name);
Services.prefs.setStringPref(`mail.identity.id1.${purpose}_cert_dbkey`, key);
"""

_WRITE = """
const [to, subject, text] = arguments;
const {MailServices} = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const create = (name, kind) => Cc[`@mozilla.org/messengercompose/${name};1`].createInstance(kind);
const params = create("composeparams", Ci.nsIMsgComposeParams);
params.composeFields = create("composefields", Ci.nsIMsgCompFields);
Object.assign(params.composeFields, {to, subject, body: text});
params.identity = MailServices.accounts.allIdentities[0];
params.format = Ci.nsIMsgCompFormat.PlainText;
MailServices.compose.OpenComposeWindowWithParams(null, params);
"""

_LETTER = 'const letter = Services.wm.getMostRecentWindow("msgcompose");'

_LETTER_IS_READY = f"{_LETTER} return Boolean(letter && letter.composeEditorReady && letter.gSendSigned);"

# Sending opens prompts, and ends when they do: nobody may wait for it here.
_SEND = f"""{_LETTER}
if (letter.gWindowLocked || letter.document.getElementById("cmd_sendNow").hasAttribute("disabled")) return false;
Services.tm.dispatchToMainThread(() => letter.goDoCommand("cmd_sendNow"));
return true;
"""

_RECEIVE = """
const [mail] = arguments;
const {MailServices} = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const {MailUtils} = ChromeUtils.importESModule("resource:///modules/MailUtils.sys.mjs");
const root = MailServices.accounts.localFoldersServer.rootFolder;
if (!root.containsChildNamed("Received")) root.createSubfolder("Received", null);
const folder = root.getChildNamed("Received").QueryInterface(Ci.nsIMsgLocalMailFolder);
const header = folder.addMessage(`From - ${new Date().toUTCString()}\n${mail}`);
Services.tm.dispatchToMainThread(() => MailUtils.openMessageInNewWindow(header));
"""

_SHOWN = """
const win = Services.wm.getMostRecentWindow("mail:messageWindow");
const view = win?.messageBrowser?.contentWindow;
const pane = view?.getMessagePaneBrowser?.();
const address = pane?.currentURI?.spec ?? "";
if (address.startsWith("data:text/html;base64,")) return [atob(address.slice(address.indexOf(",") + 1)), false];
const page = pane?.contentDocument;
if (!page || address === "about:blank" || page.readyState !== "complete" || view.gEncryptionStatus < 0) return false;
return [page.body.textContent, view.gEncryptionStatus === 0];
"""

_CLOSE = """
for (const kind of ["msgcompose", "mail:messageWindow"]) {
  for (const each of Services.wm.getEnumerator(kind)) {
    each.SetContentAndBodyAsUnmodified?.();
    each.close();
  }
}
"""


class Shown(NamedTuple):
    """What the window of an encrypted mail shows: its text, or the page that says why there is none."""

    text: str
    decrypted: bool


class Thunderbird(Mozilla):
    """A mail program with one account, Alice's, which sends through a server at a port of this machine and signs.

    `ca` is trusted for mail.
    """

    PROGRAM = "thunderbird"
    PREFERENCES: ClassVar[Mapping[str, str | int | bool]] = {
        "app.update.disabledForTesting": True,
        "datareporting.policy.dataSubmissionEnabled": False,
        "network.captive-portal-service.enabled": False,
        "network.connectivity-service.enabled": False,
        "mail.provider.suppress_dialog_on_startup": True,
        "mail.shell.checkDefaultClient": False,
        "mail.rights.version": 1,
        "mailnews.start_page.enabled": False,
        "mail.accountmanager.accounts": "account1",
        "mail.accountmanager.defaultaccount": "account1",
        "mail.accountmanager.localfoldersserver": "server1",
        "mail.account.account1.server": "server1",
        "mail.account.account1.identities": "id1",
        "mail.server.server1.type": "none",
        "mail.server.server1.hostname": "Local Folders",
        "mail.server.server1.name": "Local Folders",
        "mail.server.server1.userName": "nobody",
        "mail.server.server1.directory-rel": "[ProfD]Mail/Local Folders",
        "mail.identity.id1.fullName": "Alice",
        "mail.identity.id1.valid": True,
        "mail.identity.id1.smtpServer": "smtp1",
        "mail.identity.id1.fcc": False,
        "mail.identity.id1.compose_html": False,
        "mail.identity.id1.sign_mail": True,
        "mail.smtpservers": "smtp1",
        "mail.smtp.defaultserver": "smtp1",
        "mail.smtpserver.smtp1.hostname": "127.0.0.1",
        "mail.smtpserver.smtp1.authMethod": 1,  # none
        "mail.smtpserver.smtp1.try_ssl": 0,  # no TLS
    }

    def __init__(
        self,
        module: Path,
        environment: Mapping[str, str],
        ca: x509.Certificate,
        port: int,
        address: str = "alice@example.com",
        pin: str = "123456",
    ) -> None:
        preferences: dict[str, str | int | bool] = {
            "mail.identity.id1.useremail": address,
            "mail.smtpserver.smtp1.port": port,
        }
        with tempfile.TemporaryDirectory(prefix="cardtear-profile-") as folder:
            _make_databases(Path(folder), module, ca)
            super().__init__(environment, pin, Path(folder), preferences)

    def choose_certificates(self, token: str) -> dict[str, x509.Certificate]:
        """Sign and decrypt with that card from now on; the two certificates by their purposes in Thunderbird's words.

        Raises MozillaError if the card has none that are for mail.
        """
        chosen = {}
        for key, name, encoded in self.read(_TOKENS_CERTIFICATES, token):
            certificate = x509.load_der_x509_certificate(base64.b64decode(encoded))
            purpose = _purpose(certificate)
            if purpose is not None:
                chosen[purpose] = certificate
                self.script(_CHOOSE, purpose, name, key)
        if sorted(chosen) != ["encryption", "signing"]:
            raise MozillaError(f"{token} has no certificates for mail but {sorted(chosen)}")
        return chosen

    def write(self, to: str, subject: str, text: str) -> None:
        """Open a window with a mail that is ready to be signed and sent. Raises MozillaError."""
        self.script(_WRITE, to, subject, text)
        self.wait(lambda: self.read(_LETTER_IS_READY), bool, "a window with a mail")

    def send(self) -> str | None:
        """Press Send: what Thunderbird says when it fails, in which case the window stays. Raises MozillaError."""
        before, _ = self.alerts()
        self.wait(lambda: self.script(_SEND), lambda done: done is not False, "a mail that can be sent")

        def look() -> tuple[bool, int]:
            return self.read(f"{_LETTER} return Boolean(letter);"), self.alerts()[0]

        self.wait(look, lambda found: not found[0] or found[1] > before, "the mail to be sent, or an error")
        count, words = self.alerts()
        return words if count > before else None

    def receive(self, mail: str) -> Shown:
        """Put an encrypted mail into a local folder and open it: what its window shows. Raises MozillaError."""
        self.close_windows()
        self.script(_RECEIVE, mail)
        return Shown(*self.wait(lambda: self.read(_SHOWN), bool, "an opened mail"))

    def close_windows(self) -> None:
        """Close all mails, written or read. Raises MozillaError."""
        self.script(_CLOSE)
        count = "return Array.from(Services.wm.getEnumerator(null), each => each.location.href);"
        self.wait(lambda: self.read(count), lambda found: len(found) == 1, "the main window only")


def _purpose(certificate: x509.Certificate) -> str | None:
    """Return what a certificate on a PIV card is for in mail: digital signature (9C) or key management (9D)."""
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    if usage.content_commitment:
        return "signing"
    return "encryption" if usage.key_encipherment or usage.key_agreement else None


def _make_databases(profile: Path, module: Path, ca: x509.Certificate) -> None:
    """Make a profile's NSS databases, with the module and a CA trusted for mail. Raises MozillaError."""
    database = f"sql:{profile}"
    authority = profile / "authority.pem"
    authority.write_bytes(ca.public_bytes(Encoding.PEM))
    for command in (
        ["certutil", "-N", "-d", database, "--empty-password"],
        ["certutil", "-A", "-d", database, "-n", "authority", "-t", ",C,", "-a", "-i", str(authority)],
        ["modutil", "-force", "-dbdir", database, "-add", MODULE_NAME, "-libfile", str(module)],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MozillaError(f"no profile can be made: {error}") from None
        if done.returncode != 0:
            raise MozillaError(f"no profile can be made: {command[0]}: {done.stderr or done.stdout}")
