"""Who can move where: pools with the arrows between them, their classes, and what splits them. No toolkit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from inspector.export.fleet import HOW, counted, some, split_text
from inspector.export.words import styled
from inspector.fleet.lattice import Lattice
from inspector.fleet.relation import Pair
from inspector.tui.fleet_arrows import Arrow, gutter
from inspector.tui.fleet_asker import LATTICE
from inspector.tui.fleet_hosts import HostsView
from inspector.tui.fleet_session import FleetSession, Part
from inspector.tui.fleet_view import Row, Said, View, reasons

#: So many of a list are said.
_NAMES, _LOST, _REASONS, _POOLS = 6, 24, 24, 12
_SIGNS = {"yes": "✓", "open": "?", "no": "✗"}


class _Head(NamedTuple):
    """An architecture."""

    part: Part


class _Split(NamedTuple):
    """What splits it: of all bits the one of a number."""

    part: Part
    number: int


class _Pool(NamedTuple):
    part: Part
    number: int


class _Class(NamedTuple):
    part: Part
    number: int


class _Host(NamedTuple):
    """A distinct host, as long as nobody knows which class it is of."""

    number: int


_Line = _Head | _Split | _Pool | _Class | _Host | str


class LatticeView(View):
    """The first view: pools and classes by architecture."""

    name = LATTICE
    title = "who can move where"

    def __init__(self, session: FleetSession) -> None:
        super().__init__(session)
        self._lines: list[_Line] = []
        self._gutter: Mapping[int, str] = {}
        self._named: tuple[str, dict[int, int]] = ("", {})
        self.follow()

    def follow(self) -> None:
        """See View."""
        session = self.session
        arrows: list[Arrow] = []
        self._lines = []
        for part in session.parts:
            if part.lattice is None:
                break
            self._lines.append(_Head(part))
            self._lines += [_Split(part, 0)] if part.lattice.splits else []
            arrows += self._pools(part, part.lattice)
        if any(part.lattice is None for part in session.parts) or not session.parts:
            self._lines += [_Host(number) for number in range(len(session.hosts))]
        self._lines += [*session.notes, *filter(None, [session.wrong.get(LATTICE)])] or []
        self._gutter = gutter(arrows)

    def _pools(self, part: Part, found: Lattice) -> Iterator[Arrow]:
        """Add the pools of an architecture. An arrow comes from a pool's last line and ends at one's first."""
        heads: list[int] = []
        ends: list[int] = []
        for number, pool in enumerate(found.pools):
            heads.append(len(self._lines))
            self._lines += [_Pool(part, number), *(_Class(part, one) for one in pool)]
            ends.append(len(self._lines) - 1)
        return (
            Arrow(ends[pool], tuple(heads[one] for one in above)) for pool, above in enumerate(found.above) if above
        )

    @property
    def count(self) -> int:
        """See View."""
        return len(self._lines)

    def first(self) -> int:
        """See View: the first pool."""
        return next((at for at, line in enumerate(self._lines) if isinstance(line, _Pool)), 0)

    def row(self, at: int) -> Row:
        """See View."""
        line = self._lines[at]
        if isinstance(line, _Head):
            found = _lattice(line.part)
            hosts = line.part.hosts
            captures = counted(sum(one.captures for one in hosts), "host")
            words = (
                f"{line.part.arch}: {captures}, {len(hosts)} distinct, "
                f"{counted(len(found.classes), 'class')}, {counted(len(found.pools), 'pool')}"
            )
            return styled((words, "heading"))
        if isinstance(line, _Split):
            split = _lattice(line.part).splits[line.number]
            return styled(("split first by ", "quiet"), (str(split.blocker), "changed"))
        if isinstance(line, str):
            return styled((line, "bad"))
        if isinstance(line, _Host):
            kept = self.session.hosts[line.number]
            return styled(f"{kept.captures:>6} ", kept.title)
        before = (self._gutter.get(at) or " ").ljust(max(map(len, self._gutter.values()), default=1))
        if isinstance(line, _Pool):
            return styled((f"{before} ", "quiet"), *_pool_row(line))
        one = _lattice(line.part).classes[line.number]
        cpu, _, kernel = line.part.hosts[one.first].title.partition(", Linux ")
        words = f"{line.number + 1:>4} {counted(one.captures, 'host')}  {f'Linux {kernel}  ' if kernel else ''}"
        return styled((f"{before} ", "quiet"), words, (cpu, "quiet"))

    def said(self, at: int) -> Iterator[Said]:
        """See View."""
        if not self.count:
            yield Said("the store is being read", "bold", 0)
            return
        line = self._lines[at]
        if isinstance(line, _Head):
            yield from _head_said(line.part)
        elif isinstance(line, _Split):
            yield from SplitsView(self.session, line.part).said(line.number)
            yield Said("Enter lists all bits and fields that keep guests from hosts", "dim")
        elif isinstance(line, _Pool):
            yield from _pool_said(line)
        elif isinstance(line, _Class):
            yield from self._class_said(line.part, line.number)
        elif isinstance(line, _Host):
            kept = self.session.hosts[line.number]
            yield Said(f"{counted(kept.captures, 'host')}: {kept.title}", "bold", 0)
            yield Said(f"{some([kept.name], kept.captures - 1)}")
        else:
            yield Said(line, "bold red", 0)

    def _class_said(self, part: Part, number: int) -> Iterator[Said]:
        one = _lattice(part).classes[number]
        yield Said(f"class {number + 1} of pool {part.pool_of[number] + 1}: {counted(one.captures, 'host')}", "bold", 0)
        for host in one.hosts[:_NAMES]:
            kept = part.hosts[host]
            names = [named.name for named in self.session.require_names().page_of(kept.id, 0, _NAMES)]
            yield Said(f"{kept.title}: {some(names, max(0, kept.captures - len(names)))}", "", 4)
        if len(one.hosts) > _NAMES:
            yield Said(f"and {len(one.hosts) - _NAMES} more distinct hosts that give and take the same")
        yield from _price_said(part, number)
        yield from _apart_said(part, number)

    def enter(self, at: int) -> View | None:
        """See View: all bits that split, the hosts of a class or of a pool."""
        line = self._lines[at] if self._lines else ""
        if isinstance(line, _Split):
            return SplitsView(self.session, line.part)
        if isinstance(line, _Host) and self.session.has_names:
            kept = self.session.hosts[line.number]
            return HostsView(self.session, kept.title, [kept.id], self._wanted())
        if isinstance(line, _Class):
            return HostsView(
                self.session, f"class {line.number + 1}", line.part.host_ids(line.number), self._wanted(), line.part
            )
        if isinstance(line, _Pool):
            pool = _lattice(line.part).pools[line.number]
            ids = [one for number in pool for one in line.part.host_ids(number)]
            return HostsView(self.session, f"pool {line.number + 1}", ids, self._wanted(), line.part)
        return None

    def _wanted(self) -> str:
        """What was searched for in names: the list of hosts begins there."""
        return self._named[0]

    def label(self, at: int) -> str:
        """See View: the name of the first host, the place of a bit."""
        line = self._lines[at] if self._lines else ""
        if isinstance(line, _Split):
            return _lattice(line.part).splits[line.number].blocker.where
        if isinstance(line, _Host):
            return self.session.hosts[line.number].name
        if isinstance(line, _Pool | _Class):
            found = _lattice(line.part)
            number = found.pools[line.number][0] if isinstance(line, _Pool) else line.number
            return line.part.hosts[found.classes[number].first].name
        return super().label(at) if self._lines else ""

    def words(self) -> list[str]:
        """See View."""
        return self.fleet_words("lattice")

    def has(self, at: int, text: str) -> bool:
        """A line, or a class one of whose hosts' names has the text."""
        line = self._lines[at]
        if self.session.has_names and self._named[0] != text:
            self._named = text, self.session.store.hosts_named(text)
        if isinstance(line, _Class) and any(one in self._named[1] for one in line.part.host_ids(line.number)):
            return True
        if isinstance(line, _Host) and self.session.hosts[line.number].id in self._named[1]:
            return True
        return super().has(at, text)


class SplitsView(View):
    """Every bit or field that keeps guests from hosts, the one that does it alone most often first."""

    title = "what splits them"

    def __init__(self, session: FleetSession, part: Part) -> None:
        super().__init__(session)
        self._part = part
        self._splits = _lattice(part).splits

    @property
    def count(self) -> int:
        """See View."""
        return len(self._splits)

    def row(self, at: int) -> Row:
        """See View."""
        one = self._splits[at]
        return styled(str(one.blocker), (f"  {one.alone} pairs alone of {one.pairs}", "quiet"))

    def said(self, at: int) -> Iterator[Said]:
        """See View."""
        one = self._splits[at]
        yield Said(str(one.blocker), "bold", 0)
        yield Said(HOW.get(one.blocker.rule, one.blocker.rule))
        yield Said(f"{split_text(one)}, both ways counted", "", 4)
        found = _lattice(self._part)
        yield Said(f"there are {counted(len(found.pools), 'pool')}", "dim")

    def label(self, at: int) -> str:
        """See View: the place."""
        return self._splits[at].blocker.where

    def words(self) -> list[str]:
        """See View."""
        return self.fleet_words("lattice")


def _lattice(part: Part) -> Lattice:
    assert part.lattice is not None
    return part.lattice


def _pool_row(line: _Pool) -> tuple[str | tuple[str, str], ...]:
    found = _lattice(line.part)
    hosts = sum(found.classes[one].captures for one in found.pools[line.number])
    above = [str(one + 1) for one in found.above[line.number]]
    to = f" ─► pool {some(above)}" if above else ""
    return (f"pool {line.number + 1}, {counted(hosts, 'host')}", "heading"), to


def _head_said(part: Part) -> Iterator[Said]:
    found = _lattice(part)
    yield Said(f"{part.arch}: {counted(len(found.pools), 'pool')}", "bold", 0)
    yield Said("hosts that take the same guests and give the same are a class")
    yield Said("between all classes of a pool guests move both ways; an arrow is one way")
    for one in found.splits[:_POOLS]:
        yield Said(split_text(one), "", 4)


def _pool_said(line: _Pool) -> Iterator[Said]:
    part, found = line.part, _lattice(line.part)
    pool = found.pools[line.number]
    hosts = sum(found.classes[one].captures for one in pool)
    yield Said(f"pool {line.number + 1}: {counted(hosts, 'host')} in {counted(len(pool), 'class')}", "bold", 0)
    to = [str(one + 1) for one in found.above[line.number]]
    come = [str(number + 1) for number, above in enumerate(found.above) if line.number in above]
    for words, pools in (("its guests may go to pool", to), ("guests may come from pool", come)):
        yield Said(f"{words} {some(pools, most=_POOLS)}, and not back" if pools else f"{words}: none besides")
    yield from _price_said(part, pool[0])
    yield from _apart_said(part, pool[0])


def _price_said(part: Part, number: int) -> Iterator[Said]:
    """What guests of a class give up for the guest that all can have."""
    common = part.common_of(number)
    if common is None:
        return
    lost = common.lost.get(number, ())
    classes = counted(len(common.classes), "class")
    model = common.model or "the best registers"
    if not lost:
        yield Said(f"gives up nothing for {model}, which {classes} can share", "green")
        return
    yield Said(f"gives up {len(lost)} for {model}, which {classes} can share", "bold", 0)
    yield Said(some(lost, most=_LOST))


def _apart_said(part: Part, number: int) -> Iterator[Said]:
    """What keeps guests of a class from the other pools, and those of these from it, pools of one reason together."""
    found = _lattice(part)
    own = part.pool_of[number]
    for head, goes in (("its guests on other pools", True), ("guests of other pools here", False)):
        pairs: dict[Pair, list[str]] = {}
        for at, pool in enumerate(found.pools):
            if at != own:
                answers = [found.pair(number, one) if goes else found.pair(one, number) for one in pool]
                worst = min(answers, key=lambda one: _ORDER[one.answer]) if len(answers) > 1 else answers[0]
                pairs.setdefault(worst, []).append(str(at + 1))
        told: dict[tuple[str, str], list[str]] = {}
        for pair, pools in pairs.items():
            why = reasons(found.verdicts.blockers(pair)) if pair.answer != "yes" else ""
            told.setdefault((pair.answer, why), []).extend(pools)
        if told:
            yield Said(head, "bold", 0)
        rows = sorted(told.items(), key=lambda one: (-len(one[1]), len(one[0][1])))
        for (answer, why), pools in rows[:_REASONS]:
            hangs = "hangs on " if answer == "open" else ""
            pools.sort(key=int)
            yield Said(
                f"{_SIGNS[answer]} pool {some(pools, most=_POOLS)}{': ' if why else ''}{hangs}{why}",
                _STYLES[answer],
                4,
            )
        if len(rows) > _REASONS:
            yield Said(f"and {len(rows) - _REASONS} more reasons (Y: the command has all)", "dim")


#: The worst of answers first, and the style of each.
_ORDER = {"no": 0, "open": 1, "yes": 2}
_STYLES = {"no": "", "open": "yellow", "yes": "green"}
