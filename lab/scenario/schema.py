# SPDX-License-Identifier: MIT
"""The JSON Schema of scenario files, for editors.

`python -m cardtear.lab.scenario.schema` writes it, `--check` fails when the file is stale.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pydantic

from .scenario import Scenario

FILE = Path(__file__).resolve().parents[2] / "docs" / "scenario.schema.json"


def schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12). Shorthands that are no mappings are in it too."""
    made = Scenario.model_json_schema(by_alias=True)
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["$comment"] = f"made with pydantic {_version()}"
    made["title"] = "cardtear scenario"
    made["required"] = [name for name in made["required"] if name != "name"]  # the file's name will do
    return made


def text() -> str:
    """Return the file's content."""
    return json.dumps(schema(), indent=1, sort_keys=True) + "\n"


def is_fresh(kept: str) -> bool:
    """Return whether that is the schema. Of other releases of pydantic only the names are compared."""
    try:
        found = json.loads(kept)
    except ValueError:
        return False
    made = schema()
    if found.get("$comment") == made["$comment"]:
        return kept == text()
    return _names(found) == _names(made)


def _names(some: dict[str, Any]) -> dict[str, list[str]]:
    """Return models and their fields."""
    models = {"": some, **some.get("$defs", {})}
    return {name: sorted(model.get("properties", {})) for name, model in models.items()}


def _version() -> str:
    """Return major and minor version of pydantic."""
    return ".".join(pydantic.VERSION.split(".")[:2])


def main() -> int:
    """Write the file, or say whether it is fresh."""
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text())
        return 0
    if FILE.exists() and is_fresh(FILE.read_text()):
        return 0
    print(f"{FILE} is stale; make it anew with: python -m {__spec__.name}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
