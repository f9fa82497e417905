"""Which values of a property a host accepts: predicted from the kernel's safe values, and asked of a scratch vCPU."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.machine.arm64.host import Host
from inspector.machine.arm64.models.realize import refusal, scratch
from inspector.machine.arm64.models.request import IDENTITY
from inspector.machine.outcome import Outcome
from layouts.arm64.ids import sysreg_id
from layouts.arm64.properties import COMPOSITE, NUMERIC, Property, properties, value_text
from layouts.light import NamedTuple

#: Numbers in fields wider than this are not tried one by one.
_TRIED_BITS = 4


class Choice(NamedTuple):
    """A value of a property: what the prediction says against it (empty: nothing), and what KVM answered."""

    text: str
    numbers: tuple[int, ...]
    refusal: str
    outcome: Outcome

    @property
    def agree(self) -> bool:
        """Prediction and question give the same answer."""
        return self.outcome.accepted is not bool(self.refusal)


class Accepted(NamedTuple):
    """A property on a host: the host's own value, and every value with its answers."""

    entry: Property
    host: str
    choices: tuple[Choice, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """What KVM takes."""
        return tuple(choice.text for choice in self.choices if choice.outcome.accepted)

    @property
    def differences(self) -> tuple[Choice, ...]:
        """Values on which the two differ."""
        return tuple(choice for choice in self.choices if not choice.agree)


class Asker:
    """A scratch vCPU whose ID registers are tried, one after the other, and put back.

    It has those of the vCPU features that the host supports.
    """

    def __init__(self, host: Host, features: int) -> None:
        features &= host.features
        self.host = host
        self.features = features
        self.vcpu, _ = scratch(host, features, writable_imp=True)

    def ask(self, entry: Property, numbers: tuple[int, ...]) -> Outcome:
        """KVM_SET_ONE_REG of every register that the property sets; the first refusal, or the last answer."""
        before: dict[int, int] = {}
        outcome: Outcome | None = None
        for place, number in zip(entry.places, numbers, strict=True):
            current = self._get(place.encoding)
            before.setdefault(place.encoding, current)
            outcome = self._set(place.encoding, place.put(current, number))
            if not outcome.accepted:
                break
        for encoding, value in before.items():
            if self._get(encoding) != value:
                self._set(encoding, value)
        assert outcome is not None
        return outcome

    def _get(self, encoding: int) -> int:
        return int.from_bytes(self.vcpu.get(sysreg_id(encoding)).image, "little")

    def _set(self, encoding: int, value: int) -> Outcome:
        return self.vcpu.set(sysreg_id(encoding), value.to_bytes(8, "little"))


def accepted(asker: Asker, entry: Property) -> Accepted:
    """Every named value of a property, or every number of a small field; of a wide one only the host's."""
    host, features = asker.host, asker.features
    hosts = tuple(place.get(host.limit(place.encoding, features)) for place in entry.places)
    choices = []
    for numbers in _candidates(entry, hosts):
        reasons = [refusal(host, features, place, number) for place, number in zip(entry.places, numbers, strict=True)]
        why = next((reason for reason in reasons if reason), "")
        choices.append(Choice(value_text(entry, numbers), numbers, why, asker.ask(entry, numbers)))
    return Accepted(entry, value_text(entry, hosts), tuple(choices))


def _candidates(entry: Property, hosts: tuple[int, ...]) -> list[tuple[int, ...]]:
    if entry.kind != NUMERIC:
        named = list(entry.values.values())
        return named if hosts in named else [*named, hosts]
    width = entry.places[0].width
    return [(number,) for number in range(1 << width)] if width <= _TRIED_BITS else [hosts]


def guest_properties() -> Iterator[Property]:
    """Every property of one field or two, but those that name the CPU."""
    for entry in properties().values():
        if entry.kind != COMPOSITE and not any(place.encoding in IDENTITY for place in entry.places):
            yield entry


def properties_on(host: Host) -> Iterator[Property]:
    """Those whose registers the host's kernel has."""
    for entry in guest_properties():
        if all(place.encoding in host.kernel.registers for place in entry.places):
            yield entry


def on_host(host: Host, features: int) -> Iterator[Accepted]:
    """Every property of a host, with its answers."""
    asker = Asker(host, features)
    for entry in properties_on(host):
        yield accepted(asker, entry)
