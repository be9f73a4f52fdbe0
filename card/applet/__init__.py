# SPDX-License-Identifier: MIT
"""The PIV application and the applications beside it: commands in, answers out (SP 800-73-5 part 2)."""
