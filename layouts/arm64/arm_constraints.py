"""What architecture features (FEAT_*) need of each other, by Arm's own constraints.

Data: ``data/constraints.txt``, facts from Arm's AARCHMRS. A feature that no captured register tells of is neither there
nor absent, and a constraint that hangs on one is not violated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from layouts.arm64.arm_features import conditions
from layouts.data import data_text
from layouts.light import cache

_WORD = re.compile(r"->|[()&|!]|\w+")


class Node(NamedTuple):
    """An expression: ``op`` is ``&``, ``|``, ``!`` or ``->`` over ``parts``, or empty for the feature ``name``."""

    op: str
    parts: tuple[Node, ...] = ()
    name: str = ""

    def value(self, features: Mapping[str, bool | None]) -> bool | None:
        """True, False, or None where features that nobody knows of decide."""
        if not self.op:
            return features.get(self.name)
        values = [part.value(features) for part in self.parts]
        if self.op == "!":
            return None if values[0] is None else not values[0]
        if self.op == "->":
            values[0] = None if values[0] is None else not values[0]
        decisive = self.op != "&"
        if decisive in values:
            return decisive
        return None if None in values else not decisive

    def names(self) -> frozenset[str]:
        """The features in it."""
        return frozenset((self.name,)) if not self.op else frozenset().union(*(part.names() for part in self.parts))


class Constraint(NamedTuple):
    """One line of the table."""

    text: str
    root: Node


@cache
def constraints() -> tuple[Constraint, ...]:
    """Every constraint, in the order of the table."""
    text = data_text("arm64/data/constraints.txt")
    return tuple(Constraint(line, _parsed(line)) for line in text.splitlines() if line and not line.startswith("#"))


def features_known(registers: Mapping[int, int]) -> dict[str, bool | None]:
    """Which features ID registers show, by encoding: there, absent, or None where what says it was not captured."""
    told: dict[str, list[bool | None]] = {}
    for condition in conditions():
        places = {term.place.encoding for terms in condition.alternatives for term in terms}
        known = condition.holds(registers) if places <= registers.keys() else None
        told.setdefault(condition.feature, []).append(known)
    found: dict[str, bool | None] = {
        feature: True if True in values else None if None in values else False for feature, values in told.items()
    }
    for condition in conditions():
        if condition.guard and found[condition.feature] and not found.get(condition.guard):
            others = [one for one in conditions() if one.feature == condition.feature and not one.guard]
            if not any(one.holds(registers) for one in others):
                found[condition.feature] = found.get(condition.guard)
    return found


def violated(registers: Mapping[int, int]) -> list[Constraint]:
    """The constraints that ID registers break."""
    features = features_known(registers)
    return [constraint for constraint in constraints() if constraint.root.value(features) is False]


def _parsed(text: str) -> Node:
    words = _WORD.findall(text)
    root = _chain(words)
    assert not words, text
    return root


def _chain(words: list[str]) -> Node:
    parts, op = [_one(words)], ""
    while words and words[0] in ("&", "|", "->"):
        assert op in ("", words[0])
        op = words.pop(0)
        parts.append(_one(words))
    return Node(op, tuple(parts)) if op else parts[0]


def _one(words: list[str]) -> Node:
    word = words.pop(0)
    if word == "!":
        return Node("!", (_one(words),))
    if word == "(":
        inner = _chain(words)
        assert words.pop(0) == ")"
        return inner
    return Node("", name=word)
