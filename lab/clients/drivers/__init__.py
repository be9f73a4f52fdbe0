# SPDX-License-Identifier: MIT
"""Real clients as scenarios drive them: programs that do what a line of their input says, and answer with a line."""
