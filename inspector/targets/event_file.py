"""Events as a file: one a line, ``#`` before what is no event, first where they happen and what they show.

    # The guest's kernel arms XFD
    host=sapphire-rapids kernel=7.2 policy=upstream
    arch_prctl REQ_XCOMP_GUEST_PERM 18
    KVM_CREATE_VCPU

What is not said of the place is as in a scenario that says nothing of it. ``to=`` names a further host, on arm64.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from inspector.capture.errors import InputError, UsageError
from inspector.machine.x86.world.events.linux import LINUX_EVENTS
from inspector.readers.doors import open_path, standard_input
from inspector.targets.place import FORM, Place, place_of
from layouts.scenario import Scenario

STANDARD_INPUT = "-"
#: More than any story has.
_MOST_BYTES, _MOST_EVENTS = 1 << 20, 10_000
_COMMENT, _TO = "#", "to="
#: How events begin, those of both architectures.
_BEGINNINGS = ("KVM_", "guest", "open", "exit", "preempt", "softirq", "return", *LINUX_EVENTS)


def is_event_file(word: str) -> bool:
    """The word is standard input, or written as a path or is one that is there."""
    return word == STANDARD_INPUT or os.sep in word or "." in word or os.path.isfile(word)


def scenario_of_file(path: str) -> Scenario:
    """The events of a file as a scenario. Raises InputError and UsageError."""
    title, place, others = "", Place(), []
    events: list[str] = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        words, _, comment = line.partition(_COMMENT)
        words = " ".join(words.split())
        if not words:
            title = title or comment.strip()
        elif "=" in words.split()[0]:
            if events or place != Place():
                raise InputError(f"{path}: line {number}", "the place once, before the first event", words)
            others = [word.removeprefix(_TO) for word in words.split() if word.startswith(_TO)]
            here = " ".join(word for word in words.split() if not word.startswith(_TO))
            place = _place(f"{path}: line {number}", here)
        elif not words.startswith(_BEGINNINGS) or len(events) == _MOST_EVENTS:
            raise InputError(
                f"{path}: line {number}",
                f"an event (inspector sim --help lists them), at most {_MOST_EVENTS} of them",
                words,
            )
        else:
            events.append(words)
    scenario = Scenario(path, title or f"The events of {path}", tuple(events), "")
    said = {name: value for name, value in place._asdict().items() if value}
    return scenario._replace(**said, destinations=tuple(others))


def file_text(scenario: Scenario, events: Sequence[str]) -> str:
    """Events as such a file."""
    place = Place(scenario.host, scenario.kernel, scenario.policy)
    where = " ".join([place.words, *(f"{_TO}{name}" for name in scenario.destinations)])
    return "\n".join([f"{_COMMENT} {scenario.title}", where, *events]) + "\n"


def _place(where: str, words: str) -> Place:
    try:
        return place_of(words)
    except UsageError as error:
        raise InputError(where, f"a place ({FORM})", f"{words} ({error})") from None


def _text(path: str) -> str:
    data = b""
    opened = standard_input() if path == STANDARD_INPUT else open_path(path)
    for chunk in opened.chunks(path):
        data += chunk
        if len(data) > _MOST_BYTES:
            raise InputError(path, f"a file of events, at most {_MOST_BYTES} bytes", "more")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(path, "a file of events: text", f"byte {data[error.start]:#x}", error.start) from None
