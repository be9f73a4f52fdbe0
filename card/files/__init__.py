# SPDX-License-Identifier: MIT
"""Files that a user names, and JSON in them: read with bounds, written whole or not at all."""
