# SPDX-License-Identifier: MIT
"""Pages of docs/ that are generated from tables of the code, and the docs site."""
