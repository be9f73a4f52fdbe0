# SPDX-License-Identifier: MIT
"""The scenarios that come with cardtear, one YAML file each, and where they lie."""

from pathlib import Path


def folder() -> Path:
    """The folder of the files."""
    return Path(__file__).resolve().parent
