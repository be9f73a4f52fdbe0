# SPDX-License-Identifier: MIT
"""scripts/fuzz: killed processes, random commands, and coverage-guided input for the decoders."""
