"""What the ID-register lab works on: setups that can be taken back and made again, and the lines that show one.

Toolkit-free, so that it can be tested without a screen.
"""

from __future__ import annotations

import shlex
from typing import NamedTuple

from inspector.capture.model import Capture
from inspector.machine.arm64.models.workbench import PropertyRow, Workbench
from layouts.arm64.arm_features import places_of


class Toggle(NamedTuple):
    """A vCPU feature or a vector length, on or off; ``blocks``: the host cannot give it so."""

    name: str
    host: bool
    guest: bool
    blocks: bool


#: A line: a heading, a switch or a vector length by name, or a property.
Line = str | Toggle | PropertyRow


def name_of(line: Line) -> str:
    """The name of a property, a switch or a length; nothing for a heading."""
    return "" if isinstance(line, str) else line.name


def _sets(line: Line, places: frozenset[tuple[str, str]]) -> bool:
    """A property of one of these fields."""
    own = line.entry.places if isinstance(line, PropertyRow) else ()
    return any((place.register, place.name) in places for place in own)


class IdLabSession:
    """A guest that is asked for on a host. Every change is another :class:`Workbench`; undo goes back exactly.

    ``settable``: only lines of properties that can have another value.
    """

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.settable = True
        self.search_text = ""
        self._before: list[Workbench] = []
        self._undone: list[Workbench] = []
        self._show()

    # Changes: each says what is wrong, or nothing

    def set(self, word: str) -> str:
        """One more ``NAME=VALUE``."""
        try:
            return self._go_on(self.bench.with_word(word))
        except ValueError as error:
            return str(error)

    def choose(self, model: str) -> str:
        """Another model; ``-`` and ``host`` are the host's own values."""
        try:
            return self._go_on(self.bench.with_model("" if model in ("-", "host") else model))
        except ValueError as error:
            return str(error)

    def set_on(self, line: Line, text: str) -> str:
        """What was typed on a line: ``NAME=VALUE``, or a value alone for the line's property."""
        name = name_of(line)
        return self.set(text if "=" in text or not name else f"{name}={text}")

    def step(self, line: Line, by: int) -> str:
        """The next of all named values, accepted or not; a switch or a length on or off."""
        if isinstance(line, PropertyRow):
            return self._step([choice.text for choice in line.accepted.choices], line, by)
        return self.accept(line)

    def accept(self, line: Line) -> str:
        """The next value that the host accepts; a switch or a length on or off."""
        if isinstance(line, PropertyRow):
            return self._step(list(line.accepted.values), line, 1)
        return self.set(f"{line.name}={'off' if line.guest else 'on'}") if isinstance(line, Toggle) else ""

    def _step(self, values: list[str], row: PropertyRow, by: int) -> str:
        if not values or values == [row.guest]:
            return f"{row.name}: this host accepts no other value; → tries one nevertheless"
        at = values.index(row.guest) + by if row.guest in values else 0
        return self.set(f"{row.name}={values[at % len(values)]}")

    def undo(self) -> str:
        """Take the last change back."""
        if not self._before:
            return "nothing to undo"
        self._undone.append(self.bench)
        self.bench = self._before.pop()
        return self._show()

    def redo(self) -> str:
        """Make it again."""
        if not self._undone:
            return "nothing to redo"
        self._before.append(self.bench)
        self.bench = self._undone.pop()
        return self._show()

    def _go_on(self, bench: Workbench) -> str:
        self._before.append(self.bench)
        self._undone.clear()
        self.bench = bench
        return self._show()

    # What there is to see

    def show_all(self) -> None:
        """All properties, or only those that can have another value."""
        self.settable = not self.settable
        self._show()

    def _show(self) -> str:
        self._in_the_way = frozenset(self._registers_in_the_way())
        self.lines = self._made_lines()
        return ""

    def _made_lines(self) -> list[Line]:
        bench = self.bench
        lines: list[Line] = ["vCPU features and SVE vector lengths", *self._toggles()]
        register = ""
        for row in bench.rows:
            if self.settable and not _is_settable(row):
                continue
            if row.register != register:
                register = row.register
                value = bench.made.request.registers.get(row.entry.places[0].encoding, 0)
                lines.append(f"{register}  {value:#018x}")
            lines.append(row)
        shown = {str(line).partition(" ")[0] for line in lines}
        return lines + [name for name in sorted(self._in_the_way) if name not in shown]

    def _toggles(self) -> list[Toggle]:
        """Switches and lengths. KVM takes exactly the host's lengths up to the guest's longest (sve.check_vls)."""
        named = {blocker.name for blocker in self.bench.made.blockers if blocker.place is None}
        lengths = self.bench.lengths()
        longest = max((length for length, _, guest in lengths if guest), default=0)
        return [Toggle(name, *both, name in named) for name, both in self.bench.switches().items()] + [
            Toggle(f"sve{length * 8}", host, guest, "sve" in named and length <= longest and host is not guest)
            for length, host, guest in lengths
        ]

    def _registers_in_the_way(self) -> list[str]:
        """Registers with a blocker that no property tells of."""
        told = {blocker for row in self.bench.rows for blocker in row.blockers}
        toggles = self.bench.switches()
        names = [b.place.register if b.place else b.name for b in self.bench.made.blockers if b not in told]
        return [name for name in dict.fromkeys(names) if name not in toggles]

    def blocks(self, line: Line) -> bool:
        """Whether a line is in the way of the guest."""
        if isinstance(line, PropertyRow):
            return bool(line.blockers)
        return line.blocks if isinstance(line, Toggle) else line.partition(" ")[0] in self._in_the_way

    def find(self, name: str) -> int | None:
        """The line of a property, a switch or a length."""
        return next((at for at, line in enumerate(self.lines) if name_of(line) == name), None)

    def search(self, text: str, start: int, by: int = 1) -> int | None:
        """The next line after ``start`` whose name or register has the text, or that a feature (FEAT_) hangs on.

        ``by`` -1: the one before.
        """
        self.search_text = text
        wanted = text.lower()
        places = places_of(wanted) if wanted.startswith("feat_") else frozenset()
        named = [wanted in (name_of(line) or str(line)).lower() or _sets(line, places) for line in self.lines]
        return self._next(start, named, by)

    def next_blocked(self, start: int) -> int | None:
        """The next line after ``start`` that blocks."""
        return self._next(start, [self.blocks(line) for line in self.lines])

    @staticmethod
    def _next(start: int, wanted: list[bool], by: int = 1) -> int | None:
        """The first line behind ``start`` that is wanted, from the top again behind the last; -1 the other way."""
        order = ((start + by * step) % len(wanted) for step in range(1, len(wanted) + 1))
        return next((at for at in order if wanted[at]), None)

    # Taking away

    @property
    def name(self) -> str:
        """What the guest is called."""
        return self.bench.setup.model or "host"

    def command(self) -> str:
        """The command that shows the same."""
        setup, host = self.bench.setup, self.bench.host
        words = ["inspector", "models", "check", self.name, *setup.words, "--host"]
        return shlex.join([*words, f"{host.name}@{host.kernel.release}"])

    def capture(self) -> Capture:
        """The guest's registers."""
        from inspector.targets.models import capture_of_bench

        return capture_of_bench(self.bench)


def _is_settable(row: PropertyRow) -> bool:
    return len(row.accepted.values) > 1 or bool(row.blockers) or row.guest != row.host
