"""What the ID-register lab works on: setups that can be taken back and made again, and the lines that show one.

Toolkit-free, so that it can be tested without a screen.
"""

from __future__ import annotations

import shlex
from functools import cache
from typing import NamedTuple

from inspector.capture.errors import InspectorError
from inspector.capture.model import Capture
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.models.workbench import Elsewhere, PropertyRow, Workbench
from inspector.machine.arm64.world.world import Arm64World
from inspector.readers.options import NO_OPTIONS
from inspector.targets.kernels import split
from inspector.targets.labs import Arm64Lab
from inspector.targets.schemes import host_of
from inspector.tui.id_lines import A, B, GuestLines, Line, Toggle, name_of
from layouts.arm64.arm_features import conditions
from layouts.arm64.named_models import SWITCHES
from layouts.arm64.properties import properties
from layouts.scenario import Scenario

ABIS = ("merged", "proposal")


class Place(NamedTuple):
    """A setup on a host, and the same guest asked of a second one, which ``word`` names."""

    bench: Workbench
    other: Elsewhere | None = None
    word: str = ""


class IdLabSession(GuestLines):
    """A guest that is asked for on a host, or on two. Every change is another :class:`Place`; undo goes back exactly.

    ``word`` is what names the host, its name where
    nothing else does; ``second_word`` the second one. ``has_command``: the words make the hosts again.
    """

    def __init__(
        self,
        bench: Workbench,
        second: Host | None = None,
        word: str = "",
        second_word: str = "",
        *,
        has_command: bool = True,
    ) -> None:
        super().__init__()
        self.word = word
        self.has_command = has_command
        self._place = Place(bench, bench.on(second) if second is not None else None, second_word)
        self._before: list[Place] = []
        self._undone: list[Place] = []
        self._show()

    @property
    def bench(self) -> Workbench:
        """The guest on its host."""
        return self._place.bench

    @property
    def other(self) -> Elsewhere | None:
        """The guest on the second host, where there is one."""
        return self._place.other

    @property
    def benches(self) -> dict[str, Workbench]:
        """The guest on each host, by what the host is called."""
        return {A: self.bench} if self.other is None else {A: self.bench, B: self.other}

    # Changes: each says what is wrong, or nothing

    def set(self, word: str) -> str:
        """One more ``NAME=VALUE``."""
        try:
            return self._go_on(self.bench.with_word(word))
        except ValueError as error:
            return str(error)

    def choose(self, model: str) -> str:
        """Another model; ``-`` and ``host`` are the host's own values."""
        try:
            return self._go_on(self.bench.with_model("" if model in ("-", "host") else model))
        except ValueError as error:
            return str(error)

    def choose_abi(self, abi: str) -> str:
        """SVE through the interface that was merged, or the one that was proposed."""
        try:
            return self._go_on(self.bench.with_abi(abi))
        except ValueError as error:
            return str(error)

    def start_with(self, abi: str) -> str:
        """The interface that the lab begins with: nothing that undo takes back."""
        wrong = self.choose_abi(abi)
        self._before.clear()
        return wrong

    def step_abi(self) -> str:
        """The other one of SVE's interfaces."""
        return self.choose_abi(ABIS[1 - ABIS.index(self.bench.setup.abi)])

    def choose_second(self, word: str) -> str:
        """Another second host, by its word; ``@RELEASE`` alone is another kernel of the same; empty: none."""
        if word.startswith("@") and self.other is not None:
            word = f"{split(self._place.word or self.other.host.name)[0]}{word}"
        try:
            other = self.bench.on(host_of(word, "arm64", "", NO_OPTIONS)) if word else None
        except InspectorError as error:
            return str(error)
        return self._go_to(Place(self.bench, other, word))

    def set_on(self, line: Line, text: str) -> str:
        """What was typed on a line: ``NAME=VALUE``, or a value alone for the line's property."""
        name = name_of(line)
        return self.set(text if "=" in text or not name else f"{name}={text}")

    def step(self, line: Line, by: int) -> str:
        """The next of all named values, accepted or not; a switch or a length on or off."""
        if isinstance(line, PropertyRow):
            return self._step([choice.text for choice in line.accepted.choices], line, by)
        return self.accept(line)

    def accept(self, line: Line) -> str:
        """The next value that the host accepts; a switch or a length on or off."""
        if isinstance(line, PropertyRow):
            return self._step(self.accepted(line), line, 1)
        return self.set(f"{line.name}={'off' if line.guest else 'on'}") if isinstance(line, Toggle) else ""

    def _step(self, values: list[str], row: PropertyRow, by: int) -> str:
        if not values or values == [row.guest]:
            who = "the hosts accept" if self.other is not None else "this host accepts"
            return f"{row.name}: {who} no other value; → tries one nevertheless"
        at = values.index(row.guest) + by if row.guest in values else 0
        return self.set(f"{row.name}={values[at % len(values)]}")

    def undo(self) -> str:
        """Take the last change back."""
        if not self._before:
            return "nothing to undo"
        self._undone.append(self._place)
        self._place = self._before.pop()
        return self._show()

    def redo(self) -> str:
        """Make it again."""
        if not self._undone:
            return "nothing to redo"
        self._before.append(self._place)
        self._place = self._undone.pop()
        return self._show()

    def _go_on(self, bench: Workbench) -> str:
        other = self.other
        return self._go_to(
            self._place._replace(bench=bench, other=bench.on(other.host, other) if other is not None else None)
        )

    def _go_to(self, place: Place) -> str:
        self._before.append(self._place)
        self._undone.clear()
        self._place = place
        return self._show()

    # What there is to see

    def show_all(self) -> None:
        """All properties, or only those that can have another value."""
        self.settable = not self.settable
        self._show()

    def _show(self) -> str:
        self.show(self.benches)
        return ""

    # Taking away

    @property
    def name(self) -> str:
        """What the guest is called."""
        return self.bench.setup.model or "host"

    def command(self) -> str:
        """The command that shows the same; empty where there is none."""
        if not self.has_command:
            return ""
        words = ["inspector", "models", "check", self.name, *self.bench.setup.words]
        for host in self.host_words():
            words += ["--host", host]
        return shlex.join(words)

    def world(self) -> Arm64Lab:
        """The lab of a world with the same hosts: what is to come makes this guest."""
        setup = self.bench.setup
        asked = ",".join((f"model:{setup.model}", *setup.words)) if setup.model else "PSCI_0_2"
        events = ["KVM_CREATE_VM", "KVM_CREATE_VCPU", f"KVM_ARM_VCPU_INIT {asked}"]
        events += [f"KVM_SET_ONE_REG {asked}"] if setup.model else []
        (name, release), *others = (split(word) for word in self.host_words())
        scenario = Scenario(
            "new",
            f"{self.name} on {name}, played",
            tuple(events),
            "",
            host=name,
            kernel=release or self.bench.host.kernel.release,
            policy=setup.abi,
            architecture="arm64",
            destinations=tuple("@".join(filter(None, one)) for one in others),
        )
        return Arm64Lab(Arm64World([bench.host for bench in self.benches.values()], setup.abi), scenario)

    def host_words(self) -> list[str]:
        """The words of the hosts, each with its kernel."""
        told = zip(self.benches.values(), (self.word, self._place.word), strict=False)
        return [word or f"{bench.host.name}@{bench.host.kernel.release}" for bench, word in told]

    @property
    def second_word(self) -> str:
        """What names the second host; empty where there is none."""
        return self._place.word

    def title(self) -> str:
        """The guest, the hosts, and how much is in the way on each."""
        setup = self.bench.setup
        words = [setup.model or "-cpu host"]
        for name, bench in self.benches.items():
            where, verdict = [bench.host.name, bench.host.kernel.title], bench.verdict.removeprefix("not usable, ")
            if self.other is None:
                words += [*where, verdict]
            else:
                words.append(f"{name} {'@'.join(where).replace('@Linux ', '@')}: {_brief(bench)}")
        return " · ".join([*words, *(["SVE as proposed"] if setup.abi != "merged" else [])])

    def completed(self, text: str) -> list[str]:
        """What a property that is being typed can become: its name, a feature's, and then a value."""
        name, equals, value = text.partition("=")
        if not equals:
            return [f"{one}=" for one in _settable_names() if one.lower().startswith(name.lower())]
        entry = properties().get(name)
        values = list(entry.values) if entry is not None else ["on", "off"]
        return [f"{name}={one}" for one in values if one.startswith(value)]

    def features_completed(self, text: str) -> list[str]:
        """What the name of a feature that is being typed can become, with or without ``FEAT_``."""
        bare = text if text.lower().startswith("feat_") else f"FEAT_{text}"
        features = dict.fromkeys(one.feature for one in conditions())
        return [name for name in features if name.lower().startswith(bare.lower())]

    def capture(self) -> Capture:
        """The guest's registers."""
        from inspector.targets.models import capture_of_bench

        return capture_of_bench(self.bench)


def _brief(bench: Workbench) -> str:
    """The verdict in a word or two."""
    made = bench.made
    if not made.possible:
        return f"{len(made.blockers)} in the way"
    return f"hangs on {len(made.open)}" if made.open else "usable"


@cache
def _settable_names() -> tuple[str, ...]:
    """Properties of one field or two, switches, and Arm's features."""
    names = [name for name, entry in properties().items() if len(entry.places) <= 2 or name in SWITCHES]
    return (*names, *dict.fromkeys(one.feature for one in conditions()))
