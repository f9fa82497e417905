"""The other questions to a fleet as lines: odd hosts, the best guests of all, what an upgrade pins. No toolkit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from inspector.export.fleet import counted, some
from inspector.export.words import styled
from inspector.fleet.common import Common
from inspector.fleet.forecast import Gone, Pinned
from inspector.fleet.odd import Difference, Odd
from inspector.tui.fleet_asker import FORECAST, ODD
from inspector.tui.fleet_hosts import HostsView
from inspector.tui.fleet_session import FleetSession, Part
from inspector.tui.fleet_view import Row, Said, View, reasons, waiting

BASELINE = "baseline"
_NAMES, _CLASSES, _LOST = 4, 12, 200
_WHEN = {"running": "runs now", "restarted": "is started anew there"}


class OddView(View):
    """Every host that is not as its siblings, the rarest first."""

    name = ODD
    title = "the odd ones"

    def __init__(self, session: FleetSession) -> None:
        super().__init__(session)
        self._rows: list[tuple[Part, Odd]] = []
        session.ask(ODD)
        self.follow()

    def follow(self) -> None:
        """See View."""
        self._rows = [(part, row) for part in self.session.parts for row in part.odd or ()]

    @property
    def count(self) -> int:
        """See View."""
        return len(self._rows)

    def row(self, at: int) -> Row:
        """See View."""
        part, row = self._rows[at]
        more = f" and {row.captures - 1} more" if row.captures > 1 else ""
        names = some([one.name for one in row.differences], most=8)
        return styled(f"{part.hosts[row.host].name}{more}", (f"  {names}", "quiet"))

    def said(self, at: int) -> Iterator[Said]:
        """See View."""
        if not self._rows:
            is_answered = bool(self.session.parts) and all(part.odd is not None for part in self.session.parts)
            yield (
                Said("no host is otherwise than most of its siblings") if is_answered else waiting(self.session, ODD)
            )
            return
        part, row = self._rows[at]
        kept, norm = part.hosts[row.host], part.hosts[row.norm]
        yield Said(some([kept.name], row.captures - 1), "bold", 0)
        yield Said(f"not as {norm.name}, as most of {row.siblings} siblings: {norm.title}", "", 4)
        for one in row.differences:
            where = "" if one.where in (one.name, "kernel") else f" ({one.where})"
            yield Said(f"{one.name}{where}: {one.value}, theirs {one.norm}", "", 4)
        yield Said("Enter shows what is known of it", "dim")

    def enter(self, at: int) -> View | None:
        """See View: the hosts that are so."""
        if not self._rows:
            return None
        part, row = self._rows[at]
        kept = part.hosts[row.host]
        return HostsView(self.session, kept.title, [kept.id], part=part)

    def label(self, at: int) -> str:
        """See View: the host's name."""
        if not self._rows:
            return ""
        part, row = self._rows[at]
        return part.hosts[row.host].name

    def words(self) -> list[str]:
        """See View."""
        return self.fleet_words("odd")

    def has(self, at: int, text: str) -> bool:
        """A host by name, or by what is odd."""
        part, row = self._rows[at]
        return text in part.hosts[row.host].name.lower() or any(_has(one, text) for one in row.differences)


def _has(one: Difference, text: str) -> bool:
    return text in one.name.lower() or text in one.where.lower()


class _Price(NamedTuple):
    """A group of classes with its guest (``number`` -1), or what one of the classes gives up."""

    part: Part
    common: Common
    number: int = -1

    @property
    def lost(self) -> tuple[str, ...]:
        return self.common.lost.get(self.number, ())


class BaselineView(View):
    """The best guest for each group of classes that can share one, and what each class gives up."""

    name = BASELINE
    title = "the best guest of all, and its price"

    def __init__(self, session: FleetSession) -> None:
        super().__init__(session)
        self._rows: list[_Price] = []
        self.follow()

    def follow(self) -> None:
        """See View."""
        self._rows = []
        for part in self.session.parts:
            for common in part.common or ():
                self._rows += [_Price(part, common), *(_Price(part, common, one) for one in common.classes)]

    @property
    def count(self) -> int:
        """See View."""
        return len(self._rows)

    def row(self, at: int) -> Row:
        """See View."""
        found = self._rows[at]
        assert found.part.lattice is not None
        if found.number < 0:
            hosts = sum(found.part.lattice.classes[one].captures for one in found.common.classes)
            return styled((f"{counted(hosts, 'host')}: {_words(found.common)}", "heading"))
        one = found.part.lattice.classes[found.number]
        price = f"gives up {len(found.lost)}" if found.lost else "gives up nothing"
        cpu = found.part.hosts[one.first].title
        return styled(
            f"{found.number + 1:>5} {counted(one.captures, 'host')}  ",
            (price, "changed" if found.lost else "good"),
            (f"  {cpu}", "quiet"),
        )

    def said(self, at: int) -> Iterator[Said]:
        """See View."""
        if not self._rows:
            yield Said("the best guest is looked for when it is known who can move where")
            return
        found = self._rows[at]
        assert found.part.lattice is not None
        common = found.common
        if found.number >= 0:
            one = found.part.lattice.classes[found.number]
            yield Said(f"class {found.number + 1}: {found.part.hosts[one.first].title}", "bold", 0)
            yield Said(f"gives up {len(found.lost)}" + (":" if found.lost else ""))
            yield Said(some(found.lost, most=_LOST), "", 4)
        yield Said(f"one guest for {counted(len(common.classes), 'class')}", "bold", 0)
        yield Said(f"class {some([str(one + 1) for one in common.classes], most=_CLASSES)}", "", 4)
        yield Said(_words(common), "green", 4)
        if common.unknown:
            yield Said(
                f"hangs on {some(common.unknown, most=_CLASSES)}, of which some record does not tell", "yellow", 4
            )

    def enter(self, at: int) -> View | None:
        """See View: the hosts of a class."""
        if not self._rows or self._rows[at].number < 0:
            return None
        found = self._rows[at]
        ids = found.part.host_ids(found.number)
        return HostsView(self.session, f"class {found.number + 1}", ids, part=found.part)

    def label(self, at: int) -> str:
        """See View: the words of the guest."""
        return self._rows[at].common.line if self._rows else ""

    def words(self) -> list[str]:
        """See View."""
        return self.fleet_words("baseline")


def _words(common: Common) -> str:
    return " ".join(filter(None, (common.model, *common.words))) or "no named model"


class ForecastView(View):
    """Who is pinned by an upgrade, the most guests first; an architecture begins with its numbers."""

    name = FORECAST
    title = "what an upgrade pins"

    def __init__(self, session: FleetSession) -> None:
        super().__init__(session)
        self._rows: list[tuple[Part, Pinned | None]] = []
        self.follow()

    def follow(self) -> None:
        """See View."""
        self._rows = []
        for part in self.session.parts:
            if part.forecast is not None:
                self._rows += [(part, None), *((part, one) for one in part.forecast.pinned)]
        upgrade = self.session.upgrade
        if upgrade is not None:
            self.title = f"what Linux {upgrade.kernel} on {' '.join(upgrade.hosts)} pins"

    @property
    def count(self) -> int:
        """See View."""
        return len(self._rows)

    def row(self, at: int) -> Row:
        """See View."""
        part, one = self._rows[at]
        if one is None:
            found = part.forecast
            assert found is not None
            pinned = sum(one.captures for one in found.pinned if one.gone)
            perhaps = sum(one.captures for one in found.pinned if not one.gone)
            words = f"{part.arch}: {pinned} of {counted(found.asked, 'guest')} pinned, {perhaps} perhaps"
            return styled((words, "heading"))
        more = f" and {one.captures - 1} more" if one.captures > 1 else ""
        sign, style = ("✗", "bad") if one.gone else ("?", "changed")
        return styled(
            (f"{sign} ", style), f"{one.name}{more}", (f"  {one.before} → {one.after}, {_WHEN[one.when]}", "quiet")
        )

    def said(self, at: int) -> Iterator[Said]:
        """See View."""
        if not self._rows:
            yield waiting(self.session, FORECAST)
            return
        part, one = self._rows[at]
        found = part.forecast
        assert found is not None
        if one is None:
            yield Said(f"Linux {found.kernel} on {counted(found.upgraded, 'host')} of {part.arch}", "bold", 0)
            yield Said("asked are guests that run now, and guests that are started anew there with all that is given")
            yield Said("pinned is who can go to fewer hosts afterwards than before", "dim")
            if found.guessed:
                yield Said(f"of {counted(found.guessed, 'host')} only what the older kernel showed is known", "yellow")
            return
        yield Said(f"guest of {one.name} that {_WHEN[one.when]}", "bold", 0)
        yield Said(f"taken by {counted(one.before, 'host')} before, by {one.after} after")
        for row in one.gone:
            yield from _gone_said("no more", row)
        for row in one.maybe:
            yield from _gone_said("perhaps no more", row)

    def label(self, at: int) -> str:
        """See View: the guest's name."""
        one = self._rows[at][1] if self._rows else None
        return one.name if one is not None else ""

    def words(self) -> list[str]:
        """See View."""
        return [*self.fleet_words("forecast"), *(self.session.upgrade.words if self.session.upgrade else [])]

    def has(self, at: int, text: str) -> bool:
        """A guest by name, or by what pins it."""
        one = self._rows[at][1]
        if one is None:
            return False
        blockers = (blocker for row in (*one.gone, *one.maybe) for blocker in row.blockers)
        return text in one.name.lower() or any(text in str(blocker).lower() for blocker in blockers)


def _gone_said(head: str, row: Gone) -> Iterator[Said]:
    yield Said(f"{head}: {some(row.hosts, row.captures - len(row.hosts), _NAMES)}", "bold red", 4)
    yield Said(reasons(row.blockers), "", 4)
