"""What is remembered between runs: the theme, one word in a file of the user's configuration folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_MOST_BYTES = 256


def theme_file() -> Path:
    """Where the theme is kept: below ``$XDG_CONFIG_HOME``, or ``~/.config`` (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~")) / ".config"
    return folder / "inspector" / "theme"


def remembered_theme() -> str:
    """The theme that was chosen last; empty where none was, or it cannot be read."""
    try:
        with theme_file().open("rb") as file:
            return file.read(_MOST_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return ""


def remember_theme(name: str) -> None:
    """Keep a theme for the next run; where that cannot be, the next run starts with the default."""
    path = theme_file()
    new = path.with_name(f"theme.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(f"{name}\n", "ascii")
        new.replace(path)
