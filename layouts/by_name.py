"""Tables of which an entry is made when it is asked for: a command needs one host, one model, one kernel of many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from layouts.light import TypeVar

Entry = TypeVar("Entry")


class ByName(Mapping[str, Entry]):
    """Entries by name, in the order of the names. ``make`` makes each once."""

    def __init__(self, names: Iterable[str], make: Callable[[str], Entry]) -> None:
        self._made: dict[str, Entry | None] = dict.fromkeys(names)
        self._make = make

    def __getitem__(self, name: str) -> Entry:
        made = self._made[name]
        if made is None:
            made = self._made[name] = self._make(name)
        return made

    def __setitem__(self, name: str, entry: Entry) -> None:
        self._made[name] = entry

    def __contains__(self, name: object) -> bool:
        return name in self._made

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._made)

    def __len__(self) -> int:
        return len(self._made)
