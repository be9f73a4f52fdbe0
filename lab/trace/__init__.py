# SPDX-License-Identifier: MIT
"""The trace: its records as JSON, the time line, and reports in the formats of other tools."""
