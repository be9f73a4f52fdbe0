# SPDX-License-Identifier: MIT
"""Hook of mkdocs: links from docs/ to files outside it, which are not in the site, lead to the repository."""

from __future__ import annotations

import logging
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://github.com/cardtear/cardtear/blob/main"
_OUTSIDE = re.compile(r"\]\(\.\./([^)#]+)")
_log = logging.getLogger("mkdocs.hooks.site_links")
"""A warning in here ends `mkdocs build --strict` as one of mkdocs' own does."""


def on_page_markdown(markdown: str, **_: object) -> str:
    """Point links to `../FILE` at the repository; warn of files that are not there."""
    for name in _OUTSIDE.findall(markdown):
        if not (ROOT / name).exists():
            _log.warning("there is no file '%s' in the repository", name)
    return _OUTSIDE.sub(rf"]({REPOSITORY}/\1", markdown)
