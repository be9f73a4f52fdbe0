# SPDX-License-Identifier: MIT
"""Pages of docs/ that are made from the tables of the code."""
