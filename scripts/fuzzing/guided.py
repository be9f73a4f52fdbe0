# SPDX-License-Identifier: MIT
"""Coverage-guided fuzzing of one target with atheris: libFuzzer makes inputs that reach new code."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["cardtear.card", "cardtear.p11", "cardtear.reader", "cardtear.lab.simulator.requests"]
):
    from .targets import TARGETS


def fuzz(name: str, seconds: int, count: int, seed: int, corpus: Path | None) -> None:
    """Fuzz a target. Does not return: libFuzzer ends the process, not with 0 if the target fails at an input.

    That input is in a file beside the corpus, which without a folder for it is a temporary one that stays.
    """
    folder = corpus if corpus is not None else Path(tempfile.mkdtemp(prefix=f"cardtear-fuzz-{name}-"))
    folder.mkdir(parents=True, exist_ok=True)
    target = TARGETS[name]
    for number, known in enumerate(target.seeds):
        (folder / f"seed-{number}").write_bytes(known)
    limits = [f"-max_total_time={seconds}", f"-runs={count}", f"-seed={seed}"]
    options = [*limits, "-timeout=10", "-rss_limit_mb=2048", "-max_len=4096", "-verbosity=0"]
    arguments = [sys.argv[0], *options, "-print_final_stats=1", f"-artifact_prefix={folder}.", str(folder)]
    atheris.Setup(arguments, target.feed)
    atheris.Fuzz()
