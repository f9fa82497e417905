"""``inspector samples``: the captures that come with the tool."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.cli import arguments
from inspector.readers import samples


def run(words: Sequence[str]) -> int:
    """List the samples."""
    arguments.parser("samples", "List the captures that come with the tool.").parse_args(words)
    for name in samples.names():
        print(f"sample:{name:<30} {samples.about(name)}")
    return 0
