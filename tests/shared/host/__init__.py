# SPDX-License-Identifier: MIT
"""Host processes: real applications with the built module loaded, that carry out functions of a test."""
