# SPDX-License-Identifier: MIT
"""The sweep: a program is run once for every point at which its card can go, and what it makes of it is told.

points.py says what a point is, plan.py what is done there, worker.py plays one, verdict.py judges, runner.py plays all
of them on any executor, report_*.py tell.
"""
