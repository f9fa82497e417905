"""Releases of Linux, and which profile answers for one: the same for every architecture.

A profile is what differs between versions, as data, read from one version's source. The architectures have their
own: ``layouts/x86/kernels.py`` and ``layouts/arm64/kernels.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from layouts.coming import COMING, NEXT
from layouts.light import Record, TypeVar

#: At most so many digits has a number of a release; where the number of a stable update stands.
_DIGITS, _THIRD = 4, 2
_RELEASE = r"\s*(?:Linux\s+)?(?:version\s+)?v?(\d{1,4})\.(\d{1,4})(?!\d)"

#: The release that is taken where none is named or captured: the newest of both architectures whose recorded
#: answers are replayed. A newer profile does not change it.
DEFAULT_RELEASE = "7.2"


class UnknownReleaseError(ValueError):
    """No profile answers for a release: it is no release, or older than the oldest profile."""

    def __init__(self, release: str, expected: str) -> None:
        self.release, self.expected = release, expected
        super().__init__(f"{release!r}: expected {expected}")


class Kernel(Record):
    """A Linux version.

    ``name`` is its major and minor number. ``since`` is the first release that it answers for: an older one of
    which it has the rules, else its own. ``version`` is the release whose source was read, with the package where
    it came in one; ``later`` what a stable update of it changed. ``answers_for`` is the release that was asked
    for, where that is another than the profile's. ``coming``: it was asked for as ``next``; what is not merged is told
    of (``layouts/coming.py``), and nothing of it is played.
    """

    name: str
    version: str
    since: str = ""
    package: str = ""
    later: str = ""
    answers_for: str = ""
    coming: bool = False

    @property
    def release(self) -> str:
        """What was asked for: another than ``name`` where that has no profile."""
        return self.answers_for or self.name

    @property
    def label(self) -> str:
        """The kernel in a line: ``6.12``, or ``6.12 for 6.14``."""
        if self.coming:
            return f"{self.name}, next is not merged"
        return f"{self.name} for {self.answers_for}" if self.answers_for else self.name

    @property
    def note(self) -> str:
        """What a user has to know of the choice; empty where the release has a profile of its own."""
        if self.coming:
            names = ", ".join(one.name for one in COMING)
            return f"{names}: not merged; Linux {self.name}, without them, answers (inspector layouts kernels next)"
        if not self.answers_for:
            return ""
        return f"Linux {self.answers_for} has no profile: Linux {self.name} answers for it"

    @property
    def title(self) -> str:
        """The kernel in a heading: ``Linux 6.12``, or ``Linux 6.12 for 6.14``."""
        return f"Linux {self.label}"

    @property
    def provenance(self) -> str:
        """The version whose source was read, and what is known to differ in its later updates."""
        package = f" ({self.package})" if self.package else ""
        return f"Linux {self.version}{package}" + (f"; {self.later}" if self.later else "")


Profile = TypeVar("Profile", bound=Kernel)


def release_numbers(release: str) -> tuple[int, int] | None:
    """Major and minor number of a release as ``uname -r`` or a capture has it; None where it is none.

    ``6.12-rc3``, ``6.12+``, ``Linux 6.12``, ``6.18.44-amd64`` and ``7.2.13+deb14-cloud-amd64`` are all read.
    """
    if not release:
        return None
    major, _, rest = release.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    if release.isascii() and all(number.isdecimal() and len(number) <= _DIGITS for number in (major, minor)):
        # As uname -r has it; re takes as long to import as a fifth of a start.
        return int(major), int(minor)
    import re

    found = re.match(_RELEASE, release, re.IGNORECASE | re.ASCII)
    return (int(found[1]), int(found[2])) if found else None


def update_number(release: str) -> int | None:
    """The number of the stable update that a release names third, as ``uname -r`` has it; None where it names none."""
    parts = release.split(".")
    if len(parts) <= _THIRD or not parts[1].isdecimal() or release_numbers(release) is None:
        return None
    number = parts[_THIRD][: len(parts[_THIRD]) - len(parts[_THIRD].lstrip("0123456789"))]
    return int(number) if number and len(number) <= _DIGITS else None


def spans_of(releases: Iterable[str], known: Iterable[str]) -> list[str]:
    """Releases in words, one text for each that have none between them: ``5.10 to 6.1``, ``6.12``.

    ``known`` are all that were asked, in their order; ``releases`` are some of them.
    """
    chosen = set(releases)
    runs: list[list[str]] = []
    is_next = False
    for name in known:
        if name in chosen:
            if not is_next:
                runs.append([])
            runs[-1].append(name)
        is_next = name in chosen
    return [run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]


def who_does(releases: Iterable[str], known: Iterable[str], does: str, do: str) -> str:
    """What some releases do: ``Linux 6.17 to 7.3 takes``, ``Linux 5.10 to 6.1 and 6.12 to 7.3 take``."""
    *spans, last = spans_of(releases, known)
    return f"Linux {', '.join(spans)} and {last} {do}" if spans else f"Linux {last} {does}"


def profile_among(profiles: Mapping[str, Profile], release: str) -> Profile:
    """The profile of a release: its own, or the newest that is not newer, with ``answers_for`` set.

    ``profiles`` are by name, oldest first; ``next`` is the newest of them. Raises UnknownReleaseError.
    """
    newest_first = list(reversed([*profiles]))
    if release == NEXT:
        return profiles[newest_first[0]].replaced(coming=True)
    numbers = release_numbers(release)
    if numbers is None:
        raise UnknownReleaseError(release, "a release of Linux (6.12, 7.2.13-amd64)")
    asked = f"{numbers[0]}.{numbers[1]}"
    if asked in profiles:
        return profiles[asked]
    for name in newest_first:
        kernel = profiles[name]
        if (release_numbers(kernel.since or name) or numbers) <= numbers:
            return kernel.replaced(answers_for=asked)
    raise UnknownReleaseError(release, f"Linux {kernel.since or name} or newer")
