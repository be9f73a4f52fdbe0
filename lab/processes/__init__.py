# SPDX-License-Identifier: MIT
"""Processes, temporary folders and terminals: started so that nothing is left behind."""
