# SPDX-License-Identifier: MIT
"""What PKCS #11 means: slots, sessions, login, objects, mechanisms, over the APDUs of a card in a reader."""
