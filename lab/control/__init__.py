# SPDX-License-Identifier: MIT
"""The control channel: requests as JSON over a private socket, its server and its clients."""
