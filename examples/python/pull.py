# SPDX-License-Identifier: MIT
"""Pull the card in the middle of a signature, from a Python script; then play the scenarios that are named."""

from __future__ import annotations

import os
import subprocess
import sys

from cardtear import CardRequest, RemoteSimulator, Simulator, Trigger, play


def sign(simulator: Simulator, pin: str) -> int:
    """Sign with pkcs11-tool; returns its exit code."""
    module = simulator.environment["CARDTEAR_MODULE"]
    options = ["--module", module, "--login", "--pin", pin, "--sign", "--mechanism", "SHA256-RSA-PKCS", "--id", "01"]
    command = ["pkcs11-tool", *options, "--input-file", sys.executable, "--output-file", "/dev/null"]
    environment = {**os.environ, **simulator.environment}
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode


def main() -> None:
    """Sign, pull, put back, sign again."""
    bob = CardRequest(name="Bob", pin="654321")
    with Simulator() as simulator:
        simulator.plug("front")
        simulator.insert("front", bob)
        print("the card is in: pkcs11-tool ends with", sign(simulator, bob.pin))
        simulator.arm(Trigger("remove", {"reader": "front"}, ins=0x87))  # GENERAL AUTHENTICATE
        print("it goes in the middle of a signature: pkcs11-tool ends with", sign(simulator, bob.pin))
        remote = RemoteSimulator(simulator.environment)  # as another process would
        remote.insert("front")
        print("in the reader:", remote.reader("front").card)
        remote.close()
        print("it is back: pkcs11-tool ends with", sign(simulator, bob.pin))


if __name__ == "__main__":
    main()
    for path in sys.argv[1:]:
        outcome = play(path)
        print(f"{outcome.name}: {outcome.status.value}")
