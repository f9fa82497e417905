"""From a request to features: model, accelerator, user, host, and what hangs on what.

Source: QEMU target/i386/cpu.c, x86_cpu_load_model and x86_cpu_expand_features; kvm/kvm-cpu.c, kvm_default_props;
tcg/tcg-cpu.c, tcg_default_props.
"""

from __future__ import annotations

from inspector.machine.x86.models.offer import AMD, KVM, Offer
from inspector.machine.x86.models.request import BASE, Request
from layouts.light import NamedTuple
from layouts.x86.models.features import NOT_OF_ITSELF, UNMIGRATABLE, Word, dependents, features
from layouts.x86.models.qemu import numbers_of

MODEL, ACCELERATOR, USER, OF_HOST, DEPENDENCY = "model", "accelerator", "user", "host", "dependency"
_KVM_ON = (
    "kvmclock",
    "kvm-nopiodelay",
    "kvm-asyncpf",
    "kvm-steal-time",
    "kvm-pv-eoi",
    "kvmclock-stable-bit",
    "x2apic",
)
_KVM_OFF = ("acpi", "monitor", "svm")
_TCG_OFF = ("vme",)
#: FEAT_KVM; the hints of EDX are another word.
_FEAT_KVM = Word.of_cpuid(0x40000001, None, "eax")
#: Off where the guest has no PMU.
_OF_PMU = ("arch-lbr", "pdcm")


class Setting(NamedTuple):
    """Who turned a feature on or off: ``origin`` is a kind of actor, ``by`` its name or word."""

    on: bool
    origin: str
    by: str

    def __str__(self) -> str:
        return f"{'on' if self.on else 'off'} by {self.by}"


class Expansion(NamedTuple):
    """What a guest would get if the host had everything. ``history`` says of each feature who switched it, in order.

    ``conflicts`` are features that the user asked for and that hang on others that are off.
    """

    request: Request
    accelerator: str
    vendor: str
    features: frozenset[str]
    history: dict[str, tuple[Setting, ...]]
    conflicts: tuple[str, ...]

    def origin(self, feature: str) -> Setting | None:
        """Who decided last; None for a feature that nobody ever named."""
        return self.history[feature][-1] if feature in self.history else None


class _Switchboard:
    """Features as they are switched, one actor after the other."""

    def __init__(self) -> None:
        self.on: set[str] = set()
        self.history: dict[str, tuple[Setting, ...]] = {}

    def switch(self, feature: str, origin: str, by: str, *, on: bool) -> None:
        """One feature by one actor."""
        (self.on.add if on else self.on.discard)(feature)
        self.history[feature] = (*self.history.get(feature, ()), Setting(on, origin, by))


def expand(request: Request, offer: Offer) -> Expansion:
    """The features of a guest on an accelerator. Of ``offer`` only host and max take bits; under KVM all the vendor."""
    board = _Switchboard()
    _model(board, request)
    _accelerator(board, request, offer)
    for feature, on in request.switches.items():
        board.switch(feature, USER, f"{'+' if on else '-'}{feature}", on=on)
    if request.of_host:
        _host(board, request, offer)
    _pmu(board, request)
    conflicts = _dependencies(board, request)
    if offer.accelerator != KVM or not request.flag("kvm", otherwise=True):
        by = "kvm=off" if offer.accelerator == KVM else "TCG"
        for feature in [name for name in board.on if features()[name][0].word == _FEAT_KVM]:
            board.switch(feature, ACCELERATOR, by, on=False)
    vendor = _vendor(request, offer)
    return Expansion(request, offer.accelerator, vendor, frozenset(board.on), board.history, conflicts)


def _model(board: _Switchboard, request: Request) -> None:
    if request.model is not None:
        for feature in request.model.features:
            board.switch(feature, MODEL, request.model.name, on=True)
        board.switch("hypervisor", MODEL, "every model", on=True)


def _accelerator(board: _Switchboard, request: Request, offer: Offer) -> None:
    """kvm_default_props and tcg_default_props; not for host, max and base, which are no models."""
    if request.model is None:
        return
    by = f"QEMU's defaults for {offer.accelerator.upper()}"
    for feature in _KVM_ON if offer.accelerator == KVM else ():
        board.switch(feature, ACCELERATOR, by, on=True)
    for feature in _KVM_OFF if offer.accelerator == KVM else _TCG_OFF:
        if feature in board.on:
            board.switch(feature, ACCELERATOR, by, on=False)


def _host(board: _Switchboard, request: Request, offer: Offer) -> None:
    """x86_cpu_expand_features, max_features: what the host has, but what the user named."""
    skipped = NOT_OF_ITSELF | request.switches.keys() | request.models.lacks
    if request.flag("migratable", otherwise=True) and "tsc-frequency" not in request.properties:
        skipped |= UNMIGRATABLE
    # What KVM makes up there is not shown any more from 10.1 on (x86_cpu_get_supported_feature_word).
    always = numbers_of(request.models.version) < (10, 1)
    if offer.vendor == AMD and not request.flag("x-arch-cap-always-on", otherwise=always):
        skipped |= {"arch-capabilities"}
    if offer.accelerator != KVM:
        skipped |= set(_TCG_OFF)
    for feature in features():
        if feature not in skipped and offer.has(feature):
            board.switch(feature, OF_HOST, offer.name, on=True)


def _pmu(board: _Switchboard, request: Request) -> None:
    """What hangs on a PMU, which host and max have of themselves: off without a word (kvm_cpu_max_instance_init)."""
    if not request.flag("pmu", otherwise=request.of_host):
        for feature in _OF_PMU:
            if feature in board.on:
                board.switch(feature, DEPENDENCY, "pmu, which is off", on=False)


def _vendor(request: Request, offer: Offer) -> str:
    """The user's; under KVM the host's, whatever the model says (host_cpu_instance_init); else the model's.

    max is an AMD of the emulator's (max_x86_cpu_initfn), base nobody's.
    """
    if "vendor" in request.properties:
        return request.properties["vendor"]
    if request.name == BASE:
        return ""
    if offer.accelerator == KVM and offer.vendor:
        return offer.vendor
    return request.model.vendor if request.model else AMD


def _dependencies(board: _Switchboard, request: Request) -> tuple[str, ...]:
    """feature_dependencies: what hangs on a feature that is off goes; a conflict where the user asked for it."""
    conflicts: list[str] = []
    for feature, hanging in dependents().items():
        if feature in board.on or feature not in features():
            continue
        for gone in sorted(hanging & board.on):
            board.switch(gone, DEPENDENCY, f"{feature}, which is off", on=False)
            if request.switches.get(gone):
                conflicts.append(gone)
    return tuple(conflicts)
