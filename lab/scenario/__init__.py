# SPDX-License-Identifier: MIT
"""Scenarios: what happens to cards and readers, which programs run meanwhile, and what has to come of it.

A scenario is a YAML file or, equally, a value of the classes that are named here; docs/scenarios.md is the reference.
"""

from .loading import ScenarioError, load, loads
from .model import Card, Client, FailsWith, Moment, TriggerModel
from .outcome import Outcome, Status, StepResult
from .player import play, play_file
from .scenario import Scenario

__all__ = [
    "Card",
    "Client",
    "FailsWith",
    "Moment",
    "Outcome",
    "Scenario",
    "ScenarioError",
    "Status",
    "StepResult",
    "TriggerModel",
    "load",
    "loads",
    "play",
    "play_file",
]
