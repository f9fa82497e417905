"""What a kernel upgrade alone changes for guests, as text, as JSON, and as the page docs/kernels.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from inspector.capture.host import Cpuid
from inspector.export.kernels import changed_lines, coming_json, coming_text
from inspector.export.kinds import head
from inspector.machine.arm64 import changes as arm64_changes
from inspector.machine.x86.kvm.any_cpu import AMD, INTEL, any_cpu
from inspector.machine.x86.kvm.changes import Change, changes, of_both_vendors
from layouts.arm64 import kernels as arm64
from layouts.arm64.chips import known_cores
from layouts.arm64.hosts import BareHost
from layouts.arm64.kernels import Arm64Kernel
from layouts.coming import NEXT
from layouts.x86 import kernels as x86

_TITLES = {
    "cpuid": "KVM_GET_SUPPORTED_CPUID",
    "xcr0": "XCR0 of guests",
    "xss": "XSS of guests",
    "msr": "KVM_GET_MSR_INDEX_LIST",
    "feature-msr": "KVM_GET_MSR_FEATURE_INDEX_LIST",
    "capability": "KVM_CHECK_EXTENSION on /dev/kvm",
    "msr-rule": "rules of MSRs (layouts/x86/msr_rules.py)",
    "vcpu-rule": "rules of a vCPU's state (layouts/x86/vcpu_rules.py)",
}
_VENDORS = {"AMD": AMD, "Intel": INTEL}
#: The core of which the page tells.
_PAGE_CPU = "neoverse-v1"


class X86Changes(NamedTuple):
    """What is otherwise on x86: each change with the vendor that it is of, empty for all."""

    cpu: str
    rows: tuple[tuple[str, Change], ...]


def x86_changes(older: str, newer: str, cpu: tuple[str, Cpuid] | None = None) -> X86Changes:
    """For guests of a CPU by name and CPUID; without one, of any CPU of each vendor. Raises UnknownReleaseError.

    ``next`` is answered by the newest profile: what is not merged is no change.
    """
    newer = x86.profile_for(newer).name if newer == NEXT else newer
    if cpu is not None:
        return X86Changes(cpu[0], tuple(("", change) for change in changes(cpu[1], older, newer)))
    found = {vendor: changes(any_cpu(layout), older, newer) for vendor, layout in _VENDORS.items()}
    return X86Changes("", tuple(of_both_vendors(found)))


def x86_text(found: X86Changes) -> Iterator[str]:
    """A heading a kind of change, then a line each: ``+`` comes, ``-`` goes, ``~`` is otherwise."""
    if not found.rows:
        yield "  nothing that is modelled"
    for group, title in _TITLES.items():
        rows = [(vendor, change) for vendor, change in found.rows if change.group == group]
        if rows:
            yield f"  {title}"
            yield from (_line(vendor, change) for vendor, change in rows)


def _line(vendor: str, change: Change) -> str:
    of = f"  [{vendor}]" if vendor else ""
    if not change.before or not change.after:
        value = change.before or change.after
        shown = "" if value in ("shown", "listed", "0x1") else f": {value}"
        return f"    {'-' if change.before else '+'} {change.name}{shown}{of}"
    return f"    ~ {change.name}: {change.before} -> {change.after}{of}"


def arm64_guest_text(cpus: Sequence[BareHost], older: Arm64Kernel, newer: Arm64Kernel) -> Iterator[str]:
    """What guests of these CPUs have otherwise: a heading a kind, then a line each."""
    found = arm64_changes.changes(cpus, older, newer)
    if not found:
        yield "  nothing that is modelled"
    for title, rows in arm64_changes.by_group(found):
        yield f"  {title}"
        # The fields of both architectures' changes are the same.
        yield from (_line("", Change(*row)) for row in rows)


def arm64_text(older: Arm64Kernel, newer: Arm64Kernel) -> Sequence[str]:
    """Registers, fields, masks and rules of the arm64 profiles."""
    return tuple(changed_lines(older, newer)) or ("    nothing that is modelled",)


def arm64_json(cpu: str, cpus: Sequence[BareHost], older: Arm64Kernel, newer: Arm64Kernel) -> dict[str, Any]:
    """The answer of ``layouts kernels A B --cpu NAME --json`` for a CPU of arm64."""
    rows = [change._asdict() for change in arm64_changes.changes(cpus, older, newer)]
    newest = NEXT if newer.coming else newer.release
    return {**json_of(older.release, newest, None, None), "cpu": cpu, "arm64": rows}


def json_of(older: str, newer: str, x86: X86Changes | None, arm64: Iterable[str] | None) -> dict[str, Any]:
    """The answer of ``layouts kernels A B --json``; an architecture that was not asked for is null."""
    rows = None
    if x86 is not None:
        rows = [{"vendor": vendor or None, **change._asdict()} for vendor, change in x86.rows]
    return {
        **head("kernels"),
        "older": older,
        "newer": newer,
        "cpu": (x86.cpu or None) if x86 is not None else None,
        "x86": rows,
        "arm64": None if arm64 is None else [line.strip() for line in arm64],
    } | ({"not_merged": coming_json()} if newer == NEXT else {})


_PAGE = """\
# What a kernel upgrade alone changes for guests

`inspector layouts kernels 6.1 6.18` prints what guests have otherwise when nothing but the host's kernel changes: x86
by the rules of [KVM's ioctls](x86-restore.md), arm64 by the tables of [its profiles](arm64-machine.md), a mask by the
fields that it is made of, a rule with what it says and the kernel's function. `--cpu milan`
asks for one CPU: a model of QEMU, the way people say it, or a file with a CPU's own CPUID. `--cpu neoverse-v1` asks a
guest of that core (or chip, or of several with `+`) on both kernels: the fields that it reads, the bits that may be
written, the list of registers and their values, features, capabilities, and what calls answer. `--arch` takes one
architecture, `--json` prints an object of the kind `kernels`. Module parameters are at their defaults, SEV and SGX off.

`+` comes, `-` goes, `~` is otherwise; a change of one vendor's CPUs alone is marked. Without `--cpu` the CPU has every
feature of its vendor that Linux names. The releases are the stable updates whose source was read, so that a change may
go again that an older series took later. What an update of a release changed is asked for by all three numbers: it
has a section of its own, with the first update that is known to have it. What guests of six CPUs saw under three
kernels is in [x86-restore.md](x86-restore.md). `docs/make_kernels.py` writes this page.
"""


def _arm64_section(title: str, older: Arm64Kernel, newer: Arm64Kernel) -> list[str]:
    return [
        f"## arm64: {title}",
        "",
        "```",
        *(line.removeprefix("    ") for line in arm64_text(older, newer)),
        "```",
        "",
    ]


def page() -> str:
    """docs/kernels.md."""
    lines = [_PAGE]
    for older, newer in pairwise(x86.kernels().values()):
        lines += [f"## x86: {older.version} to {newer.version}", "", "```"]
        lines += [line.removeprefix("  ") for line in x86_text(x86_changes(older.version, newer.version))]
        lines += ["```", ""]
    for before, after in pairwise(arm64.kernels().values()):
        lines += _arm64_section(f"{before.version} to {after.version}", before, after)
        for update in arm64.updates_of(after):
            lines += _arm64_section(f"{after.name} before and since {update}", after, arm64.profile_for(update))
    kernels = list(arm64.kernels().values())
    for before, after in pairwise(kernels[1:]):
        lines += [f"## arm64: guests of {_PAGE_CPU}, {before.version} to {after.version}", "", "```"]
        found = arm64_guest_text([known_cores()[_PAGE_CPU]], before, after)
        lines += [line.removeprefix("  ") for line in found]
        lines += ["```", ""]
    lines += [
        "## Not merged",
        "",
        "In no release that was read. `--kernel next` answers as the newest, and leaves open what these decide.",
        "",
    ]
    lines += ["```", *coming_text(), "```", ""]
    return "\n".join(lines)
