"""Write what completion knows of commands and options, from their parsers: make options."""

from __future__ import annotations

import json
from pathlib import Path

from inspector.cli.parsers import table

TABLE = Path(__file__).parents[1] / "inspector/cli/options.json"


def text() -> str:
    """The table as it is written: a line an option, so that a change reads as one."""
    return json.dumps(table(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TABLE.write_text(text(), "utf-8")
