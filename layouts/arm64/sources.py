"""Where values of named models come from: machines, manuals, kernels. Data: ``data/sources.toml``."""

from __future__ import annotations

from layouts.data import data_table
from layouts.light import NamedTuple, cache

#: Of a source: what QEMU says of a core is no second opinion on it.
EMULATOR = "emulator"
#: Kinds that saw the value on a machine.
SEEN = ("silicon", "flags")


class Source(NamedTuple):
    """Who says a value. ``key`` and ``kind`` are empty for what a model file says in its own words."""

    key: str
    kind: str
    text: str

    def __str__(self) -> str:
        return self.key or self.text


@cache
def sources() -> dict[str, Source]:
    """The sources that the shipped models name, by key."""
    table = data_table("arm64/data/sources.toml")
    return {key: Source(key, entry["kind"], entry["text"]) for key, entry in table.items()}


def source_named(text: str) -> Source:
    """A source by its key, or one in a model's own words."""
    return sources().get(text) or Source("", "", text)
