# SPDX-License-Identifier: MIT
"""Fuzz the card: kill processes, send random commands, or let coverage guide the input of a decoder."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cardtear.card.issuing.ca import TestCA
from cardtear.card.issuing.profiles import CardRequest, create, open_card

_PASSPHRASE = b"known to this program only"


def _kill(options: argparse.Namespace) -> None:
    from .killing import kill_again_and_again

    passphrase = _PASSPHRASE if options.encrypted else None
    with _card("blank", passphrase) as path:
        start = time.monotonic()
        answered = kill_again_and_again(path, passphrase, options.seed, options.count or 3000)
    print(f"{options.count or 3000} processes killed after {answered} answers: nothing lost, nothing half-way", end=" ")
    print(f"({time.monotonic() - start:.0f} s)")


def _flood(options: argparse.Namespace) -> None:
    from .flood import flood, resident

    logging.disable(logging.CRITICAL)
    with _card(options.profile, None) as path:
        card = open_card(path)
        count, start = options.count or 10_000_000, time.monotonic()
        flood(card, options.seed, 100_000)
        before = resident()
        answers = flood(card, options.seed + 1, count)
        growth = resident() - before
        card.close()
    kinds = ", ".join(f"{status:02X}xx {number}" for status, number in sorted(answers.items()))
    print(f"{count} commands answered ({kinds}), the card works; {growth // 1024} kB more memory", end=" ")
    print(f"({time.monotonic() - start:.0f} s)")
    if growth > 4 << 20:
        sys.exit("memory grows")


def _guide(options: argparse.Namespace) -> None:
    try:
        from .guided import fuzz
    except ModuleNotFoundError as error:
        if error.name != "atheris":
            raise
        sys.exit("coverage-guided fuzzing needs atheris; install cardtear[fuzz]")
    fuzz(options.target, options.seconds, options.count, options.seed, options.corpus)


@contextlib.contextmanager
def _card(profile: str, passphrase: bytes | None) -> Iterator[Path]:
    """Create a card with many tries and the well-known management key; yields its image."""
    with tempfile.TemporaryDirectory(prefix="cardtear-fuzz-") as folder:
        path = Path(folder) / "a.card"
        wanted = CardRequest(profile, management="default", pin_tries=15, puk_tries=15)
        create(wanted, path, TestCA.load_or_create(Path(folder) / "ca"), passphrase)
        yield path


def main() -> None:
    """Run the command line. An exit code other than 0 means that something was found."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    kinds = parser.add_subparsers(required=True)
    for name, run, about in (
        ("kill", _kill, "kill processes that write to a card, and look at what they leave"),
        ("flood", _flood, "send every instruction with every P1 and P2 and data at random"),
    ):
        kind = kinds.add_parser(name, help=about)
        kind.add_argument("--count", type=int, help="how many, by default 3000 processes or 10 million commands")
        kind.add_argument("--seed", type=int, default=1, help="the same seed does the same")
        kind.set_defaults(run=run)
        if name == "flood":
            kind.add_argument(
                "--profile", default="yubikey", help="the card's profile, by default one with all commands"
            )
        else:
            kind.add_argument("--encrypted", action="store_true", help="under a passphrase: slower")
    kind = kinds.add_parser("guided", help="coverage-guided, with atheris")
    kind.add_argument("target", help="apdu, tlv, command, chain, call, hello, record, vpcd or request")
    kind.add_argument("--seconds", type=int, default=60, help="at most so long")
    kind.add_argument("--count", type=int, default=-1, help="at most so many inputs")
    kind.add_argument("--seed", type=int, default=0, help="not 0: the same inputs each time")
    kind.add_argument("--corpus", type=Path, help="a folder of inputs to go on from, and to keep new ones in")
    kind.set_defaults(run=_guide)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
