# SPDX-License-Identifier: MIT
"""The commands of the command line, a file for each group; cli.py says which there are."""
