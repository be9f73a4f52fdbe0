# SPDX-License-Identifier: MIT
"""Real programs driven against the module: any PKCS #11 module by cffi, NSS, Firefox, Thunderbird, TLS."""
