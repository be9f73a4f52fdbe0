# SPDX-License-Identifier: MIT
"""Points on any executor, in parts, and how they are told."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any
from xml.etree import ElementTree

import pytest
from cardtear.lab.sweep import options, runner
from cardtear.lab.sweep.outcome import PointOutcome, Verdict
from cardtear.lab.sweep.plan import Action, Plan
from cardtear.lab.sweep.points import Choice

Sweep = Callable[..., Any]
DEADLINE = 60.0
MOST_OVERHEAD = 1.0
"""Seconds that the best point may cost above the command's own time."""


def _every_third(survey: runner.Survey) -> list[Any]:
    return [each for each in survey.points if each in Choice()][::3]


def _play(workers: runner.Workers, plan: Plan, survey: runner.Survey) -> list[PointOutcome]:
    told: list[PointOutcome] = []
    points = _every_third(survey)
    runner.sweep(workers, plan, survey.first, points, DEADLINE, told.append)
    assert {each.number for each in told} == {each.number for each in points}
    return told


def test_in_threads(plan: Plan, survey: runner.Survey) -> None:
    """Any executor will do, one point at a time in each process."""
    told = _play(ThreadPoolExecutor, plan, survey)
    assert {each.verdict for each in told} <= {Verdict.CLEAN, Verdict.SUCCESS}


@pytest.mark.needs("distributed")
def test_on_a_cluster(plan: Plan, survey: runner.Survey) -> None:
    """Dask, by the address of its scheduler."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", silence_logs="ERROR"
    ) as cluster:
        told = _play(runner.dask(cluster.scheduler_address), plan, survey)
    assert {each.verdict for each in told} <= {Verdict.CLEAN, Verdict.SUCCESS}


def test_nothing_is_left(plan: Plan, survey: runner.Survey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file in the folder for temporary ones; and no point waits for something beside its command.

    What a point costs in milliseconds is measured by the benchmark, on a machine that does nothing else.
    """
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    told = _play(runner.local(2), plan, survey)
    assert list(tmp_path.iterdir()) == []
    assert min(each.overhead for each in told) < MOST_OVERHEAD


@pytest.mark.timing
def test_processes_share_the_work(plan: Plan, survey: runner.Survey) -> None:
    """Runs that wait are played at the same time: together they take less time than one after the other."""
    slow = replace(plan, action=Action.parse("delay:500ms"), recover="")
    points = [each for each in survey.points if each.place.apdu is None and each.when == "before"][:8]
    told: list[PointOutcome] = []
    start = monotonic()
    runner.sweep(runner.local(8), slow, survey.first, points, DEADLINE, told.append)
    together = monotonic() - start
    assert all(each.run is not None and each.run.ended.seconds > 0.5 for each in told)
    assert together < sum(each.run.ended.seconds for each in told if each.run is not None)


def test_there_are_no_more_processes_than_tasks() -> None:
    """What would have nothing to do is not started."""
    before = set(multiprocessing.active_children())
    with runner.local(64)(2) as executor:
        executor.submit(os.getpid).result(DEADLINE)
        assert len(set(multiprocessing.active_children()) - before) == 2


def test_an_interruption_tells_what_is_done(plan: Plan, survey: runner.Survey) -> None:
    """And nothing of it is lost when telling is what is interrupted."""
    told: list[PointOutcome] = []

    def tell(outcome: PointOutcome) -> None:
        told.append(outcome)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.sweep(runner.local(2), plan, survey.first, _every_third(survey), DEADLINE, tell)
    assert 3 <= len(told) < len(_every_third(survey))


def test_a_run_that_fails_by_itself(plan: Plan, survey: runner.Survey) -> None:
    """An error of the sweep's own is a verdict of that point; the others are played."""
    told: list[PointOutcome] = []
    gone = replace(plan, command=("/nonexistent",))
    runner.sweep(runner.local(1), gone, survey.first, _every_third(survey)[:2], DEADLINE, told.append)
    assert {each.verdict for each in told} == {Verdict.BROKEN}
    assert "No such file" in told[0].words


def test_shards(survey: runner.Survey) -> None:
    """The parts of a sweep have every point once."""
    parts = [options.part(survey.points, f"{number}/3") for number in (1, 2, 3)]
    assert sorted((each for part in parts for each in part), key=lambda each: each.number) == survey.points
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_reports(sweep: Sweep, host: str, tmp_path: Path) -> None:
    """The same in JSON, JUnit XML, and on a page that needs nothing else; every point by number and by name."""
    files = [word for kind in ("junit", "html", "svg") for word in (f"--{kind}", str(tmp_path / kind))]
    swept = sweep(["--at", "calls", "--shard", "2/2", *files], host, "retry")
    assert swept.code == 1, swept.output
    retried = swept.of("retried PIN")
    suite = ElementTree.parse(tmp_path / "junit").getroot()
    assert suite.get("tests") == str(len(swept.report["points"]))
    assert suite.get("failures") == str(len(retried)) != "0"
    assert {case.get("name") for case in suite.iter("testcase")} == {
        f"{each['number']} {each['name']}" for each in swept.report["points"]
    }
    assert "retried" in (tmp_path / "svg").read_text()
    page = (tmp_path / "html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert page.count('<details class="point retried-PIN"') == len(retried)
    assert page.count('class="cell call') == len(swept.report["points"])
    assert "is pulled out of front" in page
    for each in retried:
        assert f'id="p{each["number"]}"' in page
        assert f"cardtear sweep --only &#x27;{each['name']}&#x27;" in page
        (tmp_path / "report.json").unlink()  # one point does not replace a whole report
        again = sweep(["--only", each["name"]], host, "retry")
        assert again.report["outcomes"][0]["verdict"] == "retried PIN"
        assert "C_Login" in again.output
        assert "is pulled out of front" in again.output
        break


@pytest.mark.needs("pkcs11-tool")
def test_prepared_card_and_folder(sweep: Sweep, tmp_path: Path) -> None:
    """What the preparation leaves in its folder and on the card every run begins with; no run sees another's."""
    tool = 'pkcs11-tool --module "$CARDTEAR_MODULE"'
    prepare = f"{tool} --login --pin 123456 --write-object /etc/hostname --type data --label it"
    command = (
        'set -e; [ ! -e mark ]; touch mark "$TMPDIR/mark"; [ -z "$(ls "$HOME")" ]; touch "$HOME/mark"; cat {dir}/left;'
        f'{tool} -O --type data | grep -q "label: .*it"'
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own").touch()
    options = ["--profile", "blank", "--prepare", f"{prepare} && echo > left && test -e own", "--own-home"]
    recover = ["--recover", "test -e mark && test -e own", "--copy", str(tmp_path / "mine"), "--at", "calls"]
    swept = sweep([*options, *recover], "sh", "-c", command)
    assert swept.code == 0, swept.output
    assert list((tmp_path / "mine").iterdir()) == [tmp_path / "mine" / "own"]
