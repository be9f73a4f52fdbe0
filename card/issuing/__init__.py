# SPDX-License-Identifier: MIT
"""Personalisation: the keys, certificates and data objects of a ready-made card, and their export."""
