# SPDX-License-Identifier: MIT
"""What is done to a card to break it: killed processes, random commands, and coverage-guided input for the decoders."""
