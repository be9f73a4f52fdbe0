# SPDX-License-Identifier: MIT
"""Card images as a user handles them: described, exported, and filled with keys and objects."""
