# SPDX-License-Identifier: MIT
"""The error of a step that fails; any part of a running scenario may raise it."""

from __future__ import annotations


class StepFailed(Exception):
    """A step did not end as the scenario expects: what was awaited, and what came instead."""
