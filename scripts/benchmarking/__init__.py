# SPDX-License-Identifier: MIT
"""scripts/benchmark: measures the module, beside references that are measured in the same run.

Times are taken by a C application (host.c) against `cardtear serve` in a process of its own, as a user has it. What is
compared is measured in turns of a few milliseconds, so that other load on the machine falls on both sides. equipment.py
starts what is measured, rows.py is the table of measurements, __main__.py the program.
"""
