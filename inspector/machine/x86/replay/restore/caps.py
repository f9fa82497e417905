"""Section ``host``: capabilities, attributes of /dev/kvm, MCE capabilities, the TSC's frequency."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

from inspector.machine.answer import Answer
from inspector.machine.x86.kvm.capabilities import check_extension, device_attributes, mce_capabilities
from inspector.machine.x86.kvm.whole import VmConfig
from inspector.machine.x86.replay.restore.bench import Bench, Record

_CAPS = 301
_CHECK = "kvm_vm_ioctl_check_extension (x86.c)"

#: The kinds of records that are replayed here.
KINDS = ("caps", "xcomp_guest_supp", "sysattr", "mcecap", "tsckhz", "api", "hverr", "supcpuid_small")


def replay(bench: Bench, records: Sequence[Record]) -> Iterator[Answer]:
    """The answers of a section's records of these kinds."""
    kvm = bench.kvm
    found = device_attributes(kvm)
    seen: set[tuple[int, int]] = set()
    for record in records:
        match record["op"]:
            case "caps":
                yield from _caps(bench, record)
            case "xcomp_guest_supp":
                has = (0, 0) in found
                # Without KVM_CAP_SYS_ATTRIBUTES the ioctl is one that KVM does not know.
                mine = [0, f"{found[0, 0]:x}"] if has else [errno.EINVAL, "0"]
                yield Answer("host.xcomp_guest_supp", "XCR0", [record["e"], record["v"]], mine, has, "kvm_dev_ioctl")
            case "sysattr":
                key = record["group"], record["attr"]
                seen.add(key)
                value = found.get(key)
                mine_value = None if value is None else f"{value:x}"
                yield Answer(
                    "host.sysattr",
                    f"{key}",
                    record["v"],
                    mine_value,
                    accepted=True,
                    because="__kvm_x86_dev_get_attr (x86.c)",
                )
            case "mcecap":
                expected, value = [record["e"], record["v"]], mce_capabilities(kvm)
                yield Answer("host.mcecap", "KVM_X86_GET_MCE_CAP_SUPPORTED", expected, [0, f"{value:x}"], accepted=True)
            case "tsckhz":
                # KVM_GET_TSC_KHZ of a VM is as old as KVM_CAP_VM_TSC_CONTROL.
                khz, of_vm = kvm.processor.tsc_khz, kvm.since(5, 18)
                # What the vCPU says is the host's frequency.
                mine_khz = [0, 0 if of_vm else errno.ENOTTY, khz if of_vm else -1]
                expected = [record["vcpu_e"], record["vm_e"], record["vm"]]
                yield Answer("host.tsckhz", "KVM_GET_TSC_KHZ", expected, mine_khz, accepted=True)
            case "api" | "hverr" | "supcpuid_small":
                yield from _constants(bench, record)
    for key in sorted(found.keys() - seen):
        yield Answer(
            "host.sysattr", f"{key}", None, f"{found[key]:x}", accepted=True, because="__kvm_x86_dev_get_attr (x86.c)"
        )


def _caps(bench: Bench, record: Record) -> Iterator[Answer]:
    """Every capability is an answer; the recorder's VM has KVM's interrupt controllers."""
    if record["fd"] == "vcpu":
        expected = record["v"].get("errno", 0)
        yield Answer(
            "host.caps",
            "KVM_CHECK_EXTENSION on a vCPU",
            expected,
            errno.EINVAL,
            accepted=False,
            because="kvm_vcpu_ioctl",
        )
        return
    mine = check_extension(bench.kvm, VmConfig() if record["fd"] == "vm" else None)
    theirs = {int(number): value for number, value in record["v"].items()}
    for number in sorted({*range(_CAPS), *theirs}):
        expected, predicted = theirs.get(number, 0), mine.get(number, 0)
        yield Answer("host.caps", f"{record['fd']} {number}", expected, predicted, bool(expected), _CHECK)


def _constants(bench: Bench, record: Record) -> Iterator[Answer]:
    """KVM's version, the vCPU's mapping, CPUID tables that do not fit or that only a vCPU is asked for."""
    match record["op"]:
        case "api":
            # The structure kvm_run, a page for port I/O, a page for coalesced MMIO.
            yield Answer(
                "host.api", "version, mmap", [record["version"], record["mmap"]], [12, 3 * 4096], accepted=True
            )
        case "hverr":
            # KVM_CAP_SYS_HYPERV_CPUID: /dev/kvm is asked from 5.11 on.
            of_system = 0 if bench.kvm.since(5, 11) else errno.EINVAL
            yield Answer("host.hverr", "Hyper-V CPUID", [record["sys"], record["vcpu"]], [of_system, 0], accepted=True)
        case _:
            expected = [record["e"], record["nent"]]
            yield Answer("host.supcpuid_small", "room for one entry", expected, [errno.E2BIG, 1], accepted=False)
