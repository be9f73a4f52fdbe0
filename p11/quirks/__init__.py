# SPDX-License-Identifier: MIT
"""Quirks: how real middleware departs from the standard, to be played to applications that have to live with it.

table.py is what there is to know of them; profiles.py puts them together; the other files carry them out, around and on
top of what the conformant module does, which knows nothing of them.
"""

from .profiles import PROFILES, Profile
from .table import ROWS, Quirks, Row

__all__ = ["PROFILES", "ROWS", "Profile", "Quirks", "Row"]
