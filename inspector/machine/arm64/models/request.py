"""What is asked for: a model or the host itself, and a user's properties over it, in their order of precedence.

Lowest first: zero or the host's values; parents from the root down; the model; ``SYSREG_`` properties;
``feat_`` and other properties of one field or two; the switches sve, pauth and pmu.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inspector.machine.arm64 import sve
from inspector.machine.arm64.host import AARCH32_TOO, FEATURES_OF_SWITCH, PSCI_0_2, Host
from inspector.machine.events import digits
from layouts.arm64 import id_fields as of
from layouts.arm64.arm_features import feature_words
from layouts.arm64.ids import AARCH64_IDS, AIDR, CTR, DFR0_AARCH32, MIDR, PFR0, REVIDR
from layouts.arm64.named_models import SWITCHES, NamedModel, chain
from layouts.arm64.properties import FieldPlace, assign, properties
from layouts.light import NamedTuple

#: Registers that say which CPU it is: the host's, unless properties name them.
IDENTITY = (MIDR, REVIDR, AIDR)
#: CTR_EL0 bit 31 is RES1; ID_DFR0_EL1.CopDbg cannot be below Armv8's.
RESERVED = {CTR: 1 << 31, DFR0_AARCH32: 6}
#: Switches of one vector length: ``sve512``.
_LENGTH, _LENGTHS_BITS = "sve", range(128, 2048 + 1, 128)


class Setting(NamedTuple):
    """A field got a value: by whom (a baseline, a model, a user's property), and from which source."""

    value: int
    origin: str
    name: str
    source: str = ""
    verified: bool = True


class Conflict(NamedTuple):
    """Two of the user's properties want different values of a field; the later one of the precedence wins."""

    place: FieldPlace
    wins: str
    loses: str

    def __str__(self) -> str:
        return f"{self.wins} overrides {self.loses} in {self.place.register}.{self.place.name}"


class Request(NamedTuple):
    """The registers that are wanted, by encoding, and how each field came to its value, first to last.

    ``features`` are the vCPU's, ``vqs`` has bit vq-1 set for each vector length. Without ``has_model`` the
    host's own values are the baseline.
    """

    registers: dict[int, int]
    history: dict[FieldPlace, list[Setting]]
    features: int
    vqs: int
    conflicts: tuple[Conflict, ...]
    has_model: bool

    def last(self, place: FieldPlace) -> Setting | None:
        """Who decided a field, None for a baseline."""
        found = self.history.get(place)
        return found[-1] if found else None


class Words(NamedTuple):
    """A user's properties: one or two fields each, switches by name, vector lengths in bytes switched on or off."""

    assignments: tuple[tuple[str, str], ...]
    switches: dict[str, bool]
    lengths: dict[int, bool]

    def over(self, others: Words) -> Words:
        """These over others: what both name is as it is here."""
        return Words(
            (*others.assignments, *self.assignments), others.switches | self.switches, others.lengths | self.lengths
        )


def parse_words(words: Iterable[str]) -> Words:
    """``NAME=VALUE`` words; a feature of Arm's is all of its fields. Raises ValueError that says what was expected."""
    assignments, switches, lengths = [], {}, {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word}: expected NAME=VALUE")
        if name.startswith("FEAT_"):
            parts = [each.partition("=") for each in feature_words(name, value)]
            assignments += [(part, number) for part, _, number in parts]
            continue
        length = name.removeprefix(_LENGTH)
        is_length = length != name and length.isdecimal()
        if name in SWITCHES or is_length:
            if value not in ("on", "off"):
                raise ValueError(f"{name}: expected on or off; found {value!r}")
            if not is_length:
                switches[name] = value == "on"
                continue
            if digits(length) not in _LENGTHS_BITS:
                raise ValueError(f"{name}: expected a vector length of 128 to 2048 bits")
            lengths[digits(length) // 8] = value == "on"
        else:
            assign(name, value)
            assignments.append((name, value))
    return Words(tuple(assignments), switches, lengths)


def request(
    model: NamedModel | None, words: Words, host: Host, models: Mapping[str, NamedModel] | None = None
) -> Request:
    """What a model and a user's words ask of a host; without a model the host's own values are the baseline.

    Raises ModelError for a model whose parents are not there, ValueError for words that contradict each other.
    """
    return _Asking(model, words, host, models).made()


class _Asking:
    """The fields as they get their values, one step of the precedence after the other."""

    def __init__(
        self, model: NamedModel | None, words: Words, host: Host, models: Mapping[str, NamedModel] | None
    ) -> None:
        self.words = words
        self.host = host
        self.lineage = chain(model, models) if model is not None else []
        self.switches = self._switches() | words.switches
        self.features = PSCI_0_2
        for switch, bits in FEATURES_OF_SWITCH.items():
            self.features |= bits if self.switches[switch] else 0
        self.history: dict[FieldPlace, list[Setting]] = {}
        self.conflicts: list[Conflict] = []
        self.registers = self._baseline()

    def _switches(self) -> dict[str, bool]:
        """Without a model what the host has; else SVE where the model has it, no pauth, no PMU."""
        if not self.lineage:
            return {switch: not bits & ~self.host.features for switch, bits in FEATURES_OF_SWITCH.items()}
        has_sve = any(model.vl_bytes for model in self.lineage)
        return {"sve": has_sve, "pauth": False, "pmu": False}

    def _baseline(self) -> dict[int, int]:
        host, found = self.host, {}
        for encoding, register in host.kernel.registers.items():
            if not register.is_shown:
                continue
            if encoding in IDENTITY or not self.lineage:
                found[encoding] = host.limit(encoding, self.features)
            elif encoding in AARCH64_IDS or encoding == CTR or register.aarch32:
                found[encoding] = RESERVED.get(encoding, 0)
                if register.aarch32 and not host.has_aarch32:
                    found[encoding] = host.reset_value(encoding, self.features)
        return found

    def made(self) -> Request:
        """Everything in its order."""
        for model in self.lineage:
            for value in model.values:
                if not value.switch or self.switches[value.switch]:
                    for place, number in value.assignment.fields:
                        self._set(
                            place,
                            Setting(number, model.name, value.assignment.name, value.source.text, value.verified),
                        )
        users: dict[FieldPlace, Setting] = {}
        for scheme, is_sysreg in (("SYSREG_", True), ("feat_", False)):
            for name, text in self.words.assignments:
                if name.startswith("SYSREG_") is is_sysreg:
                    for place, number in assign(name, text).fields:
                        self._user(users, place, Setting(number, scheme, f"{name}={text}"))
        for switch in SWITCHES:
            self._switch(switch, users)
        if self.lineage and of.PFR0_EL0.get(self.registers[PFR0]) == AARCH32_TOO:
            self._aarch32()
        return Request(
            self.registers, self.history, self.features, self._vqs(), tuple(self.conflicts), bool(self.lineage)
        )

    def _set(self, place: FieldPlace, setting: Setting) -> None:
        self.history.setdefault(place, []).append(setting)
        self.registers[place.encoding] = place.put(self.registers.get(place.encoding, 0), setting.value)

    def _user(self, users: dict[FieldPlace, Setting], place: FieldPlace, setting: Setting) -> None:
        before = users.get(place)
        if before is not None and before.value != setting.value:
            self.conflicts.append(Conflict(place, setting.name, before.name))
        users[place] = setting
        self._set(place, setting)

    def _switch(self, switch: str, users: dict[FieldPlace, Setting]) -> None:
        """A switch off: none of its fields. On: those that nobody named are the host's."""
        on = self.switches[switch]
        word = f"{switch}={'on' if on else 'off'}"
        said, named = switch in self.words.switches, self._names(switch)
        for place in properties()[switch].places:
            value = place.get(self.registers.get(place.encoding, 0))
            hosts = place.get(self.host.limit(place.encoding, self.features))
            if not on and (value or said):
                wanted = 0
            elif on and switch == "sve" and place.encoding == PFR0:
                wanted = 1
            elif on and not named:
                wanted = hosts
            else:
                continue
            setting = Setting(wanted, "switch", word)
            if said or place in users:
                self._user(users, place, setting)
            elif value != wanted:
                self._set(place, setting)

    def _names(self, switch: str) -> bool:
        """A model or the user says what the fields of the switch are."""
        return any(place in self.history and place.encoding != PFR0 for place in properties()[switch].places) or (
            switch == "sve" and bool(self.lineage)
        )

    def _aarch32(self) -> None:
        """A guest with AArch32 at EL0 has the host's AArch32 registers: models do not describe them."""
        for encoding, register in self.host.kernel.registers.items():
            if register.aarch32 and encoding in self.registers:
                self.registers[encoding] = self.host.limit(encoding, self.features)

    def _vqs(self) -> int:
        """Vector lengths: the model's, or the host's where it has none; then the user's."""
        if not self.switches["sve"]:
            self._no_lengths()
            return 0
        lengths: set[int] = set()
        for model in self.lineage:
            lengths = set(model.vl_bytes) or lengths
        lengths = lengths or set(sve.lengths_bytes(self.host.sve_vqs))
        for length, on in self.words.lengths.items():
            lengths = lengths | {length} if on else lengths - {length}
        return sum(1 << (length // sve.VQ_BYTES - 1) for length in lengths)

    def _no_lengths(self) -> None:
        """A length is refused where there is no SVE, as QEMU does (aarch64_cpu sve finalize), and not dropped."""
        asked = sorted(length for length, on in self.words.lengths.items() if on)
        if asked:
            why = "sve=off" if self.words.switches.get("sve") is False else "this guest has no SVE without sve=on"
            raise ValueError(f"sve{8 * asked[0]}=on: {why}; a guest without SVE has no vector lengths")
