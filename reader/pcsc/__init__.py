# SPDX-License-Identifier: MIT
"""Adapters between a virtual reader and PC/SC: vpcd, pcscd, pyscard, yubikit."""
