# SPDX-License-Identifier: MIT
"""Firefox's Device Manager as a person uses it: a slot is selected, a button pressed, a dialog filled in."""

from __future__ import annotations

from types import TracebackType
from typing import NamedTuple, Self

from .firefox import Firefox
from .mozilla import MozillaError

_FIND = """
function find(address) {
  return Array.from(Services.wm.getEnumerator(null)).find(each => each.location.href.endsWith(address));
}
const manager = find("device_manager.xhtml");
"""

_OPEN = """
window.openDialog("chrome://pippki/content/device_manager.xhtml", "", "chrome,centerscreen,resizable");
"""

_CLOSE = f"{_FIND} if (manager) manager.close();"

_SELECT = f"""
{_FIND}
const tree = manager.document.getElementById("device_tree");
for (let row = 0; row < tree.view.rowCount; row++) {{
  const {{slotObject}} = tree.view.getItemAtIndex(row);
  if (slotObject && slotObject.name === arguments[0]) {{
    tree.view.selection.clearSelection();
    tree.view.selection.select(row);
    return true;
  }}
}}
return false;
"""

# What a button begins can open a dialog, and ends when that does: nobody may wait for it here.
_PRESS = f"""
{_FIND}
const button = manager.document.getElementById(arguments[0]);
if (button.hasAttribute("disabled")) return false;
Services.tm.dispatchToMainThread(() => button.doCommand());
return true;
"""

_STATE = f"""
{_FIND}
const said = manager.document.getElementById("tok_status");
const usable = name => !manager.document.getElementById(name).hasAttribute("disabled");
return [said ? said.getAttribute("data-l10n-id").replace("devinfo-status-", "") : "",
        usable("login_button"), usable("logout_button"), usable("change_pw_button")];
"""

_PASSWORDS = f"""
{_FIND}
const dialog = find("changepassword.xhtml");
if (!dialog || dialog.document.readyState !== "complete" || !dialog.token) return false;
const [before, after] = arguments;
for (const [name, value] of [["oldpw", before], ["pw1", after], ["pw2", after]])
  dialog.document.getElementById(name).value = value;
dialog.checkPasswords();
const accept = dialog.document.getElementById("set_password").getButton("accept");
Services.tm.dispatchToMainThread(() => accept.click());
return true;
"""

_GIVE_UP = f"{_FIND} const dialog = find('changepassword.xhtml'); if (dialog) dialog.close(); return !dialog;"


# Whether one can log in and out, by status: the browser remembers a login for a second longer than the status. It lets
# one press "log in" without a card, too.
_BUTTONS = {"not-present": (True, False), "not-logged-in": (True, False), "logged-in": (False, True)}


class SlotState(NamedTuple):
    """What is shown of the selected slot: its status in the words of Firefox, and which buttons can be pressed."""

    status: str
    can_log_in: bool
    can_log_out: bool
    can_change_password: bool


class DeviceManager:
    """The dialog, from entering the context to its end, with one slot selected at a time."""

    def __init__(self, firefox: Firefox, slot: str = "front") -> None:
        self._firefox = firefox
        self._slot = slot

    def __enter__(self) -> Self:
        self._firefox.script(_OPEN)
        try:
            # The list is filled some time after the window is there, and does not follow what happens later.
            self._firefox.wait(lambda: self.select(self._slot), lambda _: True, "the Device Manager")
        except BaseException:
            self._firefox.script(_CLOSE)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._firefox.script(_CLOSE)

    def select(self, slot: str) -> None:
        """Select a slot by name; what is shown of it is read anew. Raises MozillaError."""
        if not self._firefox.read(_SELECT, slot):
            raise MozillaError(f"the Device Manager has no slot {slot!r}")
        self._slot = slot

    def state(self) -> SlotState:
        """Return what is shown now; the page is updated by selecting an entry again."""
        return SlotState(*self._firefox.read(_STATE))

    def wait_for(self, status: str) -> SlotState:
        """Select until the slot has that status, and the buttons that go with it. Raises MozillaError, KeyError."""
        buttons = _BUTTONS[status]

        def look() -> SlotState:
            self.select(self._slot)
            return self.state()

        return self._firefox.wait(look, lambda found: found[:3] == (status, *buttons), f"the status {status!r}")

    def log_in(self) -> None:
        """Press the button; the PIN prompt is answered as all prompts are. Raises MozillaError if it is disabled."""
        self._press("login_button")

    def log_out(self) -> None:
        """Press the button. Raises MozillaError if it is disabled."""
        self._press("logout_button")

    def change_password(self, old: str, new: str) -> str:
        """Press the button and fill in the dialog; return Firefox's message. Raises MozillaError."""
        said: int = self._firefox.alerts()[0]
        self._press("change_pw_button")
        self._once(_PASSWORDS, "the dialog for a new password", old, new)
        _, words = self._firefox.wait(self._firefox.alerts, lambda found: found[0] > said, "what Firefox says of it")
        self._firefox.wait(lambda: self._firefox.script(_GIVE_UP), bool, "the end of the dialog")
        return words

    def _press(self, button: str) -> None:
        self._once(_PRESS, f"{button} to become usable", button)

    def _once(self, script: str, awaited: str, *arguments: object) -> None:
        """Carry out a script as soon as it can do its work; None, for a prompt that opens, is what it has led to."""
        self._firefox.wait(lambda: self._firefox.script(script, *arguments), lambda done: done is not False, awaited)
