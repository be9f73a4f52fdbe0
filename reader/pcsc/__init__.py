# SPDX-License-Identifier: MIT
"""Every way between a virtual reader and PC/SC: vpcd, pcscd, pyscard, yubikit."""
