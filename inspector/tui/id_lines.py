"""The lines of the ID-register lab: what there is to see of a guest on its host or hosts, and how a line is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from inspector.machine.arm64.models.realize import Blocker
from inspector.machine.arm64.models.workbench import PropertyRow, Workbench
from layouts.arm64.arm_features import feature_named, places_of
from layouts.arm64.properties import FieldPlace

#: What the two hosts are called: where the guest is, and where it is to go.
A, B = "A", "B"


class Toggle(NamedTuple):
    """A vCPU feature or a vector length, on or off; ``second`` is on the second host, None where there is none.

    ``blocked_by`` are the hosts that cannot give it so.
    """

    name: str
    host: bool
    guest: bool
    second: bool | None
    blocked_by: str


#: A line: a heading, a switch or a vector length by name, or a property.
Line = str | Toggle | PropertyRow


def name_of(line: Line) -> str:
    """The name of a property, a switch or a length; nothing for a heading."""
    return "" if isinstance(line, str) else line.name


def _sets(line: Line, places: frozenset[tuple[str, str]]) -> bool:
    """A property of one of these fields."""
    own = line.entry.places if isinstance(line, PropertyRow) else ()
    return any((place.register, place.name) in places for place in own)


class GuestLines:
    """A guest on hosts, line by line. ``settable``: only lines of properties that can have another value."""

    def __init__(self) -> None:
        self.settable = True
        self.search_text = ""

    def show(self, benches: dict[str, Workbench]) -> None:
        """Another guest, or other hosts."""
        self._benches = benches
        self._rows = {host: {row.name: row for row in bench.rows} for host, bench in benches.items()}
        self._blockers: dict[FieldPlace | None, list[tuple[str, Blocker]]] = {}
        for host, bench in benches.items():
            for blocker in bench.made.blockers:
                self._blockers.setdefault(blocker.place, []).append((host, blocker))
        self._in_the_way = dict(self._registers_in_the_way())
        self.lines = self._made_lines()

    def row_on(self, host: str, row: PropertyRow) -> PropertyRow | None:
        """A property on a host; None where its kernel has no such register."""
        return self._rows[host].get(row.name)

    def accepted(self, row: PropertyRow) -> list[str]:
        """The values that every host takes."""
        others = [self.row_on(name, row) for name in self._benches]
        return [text for text in row.accepted.values if all(one and text in one.accepted.values for one in others)]

    def blockers(self, row: PropertyRow) -> list[tuple[str, Blocker]]:
        """What is in the way of a property, with the host."""
        return [found for place in row.entry.places for found in self._blockers.get(place, ())]

    def blocked_places(self) -> list[FieldPlace]:
        """The fields that are in the way."""
        return [place for place in self._blockers if place is not None]

    def encoding_of(self, register: str) -> int | None:
        """The register of a name that the hosts' kernels know."""
        kernels = [bench.host.kernel for bench in self._benches.values()]
        found = (encoding for kernel in kernels for encoding, one in kernel.registers.items() if one.name == register)
        return next(found, None)

    def _made_lines(self) -> list[Line]:
        bench = self._benches[A]
        lines: list[Line] = ["vCPU features and SVE vector lengths", *self._toggles()]
        register = ""
        for row in bench.rows:
            if self.settable and not self._is_settable(row):
                continue
            if row.register != register:
                register = row.register
                value = bench.made.request.registers.get(row.entry.places[0].encoding, 0)
                lines.append(f"{register}  {value:#018x}")
            lines.append(row)
        shown = {str(line).partition(" ")[0] for line in lines}
        return lines + [name for name in sorted(self._in_the_way) if name not in shown]

    def _is_settable(self, row: PropertyRow) -> bool:
        others = [self.row_on(name, row) for name in self._benches]
        differs = any(one is None or one.host != row.guest for one in others)
        return differs or len(self.accepted(row)) > 1 or bool(self.blockers(row))

    def _toggles(self) -> Iterator[Toggle]:
        """Switches and lengths. KVM takes exactly the host's lengths up to the guest's longest (sve.check_vls)."""
        named = {
            host: {blocker.name for blocker in bench.made.blockers if blocker.place is None}
            for host, bench in self._benches.items()
        }
        switches = {host: bench.switches() for host, bench in self._benches.items()}
        for name, (on_host, guest) in switches[A].items():
            second = switches[B][name][0] if B in switches else None
            yield Toggle(name, on_host, guest, second, "".join(host for host in named if name in named[host]))
        lengths = {host: {length: has for length, has, _ in bench.lengths()} for host, bench in self._benches.items()}
        asked = {length for length, _, guest in self._benches[A].lengths() if guest}
        longest = max(asked, default=0)
        for length in sorted({length for known in lengths.values() for length in known}):
            has = {host: known.get(length, False) for host, known in lengths.items()}
            guest = length in asked
            blocked = [host for host in has if "sve" in named[host] and length <= longest and has[host] is not guest]
            yield Toggle(f"sve{length * 8}", has[A], guest, has.get(B), "".join(blocked))

    def _registers_in_the_way(self) -> Iterator[tuple[str, str]]:
        """Registers with a blocker that no property tells of, with the hosts."""
        told = {place for row in self._benches[A].rows for place in row.entry.places}
        toggles = self._benches[A].switches()
        found: dict[str, str] = {}
        for host, bench in self._benches.items():
            untold = [blocker for blocker in bench.made.blockers if blocker.place not in told]
            for name in dict.fromkeys(b.place.register if b.place else b.name for b in untold):
                if name not in toggles:
                    found[name] = found.get(name, "") + host
        yield from found.items()

    def blocked_by(self, line: Line) -> str:
        """The hosts that do not take a line of the guest."""
        if isinstance(line, PropertyRow):
            return "".join(sorted({host for host, _ in self.blockers(line)}))
        return line.blocked_by if isinstance(line, Toggle) else self._in_the_way.get(line.partition(" ")[0], "")

    def blocks(self, line: Line) -> bool:
        """Whether a line is in the way of the guest."""
        return bool(self.blocked_by(line))

    def hangs_on(self, line: Line) -> str:
        """The hosts that may or may not take a property, for nobody tells of a field there."""
        if not isinstance(line, PropertyRow):
            return ""
        places = set(line.entry.places)
        benches = self._benches.items()
        return "".join(host for host, bench in benches if any(one.place in places for one in bench.made.open))

    def find(self, name: str) -> int | None:
        """The line of a property, a switch or a length."""
        return next((at for at, line in enumerate(self.lines) if name_of(line) == name), None)

    def search(self, text: str, start: int, by: int = 1) -> int | None:
        """The next line after ``start`` whose name or register has the text, or that a feature (FEAT_) hangs on.

        ``by`` -1: the one before.
        """
        self.search_text = text
        wanted, feature = text.lower(), self.feature(text)
        places = places_of(feature or wanted, exact=bool(feature)) if feature or "feat_" in wanted else frozenset()
        named = [_sets(line, places) for line in self.lines]
        if not (feature and any(named)):
            named = [
                hit or wanted in (name_of(line) or str(line)).lower()
                for hit, line in zip(named, self.lines, strict=True)
            ]
        return self._next(start, named, by)

    @staticmethod
    def feature(text: str) -> str:
        """Arm's feature that a word names, with or without ``FEAT_``; empty where it names none."""
        return feature_named(text) or feature_named(f"FEAT_{text}") or ""

    def next_blocked(self, start: int) -> int | None:
        """The next line after ``start`` that blocks."""
        return self._next(start, [self.blocks(line) for line in self.lines])

    @staticmethod
    def _next(start: int, wanted: list[bool], by: int = 1) -> int | None:
        """The first line behind ``start`` that is wanted, from the top again behind the last; -1 the other way."""
        order = ((start + by * step) % len(wanted) for step in range(1, len(wanted) + 1))
        return next((at for at in order if wanted[at]), None)
