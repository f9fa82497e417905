"""The hosts of a class by name, however many: a page is read when it is on screen; and the facts of one. No toolkit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inspector.export.fleet import counted
from inspector.export.fleet_facts import Fact, facts_of
from inspector.export.words import styled
from inspector.fleet.store import Named
from inspector.targets.kept import word_of
from inspector.tui.fleet_asker import Known
from inspector.tui.fleet_session import FleetSession, Part
from inspector.tui.fleet_view import Row, Said, View

#: Names of a page, and pages that are kept.
_PAGE, _PAGES = 128, 16


class HostsView(View):
    """The names of some distinct hosts, one host after the other. ``wanted``: begin at a name with this text."""

    def __init__(
        self, session: FleetSession, title: str, ids: Sequence[int], wanted: str = "", part: Part | None = None
    ) -> None:
        super().__init__(session)
        self._store = session.require_names()
        self._part = part
        known = {kept.id: kept for kept in session.hosts}
        self._hosts = [known[one] for one in ids]
        self._pages: dict[tuple[int, int], list[Named]] = {}
        self._wanted = wanted
        self.title = f"{title}: {counted(self.count, 'host')}"

    @property
    def count(self) -> int:
        """See View."""
        return sum(kept.captures for kept in self._hosts)

    def _at(self, at: int) -> tuple[Known, int]:
        """The distinct host of a line, and the place among its names."""
        for kept in self._hosts:
            if at < kept.captures:
                return kept, at
            at -= kept.captures
        raise IndexError(at)

    def named(self, at: int) -> tuple[Known, Named]:
        """The distinct host and the capture of a line."""
        kept, place = self._at(at)
        page = kept.id, place // _PAGE
        if page not in self._pages:
            while len(self._pages) >= _PAGES:
                del self._pages[next(iter(self._pages))]
            self._pages[page] = self._store.page_of(kept.id, page[1] * _PAGE, _PAGE)
        return kept, self._pages[page][place % _PAGE]

    def first(self) -> int:
        """See View."""
        found = self.find(self._wanted, 0, 1) if self._wanted else None
        return found or 0

    def row(self, at: int) -> Row:
        """See View."""
        _, named = self.named(at)
        return styled(named.name, (f"  {named.kernel or 'kernel not told'}", "quiet"))

    def said(self, at: int) -> Iterator[Said]:
        """See View."""
        kept, named = self.named(at)
        yield Said(named.name, "bold", 0)
        yield Said(kept.title)
        yield Said(f"kernel {named.kernel or 'not told'}")
        yield Said(f"captured {named.time or 'at a time that nobody told'}, from {named.target}", "", 4)
        yield Said(f"{counted(kept.captures, 'host')} with these facts, {kept.digest}", "", 4)
        if self._part is not None and (place := self._place(kept)):
            yield Said(place)
        yield Said("a guest was captured on it" if named.guest else "no guest was captured on it", "dim")
        yield Said("Enter shows what is known of it", "dim")

    def _place(self, kept: Known) -> str:
        assert self._part is not None
        numbers = {one.id: number for number, one in enumerate(self._part.hosts)}
        number = self._part.class_of.get(numbers.get(kept.id, -1))
        return f"class {number + 1} of pool {self._part.pool_of[number] + 1}" if number is not None else ""

    def enter(self, at: int) -> View:
        """See View: its facts."""
        kept, named = self.named(at)
        return FactsView(self.session, named.name, kept, named)

    def label(self, at: int) -> str:
        """See View: the name."""
        return self.named(at)[1].name

    def words(self) -> list[str]:
        """See View."""
        return self.fleet_words("lattice")

    def has(self, at: int, text: str) -> bool:
        """A name has a text."""
        return text in self.named(at)[1].name.lower()

    def find(self, text: str, start: int, by: int) -> int | None:
        """See View: the store looks."""
        count = len(self._hosts)
        try:
            here, place = self._at(start)
        except IndexError:
            return None
        begin = next(number for number, kept in enumerate(self._hosts) if kept is here)
        for step in range(count + 1):
            number = (begin + by * step) % count
            kept = self._hosts[number]
            at = place if not step else 0 if by > 0 else kept.captures - 1
            found = self._store.next_of(kept.id, text, at, by)
            if found is not None:
                return sum(one.captures for one in self._hosts[:number]) + found
        return None


class FactsView(View):
    """What is known of one host, or of a guest."""

    def __init__(self, session: FleetSession, name: str, kept: Known, named: Named | None = None) -> None:
        super().__init__(session)
        self._kept = kept
        self._named = named
        self._facts: list[Fact] = facts_of(session.facts_of(kept))
        self.title = f"{name}: {kept.title}"

    @property
    def count(self) -> int:
        """See View."""
        return len(self._facts)

    def row(self, at: int) -> Row:
        """See View."""
        fact = self._facts[at]
        if not fact.value:
            return styled((fact.name, "heading"))
        return styled(f"  {fact.name:<14} {fact.value}", (f"  {', '.join(fact.more)}" if fact.more else "", "quiet"))

    def said(self, at: int) -> Iterator[Said]:
        """See View."""
        fact = self._facts[at]
        yield Said(f"{fact.name} {fact.value}".strip(), "bold", 0)
        yield from (Said(one, "", 4) for one in fact.more)
        yield Said(f"{counted(self._kept.captures, 'capture')} with these facts, {self._kept.digest}", "dim", 4)

    def label(self, at: int) -> str:
        """See View: the value."""
        return self._facts[at].value or self._facts[at].name

    def words(self) -> list[str]:
        """See View: the capture; what is kept of it, where it was a line of something else."""
        if self._named is None:
            return self.fleet_words("odd")
        target = self._named.target
        is_line = target.rpartition(":")[2].isdecimal()
        return ["show", word_of(self.session.path, self._named.name) if is_line else target]
