# SPDX-License-Identifier: MIT
"""Processes, temporary folders, sockets' paths and terminals."""
