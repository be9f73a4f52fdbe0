# SPDX-License-Identifier: MIT
"""The PIV card: bytes in, bytes out. Imports nothing else of this project."""
