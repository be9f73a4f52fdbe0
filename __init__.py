# SPDX-License-Identifier: MIT
"""cardtear: a virtual smart card that a script can pull out.

The names below are the public face (docs/api.md). Each is loaded when it is first used, so that commands start fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .card.issuing.profiles import CardRequest
    from .lab.control.remote import RemoteSimulator
    from .lab.control.simulator import Simulator
    from .lab.scenario.player import play
    from .lab.simulator.trigger import Trigger

__version__ = "0.4.0"

__all__ = ["CardRequest", "RemoteSimulator", "Simulator", "Trigger", "__version__", "play"]

_MODULES = {
    "CardRequest": "card.issuing.profiles",
    "RemoteSimulator": "lab.control.remote",
    "Simulator": "lab.control.simulator",
    "Trigger": "lab.simulator.trigger",
    "play": "lab.scenario.player",
}


def __getattr__(name: str) -> object:
    """Load a public name. Raises AttributeError for any other."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    """List the public names, too, that are not loaded yet."""
    return sorted({*globals(), *__all__})
