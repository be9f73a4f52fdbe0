# SPDX-License-Identifier: MIT
"""What a person or a test holds in the hand: the simulator process, its control channel, the command line."""
