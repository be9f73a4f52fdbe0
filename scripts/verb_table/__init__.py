# SPDX-License-Identifier: MIT
"""What is made from the table of verbs (lab/simulator/verbs.py): code and tables of the documentation.

`PYTHONPATH=scripts python -m verb_table` writes the files, `--check` fails when one is stale.
"""
