"""What is remembered between runs, in one file: theme, element types, last places, recent targets. docs/guide.md tells.

The file is no promise: a run that cannot read or write it is as the first one. Numbers are bounded, so that it stays
small.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

#: Switches it off for a run, as ``--no-state`` does.
OFF = "INSPECTOR_NO_STATE"
_MOST_BYTES = 1 << 20
_MOST_RECENT, _MOST_PLACES = 20, 200
#: A path or a word that is longer is not kept.
_MOST_LETTERS = 1024


class Place(NamedTuple):
    """Where one was in a capture: the path of a field, and the vCPU's number (-1: the process)."""

    path: str
    vcpu: int


@dataclass
class State:
    """What is kept. ``elements`` is by the kind of a register, ``places`` by the absolute path of a file."""

    theme: str = ""
    has_seen_hint: bool = False
    elements: dict[str, str] = field(default_factory=dict)
    #: Targets as they are opened again, the last one first.
    recent: list[str] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)

    def opened(self, target: str) -> None:
        """A target has been opened."""
        word = absolute(target)
        if word != "-" and _is_word(word):
            self.recent = [word, *(other for other in self.recent if other != word)][:_MOST_RECENT]

    def left(self, target: str, place: Place) -> None:
        """A target has been left at a place."""
        word = absolute(target)
        if word != "-" and _is_word(word) and _is_word(place.path):
            self.places = dict([*((k, v) for k, v in self.places.items() if k != word), (word, place)][-_MOST_PLACES:])

    def place_in(self, target: str) -> Place | None:
        """Where one was in a target, if one was there."""
        return self.places.get(absolute(target))


def absolute(target: str) -> str:
    """A target as it is opened from any folder: a file by its whole path, other words as they are."""
    return os.path.abspath(target) if target != "-" and os.path.lexists(target) else target


def is_off() -> bool:
    """Nothing is to be remembered: the environment says so."""
    return os.environ.get(OFF, "") not in ("", "0")


def state_file() -> Path:
    """In the system's folder for state: below ``$XDG_STATE_HOME``, or ``~/.local/state``, where XDG says so."""
    from platformdirs import user_state_path

    return user_state_path("inspector", appauthor=False) / "state.json"


def nothing() -> State:
    """Where nothing is remembered: no run is the first one."""
    return State(has_seen_hint=True)


def load() -> State:
    """What the last run has left; what is damaged is left out."""
    if is_off():
        return nothing()
    try:
        with state_file().open("rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return State()
    return _state_of(found) if isinstance(found, dict) else State()


def _state_of(found: dict[str, object]) -> State:
    theme, recent = found.get("theme"), found.get("recent")
    elements, places = found.get("elements"), found.get("places")
    return State(
        theme if isinstance(theme, str) else "",
        found.get("has_seen_hint") is True,
        {kind: name for kind, name in _items(elements) if isinstance(name, str)},
        [word for word in recent if _is_word(word)][:_MOST_RECENT] if isinstance(recent, list) else [],
        {word: place for word, value in _items(places)[-_MOST_PLACES:] if (place := _place_of(value)) is not None},
    )


def _items(found: object) -> list[tuple[str, object]]:
    return list(found.items()) if isinstance(found, dict) else []


def _place_of(found: object) -> Place | None:
    match found:
        case [str(path), int(vcpu)] if _is_word(path) and not isinstance(vcpu, bool):
            return Place(path, vcpu)
    return None


def _is_word(word: object) -> bool:
    """A text that can be opened or gone to again: printable, and no longer than one is."""
    return isinstance(word, str) and word.isprintable() and 0 < len(word) <= _MOST_LETTERS


def save(state: State) -> None:
    """Keep it for the next run, the file whole or as it was; what another run has kept meanwhile stays too."""
    if is_off():
        return
    other = load()
    recent = [*state.recent, *(word for word in other.recent if word not in state.recent)]
    kept = {
        "theme": state.theme,
        "has_seen_hint": state.has_seen_hint or other.has_seen_hint,
        "elements": {**other.elements, **state.elements},
        "recent": recent[:_MOST_RECENT],
        "places": dict([*{**other.places, **state.places}.items()][-_MOST_PLACES:]),
    }
    path = state_file()
    new = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            new.write_text(f"{json.dumps(kept, indent=1)}\n", "ascii")
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
