"""Captured guests: which hosts take each, who refuses it and why. No toolkit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from inspector.export.fleet import blocked_by, counted, some
from inspector.export.words import styled
from inspector.fleet.checked import Checked, Refused
from inspector.fleet.relation import Blocker
from inspector.tui.fleet_asker import CHECK
from inspector.tui.fleet_hosts import FactsView
from inspector.tui.fleet_session import FleetSession, Part
from inspector.tui.fleet_view import PairWanted, Row, Said, View, reasons, waiting

_NAMES, _REASONS = 4, 24


class _Guest(NamedTuple):
    part: Part
    row: Checked
    in_the_way: frozenset[Blocker]

    @property
    def name(self) -> str:
        return self.part.guests[self.row.guest].name


class GuestsView(View):
    """Every distinct guest, those that most hosts refuse first."""

    name = CHECK
    title = "which guests cannot arrive"

    def __init__(self, session: FleetSession) -> None:
        super().__init__(session)
        self._guests: list[_Guest] = []
        self._blockers: dict[Blocker, str] = {}
        session.ask(CHECK)
        self.follow()

    def follow(self) -> None:
        """See View."""
        found = [
            _Guest(part, *one)
            for part in self.session.parts
            for one in zip(part.checked or (), part.in_the_way, strict=False)
        ]
        self._guests = sorted(found, key=lambda one: -_refusals(one.row))
        self._blockers = {blocker: str(blocker).lower() for one in found for blocker in one.in_the_way}

    @property
    def count(self) -> int:
        """See View."""
        return len(self._guests)

    def row(self, at: int) -> Row:
        """See View."""
        guest, row = self._guests[at], self._guests[at].row
        kept = guest.part.guests[row.guest]
        refused = _refusals(row)
        sign, style = ("✗", "bad") if refused else ("?", "changed") if row.open else ("✓", "good")
        more = f" and {kept.captures - 1} more" if kept.captures > 1 else ""
        words = f"  ✓ {row.takes}  ✗ {refused}" + (f"  ? {row.open}" if row.open else "")
        return styled((f"{sign} ", style), f"{kept.name}{more}", (words, "quiet"))

    def said(self, at: int) -> Iterator[Said]:
        """See View."""
        if not self._guests:
            is_answered = bool(self.session.parts) and all(part.checked is not None for part in self.session.parts)
            if not is_answered:
                yield waiting(self.session, CHECK)
                return
            yield Said("no guest was captured, only hosts: who can move where asks about guests with all of a host")
            return
        guest, row = self._guests[at], self._guests[at].row
        hosts = guest.part.hosts
        yield Said(f"guest of {guest.name}", "bold", 0)
        yield Said(f"taken by {counted(row.takes, 'host')}, refused by {_refusals(row)}")
        if row.open:
            yield Said(f"of {counted(row.open, 'host')} it is not known")
        for one in row.refused[:_REASONS]:
            names = [hosts[host].name for host in one.hosts]
            yield Said(f"✗ {some(names, one.captures - len(names), _NAMES)}", "bold red", 4)
            yield Said(f"  {reasons(one.blockers)}", "", 4)
        if len(row.refused) > _REASONS:
            yield Said(f"and {len(row.refused) - _REASONS} more reasons", "dim")
        if row.refused:
            yield Said("Enter lists the hosts that refuse it", "dim")

    def enter(self, at: int) -> View | None:
        """See View: the hosts that refuse it; of one that all take its facts."""
        if not self._guests:
            return None
        guest = self._guests[at]
        if guest.row.refused:
            return GuestView(self.session, guest.part, guest.row)
        return FactsView(self.session, guest.name, guest.part.guests[guest.row.guest])

    def label(self, at: int) -> str:
        """See View: the guest's name."""
        return self._guests[at].name if self._guests else ""

    def words(self) -> list[str]:
        """See View."""
        return self.fleet_words("check")

    def has(self, at: int, text: str) -> bool:
        """A guest by name, or by what is in its way."""
        guest = self._guests[at]
        return text in guest.name.lower() or any(text in self._blockers[one] for one in guest.in_the_way)


class GuestView(View):
    """The distinct hosts that refuse a guest, each with its reasons."""

    def __init__(self, session: FleetSession, part: Part, found: Checked) -> None:
        super().__init__(session)
        self._part = part
        self._guest = found.guest
        self._rows: list[tuple[int, Refused]] = [(host, one) for one in found.refused for host in one.hosts]
        self.title = f"guest of {part.guests[found.guest].name}: refused by {_refusals(found)}"

    @property
    def count(self) -> int:
        """See View."""
        return len(self._rows)

    def row(self, at: int) -> Row:
        """See View."""
        host, one = self._rows[at]
        kept = self._part.hosts[host]
        more = f" and {kept.captures - 1} more" if kept.captures > 1 else ""
        return styled(("✗ ", "bad"), f"{kept.name}{more}", (f"  {blocked_by(one.blockers)}", "quiet"))

    def said(self, at: int) -> Iterator[Said]:
        """See View."""
        host, one = self._rows[at]
        kept = self._part.hosts[host]
        yield Said(f"{some([kept.name], kept.captures - 1)} refuses the guest", "bold", 0)
        yield Said(kept.title, "", 4)
        yield from (Said(f"✗ {part}", "bold red", 4) for part in reasons(one.blockers).split("; "))
        yield Said("Enter asks for this move: every call, and what to change", "dim")

    def enter(self, at: int) -> PairWanted:
        """See View: the move."""
        return PairWanted(self._part, self._guest, self._rows[at][0])

    def label(self, at: int) -> str:
        """See View: the host's name."""
        return self._part.hosts[self._rows[at][0]].name

    def words(self) -> list[str]:
        """See View."""
        return self.fleet_words("check")


def _refusals(row: Checked) -> int:
    """How many captures of hosts refuse a guest."""
    return sum(one.captures for one in row.refused)
