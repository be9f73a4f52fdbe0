# SPDX-License-Identifier: MIT
"""cardtear: a virtual smart card that a script can pull out."""

__version__ = "0.4.0"
