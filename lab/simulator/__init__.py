# SPDX-License-Identifier: MIT
"""The simulator: virtual readers with cards, triggers and faults, in one process."""
