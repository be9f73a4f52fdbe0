# SPDX-License-Identifier: MIT
"""Firefox, asked line by line: `python -m cardtear.lab.clients.drivers.firefox`, with CARDTEAR_MODULE loaded.

start              the browser; how many slots it has
slots              what it shows: `front: Alice, not logged in; back: empty`
until WORDS        the same as soon as it is so, or after some seconds
open               a page that asks for a client certificate: `client: Alice` or `no page`
hold, opened       `open` as far as the PIN prompt, which stays; then it is answered: the page
certificates TOKEN how many the browser knows on that token
prompts            how often the PIN has been asked for
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ...processes import paths
from ..firefox import LOGGED_IN, NOT_LOGGED_IN, NOT_PRESENT, Firefox
from ..mozilla import MozillaSlot
from ..tls_server import TlsServer
from .lines import serve

_PATIENCE = 5.0
_BETWEEN_LOOKS = 0.05
_WORDS = {NOT_PRESENT: "empty", NOT_LOGGED_IN: "not logged in", LOGGED_IN: "logged in"}


class Browser:
    """What can be asked, of one browser and the server of its pages."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._ca = paths.test_ca()
        self._server = stack.enter_context(TlsServer(self._ca))
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cardtear-firefox-")))

    def commands(self) -> dict[str, Callable[..., str]]:
        """Return the commands by their words."""
        names = ("start", "slots", "until", "open", "hold", "opened", "certificates", "prompts")
        return {name: getattr(self, f"_{name}") for name in names}

    def _start(self) -> str:
        module = Path(os.environ["CARDTEAR_MODULE"])
        self._firefox = self._stack.enter_context(Firefox(module, os.environ, self._ca.certificate))
        return f"{len(self._firefox.slots())} slots"

    def _slots(self) -> str:
        return "; ".join(_shown(slot) for slot in self._firefox.slots())

    def _until(self, *words: str) -> str:
        wanted, end = " ".join(words), time.monotonic() + _PATIENCE
        while (shown := self._slots()) != wanted and time.monotonic() < end:
            time.sleep(_BETWEEN_LOOKS)  # the browser has no event for it: it looks when it is asked
        return shown

    def _open(self) -> str:
        return self._page(self._firefox.open(self._server.url))

    def _hold(self) -> str:
        self._firefox.hold_prompts(self._folder / "gate")
        self._firefox.load(self._server.url)
        self._firefox.wait_for_prompt(True)
        return "the PIN is asked for"

    def _opened(self) -> str:
        (self._folder / "gate").touch()
        self._firefox.wait_for_prompt(False)
        self._firefox.hold_prompts(None)
        return self._page(self._firefox.page(self._server.url))

    def _page(self, title: str) -> str:
        return "no page" if title.startswith("about:") else title

    def _certificates(self, token: str) -> str:
        return str(sum(owner == token for owner, _ in self._firefox.certificates()))

    def _prompts(self) -> str:
        return str(self._firefox.prompts())


def _shown(slot: MozillaSlot) -> str:
    if slot.status == NOT_PRESENT:
        return f"{slot.name}: empty"
    return f"{slot.name}: {slot.token}, {_WORDS.get(slot.status or 0, slot.status)}"


def main() -> None:
    """Carry out commands until the input or the scenario ends."""
    with contextlib.ExitStack() as stack:
        serve(Browser(stack).commands())
        sys.stdout.flush()


if __name__ == "__main__":
    main()
