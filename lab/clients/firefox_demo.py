# SPDX-License-Identifier: MIT
"""The demonstration in a real Firefox: TLS client authentication with a card that is pulled, put back and swapped."""

from __future__ import annotations

import sys
import time

from rich.console import Console

from ...card.issuing.profiles import CardRequest
from ...csrc import module_path
from ..control.simulator import Simulator
from ..processes import paths
from ..processes.library_warnings import silence_library_warnings
from .firefox import Firefox
from .mozilla import LOGGED_IN, NOT_LOGGED_IN, NOT_PRESENT, MozillaError
from .tls_server import TlsServer

READER = "front"


class FirefoxDemonstration:
    """The story, told on a console while it happens; what is shown is checked. Raises MozillaError."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()

    def play(self) -> None:
        """Play the whole demonstration."""
        ca = paths.test_ca()
        with Simulator() as simulator, TlsServer(ca) as server:
            simulator.plug(READER)
            simulator.insert(READER, CardRequest(name="Alice"))
            self._say("Firefox starts, with the module loaded and Alice's card in the reader.")
            with Firefox(module_path(), simulator.environment, ca.certificate) as firefox:
                self._story(simulator, server.url, firefox)
        self._console.print("\n[bold green]All as it has to be.[/]")

    def _story(self, simulator: Simulator, url: str, firefox: Firefox) -> None:
        firefox.wait_for_card("Alice")
        self._require("slot status: not logged in", firefox.slot(READER).status, NOT_LOGGED_IN)

        self._say("A page that asks for a client certificate, twice.")
        self._require("the server says", firefox.open(url), "client: Alice")
        self._require("the server says", firefox.open(url), "client: Alice")
        self._require("PIN prompts so far", firefox.prompts(), 1)
        firefox.wait_for_status(LOGGED_IN)
        self._require("slot status: logged in", firefox.slot(READER).status, LOGGED_IN)

        self._say("The card is pulled out.")
        simulator.remove(READER)
        firefox.wait_for_status(NOT_PRESENT)
        self._require("slot status: not present", firefox.slot(READER).status, NOT_PRESENT)
        self._require("the page fails", firefox.open(url).partition("?")[0], "about:neterror")

        self._say("The card goes in again.")
        simulator.insert(READER, CardRequest(name="Alice"))
        firefox.wait_for_card("Alice")
        self._require("slot status: not logged in", firefox.slot(READER).status, NOT_LOGGED_IN)
        self._require("the server says", firefox.open(url), "client: Alice")
        self._require("PIN prompts so far", firefox.prompts(), 2)

        self._say("Another card takes its place.")
        simulator.swap(READER, CardRequest(name="Bob"))
        firefox.wait_for_card("Bob")
        self._require("the token", firefox.slot(READER).token, "Bob")
        self._require("the server says", firefox.open(url), "client: Bob")
        self._require("PIN prompts so far", firefox.prompts(), 3)

    def _say(self, text: str) -> None:
        self._console.print(f"\n[dim]{time.monotonic() - self._start:6.2f} s[/]  [bold]{text}[/]")

    def _require(self, what: str, found: object, wanted: object) -> None:
        mark = "[bold green]ok[/]" if found == wanted else "[bold red]WRONG[/]"
        self._console.print(f"[dim]{time.monotonic() - self._start:6.2f} s[/]    {mark} {what}: {found}")
        if found != wanted:
            raise MozillaError(f"{what}: {found!r}, wanted {wanted!r}")


def main() -> int:
    """Play it."""
    silence_library_warnings()
    console = Console(highlight=False)
    if Firefox.missing_parts():
        console.print(
            "firefox-esr or the Python package marionette-driver is missing; scripts/demo firefox installs them"
        )
        return 1
    try:
        FirefoxDemonstration(console).play()
    except MozillaError as error:
        console.print(f"[bold red]{error}[/]")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
