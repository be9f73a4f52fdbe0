# SPDX-License-Identifier: MIT
"""A real, headless program of Mozilla's with the module loaded, driven through Marionette.

What Firefox and Thunderbird have in common: start and end, scripts, prompts, slots, and waiting for all of it. Needs
the Python package marionette-driver (extra `firefox`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

from ...csrc import only_us_preload
from ..processes.closable import Closable

T = TypeVar("T")

MODULE_NAME = "cardtear"
DEADLINE = 40.0
"""Seconds that the program may take to get anywhere, on a slow machine with other things to do."""

_PRELOAD = "LD_PRELOAD"

NOT_PRESENT, NOT_LOGGED_IN, LOGGED_IN = 1, 3, 4
"""Values of nsIPKCS11Slot.status for a removable slot."""

# Counts PIN prompts in a preference and answers them; while a gate is set, not before the gate's file is there. What
# the program says otherwise is kept, counted and agreed to.
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

# Loading takes as long as it takes, so nobody waits in the script: the outcome is left in a preference.
_ADD_MODULE = """
const [name, path] = arguments;
const say = words => Services.prefs.setStringPref("cardtear.added", words);
say("");
Cc["@mozilla.org/security/pkcs11moduledb;1"].getService(Ci.nsIPKCS11ModuleDB)
  .addModule(name, path, 0, 0).then(() => say("added"), error => say(String(error)));
"""

_SLOTS = """
const [name, done] = arguments;
(async () => {
  const db = Cc["@mozilla.org/security/pkcs11moduledb;1"].getService(Ci.nsIPKCS11ModuleDB);
  for (const module of await db.listModules()) {
    if (module.name !== name) continue;
    return Array.from(module.slots ?? module.listSlots(), slot => [slot.name, slot.tokenName, slot.status]);
  }
  return [];
})().then(done, error => done(String(error)));
"""

_CERTIFICATES = """
const db = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
return db.getCerts().map(each => [each.tokenName, each.commonName]);
"""


class MozillaError(Exception):
    """The program did not do what was requested; the message has what it did instead."""


class MozillaSlot(NamedTuple):
    """A slot of the module, as the program sees it: the reader's name, the card's, and one of the numbers above.

    A reader that the program has not found (yet) has no card and the status None.
    """

    name: str
    token: str = ""
    status: int | None = None


class Mozilla(Closable):
    """A program with a profile of its own; a context manager, which always ends the program.

    `environment` tells the module where the simulator is; every PIN prompt is answered with `pin`. A `profile` is a
    folder that the new profile begins as a copy of; it lies in `folder`, else in a temporary one.
    """

    PROGRAM: ClassVar[str]
    PREFERENCES: ClassVar[Mapping[str, str | int | bool]]

    def __init__(
        self,
        environment: Mapping[str, str],
        pin: str,
        profile: Path | None = None,
        preferences: Mapping[str, str | int | bool] | None = None,
        folder: Path | None = None,
    ) -> None:
        from marionette_driver.marionette import Marionette

        logging.getLogger("mozversion").setLevel(logging.ERROR)
        # The driver deletes what is at the log's path before it begins: /dev/null would be gone from the machine.
        self._logs = tempfile.TemporaryDirectory(prefix="cardtear-mozilla-", dir=folder)
        with _environment(environment), _reached_by_us_only():
            self._marionette = Marionette(
                bin=str(self.path()),
                headless=True,
                profile=None if profile is None else str(profile),
                prefs={**self.PREFERENCES, **(preferences or {})},
                app_args=["--remote-allow-system-access"],
                startup_timeout=2 * DEADLINE,
                workspace=None if folder is None else str(folder),
                gecko_log=str(Path(self._logs.name) / "gecko.log"),
                port=0,  # a free one
            )
        try:
            self._marionette.start_session({"unhandledPromptBehavior": "ignore"})
            self._marionette.set_context("chrome")
            self._marionette.timeout.script = DEADLINE
            self.script(_ANSWER_PROMPTS, pin)
        except BaseException:
            self.close()
            raise

    @classmethod
    def path(cls) -> Path | None:
        """Return the path of the program itself; the one on the search path may be a script that starts it."""
        found = shutil.which(cls.PROGRAM)
        candidates = (Path(found).resolve(), Path("/usr/lib", cls.PROGRAM, cls.PROGRAM)) if found is not None else ()
        return next((each for each in candidates if each.with_name("application.ini").exists()), None)

    @classmethod
    def missing_parts(cls) -> list[str]:
        """Return what is needed and not installed: the program, its driver."""
        missing = [] if cls.path() is not None else [cls.PROGRAM]
        if importlib.util.find_spec("marionette_driver") is None:
            missing.append("marionette-driver (pip install cardtear[firefox])")
        return missing

    def close(self) -> None:
        """End the program and everything it has started."""
        with contextlib.suppress(Exception):
            self._marionette.delete_session()
        instance = self._marionette.instance
        self._marionette.cleanup()
        if instance is not None and instance.profile is not None:
            instance.profile.cleanup()  # the driver has made another one, to begin again with
        self._logs.cleanup()

    @property
    def process_id(self) -> int:
        """Number of the program's main process."""
        return int(self._marionette.process_id)

    # Slots and certificates

    def add_module(self, name: str, path: Path) -> None:
        """Load a PKCS #11 module, as the Device Manager does. Raises MozillaError."""
        self.script(_ADD_MODULE, name, str(path))
        read = 'return Services.prefs.getStringPref("cardtear.added");'
        said = self.wait(lambda: self.read(read), bool, f"the module {path} to be loaded")
        if said != "added":
            raise MozillaError(f"the module {path} cannot be loaded: {said}")

    def slots(self, module: str = MODULE_NAME) -> list[MozillaSlot]:
        """Return the module's slots as the program sees them now: none while the module finds no simulator."""

        found = self.read_async(_SLOTS, module)
        if not isinstance(found, list):
            raise MozillaError(f"the slots of {module} cannot be listed: {found}")
        return [MozillaSlot(*each) for each in found]

    def slot(self, name: str = "front") -> MozillaSlot:
        """Return a slot by the name of its reader."""
        return next((each for each in self.slots() if each.name == name), MozillaSlot(name))

    def wait_for_status(self, status: int, slot: str = "front") -> None:
        """Wait until the slot has that status; the program polls every few seconds. Raises MozillaError."""
        self.wait(lambda: self.slot(slot), lambda found: found.status == status, f"status {status}")

    def wait_for_token(self, token: str, slot: str = "front") -> None:
        """Wait until the program sees a card of that name in the slot. Raises MozillaError."""
        self.wait(lambda: self.slot(slot), lambda found: found.token == token, f"the card {token}")

    def wait_for_card(self, token: str, slot: str = "front") -> None:
        """Wait until the program sees that card, without login, and its certificates. Raises MozillaError.

        It remembers for a second what card there is, and for another whether somebody is logged in; so a card that
        is put in anew can be told from the one before by its name only.
        """
        wanted = MozillaSlot(slot, token, NOT_LOGGED_IN)
        self.wait(lambda: self.slot(slot), lambda found: found == wanted, f"the card {token}, nobody logged in")
        self.wait(self.certificates, lambda found: token in dict(found), f"certificates of {token}")

    def certificates(self) -> list[tuple[str, str]]:
        """Return token and common name of every certificate in the program's list."""
        return [(token, name) for token, name in self.read(_CERTIFICATES)]

    # Prompts

    def prompts(self) -> int:
        """Return the number of PIN prompts so far."""
        return int(self.read('return Services.prefs.getIntPref("cardtear.prompts");'))

    def alerts(self) -> tuple[int, str]:
        """Return the number of alerts so far, and the text of the last one."""
        get = 'return [Services.prefs.getIntPref("cardtear.alerts"), Services.prefs.getStringPref("cardtear.said")];'
        count, words = self.read(get)
        return count, words

    def answer_with(self, pin: str) -> None:
        """Set the PIN that is entered at later prompts."""
        self.script('Services.prefs.setStringPref("cardtear.pin", arguments[0]);', pin)

    def hold_prompts(self, gate: Path | None) -> None:
        """Leave prompts open until the file `gate` exists; with None, answer them at once."""
        self.script('Services.prefs.setStringPref("cardtear.gate", arguments[0]);', "" if gate is None else str(gate))

    def wait_for_prompt(self, is_open: bool) -> None:
        """Wait until a prompt is open, or none is open any more. Raises MozillaError."""
        from marionette_driver.errors import UnexpectedAlertOpen

        def look() -> bool:
            try:
                self._marionette.execute_script("")
            except UnexpectedAlertOpen:
                return True
            return False

        self.wait(look, lambda found: found is is_open, "a PIN prompt" if is_open else "the end of a PIN prompt")

    # Scripts

    def script(self, script: str, *arguments: object) -> Any:
        """Run a script with the program's own rights as soon as no prompt is open, and return its result.

        When a prompt opens meanwhile it is None, whether or not the script has done its work.
        """
        return self._retry(self._marionette.execute_script, script, arguments)

    def read(self, script: str, *arguments: object) -> Any:
        """Run a script that changes nothing, again until it returns something, and return that."""
        return self._read(self._marionette.execute_script, script, arguments)

    def read_async(self, script: str, *arguments: object) -> Any:
        """Do as `read` for a script that ends by calling its last argument."""
        return self._read(self._marionette.execute_async_script, script, arguments)

    def _read(self, execute: Callable[..., Any], script: str, arguments: tuple[object, ...]) -> Any:
        end = time.monotonic() + DEADLINE
        while (found := self._retry(execute, script, arguments)) is None:
            if time.monotonic() > end:
                raise MozillaError("one prompt after the other keeps a script from answering")
        return found

    def _retry(self, execute: Callable[..., Any], script: str, arguments: tuple[object, ...]) -> Any:
        """Run a script as soon as no prompt is open: until then Marionette refuses it."""
        from marionette_driver.errors import UnexpectedAlertOpen

        end = time.monotonic() + DEADLINE
        while True:
            try:
                return execute(script, script_args=arguments)
            except UnexpectedAlertOpen:
                if time.monotonic() > end:
                    raise MozillaError("a prompt stays open that nobody answers") from None
                time.sleep(0.02)

    def wait(self, look: Callable[[], T], good: Callable[[T], bool], awaited: str) -> T:
        """Call `look` until its result is good, and return that. Raises MozillaError at the deadline.

        What cannot be looked at now (a window that is just being built, a list behind a prompt) can be in a moment.
        """
        from marionette_driver.errors import JavascriptException

        end = time.monotonic() + DEADLINE
        while True:
            try:
                found = look()
                if good(found):
                    return found
                seen = repr(found)
            except (MozillaError, JavascriptException) as error:
                seen = str(error)
            if time.monotonic() > end:
                raise MozillaError(f"waited {DEADLINE:.0f} s for {awaited}; there is: {seen}")
            time.sleep(0.05)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables in this process's environment, which Marionette gives to the program, during the block."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _reached_by_us_only() -> Iterator[None]:
    """Let programs started in the block accept this user and root only: Marionette's port is open to all users."""
    loaded = os.environ.get(_PRELOAD)
    with _environment({_PRELOAD: ":".join(filter(None, (loaded, only_us_preload())))}):
        yield
