# SPDX-License-Identifier: MIT
"""The card image: the persistent state of a card in one file, encrypted, and consistent after any interruption."""
