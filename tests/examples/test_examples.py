# SPDX-License-Identifier: MIT
"""Every example works as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLES = Path(__file__).parents[2] / "examples"
DEADLINE = 110.0


def run(*command: str, folder: Path, **environment: str) -> str:
    """What a command prints that has to succeed; `cardtear` is this interpreter's."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def run_pytest(folder: Path, tmp_path: Path, *arguments: str) -> str:
    """pytest as somebody else would start it, who has none of this project's settings."""
    without = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]  # which takes a second to load
    options = [*without, "-c", os.devnull, "--rootdir", str(folder), f"--basetemp={tmp_path / 'run'}"]
    return run(sys.executable, "-m", "pytest", "-ra", *options, *arguments, str(folder), folder=folder)


@pytest.mark.needs("PyKCS11", "xdist")
def test_an_applications_own_tests(tmp_path: Path) -> None:
    output = run_pytest(EXAMPLES / "application", tmp_path, "-n", "2")
    assert " 19 passed" in output


@pytest.mark.needs("firefox-esr", "marionette_driver")
def test_firefox(tmp_path: Path) -> None:
    assert " 1 passed" in run_pytest(EXAMPLES / "firefox", tmp_path)


@pytest.mark.needs("pkcs11-tool")
def test_python(tmp_path: Path) -> None:
    scenario = str(EXAMPLES.parent / "scenarios" / "B12.yaml")
    output = run(sys.executable, str(EXAMPLES / "python" / "pull.py"), scenario, folder=tmp_path)
    assert output.splitlines() == [
        "the card is in: pkcs11-tool ends with 0",
        "it goes in the middle of a signature: pkcs11-tool ends with 1",
        "in the reader: Bob",
        "it is back: pkcs11-tool ends with 0",
        "B12: passed",
    ]


@pytest.mark.needs("pkcs11-tool")
def test_by_hand(tmp_path: Path) -> None:
    output = run(str(EXAMPLES / "by_hand" / "torn_out.sh"), folder=tmp_path, TMPDIR=str(tmp_path))
    assert output.count("---") == 4
    assert "remove, reader front" in output
    time_line = output.partition("without them: signed")[2]
    assert "Alice's card is pulled out of front" in time_line
    assert "CKR_DEVICE_ERROR" in time_line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs("openssl", "gnutls-cli")
def test_own_ca(tmp_path: Path) -> None:
    script = str(EXAMPLES / "own_ca" / "client_authentication.sh")
    output = run(script, folder=tmp_path, TMPDIR=str(tmp_path))
    assert output.count("---") == 3
    assert "issuer             CN=Example CA" in output
    assert list(tmp_path.iterdir()) == []


WORKFLOW: dict[str, Any] = yaml.safe_load((EXAMPLES / "ci" / "card-removal.yml").read_text())
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["card-removal"]["steps"]


def test_the_workflow_is_one() -> None:
    """The keys that GitHub knows; YAML 1.1 takes `on` for true."""
    assert set(WORKFLOW) == {"name", True, "jobs"}
    for job in WORKFLOW["jobs"].values():
        assert set(job) <= {"name", "runs-on", "timeout-minutes", "steps"}
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])


@pytest.mark.needs("pkcs11-tool", "xdist", "PyKCS11")
def test_the_workflows_commands(tmp_path: Path) -> None:
    """What is installed there is known by these names here; the other commands run as they are."""
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    (stubs / "sudo").write_text(
        f"#!{sys.executable}\nimport subprocess, sys\n"
        "names = [each for each in sys.argv[3:] if not each.startswith('-')]\n"
        "sys.exit(subprocess.run(['dpkg', '-s', *names], stdout=subprocess.DEVNULL).returncode if names else 0)\n"
    )
    (stubs / "pip").write_text(
        f"#!{sys.executable}\nimport sys\nfrom importlib.metadata import version\n"
        'assert sys.argv[1] == "install"\nfor name in sys.argv[2:]: version(name.rpartition("/")[2])\n'
    )
    for stub in stubs.iterdir():
        stub.chmod(0o755)
    (tmp_path / "application").symlink_to(EXAMPLES / "application")
    path = f"{stubs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for step in STEPS:
        if "run" in step:
            run("bash", "-e", "-c", step["run"], folder=tmp_path, PATH=path, PYTHONDONTWRITEBYTECODE="1")
    assert (tmp_path / "card-removal.xml").exists()
