# SPDX-License-Identifier: MIT
"""The built-in client of scenarios: a process that makes the calls it is told to. It knows nothing of scenarios."""
