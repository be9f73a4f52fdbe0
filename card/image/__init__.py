# SPDX-License-Identifier: MIT
"""The card image: what survives power-off, in one file, encrypted and written so that it can be torn."""
