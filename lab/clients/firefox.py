# SPDX-License-Identifier: MIT
"""A real, headless Firefox with the module loaded: pages, and the certificates for them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from .mozilla import LOGGED_IN, MODULE_NAME, NOT_LOGGED_IN, NOT_PRESENT, Mozilla, MozillaError

__all__ = ["LOGGED_IN", "NOT_LOGGED_IN", "NOT_PRESENT", "Firefox", "MozillaError"]

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


class Firefox(Mozilla):
    """A browser; `ca` is trusted for servers. Its profile lies in `folder`, else in a temporary one."""

    PROGRAM = "firefox-esr"
    PREFERENCES: ClassVar[Mapping[str, str | int | bool]] = {
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

    def __init__(
        self,
        module: Path,
        environment: Mapping[str, str],
        ca: x509.Certificate,
        pin: str = "123456",
        folder: Path | None = None,
    ) -> None:
        super().__init__(environment, pin, folder=folder)
        try:
            self.script(_TRUST, base64.b64encode(ca.public_bytes(Encoding.DER)).decode())
            self.add_module(MODULE_NAME, module)
        except BaseException:
            self.close()
            raise

    def open(self, url: str) -> str:
        """Load a page: its title, or the address of the error page. Raises MozillaError when neither comes."""
        self.load(url)
        return self.page(url)

    def load(self, url: str) -> None:
        """Begin to load a page."""
        self.script(_LOAD, "about:blank")
        self.wait(self._page, lambda page: page[0] == "about:blank" and not page[2], "an empty page")
        self.script(_LOAD, url)

    def page(self, url: str) -> str:
        """Return the title, or the address of the error page, of the page that loads."""

        def is_there(page: tuple[str, str, bool]) -> bool:
            address, title, loading = page
            return not loading and ((address == url and title != "") or address.startswith("about:neterror"))

        address, title, _ = self.wait(self._page, is_there, url)
        return title if address == url else address

    def choose_certificates(self, token: str | None) -> None:
        """Choose the certificate on that token for pages that ask for one; None: the browser's own choice."""
        self.script(_CHOOSE, token or "")

    def _page(self) -> tuple[str, str, bool]:
        address, title, loading = self.read(_PAGE)
        return address, title, loading
