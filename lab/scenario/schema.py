# SPDX-License-Identifier: MIT
"""The JSON Schema of scenario files, for editors.

`python -m cardtear.lab.scenario.schema` writes it, `--check` fails when the file is stale.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .model import Scenario

FILE = Path(__file__).resolve().parents[2] / "docs" / "scenario.schema.json"


def schema() -> dict[str, Any]:
    """The schema (draft 2020-12). Shorthands that are no mappings are in it too."""
    made = Scenario.model_json_schema(by_alias=True)
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "cardtear scenario"
    made["required"] = [name for name in made["required"] if name != "name"]  # the file's name will do
    return made


def text() -> str:
    """The file's content."""
    return json.dumps(schema(), indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Write the file, or say whether it is fresh."""
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text())
        return 0
    if FILE.exists() and FILE.read_text() == text():
        return 0
    print(f"{FILE} is stale; make it anew with: python -m {__spec__.name}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
