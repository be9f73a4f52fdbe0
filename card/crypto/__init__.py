# SPDX-License-Identifier: MIT
"""Key arithmetic that cards and host software share: curves, DSA domains, variants of EdDSA. No I/O."""
