"""A request becomes the registers of a VM, or says what is in the way.

First the prediction: every field against the host's limit, with the kernel's safe values; what does
not fit is a blocker. Then the question: the same values through KVM_SET_ONE_REG to a scratch vCPU.
"""

from __future__ import annotations

from collections.abc import Iterable

from inspector.machine.arm64 import sve
from inspector.machine.arm64.host import FEATURES_OF_SWITCH, SVE, Host
from inspector.machine.arm64.id_limits import checked_mask, writable_fields
from inspector.machine.arm64.models.partial import Open, PartialHost, is_switched_off, open_features
from inspector.machine.arm64.models.request import IDENTITY, Request
from inspector.machine.arm64.policy import is_safe, unsafe_text
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import Vm
from inspector.machine.outcome import Outcome, Step
from layouts.arm64.ids import CLIDR, SVE_VLS, sysreg_id
from layouts.arm64.properties import FieldPlace, field_places, property_of
from layouts.light import NamedTuple, Protocol, cache

_NOT_SETTABLE = "KVM does not let user space set this register"


class Blocker(NamedTuple):
    """A property that a host cannot give: the field, what is wanted, what the host has, and why it is no."""

    name: str
    place: FieldPlace | None
    wanted: int
    host: int
    why: str

    def __str__(self) -> str:
        where = f"{self.place.register}.{self.place.name}: " if self.place is not None else ""
        return f"{self.name}: {where}{self.why}"


class Realization(NamedTuple):
    """What came of a request on a host. ``registers`` are the VM's ID registers after the writes.

    ``open``: what the answer hangs on, where the host is known in part; the rest is said as if it were there.
    """

    request: Request
    host: Host
    blockers: tuple[Blocker, ...]
    writes: tuple[Step, ...]
    registers: dict[int, int]
    open: tuple[Open, ...] = ()

    @property
    def assumed(self) -> Host:
        """The host with what the answer hangs on; the host itself where it is known whole."""
        return assumed(self.request, self.host, self.open)

    @property
    def usable(self) -> bool:
        """Nothing is in the way, the scratch vCPU agrees, and the answer hangs on nothing."""
        return self.possible and not self.open

    @property
    def possible(self) -> bool:
        """Nothing that is known is in the way, and the scratch vCPU agrees."""
        return not self.blockers and self.accepted

    @property
    def verdict(self) -> str:
        """yes, no, or depends where the host is known in part and the answer hangs on what is not."""
        return "no" if not self.possible else "depends" if self.open else "yes"

    @property
    def warned(self) -> tuple[Blocker, ...]:
        """Where only fields that nobody may write are in the way, those: QEMU as proposed warns of them and boots.

        Source: the thread's description of kvm_arm_writeback_idregs, which writes back the writable bits.
        """
        fixed = [
            blocker
            for blocker in self.blockers
            if blocker.place and not checked_mask(self.assumed, blocker.place.encoding) & blocker.place.mask
        ]
        return tuple(fixed) if len(fixed) == len(self.blockers) else ()

    @property
    def accepted(self) -> bool:
        """KVM took every call."""
        return all(write.outcome.accepted for write in self.writes)

    @property
    def agree(self) -> bool:
        """Prediction and question give the same answer."""
        return self.accepted is not bool(self.blockers)


def realize(request: Request, host: Host, abi: str = "merged") -> Realization:
    """Predict, then ask; ``abi`` is SVE's interface."""
    hangs = tuple(open_of(request, host)) if isinstance(host, PartialHost) else ()
    on = assumed(request, host, hangs)
    blockers = tuple(blockers_of(request, on))
    vcpu, writes = ask(request, on, abi)
    registers = {encoding: vcpu.get(sysreg_id(encoding)) for encoding in request.registers}
    values = {encoding: int.from_bytes(outcome.image, "little") for encoding, outcome in registers.items()}
    return Realization(request, host, blockers, tuple(writes), values, hangs)


def assumed(request: Request, host: Host, hangs: Iterable[Open]) -> Host:
    """A host as if what an answer hangs on were there."""
    return host.assuming(hangs, request.features, request.vqs) if isinstance(host, PartialHost) else host


def open_of(request: Request, host: PartialHost) -> list[Open]:
    """What the answer hangs on: features, vector lengths and fields of a host that is known in part."""
    found, features = open_features(host, request.features, request.vqs), request.features
    for encoding, wanted in request.registers.items():
        for place in host.open_in(encoding) if encoding not in IDENTITY else ():
            if hangs_on(host, features, place, place.get(wanted)):
                name, likely = _name_of(request, place), place.get(host.limit(encoding, features))
                why = refusal(host, features, place, place.get(wanted))
                found.append(Open(name, place, place.get(wanted), likely, why))
    return found


def hangs_on(host: PartialHost, features: int, place: FieldPlace, value: int) -> bool:
    """A guest may have a value of a field or not, by what the host has there."""
    if is_switched_off(place, features):
        return False
    limit = host.limit(place.encoding, features)
    answers = {bool(refusal(host, features, place, value, place.put(limit, at))) for at in host.values(place, value)}
    return len(answers) > 1


def _name_of(request: Request, place: FieldPlace) -> str:
    """The property that set a field; the one that would, where none did."""
    setting = request.last(place)
    return setting.name.partition("=")[0] if setting is not None else property_of(place)


@cache
def places_of(encoding: int) -> tuple[FieldPlace, ...]:
    """The named fields of a register, most significant first."""
    found = [place for place in field_places().values() if place.encoding == encoding]
    return tuple(sorted(found, key=lambda place: -place.lsb))


def blockers_of(request: Request, host: Host) -> list[Blocker]:
    """Fields that the host cannot give, by its limit and the kernel's safe values."""
    found = [*_feature_blockers(request, host)]
    for encoding, wanted in request.registers.items():
        limit = host.limit(encoding, request.features)
        register = host.kernel.registers.get(encoding)
        if register is None:
            # Where no model says it, what another host's guest has there is wanted too.
            asked = [
                place
                for place in places_of(encoding)
                if place in request.history or (not request.has_model and place.get(wanted))
            ]
            found += [_blocker(request, place, wanted, limit, _NOT_SETTABLE) for place in asked]
            continue
        if wanted == limit or (register.aarch32 and not host.has_aarch32):
            continue
        named = 0
        for place in places_of(encoding):
            named |= place.mask
            why = refusal(host, request.features, place, place.get(wanted))
            if why:
                found.append(_blocker(request, place, wanted, limit, why))
        found += _unnamed(host, encoding, wanted, limit, named)
    return found


def _feature_blockers(request: Request, host: Host) -> list[Blocker]:
    found = []
    missing = request.features & ~host.features
    for name, bits in sorted(FEATURES_OF_SWITCH.items(), key=lambda item: item[1]):
        if missing & bits:
            found.append(Blocker(name, None, 1, 0, "the host does not support this vCPU feature"))
    if request.features & SVE and not missing & SVE:
        outcome = sve.check_vls(request.vqs, host.sve_vqs)
        if not outcome.accepted:
            found.append(Blocker("sve", None, request.vqs, host.sve_vqs, f"vector lengths: {outcome.because}"))
    return found


def _blocker(request: Request, place: FieldPlace, wanted: int, limit: int, why: str) -> Blocker:
    if request.has_model and request.last(place) is None:
        why += "; the model leaves it 0"
    return Blocker(_name_of(request, place), place, place.get(wanted), place.get(limit), why)


def _unnamed(host: Host, encoding: int, wanted: int, limit: int, named: int) -> list[Blocker]:
    """Bits that no field has, of AArch32 registers all: by the kernel's fields, else they must be the host's."""
    register, found, checked = host.kernel.register_name(encoding), [], 0
    for policy in writable_fields(host, encoding):
        checked |= policy.mask
        if not policy.mask & named and not is_safe(policy, policy.get(wanted), policy.get(limit)):
            place = FieldPlace(policy.name, policy.lsb, policy.width, register=register, encoding=encoding)
            text = unsafe_text(policy, wanted, limit)
            found.append(Blocker(f"SYSREG_{register}_{policy.name}", place, place.get(wanted), place.get(limit), text))
    differing = (wanted ^ limit) & ~named & ~checked
    if differing and encoding not in (*IDENTITY, CLIDR):
        found.append(Blocker(register, None, wanted, limit, f"bits {differing:#x} are not writable"))
    return found


def refusal(host: Host, features: int, place: FieldPlace, value: int, limit: int | None = None) -> str:
    """Why a guest of this host cannot have this value of a field, alone; empty when it can.

    ``limit``: the register's, if not the host's.
    """
    encoding = place.encoding
    register = host.kernel.registers.get(encoding)
    if register is None:
        return _NOT_SETTABLE
    limit = host.limit(encoding, features) if limit is None else limit
    hosts = place.get(limit)
    if value == hosts:
        return ""
    if encoding in IDENTITY:
        return "" if host.kernel.imp_ids else f"this kernel shows every guest the host's ({hosts:#x})"
    if host.reads_as_zero(encoding, features):
        return "the register reads as zero here"
    covered = 0
    for policy in writable_fields(host, encoding):
        if policy.mask & place.mask:
            covered |= policy.mask
            wanted = place.put(limit, value)
            if not is_safe(policy, policy.get(wanted), policy.get(limit)):
                return unsafe_text(policy, wanted, limit)
    if place.mask & ~covered:
        return f"not writable; the host has {hosts} (found {value})"
    return ""


class ScratchVcpu(Protocol):
    """A vCPU to try things on: a simulated one, or one of this machine's KVM."""

    features: int

    def get(self, register_id: int) -> Outcome:
        """KVM_GET_ONE_REG."""

    def set(self, register_id: int, data: bytes) -> Outcome:
        """KVM_SET_ONE_REG."""

    def finalize(self, feature: int) -> Outcome:
        """KVM_ARM_VCPU_FINALIZE."""

    def reg_list(self) -> Outcome:
        """KVM_GET_REG_LIST: whether it can be asked for."""

    def register_ids(self) -> list[int]:
        """The ids that are in the list."""


def scratch(host: Host, features: int, *, writable_imp: bool, abi: str = "merged") -> tuple[ScratchVcpu, list[Step]]:
    """A vCPU, initialized: of the real KVM where the host is one (it has the merged interface), else simulated."""
    if host.is_live:
        from inspector.machine.arm64.live import LiveHost

        assert isinstance(host, LiveHost)
        live = host.vcpu(features, writable_imp=writable_imp)
        return live, live.steps
    vm, writes = Vm(host, abi=abi), []
    if writable_imp and host.kernel.imp_ids:
        writes.append(Step("KVM_ENABLE_CAP KVM_CAP_ARM_WRITABLE_IMP_ID_REGS", vm.enable_imp_id_regs()))
    writes.append(Step("KVM_CREATE_VCPU 0", vm.create_vcpu(0)))
    vcpu = vm.vcpus[0]
    writes.append(Step(f"KVM_ARM_VCPU_INIT {features:#x}", vcpu.init(features)))
    return vcpu, writes


def ask(request: Request, host: Host, abi: str = "merged") -> tuple[ScratchVcpu, list[Step]]:
    """The calls that a VMM makes, to a scratch vCPU. Stops where the vCPU cannot even be made."""
    changes = {
        encoding: value
        for encoding, value in request.registers.items()
        if encoding != CLIDR and (encoding not in IDENTITY or value != host.limit(encoding, request.features))
    }
    writable_imp = any(encoding in IDENTITY for encoding in changes)
    vcpu, writes = scratch(host, request.features, writable_imp=writable_imp, abi=abi)
    if not writes[-1].outcome.accepted:
        return vcpu, writes
    if request.features & SVE and abi == "proposal" and isinstance(vcpu, Vcpu):
        writes.append(Step(f"KVM_ARM_VCPU_SET_SVE_VLS {request.vqs:#x}", vcpu.set_sve_vls(request.vqs)))
    elif request.features & SVE:
        vls = request.vqs.to_bytes(sve.VLS_SIZE_BYTES, "little")
        writes.append(Step(f"KVM_SET_ONE_REG KVM_REG_ARM64_SVE_VLS {request.vqs:#x}", vcpu.set(SVE_VLS, vls)))
        writes.append(Step("KVM_ARM_VCPU_FINALIZE SVE", vcpu.finalize(sve.FINALIZE)))
    for encoding, value in sorted(changes.items()):
        name = host.kernel.register_name(encoding)
        outcome = vcpu.set(sysreg_id(encoding), value.to_bytes(8, "little"))
        writes.append(Step(f"KVM_SET_ONE_REG {name} {value:#x}", outcome))
    return vcpu, writes
