# SPDX-License-Identifier: MIT
"""The pytest plugin, and simulators kept ready for tests."""
