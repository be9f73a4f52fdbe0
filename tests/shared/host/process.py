# SPDX-License-Identifier: MIT
"""The other end of a host process: loads the module and carries out what tests.shared.host.host sends.

Arguments: the descriptors to read from and to write to, and the module's path. Each function runs in a thread of its
own; its first argument is the loaded module.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from multiprocessing.connection import Connection

from cardtear.lab.clients.pkcs11 import Failed, Module

NUMBER_LENGTH = 8
"""Bytes of a request's number before the pickled function and its arguments."""


def main() -> None:
    """Carry out requests until an empty one comes."""
    receive = Connection(int(sys.argv[1]), writable=False)
    send = Connection(int(sys.argv[2]), readable=False)
    module, lock = Module(sys.argv[3]), threading.Lock()

    def run(number: int, request: bytes) -> None:
        reply: bytes
        try:
            function, arguments, named = pickle.loads(request)
            reply = pickle.dumps((number, True, function(module, *arguments, **named)))
        except Failed as failure:
            reply = pickle.dumps((number, False, (str(failure), failure.value)))
        except BaseException as error:
            reply = pickle.dumps((number, False, (f"{type(error).__name__}: {error}", None)))
        with lock:
            send.send_bytes(reply)

    while request := receive.recv_bytes():
        number = int.from_bytes(request[:NUMBER_LENGTH], "big")
        threading.Thread(target=run, args=(number, request[NUMBER_LENGTH:]), daemon=True).start()
    sys.stdout.flush()
    os._exit(0)  # without C_Finalize, as browsers do


if __name__ == "__main__":
    main()
