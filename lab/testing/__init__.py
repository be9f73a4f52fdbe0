# SPDX-License-Identifier: MIT
"""The pytest plugin, simulators kept ready for tests, and the types of the plugin's fixtures.

The types are loaded at their first use: pytest imports this package in every run on the machine.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...card.issuing.profiles import CardRequest
    from ..clients.firefox import Firefox
    from ..clients.nss_database import NssDatabase
    from ..control.remote import RemoteReader, RemoteSimulator
    from .pool import Pool

__all__ = ["CardRequest", "Firefox", "NssDatabase", "Pool", "RemoteReader", "RemoteSimulator"]

_MODULES = {
    "CardRequest": "...card.issuing.profiles",
    "Firefox": "..clients.firefox",
    "NssDatabase": "..clients.nss_database",
    "Pool": ".pool",
    "RemoteReader": "..control.remote",
    "RemoteSimulator": "..control.remote",
}


def __getattr__(name: str) -> object:
    """Load the type of a fixture. Raises AttributeError for any other name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)
