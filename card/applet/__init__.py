# SPDX-License-Identifier: MIT
"""The PIV application and a card's other applications: command APDUs in, response APDUs out (SP 800-73-5 part 2)."""
