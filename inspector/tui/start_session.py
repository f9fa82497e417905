"""What the start screen offers: recent targets, samples, scenarios, hosts; a filter narrows them. No toolkit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from inspector.tui.state import State

#: An empty x86 host, and the values that an arm64 host gives a guest of its own.
_X86_HOST, _ARM64_HOST = "sim:new:{}", "model:host:{}"


class Entry(NamedTuple):
    """A target that can be opened, and what it is in one line; without a target the heading of those below it."""

    target: str
    about: str


class StartSession:
    """The lines of the start screen."""

    def __init__(self, state: State | None = None) -> None:
        self._groups: dict[str, list[Entry]] = {
            "recent": [],
            "samples": list(_samples()),
            "scenarios, in their lab": list(_scenarios()),
            "hosts, empty, in their lab": list(_hosts()),
        }
        self._abouts = {entry.target: entry.about for entries in self._groups.values() for entry in entries}
        self.filter_text = ""
        self.lines: list[Entry] = []
        self.refresh(state or State())

    @property
    def count(self) -> int:
        """How many targets are shown."""
        return sum(bool(line.target) for line in self.lines)

    def filter(self, text: str) -> bool:
        """Only targets with all of these words in name or line; whether there are any."""
        self.filter_text = text.strip()
        words = self.filter_text.lower().split()
        self.lines = []
        for title, entries in self._groups.items():
            found = [entry for entry in entries if all(word in " ".join(entry).lower() for word in words)]
            if found:
                self.lines += [Entry("", title), *found]
        return bool(self.lines)

    def refresh(self, state: State) -> None:
        """What was opened meanwhile is recent."""
        self._groups["recent"] = [Entry(target, self._about(target, state)) for target in _still_there(state)]
        self.filter(self.filter_text)

    def _about(self, target: str, state: State) -> str:
        place = state.place_in(target)
        return f"last at {place.path}" if place is not None else self._abouts.get(target, "")

    def first(self) -> int:
        """The line of the first target."""
        return 1 if self.lines else 0

    def next_heading(self, line: int, by: int) -> int:
        """The first target of the group behind a line, or before it; the line itself behind the last."""
        firsts = [at + 1 for at, entry in enumerate(self.lines) if not entry.target]
        if by > 0:
            return next((at for at in firsts if at > line), line)
        return next((at for at in reversed(firsts) if at < line), line)


def _still_there(state: State) -> Iterator[str]:
    return (target for target in state.recent if not os.path.isabs(target) or os.path.lexists(target))


def _samples() -> Iterator[Entry]:
    from inspector.targets.samples import SCHEME, abouts

    return (Entry(f"{SCHEME}{name}", about) for name, about in abouts().items())


def _scenarios() -> Iterator[Entry]:
    from layouts.scenarios import scenarios

    return (Entry(f"sim:{name}", one.title) for name, one in scenarios().items())


def _hosts() -> Iterator[Entry]:
    from layouts.arm64.chips import known_cores
    from layouts.x86.cpus import cpu_layouts

    for name, cpu in cpu_layouts().items():
        yield Entry(_X86_HOST.format(name), f"{cpu.title}: {cpu.about}")
    for name in known_cores():
        yield Entry(_ARM64_HOST.format(name), "arm64: its ID registers, and what it gives a guest")
