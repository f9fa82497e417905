"""Which guest may go to which host, for all pairs of some guests and hosts: the same verdicts as ``migrate``, at once.

What is asked is what all VMMs have in common: whether the guest keeps what it has (x86), whether every call is
accepted (arm64). ``tests/fleet/test_relation.py`` asks ``migrate`` for every pair and compares.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

Answer = Literal["yes", "open", "no"]


class Blocker(NamedTuple):
    """A bit or field in the way: where (``CPUID.7.0.EBX[16]``), its name, and how two values of it go together."""

    where: str
    name: str
    rule: str

    def __str__(self) -> str:
        return f"{self.name} ({self.where})" if self.name != self.where else self.where


class Pair(NamedTuple):
    """A guest and a host. ``key`` stands for what is in the way, or for what the answer hangs on."""

    answer: Answer
    key: object = None


class Relation(Protocol):
    """Guests and hosts of one architecture, by number."""

    @property
    def guests(self) -> Sequence[str]:
        """Their names."""
        ...

    @property
    def hosts(self) -> Sequence[str]:
        """Their names."""
        ...

    def pair(self, guest: int, host: int) -> Pair:
        """The verdict on a guest and a host."""
        ...

    def blockers(self, key: object) -> tuple[Blocker, ...]:
        """What a pair's ``key`` stands for."""
        ...

    def same(self, host: int) -> object:
        """Hosts of which this is equal take the same guests and give the same."""
        ...


class Verdicts:
    """Every pair of a relation, asked once for each distinct guest and distinct host."""

    def __init__(self, relation: Relation, progress: Callable[[int, int], None] | None = None) -> None:
        self.relation = relation
        hosts = range(len(relation.hosts))
        self.pairs: list[list[Pair]] = []
        for guest in range(len(relation.guests)):
            self.pairs.append([relation.pair(guest, host) for host in hosts])
            if progress is not None:
                progress(guest + 1, len(relation.guests))
        self._named: dict[object, tuple[Blocker, ...]] = {}

    def __getitem__(self, pair: tuple[int, int]) -> Pair:
        return self.pair(*pair)

    def pair(self, guest: int, host: int) -> Pair:
        """The verdict on a guest and a host."""
        return self.pairs[guest][host]

    def blockers(self, pair: Pair) -> tuple[Blocker, ...]:
        """What is in the way, or what the answer hangs on; empty for yes."""
        if pair.key is None:
            return ()
        found = self._named.get(pair.key)
        if found is None:
            found = self._named[pair.key] = self.relation.blockers(pair.key)
        return found

    def told(self) -> ToldVerdicts:
        """The same without the relation: every pair's reasons are named."""
        numbers: dict[object, int] = {None: 0}
        reasons: list[tuple[Blocker, ...]] = [()]
        answers, keys = bytearray(), array("L")
        for pair in (pair for row in self.pairs for pair in row):
            number = numbers.setdefault(pair.key, len(reasons))
            if number == len(reasons):
                reasons.append(self.blockers(pair))
            answers.append(_ANSWERS.index(pair.answer))
            keys.append(number)
        return ToldVerdicts(len(self.relation.hosts), bytes(answers), keys, reasons)


_ANSWERS: tuple[Answer, ...] = ("yes", "open", "no")


class ToldVerdicts(NamedTuple):
    """Verdicts in so little room that they go from a process to another: a byte and a number a pair.

    ``keys`` are numbers of ``reasons``, a guest's pairs with all ``hosts`` after the one's before.
    """

    hosts: int
    answers: bytes
    keys: array[int]
    reasons: list[tuple[Blocker, ...]]

    def pair(self, guest: int, host: int) -> Pair:
        """See Verdicts."""
        at = guest * self.hosts + host
        return Pair(_ANSWERS[self.answers[at]], self.keys[at])

    def blockers(self, pair: Pair) -> tuple[Blocker, ...]:
        """See Verdicts."""
        return self.reasons[pair.key] if isinstance(pair.key, int) else ()

    def told(self) -> ToldVerdicts:
        """See Verdicts."""
        return self
