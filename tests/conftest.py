"""Textual reads its environment when it is imported: what a developer has set must not change the screens."""

from __future__ import annotations

import os

for name in [name for name in os.environ if name.startswith("TEXTUAL_")] + ["NO_COLOR", "COLORTERM", "FORCE_COLOR"]:
    os.environ.pop(name, None)
os.environ["TEXTUAL_ANIMATIONS"] = "none"
os.environ["TERM"] = "xterm-256color"
