# SPDX-License-Identifier: MIT
"""docs/quirks.md, generated from the table of quirks: python -m pages.quirks_page > docs/quirks.md"""

from __future__ import annotations

from collections.abc import Iterable

from cardtear.p11.quirks import BUGS, PROFILES, ROWS
from cardtear.p11.quirks.table import DEFAULTS
from cardtear.p11.quirks.values import show

_HEAD = """# Quirks: the module as real middleware is

By default the module does what PKCS #11 asks of a removable token. Real middleware differs. With
quirks the module misbehaves in the same ways, so that you can test an application against them:

```sh
cardtear serve --quirks opensc                  # a profile
cardtear run --quirks stale_login=works --quirks event_drop=unplug -- my-program
cardtear quirks                                 # the tables below; --json for programs
```

In Python it is `Simulator(quirks=Quirks.parse(["opensc", "event_dup"]))` (`cardtear.p11.quirks`),
in a scenario `quirks: [opensc]`. Later settings override earlier ones. The tables describe what an
application can observe. Where a quirk takes `CKR_... | crash | hang`, the call returns that value,
the application dies of SIGSEGV, or the call never returns. Where a quirk takes names of calls,
patterns such as `C_Sign*` are accepted.

A property of the card is a [parameter of the card](control.md#cards) instead: `pin_tries`,
`pin_pad`, `max_sessions`, `hardware`, `single_session`. A fault at one moment is a trigger, as
`cardtear arm remove front --call C_Sign`; the action of another program is a verb, as
`cardtear logout front`.

## Profiles
"""


def page() -> str:
    """Return the page as Markdown."""
    return "\n".join(
        (
            _HEAD,
            *_table(
                ("profile", "what it is like", "quirks"),
                (
                    (f"[`{name}`]({each.link})", each.about, " ".join(f"`{setting}`" for setting in each.settings))
                    for name, each in PROFILES.items()
                ),
            ),
            "\n## The quirks\n",
            *_table(
                ("quirk", "values", "what it does", "seen in", "bugs"),
                (
                    (f"`{name}`", _values(name), row.about, f"[{row.seen}]({row.link})", ", ".join(row.bugs))
                    for name, row in ROWS.items()
                ),
            ),
            "\n## Bugs, and the quirks that reproduce them\n",
            "The numbers are those of the scenarios that come with cardtear. Played as they are (`cardtear play",
            "B05`) they pass, for the module has none of these bugs. With `--broken` they are played with the",
            "quirks that the file names under `fails-with`; then they fail, and the time line shows the bug.\n",
            *_table(
                ("bug", "what an application sees", "quirks", "see it"),
                (
                    (
                        f"[{name}]({each.link})",
                        each.what,
                        " ".join(f"`{setting}`" for setting in each.settings),
                        f"`cardtear play {name} --broken`",
                    )
                    for name, each in BUGS.items()
                ),
            ),
            "",
        )
    )


def _values(name: str) -> str:
    """Return the values of a quirk, with its default in parentheses."""
    words = ROWS[name].kind.words.replace("|", "\\|")
    default = show(DEFAULTS[name])
    return f"{words} ({default})" if default else words


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    print(page(), end="")
