# SPDX-License-Identifier: MIT
"""A command to be swept: Firefox starts, loads the module and opens a page that asks for a client certificate.

`python -m cardtear.lab.sweep.firefox`; exit 0 when the server has seen Alice's, 1 when the page has failed, 3 when the
browser has not done what it was asked to.
"""

from __future__ import annotations

import os
import sys

from ...csrc import module_path
from .. import places
from ..firefox import Firefox
from ..mozilla import MozillaError
from ..tls_server import TlsServer

_NAMES = ("CARDTEAR_MODULE", "CARDTEAR_SOCKET", "CARDTEAR_CONTROL")


def main() -> int:
    """One handshake."""
    environment = {name: os.environ[name] for name in _NAMES}
    ca = places.test_ca()
    try:
        with TlsServer(ca) as server, Firefox(module_path(), environment, ca.certificate) as firefox:
            page = firefox.open(server.url)
            print(page, f"{firefox.prompts()} PIN prompts")
    except MozillaError as error:
        print(error)
        return 3
    return 0 if page == "client: Alice" else 1


if __name__ == "__main__":
    sys.exit(main())
