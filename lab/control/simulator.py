# SPDX-License-Identifier: MIT
"""The whole simulator: with the socket at which scripts give it requests."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ...reader.pcsc.vpcd_slots import PcscSlots
from ..processes import paths
from ..simulator.simulator import SimulatorCore
from .server import ControlServer

if TYPE_CHECKING:
    from ...p11.quirks import Quirks


class Simulator(SimulatorCore):
    """A testbed with its doors, from construction to `close`; a context manager.

    `folder` holds the sockets and has mode 0700; without one a temporary folder is made, and removed at the end.
    `quirks` make the module misbehave as real middleware does; `pcsc` is where pcscd finds the readers, too. Raises
    SocketError when somebody else listens there, or the folder is not the user's own.
    """

    def __init__(self, folder: Path | None = None, quirks: Quirks | None = None, pcsc: PcscSlots | None = None) -> None:
        super().__init__(folder, quirks, pcsc)
        try:
            self._control = ControlServer(self, self.folder / paths.CONTROL_SOCKET)
            self._undo.callback(self._control.close)
        except BaseException:
            self.close()
            raise

    @property
    def control_socket(self) -> Path:
        """Return the path where scripts find it (CARDTEAR_CONTROL)."""
        return self._control.path

    @property
    def stopped(self) -> threading.Event:
        """Set when a script has asked for the end."""
        return self._control.stopped

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables by which programs find the module and this simulator."""
        return {**super().environment, "CARDTEAR_CONTROL": str(self.control_socket)}
