# SPDX-License-Identifier: MIT
"""Measures many cards in one simulator: IMAGE FOLDER COUNT. A program of its own, to measure its memory.

Prints JSON: `memory` in bytes for each idle card, and nanoseconds that an insertion took `alone` and in the `crowd`.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from time import perf_counter_ns

from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import process
from fuzzing.flood import resident

TURNS = 100


def insertions(simulator: Simulator, image: Path) -> list[int]:
    """Measure insertions of a card that has been in the reader before, in nanoseconds."""
    times = []
    for _ in range(TURNS):
        start = perf_counter_ns()
        simulator.insert("front", image)
        times.append(perf_counter_ns() - start)
        simulator.remove("front")
    return times


def main(source: Path, folder: Path, count: int) -> None:
    """Measure with COUNT idle cards, each of which has been inserted once, and print the results."""
    process.allow_many_files()
    images = [Path(shutil.copy(source, folder / f"{number}.card")) for number in range(count + 1)]
    with Simulator(folder / "run") as simulator:
        simulator.plug("front")
        alone = insertions(simulator, images[0])
        before = resident()
        for image in images[1:]:
            simulator.insert("front", image)
            simulator.remove("front")
        memory = (resident() - before) / count
        crowd = insertions(simulator, images[0])
    print(json.dumps({"memory": memory, "alone": alone, "crowd": crowd}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
