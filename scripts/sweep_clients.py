# SPDX-License-Identifier: MIT
"""Sweeps real programs: `python -m sweep_clients FOLDER [NAME...] [-- OPTIONS]`.

Writes the reports into the folder, and prints their paths. Each row of CLIENTS is a command line of `cardtear sweep`.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_JAVA = Path(__file__).resolve().parents[1] / "tests" / "clients" / "CardClient.java"


@dataclass(frozen=True)
class SweptProgram:
    """A program and its command line, run by a shell in a folder that `prepare` has filled; `needs` are programs.

    `recover` shows that it works again, where the command itself cannot be run twice.
    """

    command: str
    needs: tuple[str, ...]
    prepare: str = "echo a card that can be pulled out >data"
    recover: str | None = None
    options: tuple[str, ...] = ()
    shell: bool = True

    def arguments(self) -> list[str]:
        """Return the arguments of `cardtear sweep`: the options of this program, and its command."""
        recover = ["--recover", self.recover] if self.recover is not None else []
        command = ["sh", "-c", self.command] if self.shell else shlex.split(self.command)
        return ["--prepare", self.prepare, *recover, *self.options, "--", *command]


_CERTIFY = (
    "certutil -S -d sql:. -f pin -z noise -h Alice -n {name} -s CN={name} -x -t CTu,Cu,Cu -m {serial} -k ec -q nistp256"
)

CLIENTS = {
    "pkcs11-tool": SweptProgram(
        "pkcs11-tool --module {module} --login --pin 123456 --sign --mechanism SHA256-RSA-PKCS --id 01"
        " --input-file data --output-file signature",
        ("pkcs11-tool",),
        shell=False,
    ),
    "p11tool": SweptProgram(
        "p11tool --provider {module} --login --set-pin=123456 --test-sign 'pkcs11:id=%01;type=private'",
        ("p11tool",),
        shell=False,
    ),
    "certutil": SweptProgram(
        _CERTIFY.format(name="mine", serial=1),
        ("certutil", "modutil"),
        prepare="certutil -N -d sql:. --empty-password && echo 123456 >pin && head -c 64 /dev/urandom >noise"
        ' && modutil -force -dbdir sql:. -add cardtear -libfile "$CARDTEAR_MODULE"',
        recover=_CERTIFY.format(name="again", serial=2),
        options=("--profile", "blank"),
        shell=False,
    ),
    "ssh-keygen": SweptProgram(
        "export SSH_ASKPASS={dir}/ask SSH_ASKPASS_REQUIRE=force; rm -f data.sig agent\n"
        "ssh-agent -a {dir}/agent -P '/*' sh -ec 'ssh-add -s {module}; ssh-keygen -Y sign -n file -f key.pub data'",
        ("ssh-keygen", "ssh-agent", "ssh-add"),
        prepare="echo data >data && printf '#!/bin/sh\\necho 123456\\n' >ask && chmod 700 ask"
        ' && ssh-keygen -D "$CARDTEAR_MODULE" >all && head -n 1 all >key.pub',
    ),
    "openssl": SweptProgram(
        "OPENSSL_CONF={dir}/engine.cnf openssl req -new -engine pkcs11 -keyform engine"
        " -key 'pkcs11:token=Alice;id=%01;type=private' -subj /CN=Alice -out request.pem",
        ("openssl",),
        prepare='printf "openssl_conf = init\\n[init]\\nengines = engines\\n[engines]\\npkcs11 = card\\n[card]\\n'
        "engine_id = pkcs11\\nMODULE_PATH = $CARDTEAR_MODULE\\nPIN = 123456\\ninit = 0\\n[req]\\n"
        'distinguished_name = name\\n[name]\\n" >engine.cnf',
    ),
    "java": SweptProgram(
        "printf 'load\\nsign made SHA256withRSA 00\\n' >asked\n"
        "java -XX:TieredStopAtLevel=1 -cp {dir} CardClient java.cfg 123456 <asked >said; code=$?; cat said\n"
        "[ $code = 0 ] || exit $code; [ $(grep -c ^ok said) = 2 ]",
        ("java", "javac", "keytool"),
        prepare='printf "name = cardtear\\nlibrary = $CARDTEAR_MODULE\\nslotListIndex = 0\\n" >java.cfg'
        f" && javac -d . {shlex.quote(str(_JAVA))}"
        " && keytool -genkeypair -alias made -keyalg RSA -keysize 2048 -dname CN=Java -keystore NONE -storetype PKCS11"
        " -storepass 123456 -providerClass sun.security.pkcs11.SunPKCS11 -providerArg java.cfg",
        options=("--profile", "blank"),
    ),
    "firefox": SweptProgram(
        f"printf 'start\\nopen\\n' | {shlex.quote(sys.executable)} -m cardtear.lab.clients.drivers.firefox >said\n"
        "cat said; grep -qx 'client: Alice' said",
        ("firefox-esr",),
        prepare="true",
        options=("--at", "calls", "--deadline", "90s"),
    ),
}
"""By name. The first call of each that writes or signs is to a card with the PIN 123456."""


def main() -> int:
    """Sweep the programs one after another; return 1 if one could not be swept, whatever its points are."""
    parser = argparse.ArgumentParser(prog="sweep-clients", description="Sweep real programs, and keep the reports.")
    parser.add_argument("folder", type=Path, help="where the reports go")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(CLIENTS)}; all when none is given")
    parser.add_argument("--options", default="", help="further options for each sweep, as one word")
    options = parser.parse_args()
    odd = [name for name in options.names if name not in CLIENTS]
    if odd:
        parser.error(f"there is no {odd[0]}; there are {', '.join(CLIENTS)}")
    options.folder.mkdir(parents=True, exist_ok=True)
    codes = [_sweep(name, options.folder, shlex.split(options.options)) for name in options.names or CLIENTS]
    return 1 if any(code not in (0, 1) for code in codes) else 0


def _sweep(name: str, folder: Path, options: list[str]) -> int:
    client = CLIENTS[name]
    missing = [each for each in client.needs if shutil.which(each) is None]
    if missing:
        print(f"{name}: not installed: {', '.join(missing)}", flush=True)
        return 2
    files = [word for kind in ("json", "junit", "html") for word in (f"--{kind}", f"{folder}/{name}.{_ENDING[kind]}")]
    command = [sys.executable, "-m", "cardtear.lab.cli.main", "sweep", *files, *options, *client.arguments()]
    print(f"{name}: {folder}/{name}.html, .json, .xml", flush=True)
    return subprocess.run(command, check=False).returncode


_ENDING = {"json": "json", "junit": "xml", "html": "html"}


if __name__ == "__main__":
    sys.exit(main())
