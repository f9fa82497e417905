"""Several hosts: the best values that all of them accept, and the best model that runs on all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from inspector.machine.arm64 import sve
from inspector.machine.arm64.host import AARCH32_TOO, FEATURES_OF_SWITCH, PMU_V3, PSCI_0_2, PTRAUTH, SVE, Host
from inspector.machine.arm64.id_limits import writable_fields
from inspector.machine.arm64.models.partial import is_switched_off
from inspector.machine.arm64.models.realize import Realization, realize, refusal
from inspector.machine.arm64.models.request import RESERVED, Request, Words, parse_words, request
from inspector.machine.arm64.policy import safe_value
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import AARCH64_IDS, CTR, PFR0
from layouts.arm64.kernels import FieldPolicy
from layouts.arm64.named_models import NamedModel, chain
from layouts.arm64.properties import (
    COMPOSITE,
    FieldPlace,
    field_places,
    numbers_in,
    properties,
    property_of,
    value_text,
)
from layouts.light import NamedTuple
from layouts.vocabulary import without


class Difference(NamedTuple):
    """A field for which no value runs on all hosts: its property, each host's value, and why the best is no."""

    name: str
    place: FieldPlace
    hosts: tuple[int, ...]
    why: str

    def __str__(self) -> str:
        values = ", ".join(map(str, self.hosts))
        return f"{self.name}: {self.place.register}.{self.place.name} is {values}; {self.why}"


class Baseline(NamedTuple):
    """The best registers for all hosts. ``words`` are the same as properties over a zero baseline."""

    registers: dict[int, int]
    features: int
    vqs: int
    words: tuple[str, ...]
    differences: tuple[Difference, ...]


def baseline(hosts: Sequence[Host]) -> Baseline:
    """Field by field the safe value of all hosts, with the vCPU features and vector lengths that all have."""
    features = PSCI_0_2 | SVE | PTRAUTH | PMU_V3
    for host in hosts:
        features &= host.features | PSCI_0_2
    vqs = common_vqs(hosts) if features & SVE else 0
    if not vqs:
        features &= ~SVE
    if _differing(hosts, features, properties()["pauth"].places):
        features &= ~PTRAUTH
    registers: dict[int, int] = {}
    differences: list[Difference] = []
    for place in field_places().values():
        if place.encoding in AARCH64_IDS or place.encoding == CTR:
            best, difference = _best(hosts, features, place)
            registers[place.encoding] = place.put(registers.get(place.encoding, 0), best)
            if difference is not None:
                differences.append(difference)
    registers[CTR] |= RESERVED[CTR]
    # A guest has neither EL3 nor, without KVM_ARM_VCPU_HAS_EL2, EL2: as kvm-base-v1, the models' root.
    registers[PFR0] = without(registers[PFR0], of.PFR0_EL2, of.PFR0_EL3)
    if not _same_aarch32(hosts, features) and of.PFR0_EL0.get(registers[PFR0]) == AARCH32_TOO:
        # Models say nothing about AArch32 registers, so they would stay each host's own.
        registers[PFR0] = of.PFR0_EL0.put(registers[PFR0], 1)
    return Baseline(registers, features, vqs, tuple(_words(registers, features, vqs)), tuple(differences))


def _same_aarch32(hosts: Sequence[Host], features: int) -> bool:
    """The AArch32 ID registers are the same on all hosts."""
    encodings = [encoding for encoding, register in hosts[0].kernel.registers.items() if register.aarch32]
    return all(len({host.limit(encoding, features) for host in hosts}) == 1 for encoding in encodings)


def common_vqs(hosts: Sequence[Host]) -> int:
    """The longest set of vector lengths that each host has exactly, up to its own largest."""
    common = hosts[0].sve_vqs
    for host in hosts:
        differing = common ^ host.sve_vqs
        common &= (differing & -differing) - 1
    return common


def _differing(hosts: Sequence[Host], features: int, places: Iterable[FieldPlace]) -> bool:
    return any(len({place.get(host.limit(place.encoding, features)) for host in hosts}) > 1 for place in places)


def _policy(hosts: Sequence[Host], place: FieldPlace) -> FieldPolicy | None:
    for host in hosts:
        for policy in (*writable_fields(host, place.encoding), *host.kernel.fields.get(place.encoding, ())):
            if policy.lsb == place.lsb:
                return policy
    return None


def _best(hosts: Sequence[Host], features: int, place: FieldPlace) -> tuple[int, Difference | None]:
    """The safe value of the hosts' limits; with what is in the way where a host does not accept it."""
    limits = [host.limit(place.encoding, features) for host in hosts]
    values = tuple(place.get(limit) for limit in limits)
    best, policy = values[0], _policy(hosts, place)
    if policy is not None:
        found = policy.get(limits[0])
        for limit in limits:
            if policy.get(limit) != found:
                found = safe_value(policy, policy.get(limit), found)
        best = place.get(found << place.lsb)
    for host in hosts:
        why = refusal(host, features, place, best)
        if why:
            return best, Difference(property_of(place), place, values, f"{host.name or 'a host'}: {why}")
    return best, None


def _words(registers: Mapping[int, int], features: int, vqs: int) -> list[str]:
    """``NAME=VALUE`` of everything that is not zero, switches last."""
    words = []
    for entry in (one for one in properties().values() if one.kind != COMPOSITE):
        numbers = numbers_in(entry, registers)
        if not any(numbers):
            continue
        if any(place.name == "SVE" and place.encoding == PFR0 for place in entry.places):
            continue
        if any(is_switched_off(place, features) for place in entry.places):
            continue
        if entry.values and numbers not in entry.values.values():
            words += [
                f"SYSREG_{place.register}_{place.name}={number}"
                for place, number in zip(entry.places, numbers, strict=True)
                if number
            ]
        else:
            words.append(f"{entry.name}={value_text(entry, numbers)}")
    words += [f"{name}={'on' if features & bits else 'off'}" for name, bits in FEATURES_OF_SWITCH.items()]
    return words + [f"sve{8 * length}=on" for length in sve.lengths_bytes(vqs)]


class Ranked(NamedTuple):
    """A model over several hosts, with switches: what came of it on each."""

    model: NamedModel
    words: tuple[str, ...]
    realizations: tuple[Realization, ...]

    @property
    def usable(self) -> bool:
        """It runs on all of them."""
        return all(realization.usable for realization in self.realizations)

    @property
    def possible(self) -> bool:
        """Nothing that is known of them is in the way."""
        return all(realization.possible for realization in self.realizations)

    @property
    def strength(self) -> int:
        """How much a guest gets: the sum of what its fields are above zero, and its vector lengths."""
        wanted: Request = self.realizations[0].request
        return sum(
            setting[-1].value
            for place, setting in wanted.history.items()
            if place.width <= 4 and setting[-1].value < 1 << (place.width - 1)
        ) + bin(wanted.vqs).count("1")

    @property
    def order(self) -> tuple[bool, bool, bool, int, str]:
        """Those that run everywhere first, those that likely do, those that may; the strongest of them first."""
        unlikely = any(entry.why for realization in self.realizations for entry in realization.open)
        return not self.usable, not self.possible, unlikely, -self.strength, self.model.name


def rank(models: Mapping[str, NamedModel], hosts: Sequence[Host], words: Words) -> list[Ranked]:
    """The realizable models, each with the switches with which it does best on all hosts."""
    found = []
    for model in models.values():
        if model.realizable:
            tried = []
            for switches in _switches(model, models, hosts):
                asked = words.over(parse_words(switches))
                made = tuple(realize(request(model, asked, host, dict(models)), host) for host in hosts)
                tried.append(Ranked(model, switches, made))
            found.append(min(tried, key=lambda entry: entry.order))
    return sorted(found, key=lambda entry: entry.order)


def _switches(model: NamedModel, models: Mapping[str, NamedModel], hosts: Sequence[Host]) -> list[tuple[str, ...]]:
    """What to try of a model: as it is, with common vector lengths only, without SVE; each with what else it names."""
    lineage = chain(model, models)
    lengths = {length for entry in lineage for length in entry.vl_bytes}
    tried: list[tuple[str, ...]] = [()]
    if lengths:
        common = set(sve.lengths_bytes(common_vqs(hosts)))
        if lengths & common not in (set(), lengths):
            tried.append(tuple(f"sve{8 * length}=off" for length in sorted(lengths - common)))
        tried.append(("sve=off",))
    for switch in ("pauth", "pmu"):
        if any(value.switch == switch for entry in lineage for value in entry.values):
            tried += [(*words, f"{switch}=on") for words in tried]
    return tried
