"""The x86 vCPU that is to move, by a word: a capture of any kind, a model on a host, or a host with all that it has."""

from __future__ import annotations

import os

from inspector.capture.errors import InputError, UsageError
from inspector.capture.host import Cpuid
from inspector.capture.model import Capture, Vcpu
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.restore import Saved
from inspector.machine.x86.migrate.guest import NOTHING, Guest, entry_of, facts_of, steps_of
from inspector.readers.options import Options
from inspector.targets.x86_cpuid import require_whole
from inspector.targets.x86_words import MODEL
from layouts.light import TYPE_CHECKING
from layouts.x86.kvm_counted import cpuid2_unpack, msrs_unpack, xcrs_pack
from layouts.x86.msrs import msr_numbers
from layouts.x86.xsave import EXTENDED_OFFSET

if TYPE_CHECKING:
    from typing import Any

    from inspector.machine.x86.models.offer import Offer
    from inspector.machine.x86.models.realize import Realization

_PREFIXES = {
    "kvm-regs": "regs",
    "kvm-sregs": "sregs",
    "kvm-sregs2": "sregs2",
    "kvm-debugregs": "debugregs",
    "kvm-vcpu-events": "events",
    "kvm-lapic": "lapic",
    "kvm-nested-state": "nested",
}
_INITIAL_MSRS = frozenset((0x10A, 0xCF))
#: Where captures have the TSC's frequency.
TSC_KHZ_PATHS = ("qemu.tsc_khz.tsc_khz", "tsc_khz.tsc_khz")
_SREGS_SIZE_BYTES, _MP_RUNNABLE = 312, 0


def guest_of_vcpu(capture: Capture, vcpu: Vcpu, options: Options) -> Guest:
    """A captured vCPU. What the capture has as KVM's structures is taken whole, else field by field."""
    require_whole(capture, vcpu)
    saved = _structures(vcpu)
    fields = _fields(vcpu)
    if not saved.cpuid and (table := _table_of(capture)):
        options.note(f"{capture.target}: no CPUID of the vCPU; the table of its host stands in for it")
        saved = saved._replace(cpuid=table)
    if not saved.msrs:
        saved = saved._replace(msrs=_msrs_of(fields))
    if not saved.xcrs and "xcr.xcr0" in fields:
        saved = saved._replace(xcrs=xcrs_pack([(0, 0, fields["xcr.xcr0"])]))
    saved = saved._replace(tsc_khz=next((fields[path] for path in TSC_KHZ_PATHS if path in fields), 0))
    facts = facts_of(saved)
    for path, name in (("sregs", ""), ("xcr.xcr0", "xcr0"), ("xsave.header.xstate_bv", "xstate_bv")):
        for register in ("cr0", "cr3", "cr4", "efer", "apic_base") if not name else (name,):
            value = fields.get(path if name else f"{path}.{register}")
            if value is not None:
                facts.setdefault(register, value)
    captured = steps_of(saved)
    if not (saved.cpuid or captured or facts):
        raise InputError(capture.target, "an x86 vCPU with CPUID, MSRs or registers", vcpu.name)
    irqchip = 1 if saved.lapic or not captured - {"msrs", "xcrs"} else 0
    name = f"{vcpu.name} of {capture.target}"
    of_qemu = capture.format == "qemu-stream"
    return Guest(name, saved, captured, facts, capture.host.kernel, irqchip=irqchip, of_qemu=of_qemu)


def _structures(vcpu: Vcpu) -> Saved:
    found = NOTHING
    for area in vcpu.areas:
        data = bytes(area.data)
        if area.layout == "kvm-cpuid2":
            found = found._replace(cpuid=tuple(Entry(*entry[:7]) for entry in cpuid2_unpack(data)))
        elif area.layout == "kvm-msrs":
            found = found._replace(msrs=tuple((index, value) for index, _, value in msrs_unpack(data)))
        elif area.layout == "kvm-xcrs":
            found = found._replace(xcrs=data)
        elif area.layout == "kvm-mp-state":
            found = found._replace(mp_state=int.from_bytes(data, "little"))
        elif area.layout == "xsave" and area.prefix == "xsave" and not area.attributes.get("xstate_bv_unmaintained"):
            found = found._replace(xsave=data.ljust(4096, b"\0") if len(data) > EXTENDED_OFFSET else b"")
        elif area.layout in _PREFIXES and data:
            parts: dict[str, Any] = {_PREFIXES[area.layout]: data}
            found = found._replace(**parts)
    if found.sregs2 and not found.sregs:
        # struct kvm_sregs2 begins as kvm_sregs does, up to the interrupt bitmap.
        found = found._replace(sregs=found.sregs2[:280].ljust(_SREGS_SIZE_BYTES, b"\0"))
    return found


def tsc_khz_of(vcpu: Vcpu) -> int:
    """The TSC's frequency where the capture has it, else 0."""
    return next((value for path, value in _fields(vcpu).items() if path in TSC_KHZ_PATHS), 0)


def _fields(vcpu: Vcpu) -> dict[str, int]:
    """Registers by path, of captures that are no structures of KVM: a QEMU stream, text."""
    found: dict[str, int] = {}
    for area in vcpu.areas:
        if area.layout.startswith("kvm-"):
            continue
        from inspector.decode.fields import FieldTable

        for field in FieldTable(area):
            if field.value is not None and field.path.startswith(("sregs.", "msr.", "xcr.", "xsave.header.")):
                found.setdefault(field.path, field.value)
            elif field.value and field.path in TSC_KHZ_PATHS:
                found[field.path] = field.value
    return found


def _msrs_of(fields: dict[str, int]) -> tuple[tuple[int, int], ...]:
    numbers = msr_numbers()
    named = ((numbers.get(path.removeprefix("msr.")), value) for path, value in fields.items() if path[:4] == "msr.")
    return tuple((index, value) for index, value in named if index is not None)


def _table_of(capture: Capture) -> tuple[Entry, ...]:
    for area in capture.context:
        if area.layout == "kvm-cpuid2" and "supported" in area.prefix:
            return tuple(Entry(*entry[:7]) for entry in cpuid2_unpack(bytes(area.data)))
    return ()


# Models


def realized(line: str, offer: Offer, *, machine: str = "", qemu: str = "") -> Realization:
    """What QEMU makes of a line on a host. Raises UsageError."""
    from inspector.machine.x86.models.realize import realize
    from inspector.machine.x86.models.request import RequestError
    from inspector.targets.x86_models import asked_of, optional_of

    asked = asked_of(line, machine=machine, qemu=qemu)
    try:
        return realize(optional_of(asked, offer), offer)
    except RequestError as error:
        raise UsageError(f"{line[:60]}: {error}") from None


def guest_of_model(word: str, machine: str, options: Options) -> Guest:
    """``model:LINE:HOST``; without HOST on a host that has just what the model has. Raises UsageError."""
    from inspector.targets.x86_offers import offer_named

    line, _, host = word.removeprefix(MODEL).partition(":")
    first = line.removeprefix("-cpu ").split(",")[0]
    line, _, kernel = line.partition("@") if not host else (line, "", "")
    if os.path.isfile(line) and not host:
        from inspector.targets.x86_models import asked_of

        host = asked_of(line).request.name
    made = realized(line, offer_named(host or first.partition("@")[0], options), machine=machine)
    return guest_of_realization(word, made, kernel or made.offer.kernel)


def guest_of_realization(name: str, made: Realization, kernel: str = "") -> Guest:
    """A guest of a line as it starts: its CPUID, and no state yet."""
    from inspector.machine.x86.models.cpuid import guest_cpuid

    entries = entries_of(guest_cpuid(made))
    saved = NOTHING._replace(cpuid=entries, msrs=_feature_msrs(made))
    return Guest(name, saved, steps_of(saved), {}, kernel, made, of_qemu=True)


def _feature_msrs(made: Realization) -> tuple[tuple[int, int], ...]:
    """The feature MSRs that QEMU gives a guest before it starts (kvm_init_msrs), but for those of VMX."""
    from layouts.x86.models.features import features

    found: dict[int, int] = {}
    for feature in made.features:
        for bit in features()[feature]:
            if bit.word.at in _INITIAL_MSRS and bit.word.is_msr:
                found[bit.word.at] = found.get(bit.word.at, 0) | 1 << bit.number
    return tuple(sorted(found.items()))


def entries_of(cpuid: Cpuid) -> tuple[Entry, ...]:
    """A table as KVM_SET_CPUID2 takes it."""
    return tuple(entry_of(key, row) for key, row in cpuid.leaves.items())
