# SPDX-License-Identifier: MIT
"""Answer lines about NSS: `python -m cardtear.lab.clients.drivers.nss`; the module is CARDTEAR_MODULE's.

tokens             what is where: `front: Alice, back: empty`
until WORD [N]     the same as soon as `empty` or a token of that name is somewhere, or after some seconds; in N threads
update             new slots are looked for: what is where then
events             from now on each event is a line: `event front: Alice`
cancel             the wait for them is broken off
login, sign [N]    in the first slot, signatures in N threads at once
look N             N threads ask at once whether the token is there
prompts            how often the PIN has been asked for
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from .lines import say, serve
from .nss_library import Nss, NssError

_PATIENCE = 4.0
_BETWEEN_LOOKS = 0.02


class NssCommands:
    """What can be asked."""

    def __init__(self, nss: Nss) -> None:
        self._nss = nss

    def commands(self) -> dict[str, Callable[..., str]]:
        """Return the commands by their words."""
        names = ("tokens", "until", "update", "events", "cancel", "login", "sign", "look", "prompts")
        return {name: getattr(self, f"_{name}") for name in names}

    def _tokens(self) -> str:
        nss = self._nss
        return ", ".join(f"{nss.slot_name(slot)}: {nss.token(slot) or 'empty'}" for slot in nss.slots)

    def _until(self, word: str, threads: str = "1") -> str:
        return self._look_for(word) if threads == "1" else _at_once(int(threads), lambda: self._look_for(word))

    def _look_for(self, word: str) -> str:
        end = time.monotonic() + _PATIENCE
        while word not in (tokens := self._tokens()).replace(",", "").split() and time.monotonic() < end:
            time.sleep(_BETWEEN_LOOKS)  # NSS has nothing to wait for but events, and these are another matter
        return tokens

    def _update(self) -> str:
        self._nss.update()
        return self._tokens()

    def _events(self) -> str:
        threading.Thread(target=self._tell_events, daemon=True).start()
        return "waiting"

    def _tell_events(self) -> None:
        try:
            while True:
                slot = self._nss.wait()
                say(f"event {slot}; {self._tokens()}")
        except NssError as error:
            say(f"no more events: {error}")

    def _cancel(self) -> str:
        self._nss.cancel()
        return "cancelled"

    def _login(self) -> str:
        self._nss.log_in(self._nss.slots[0])
        return "logged in"

    def _sign(self, threads: str = "1") -> str:
        slot = self._nss.slots[0]
        return _at_once(int(threads), lambda: f"{len(self._nss.sign(slot))} bytes")

    def _look(self, threads: str) -> str:
        slot = self._nss.slots[0]
        return _at_once(int(threads), lambda: "empty" if self._nss.token(slot) is None else "present")

    def _prompts(self) -> str:
        return str(self._nss.prompts)


def _at_once(threads: int, work: Callable[[], str]) -> str:
    """Run it in some threads, and count the results: `8 times 256 bytes`."""
    barrier = Barrier(threads)

    def one() -> str:
        barrier.wait()
        try:
            return work()
        except NssError as error:
            return str(error)

    with ThreadPoolExecutor(threads) as pool:
        found = Counter(future.result() for future in [pool.submit(one) for _ in range(threads)])
    return ", ".join(f"{count} times {what}" for what, count in sorted(found.items()))


def main() -> None:
    """Carry out commands until the input ends; NSS is not shut down, as in Firefox."""
    serve(NssCommands(Nss(os.environ["CARDTEAR_MODULE"])).commands())
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
