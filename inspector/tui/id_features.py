"""A feature of Arm's (FEAT_) in the ID-register lab: which fields carry it, what it needs, what is violated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.text import Text

from inspector.tui.id_lab_session import IdLabSession
from inspector.tui.widgets.outcome_pane import hanging
from layouts.arm64.arm_constraints import Constraint, constraints, features_known
from layouts.arm64.arm_features import Condition, Term, conditions, feature_words

_SIGNS = {True: "✓", False: "✗", None: "?"}


class _Sides:
    """The registers of the guest and of each host, and which features they show."""

    def __init__(self, session: IdLabSession) -> None:
        request = session.bench.made.request
        self.registers: dict[str, Mapping[int, int]] = {"guest": request.registers}
        for host, bench in session.benches.items():
            name = f"host {host}" if session.other is not None else "host"
            known = bench.host.kernel.registers
            self.registers[name] = {at: bench.host.limit(at, request.features) for at in known}
        self.features = {name: features_known(registers) for name, registers in self.registers.items()}

    def of(self, feature: str) -> str:
        """Whether each has a feature, in signs."""
        return "  ".join(f"{_SIGNS[known.get(feature)]} {name}" for name, known in self.features.items())


def feature_text(session: IdLabSession, feature: str, width: int) -> Text:
    """The feature on the guest and the hosts, its fields, its property, and Arm's constraints on it."""
    sides = _Sides(session)
    text = Text(f"{feature}  {sides.of(feature)}\n", "bold")
    for one in conditions():
        if one.feature == feature:
            for line in _shown_by(one, sides):
                text.append("  " + hanging(line, width, 4))
    try:
        text.append("  " + hanging(f":{feature}=on sets {' '.join(feature_words(feature, 'on'))}", width, 4), "dim")
    except ValueError as error:
        text.append("  " + hanging(str(error), width, 4), "dim")
    tied = [one for one in constraints() if feature in one.root.names()]
    _tied_text(text, "implies", [one for one in tied if _implies(one, feature)], sides, width)
    _tied_text(text, "tied to it", [one for one in tied if not _implies(one, feature)], sides, width)
    return text.append("  Arm AARCHMRS, Features.json\n", "dim")


def _shown_by(one: Condition, sides: _Sides) -> Iterator[str]:
    for terms in one.alternatives:
        words = " and ".join(_term(term, sides) for term in terms)
        yield f"shown by {words}" + (f", with {one.guard}" if one.guard else "")


def _term(term: Term, sides: _Sides) -> str:
    values = ", ".join(
        f"{name} {term.place.get(registers.get(term.place.encoding, 0))}" for name, registers in sides.registers.items()
    )
    return f"{term.place.register}.{term.place.name} {term.comparison} {term.number} ({values})"


def _implies(one: Constraint, feature: str) -> bool:
    return one.root.op == "->" and one.root.parts[0].name == feature


def _tied_text(text: Text, title: str, tied: list[Constraint], sides: _Sides, width: int) -> None:
    """Constraints, those that the guest breaks first."""
    if not tied:
        return
    guest = sides.features["guest"]
    text.append(f"{title}\n", "bold")
    for one in sorted(tied, key=lambda one: one.root.value(guest) is not False):
        broken = one.root.value(guest) is False
        text.append("  ✗ " if broken else "    ", "bold red")
        text.append(hanging(f"{one.text}{': the guest breaks it' if broken else ''}", width, 4))
