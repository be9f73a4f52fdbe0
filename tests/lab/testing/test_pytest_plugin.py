# SPDX-License-Identifier: MIT
"""The pytest plugin from outside: whole runs of pytest in processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ...shared.waiting import wait_until

pytest_plugins = ["pytester"]

DEADLINE = 60.0
BARE = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
"""What a run of pytest does without: hypothesis takes a second to load, longer than all the rest."""

IN_PROCESS = """
import pytest
from PyKCS11 import CKA_CLASS, CKA_ID, CKO_PRIVATE_KEY, CKM_ECDSA_SHA256, Mechanism, PyKCS11Error, PyKCS11Lib

def log_in(module_path, pin):
    library = PyKCS11Lib()
    library.load(str(module_path))
    slot, = library.getSlotList(tokenPresent=True)
    session = library.openSession(slot)
    session.login(pin)
    return library, session

def sign(session):
    key, = session.findObjects([(CKA_CLASS, CKO_PRIVATE_KEY), (CKA_ID, (4,))])
    return bytes(session.sign(key, b"data", Mechanism(CKM_ECDSA_SHA256, None)))

@pytest.mark.parametrize("turn", range(3))
def test_the_card_goes(card, reader, module_path, turn):
    library, session = log_in(module_path, card.pin)
    assert sign(session)
    reader.remove()
    with pytest.raises(PyKCS11Error, match="SESSION_HANDLE_INVALID"):
        sign(session)
    reader.insert(card)
    assert reader.card == card.name == "Alice"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go: nothing may be left in it."""
    with tempfile.TemporaryDirectory(prefix="ct-") as folder:  # sockets want short paths
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(tmp_path))
        yield Path(folder)


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*BARE, *arguments, timeout=DEADLINE)


@pytest.mark.needs("PyKCS11")
@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_client_in_the_tests_own_process(pytester: pytest.Pytester, folder: Path, workers: tuple[str, ...]) -> None:
    """PyKCS11 keeps Python's lock during its calls; each test has a card of its own, beside those of other workers."""
    pytester.makepyfile(IN_PROCESS)
    run(pytester, *workers).assert_outcomes(passed=3)
    assert list(folder.iterdir()) == []


def test_workers_that_make_the_first_card_at_once(
    pytester: pytest.Pytester, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new user: neither a card nor the CA is there, and each worker wants them."""
    for variable in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    pytester.makepyfile("import pytest\n\n@pytest.mark.parametrize('n', range(4))\ndef test_card(card, n): pass")
    run(pytester, "-n", "2", "--cardtear-profile", "piv-ec").assert_outcomes(passed=4)
    assert len(list((tmp_path / "XDG_CACHE_HOME").rglob("*.card"))) == 1


def test_options_and_markers(pytester: pytest.Pytester, folder: Path) -> None:
    pytester.makeini("[pytest]\naddopts = --strict-markers\ncardtear_profile = blank")
    pytester.makepyfile(
        """
        import pytest

        def test_by_ini_or_option(card, request):
            assert card.profile == (request.config.getoption("--cardtear-profile") or "blank")

        @pytest.mark.cardtear(profile="piv-ec", name="Dora", pin="654321")
        def test_by_marker(card, bench):
            (reader,) = bench.status()["readers"]
            assert (reader["card"], reader["profile"], card.pin) == ("Dora", "piv-ec", "654321")
        """
    )
    run(pytester).assert_outcomes(passed=2)
    run(pytester, "--cardtear-profile", "initial-pin").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cardtear-quirks", "openscc"], "--cardtear-quirks: there is no quirk 'openscc'; did you mean 'opensc'?"),
        (["--cardtear-quirks", "colour=green"], "--cardtear-quirks: there is no quirk 'colour'"),
        (["--cardtear-profile", "visa"], "--cardtear-profile: there is no profile 'visa'"),
        (["--cardtear-pcsc", 'a"b'], "--cardtear-pcsc: a reader in PC/SC cannot be called"),
    ],
)
def test_options_that_are_wrong(pytester: pytest.Pytester, folder: Path, arguments: list[str], said: str) -> None:
    """One line at the start, and no test is run."""
    pytester.makepyfile("def test_card(card):\n    pass")
    wrong = run(pytester, *arguments)
    assert wrong.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [each for each in wrong.errlines if each]
    assert line.startswith(f"ERROR: {said}")


def test_markers_that_are_wrong(pytester: pytest.Pytester, folder: Path) -> None:
    """One line for each test, without our source; a quirk need not be in a list."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.cardtear(nmae="Bob")
        def test_parameter(card): pass

        @pytest.mark.cardtear(mechanisms=["CKM_RSA_PKC"])
        def test_mechanism(card): pass

        @pytest.mark.cardtear("piv-ec")
        def test_no_name(card): pass

        @pytest.mark.cardtear(quirks=["openscc"])
        def test_quirk(bench): pass

        @pytest.mark.cardtear(quirks="opensc")
        def test_one_quirk(bench): pass

        @pytest.mark.cardtear(nam="Bob")
        def test_bench_only(bench): pass

        @pytest.mark.cardtear(profile="visa")
        def test_reader_only(reader): pass

        @pytest.mark.cardtear("quirks")
        def test_no_name_for_a_reader(reader): pass

        @pytest.mark.cardtear(quirks=3)
        def test_type_of_quirks(reader): pass

        @pytest.mark.cardtear(pcsc="no")
        def test_type_of_pcsc(bench): pass
        """
    )
    wrong = run(pytester)
    wrong.assert_outcomes(passed=1, errors=9)
    text = wrong.stdout.str()
    assert "a card has no parameter 'nam'; did you mean 'name'?" in text
    assert "cardtear: there is no profile 'visa'" in text
    assert "the marker takes names: what is 'quirks'?" in text
    assert "cardtear: 'quirks' of the marker is a list of names and settings, not 3" in text
    assert "cardtear: 'pcsc' of the marker is True or False, not 'no'" in text
    assert "did you mean 'name'?" in text
    assert "cardtear: there is no mechanism 'CKM_RSA_PKC'; did you mean 'CKM_RSA_PKCS'?" in text
    assert "the marker takes names: what is 'piv-ec'?" in text
    assert "did you mean 'opensc'?" in text
    assert "pytest_plugin.py" not in text


def test_quirks(pytester: pytest.Pytester, folder: Path) -> None:
    """Of the run, of a test."""
    pytester.makepyfile(
        """
        import pytest

        def test_of_the_run(bench):
            assert bench.status()["quirks"] == "stale_handle_rv=CKR_DEVICE_REMOVED"

        @pytest.mark.cardtear(quirks=["event_drop=unplug", "removable=false"])
        def test_of_its_own(bench):
            assert bench.status()["quirks"] == "removable=false event_drop=unplug"
        """
    )
    run(pytester, "--cardtear-quirks", "stale_handle_rv=CKR_DEVICE_REMOVED").assert_outcomes(passed=2)


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_failing_test_shows_what_happened(pytester: pytest.Pytester, folder: Path, workers: tuple[str, ...]) -> None:
    """Calls, APDUs and events in one time line; a test that passes shows nothing; no PIN appears."""
    pytester.makepyfile(
        """
        import subprocess, sys

        PROGRAM = '''
        import pkcs11, sys
        token, = pkcs11.lib(sys.argv[1]).get_tokens()
        token.open(user_pin="271828")
        '''

        def log_in(module_path):
            subprocess.run([sys.executable, "-c", PROGRAM.replace("        ", ""), str(module_path)], check=True)

        import pytest
        pytestmark = pytest.mark.cardtear(pin="271828")

        def test_that_fails(card, reader, module_path):
            log_in(module_path)
            reader.remove()
            assert reader.card == "somebody"

        def test_that_passes(card, module_path):
            log_in(module_path)
        """
    )
    failed = run(pytester, *workers)
    failed.assert_outcomes(failed=1, passed=1)
    failed.stdout.fnmatch_lines(
        [
            "*cardtear time line*",
            "*goes into front*",
            "*C_Login(*",
            "*VERIFY 80*",
            "*Alice's card is pulled out of front*",
        ]
    )
    assert failed.stdout.str().count("cardtear time line") == 1
    time_line = failed.stdout.str().partition("cardtear time line")[2]
    assert "271828" not in time_line


@pytest.mark.needs("certutil", "modutil")
def test_an_nss_database(pytester: pytest.Pytester, folder: Path) -> None:
    pytester.makepyfile(
        """
        def test_certificates(nss_db, reader, card):
            listing = "certutil", "-L", "-d", nss_db.name, "-h", "all"
            assert "Alice:Certificate for PIV Authentication" in nss_db.run(*listing).stdout
            reader.remove()
            assert "Alice:" not in nss_db.run(*listing, check=False).stdout
        """
    )
    run(pytester).assert_outcomes(passed=1)


def test_what_is_missing_is_said(pytester: pytest.Pytester, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makepyfile("def test_nss(nss_db): pass\n\ndef test_firefox(firefox): pass")
    monkeypatch.setenv("PATH", str(folder))
    skipped = run(pytester, "-rs")
    skipped.assert_outcomes(skipped=2)
    skipped.stdout.fnmatch_lines(
        ["*not installed: certutil, modutil (Debian: libnss3-tools)", "*not installed: firefox-esr"]
    )


def test_a_run_without_the_fixtures_loads_nothing(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import sys

        def pytest_unconfigure():
            print("loaded:", sorted(name for name in sys.modules if name.startswith(("cardtear", "crypto", "rich"))))
        """
    )
    pytester.makepyfile("def test_nothing(): pass")
    done = run(pytester)
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(
        ["loaded: *'cardtear', 'cardtear.lab', 'cardtear.lab.testing', 'cardtear.lab.testing.pytest_plugin'*"]
    )
    assert "simulator" not in done.stdout.str()
    assert "crypto" not in done.stdout.str()
    assert "rich" not in done.stdout.str()


HANGING = """
import json, os, signal, threading
from pathlib import Path

def hang(bench, *processes):
    told = Path(os.environ["TOLD"])
    told.with_suffix(".new").write_text(json.dumps([bench.environment, *processes]))
    told.with_suffix(".new").rename(told)
    threading.Event().wait()

def test_that_hangs(card, bench, cardtear_pool):
    child = os.fork()  # it holds every descriptor that this process has
    if child == 0:
        signal.pause()
    hang(bench, cardtear_pool.process_id, child)

def test_with_a_browser(firefox, bench, cardtear_pool):
    hang(bench, cardtear_pool.process_id, firefox.process_id)
"""


class Hanging(NamedTuple):
    """A run of pytest whose test hangs: its process, its simulator's variables and process, and another process."""

    run: int
    environment: dict[str, str]
    host: int
    other: int


@pytest.fixture
def hanging(
    request: pytest.FixtureRequest, pytester: pytest.Pytester, folder: Path, tmp_path: Path
) -> Iterator[Hanging]:
    test, told = pytester.makepyfile(HANGING), tmp_path / "told"
    which = getattr(request, "param", "test_that_hangs")
    command = [sys.executable, "-m", "pytest", *BARE, f"{test}::{which}"]
    process = subprocess.Popen(command, env={**os.environ, "TOLD": str(told)}, stdout=subprocess.DEVNULL)
    other = 0
    try:
        wait_until(told.exists)
        environment, host, other = json.loads(told.read_text())
        yield Hanging(process.pid, environment, host, other)
    finally:
        process.kill()
        process.wait(DEADLINE)
        with contextlib.suppress(ProcessLookupError):
            if other:
                os.kill(other, signal.SIGKILL)


def test_a_killed_run_leaves_nothing(hanging: Hanging, folder: Path) -> None:
    """Neither a simulator nor a file, although a child of the run still holds what it inherited."""
    assert Path(hanging.environment["CARDTEAR_SOCKET"]).exists()
    os.kill(hanging.run, signal.SIGKILL)
    wait_until(lambda: not list(folder.iterdir()))
    wait_until(lambda: not is_alive(hanging.host))
    assert is_alive(hanging.other)


@pytest.mark.needs("firefox-esr", "marionette_driver")
@pytest.mark.parametrize("hanging", ["test_with_a_browser"], indirect=True)
def test_a_killed_run_leaves_no_browser(hanging: Hanging, folder: Path) -> None:
    """Nor its profile."""
    assert is_alive(hanging.other)
    os.kill(hanging.run, signal.SIGKILL)
    wait_until(lambda: not is_alive(hanging.other))
    wait_until(lambda: not list(folder.glob("cardtear-*")))


def test_files_of_a_killed_simulator_are_cleared_by_the_next_run(
    hanging: Hanging, pytester: pytest.Pytester, folder: Path
) -> None:
    os.kill(hanging.host, signal.SIGKILL)
    os.kill(hanging.run, signal.SIGKILL)
    assert len(list(folder.iterdir())) == 1
    pytester.makepyfile(test_next="def test_next(card): pass")
    run(pytester, "test_next.py").assert_outcomes(passed=1)
    assert list(folder.iterdir()) == []


def test_a_simulator_that_is_killed_is_one_failed_test(pytester: pytest.Pytester, folder: Path) -> None:
    """The next test has another."""
    pytester.makepyfile(
        """
        import os, signal

        def test_killed(card, bench, cardtear_pool):
            os.kill(cardtear_pool.process_id, signal.SIGKILL)
            bench.remove("front")

        def test_next(card, bench):
            bench.remove("front")
        """
    )
    done = run(pytester)
    done.assert_outcomes(failed=1, passed=1)
    done.stdout.fnmatch_lines(["*the simulator * went away*"])


def is_alive(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
