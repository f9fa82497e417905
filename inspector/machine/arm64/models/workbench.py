"""A host, a model and properties over it: what comes of them, property by property. A value: a change is another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inspector.machine.arm64 import sve
from inspector.machine.arm64.captured import state_of_scratch
from inspector.machine.arm64.host import FEATURES_OF_SWITCH, Host
from inspector.machine.arm64.migrate import Migration, migrate
from inspector.machine.arm64.models.accepted import Accepted, Asker, accepted, properties_on
from inspector.machine.arm64.models.realize import Blocker, Realization, ask, realize
from inspector.machine.arm64.models.request import IDENTITY, Request, parse_words, request
from layouts.arm64.named_models import NamedModel, named_models
from layouts.arm64.properties import Property, text_in
from layouts.light import NamedTuple, cached_property


class PropertyRow(NamedTuple):
    """A property at each level: the host's value, the model's, the guest's, and what the host accepts."""

    entry: Property
    host: str
    model: str
    guest: str
    accepted: Accepted
    blockers: tuple[Blocker, ...]

    @property
    def name(self) -> str:
        """The property's name."""
        return self.entry.name

    @property
    def register(self) -> str:
        """The register of its first field."""
        return self.entry.places[0].register


class Setup(NamedTuple):
    """What is asked for: a model's name or empty for the host's own values, properties over it, SVE's interface."""

    model: str
    words: tuple[str, ...] = ()
    abi: str = "merged"


class Workbench:
    """A setup on a host, and what comes of it, computed when it is looked at. Nothing of it changes."""

    def __init__(
        self,
        host: Host,
        model: str = "",
        models: Mapping[str, NamedModel] | None = None,
        words: Sequence[str] = (),
        abi: str = "merged",
    ) -> None:
        self.host = host
        self.models = dict(models) if models is not None else dict(named_models())
        self.setup = Setup(model, tuple(words), abi)
        self._answers = _Answers(host)

    def _request(self, words: tuple[str, ...]) -> Request:
        model = self.models[self.setup.model] if self.setup.model else None
        return request(model, parse_words(words), self.host, self.models)

    @cached_property
    def made(self) -> Realization:
        """What comes of it."""
        return realize(self._request(self.setup.words), self.host, self.setup.abi)

    @property
    def verdict(self) -> str:
        """In a few words."""
        made = self.made
        if made.possible and made.open:
            return f"hangs on {len(made.open)} values that are not known of the host"
        return "usable" if made.usable else f"not usable, {len(made.blockers)} in the way"

    @cached_property
    def modelled(self) -> Request:
        """What the model asks for, without the properties over it."""
        return self._request(())

    # Others

    def with_word(self, word: str) -> Workbench:
        """With one more ``NAME=VALUE``; an earlier one of the name is replaced. Raises ValueError."""
        parse_words([word])
        name = word.partition("=")[0]
        kept = tuple(other for other in self.setup.words if other.partition("=")[0] != name)
        return self._with(self.setup._replace(words=(*kept, word)))

    def with_model(self, model: str) -> Workbench:
        """Another model, with the same properties over it; empty for the host's own values. Raises ValueError."""
        if model and model not in self.models:
            raise ValueError(f"{model}: expected {', '.join(self.models)}")
        return self._with(self.setup._replace(model=model))

    def with_abi(self, abi: str) -> Workbench:
        """SVE through the interface that was merged, or the one that was proposed. Raises ValueError."""
        if abi == "proposal" and self.host.is_live:
            raise ValueError(f"{self.host.name}: this machine's KVM has the merged interface")
        return self._with(self.setup._replace(abi=abi))

    def on(self, host: Host, known: Elsewhere | None = None) -> Elsewhere:
        """The same guest asked of another host; ``known`` asked it before, of another guest."""
        other = Elsewhere(self, host)
        if known is not None and known.host is host:
            other._answers = known._answers
        # As below.
        _ = other.made
        return other

    def _with(self, setup: Setup) -> Workbench:
        other = Workbench(self.host, setup.model, self.models, setup.words, setup.abi)
        other._answers = self._answers
        # What contradicts itself is told now.
        _ = other.made
        return other

    # What there is to see

    @cached_property
    def rows(self) -> list[PropertyRow]:
        """Every property of a register that the kernel has, register by register."""
        guest, model = self.made.request, self.modelled
        blockers: dict[object, list[Blocker]] = {}
        for blocker in self.made.blockers:
            blockers.setdefault(blocker.place, []).append(blocker)
        found = []
        for entry in properties_on(self.host):
            told = self._answers.of(entry, guest.features)
            of_row = tuple(blocker for place in entry.places for blocker in blockers.get(place, ()))
            texts = text_in(entry, model.registers), text_in(entry, guest.registers)
            found.append(PropertyRow(entry, told.host, *texts, told, of_row))
        return sorted(found, key=lambda row: (row.entry.places[0].encoding, -row.entry.places[0].lsb))

    def lengths(self) -> list[tuple[int, bool, bool]]:
        """SVE vector lengths in bytes: whether the host has it, and whether the guest does."""
        hosts, guests = self.host.sve_vqs, self.made.request.vqs
        has, asks = sve.lengths_bytes(hosts), sve.lengths_bytes(guests)
        return [
            (length, length in has, length in asks) for length in sve.lengths_bytes(hosts | guests | self.modelled.vqs)
        ]

    def switches(self) -> dict[str, tuple[bool, bool]]:
        """sve, pauth and pmu: whether the host supports it, and whether the guest has it."""
        features = self.made.request.features
        return {
            name: (not bits & ~self.host.features, features & bits == bits) for name, bits in FEATURES_OF_SWITCH.items()
        }


class Elsewhere(Workbench):
    """The guest of a workbench asked of another host, which is to take it as it is."""

    def __init__(self, first: Workbench, host: Host) -> None:
        super().__init__(host, first.setup.model, first.models, first.setup.words, first.setup.abi)
        self.first = first

    def _request(self, words: tuple[str, ...]) -> Request:
        return _asked_of(self.host, self.first._request(words))

    @cached_property
    def migration(self) -> Migration:
        """The guest, as the first host gives it, restored on this one."""
        first = self.first.made
        # A state has the merged interface's registers; migrate knows them by the other's names.
        vcpu, _ = ask(first.request, first.assumed)
        state = state_of_scratch(vcpu, f"{self.setup.model or 'host'} on {first.host.name}")
        return migrate(state, self.host, abi=self.setup.abi)


def _asked_of(host: Host, asked: Request) -> Request:
    """A request as another host is asked it: who the CPU is is that host's, unless properties name it.

    Registers that only one of the kernels has are in the way where the guest has something in them.
    """
    named = {place.encoding for place in asked.history}
    found = {
        encoding: host.limit(encoding, asked.features) if encoding in IDENTITY and encoding not in named else value
        for encoding, value in asked.registers.items()
        if value or encoding in named or encoding in host.kernel.registers
    }
    return asked._replace(registers=found)


class _Answers:
    """What a host accepts of each property: asked once, for all setups on it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._known: dict[tuple[str, int], Accepted] = {}
        self._asker: Asker | None = None

    def of(self, entry: Property, features: int) -> Accepted:
        """The values of a property, for a vCPU with these features."""
        key = (entry.name, features)
        if key not in self._known:
            if self._asker is None or self._asker.features != features & self.host.features:
                self._asker = Asker(self.host, features)
            self._known[key] = accepted(self._asker, entry)
        return self._known[key]
