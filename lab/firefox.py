# SPDX-License-Identifier: MIT
"""A real, headless Firefox with the module loaded, driven through Marionette.

Needs firefox-esr and the Python package marionette-driver (extra `firefox`).
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

T = TypeVar("T")

BINARY = "firefox-esr"
MODULE_NAME = "cardtear"
DEADLINE = 30.0
"""Seconds that the browser may take to get anywhere."""

NOT_PRESENT, NOT_LOGGED_IN, LOGGED_IN = 1, 3, 4
"""What nsIPKCS11Slot.status says of a removable slot."""

_PREFERENCES = {
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "security.default_personal_cert": "Select Automatically",
    # A speculative connection is a handshake that nobody asked for: it would take the PIN prompt.
    "network.http.speculative-parallel-limit": 0,
    "network.dns.disablePrefetch": True,
    "network.prefetch-next": False,
}

# Counts PIN prompts in a preference and answers them; while a gate is set, not before the gate's file is there. What
# the browser says otherwise is kept, counted and agreed to.
# (Marionette refuses every command while a prompt is open, so the word to go on cannot come through it.)
_ANSWER_PROMPTS = """
const [pin] = arguments;
const {setTimeout} = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");
Services.prefs.setIntPref("cardtear.prompts", 0);
Services.prefs.setIntPref("cardtear.alerts", 0);
Services.prefs.setStringPref("cardtear.said", "");
Services.prefs.setStringPref("cardtear.pin", pin);
Services.prefs.setStringPref("cardtear.gate", "");
async function answer({ui}) {
  const gate = Services.prefs.getStringPref("cardtear.gate");
  if (gate !== "" && !(await IOUtils.exists(gate))) {
    setTimeout(answer, 20, {ui});
    return;
  }
  ui.password1Textbox.value = Services.prefs.getStringPref("cardtear.pin");
  ui.button0.disabled = false;
  ui.button0.click();
}
Services.obs.addObserver({
  observe(win) {
    if (!win.Dialog || !win.Dialog.ui.password1Textbox) return;
    if (win.Dialog.args.promptType === "alert") {
      Services.prefs.setStringPref("cardtear.said", win.Dialog.args.text);
      Services.prefs.setIntPref("cardtear.alerts", Services.prefs.getIntPref("cardtear.alerts") + 1);
      setTimeout(() => win.Dialog.ui.button0.click(), 0);
      return;
    }
    Services.prefs.setIntPref("cardtear.prompts", Services.prefs.getIntPref("cardtear.prompts") + 1);
    setTimeout(answer, 0, win.Dialog);
  },
}, "common-dialog-loaded");
"""

# Answers the dialog in which a certificate is chosen, by the name of its token.
_CHOOSE = """
const [token] = arguments;
Services.prefs.setStringPref("security.default_personal_cert", token ? "Ask Every Time" : "Select Automatically");
Services.prefs.setStringPref("cardtear.token", token);
if (Services.prefs.getBoolPref("cardtear.chooses", false)) return;
Services.prefs.setBoolPref("cardtear.chooses", true);
const {setTimeout} = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");
Services.obs.addObserver(dialog => setTimeout(() => {
  const win = dialog.ownerDocument.defaultView;
  const wanted = Services.prefs.getStringPref("cardtear.token");
  win.document.getElementById("nicknames").selectedIndex = win.certArray.findIndex(each => each.tokenName === wanted);
  win.document.getElementById("rememberSetting").value = 0; // never
  dialog.getButton("accept").click();
}, 0), "cert-dialog-loaded");
"""

_ADD_MODULE = """
const [name, path, done] = arguments;
Cc["@mozilla.org/security/pkcs11moduledb;1"].getService(Ci.nsIPKCS11ModuleDB)
  .addModule(name, path, 0, 0).then(() => done(null), error => done(String(error)));
"""

_SLOTS = """
const [name, done] = arguments;
(async () => {
  const db = Cc["@mozilla.org/security/pkcs11moduledb;1"].getService(Ci.nsIPKCS11ModuleDB);
  for (const module of await db.listModules()) {
    if (module.name !== name) continue;
    return Array.from(module.slots, slot => ({name: slot.name, token: slot.tokenName, status: slot.status}));
  }
  return [];
})().then(done, error => done(String(error)));
"""

_CERTIFICATES = """
const [done] = arguments;
const db = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
done(db.getCerts().map(each => [each.tokenName, each.commonName]));
"""

_TRUST = """
Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(arguments[0], "CTu,,");
"""

_LOAD = """
gBrowser.selectedBrowser.stop();
gBrowser.selectedBrowser.loadURI(Services.io.newURI(arguments[0]), {
  triggeringPrincipal: Services.scriptSecurityManager.getSystemPrincipal(),
  loadFlags: Ci.nsIWebNavigation.LOAD_FLAGS_BYPASS_CACHE,
});
"""

_PAGE = """
const browser = gBrowser.selectedBrowser;
const address = browser.documentURI ? browser.documentURI.spec : "";
return [address, browser.contentTitle, browser.webProgress.isLoadingDocument];
"""


class FirefoxError(Exception):
    """The browser did not do what it was asked to; the message says what came instead."""


def missing_parts() -> list[str]:
    """What is needed and not installed: the browser, its driver."""
    missing = [] if shutil.which(BINARY) is not None else [BINARY]
    if importlib.util.find_spec("marionette_driver") is None:
        missing.append("marionette-driver (pip install cardtear[firefox])")
    return missing


def is_available() -> bool:
    """Whether the browser and its driver are installed."""
    return not missing_parts()


class Firefox:
    """A browser with a profile of its own and the module loaded; a context manager, which always ends the browser.

    `environment` tells the module where the simulator is; `ca` is trusted for servers; every PIN prompt is answered
    with `pin`. Its profile lies in `folder`, else in a temporary one.
    """

    def __init__(
        self,
        module: Path,
        environment: Mapping[str, str],
        ca: x509.Certificate,
        pin: str = "123456",
        load: bool = True,
        folder: Path | None = None,
    ) -> None:
        from marionette_driver.marionette import Marionette

        logging.getLogger("mozversion").setLevel(logging.ERROR)
        # The driver deletes what is at the log's path before it begins: /dev/null would be gone from the machine.
        self._logs = tempfile.TemporaryDirectory(prefix="cardtear-firefox-", dir=folder)
        with _environment(environment):
            self._marionette = Marionette(
                bin=shutil.which(BINARY),
                headless=True,
                prefs=_PREFERENCES,
                app_args=["--remote-allow-system-access"],
                startup_timeout=60,
                workspace=None if folder is None else str(folder),
                gecko_log=str(Path(self._logs.name) / "gecko.log"),
                port=0,  # a free one
            )
            self._marionette.start_session({"unhandledPromptBehavior": "ignore"})
        try:
            self._marionette.set_context("chrome")
            self._marionette.timeout.script = DEADLINE
            self.script(_TRUST, base64.b64encode(ca.public_bytes(Encoding.DER)).decode())
            self.script(_ANSWER_PROMPTS, pin)
            if load:
                self.add_module(MODULE_NAME, module)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the browser and everything it has started."""
        with contextlib.suppress(Exception):
            self._marionette.delete_session()
        self._marionette.cleanup()
        self._logs.cleanup()

    @property
    def process_id(self) -> int:
        """The browser's own process."""
        return int(self._marionette.process_id)

    def add_module(self, name: str, path: Path) -> None:
        """Load a PKCS #11 module, as the Device Manager does. Raises FirefoxError."""
        problem = self.async_script(_ADD_MODULE, name, str(path))
        if problem is not None:
            raise FirefoxError(f"the module {path} cannot be loaded: {problem}")

    def slots(self, module: str = MODULE_NAME) -> list[dict[str, Any]]:
        """The module's slots: name, token, status."""
        found = self.async_script(_SLOTS, module)
        if not isinstance(found, list):
            raise FirefoxError(f"the module's slots cannot be listed: {found}")
        return found

    def wait_for_status(self, status: int) -> None:
        """Until the first slot has that status; the browser looks at most every few seconds. Raises FirefoxError."""
        self.wait(lambda: self.slots()[0]["status"], lambda found: found == status, f"slot status {status}")

    def wait_for_token(self, token: str) -> None:
        """Until the first slot holds the token of that name. Raises FirefoxError."""
        self.wait(lambda: self.slots()[0]["token"], lambda found: found == token, f"token {token}")

    def certificates(self) -> list[tuple[str, str]]:
        """Token and common name of every certificate in the browser's list."""
        return [(token, name) for token, name in self.async_script(_CERTIFICATES)]

    def open(self, url: str) -> str:
        """Load a page: its title, or the address of the error page. Raises FirefoxError when neither comes."""
        self.load(url)
        return self.page(url)

    def load(self, url: str) -> None:
        """Begin to load a page."""
        self.script(_LOAD, "about:blank")
        self.wait(self._page, lambda page: page[0] == "about:blank" and not page[2], "an empty page")
        self.script(_LOAD, url)

    def page(self, url: str) -> str:
        """Title, or address of the error page, of what is being loaded."""

        def is_there(page: tuple[str, str, bool]) -> bool:
            address, title, loading = page
            return not loading and ((address == url and title != "") or address.startswith("about:neterror"))

        address, title, _ = self.wait(self._page, is_there, url)
        return title if address == url else address

    def prompts(self) -> int:
        """How many PIN prompts there have been."""
        return int(self.script('return Services.prefs.getIntPref("cardtear.prompts");'))

    def alerts(self) -> tuple[int, str]:
        """How often the browser has said something that can only be agreed to, and what it was last."""
        get = 'return [Services.prefs.getIntPref("cardtear.alerts"), Services.prefs.getStringPref("cardtear.said")];'
        count, words = self.script(get)
        return count, words

    def answer_with(self, pin: str) -> None:
        """The PIN for prompts from now on."""
        self.script('Services.prefs.setStringPref("cardtear.pin", arguments[0]);', pin)

    def choose_certificates(self, token: str | None) -> None:
        """For pages that ask for a certificate: the one on that token; None: what the browser finds by itself."""
        self.script(_CHOOSE, token or "")

    def hold_prompts(self, gate: Path | None) -> None:
        """Leave prompts open until the file `gate` is there; None: answer them at once."""
        self.script('Services.prefs.setStringPref("cardtear.gate", arguments[0]);', "" if gate is None else str(gate))

    def wait_for_prompt(self, is_open: bool) -> None:
        """Until a prompt is open (one that is held), or none is any more. Raises FirefoxError."""
        from marionette_driver.errors import UnexpectedAlertOpen

        def look() -> bool:
            try:
                self._marionette.execute_script("")
            except UnexpectedAlertOpen:
                return True
            return False

        self.wait(look, lambda found: found is is_open, "a PIN prompt" if is_open else "the end of a PIN prompt")

    def _page(self) -> tuple[str, str, bool]:
        address, title, loading = self.script(_PAGE)
        return address, title, loading

    def script(self, script: str, *arguments: object) -> Any:
        """What a script with the browser's own rights returns, as soon as no prompt is open."""
        return self._retry(self._marionette.execute_script, script, arguments)

    def async_script(self, script: str, *arguments: object) -> Any:
        """The same for a script that ends by calling its last argument."""
        return self._retry(self._marionette.execute_async_script, script, arguments)

    def _retry(self, execute: Callable[..., Any], script: str, arguments: tuple[object, ...]) -> Any:
        """Carry out a script as soon as no prompt is open: until then Marionette refuses."""
        from marionette_driver.errors import UnexpectedAlertOpen

        end = time.monotonic() + DEADLINE
        while True:
            try:
                return execute(script, script_args=arguments)
            except UnexpectedAlertOpen:
                if time.monotonic() > end:
                    raise FirefoxError("a prompt stays open that nobody answers") from None
                time.sleep(0.02)

    def wait(self, look: Callable[[], T], good: Callable[[T], bool], awaited: str) -> T:
        """Look until what is found is good. Raises FirefoxError."""
        end = time.monotonic() + DEADLINE
        while True:
            found = look()
            if good(found):
                return found
            if time.monotonic() > end:
                raise FirefoxError(f"waited {DEADLINE:.0f} s for {awaited}; there is {found!r}")
            time.sleep(0.05)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Marionette gives the browser this process's environment."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
