"""Trace events of KVM and of the FPU, as ftrace, trace-cmd and ``perf script`` print them.

The words behind an event's name are the kernel's own. What they tell of a CPU becomes its state: where it was (RIP,
PC), what it wrote to control registers and MSRs, which CPUID it was shown, XSTATE_BV and XCOMP_BV of a buffer. An event
that names no vCPU is of the one that its thread entered last.

Source: Linux 6.12, TP_printk of arch/x86/kvm/trace.h, arch/x86/include/asm/trace/fpu.h, include/trace/events/kvm.h,
arch/arm64/kvm/trace_arm.h; kernel/trace/trace_output.c (trace_print_context), tools/perf/builtin-script.c.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from inspector.capture.calls import Call
from inspector.capture.host import Cpuid, CpuidValues
from inspector.capture.model import Area, Origin
from inspector.readers.logs.found import MOST, Found, Line, State
from inspector.readers.named_values import Sized, named_area
from inspector.readers.synthesized import cpuid_area
from layouts.x86.msrs import msr_name

_EVENT = re.compile(
    r"^(?P<head>.{0,200}?)(?:\d{1,12}\.\d{1,9}: +)?\b(?:[a-z_]{1,20}:)?"
    r"(?P<name>(?:kvm|x86_fpu)_(?!intel:|amd:)[a-z0-9_]{2,60}): +(?P<text>.*)$"
)
#: ``CPU 0/KVM-1234  [003]``; ``CPU 0/KVM  1234 [003]`` and ``1234/1240`` of perf.
_TASK = re.compile(r"(?:-|\s)(?P<tid>\d{1,10})(?:/(?P<thread>\d{1,10}))?\s+\(?.{0,12}\[\d{1,5}\]")
_VCPU = re.compile(r"\bvcpu(?:_id)?[ =:]*(?P<number>\d{1,5})\b")
_RIP = re.compile(r"\brip:? 0x(?P<rip>[0-9a-f]{1,16})")
_PC = re.compile(r"\bPC: (?:0x)?(?P<pc>[0-9a-f]{1,16})")
_MSR = re.compile(r"msr_(?:read|write) (?P<index>[0-9a-f]{1,8}) = 0x(?P<value>[0-9a-f]{1,16})(?P<fault> \(#GP\))?")
_CR = re.compile(r"cr_(?:read|write) (?P<number>[02348]) = 0x(?P<value>[0-9a-f]{1,16})")
_CPUID = re.compile(
    r"func (?P<leaf>[0-9a-f]{1,8}) (?:idx (?P<index>[0-9a-f]{1,8}) )?"
    r"rax (?P<eax>[0-9a-f]{1,16}) rbx (?P<ebx>[0-9a-f]{1,16})"
    r" rcx (?P<ecx>[0-9a-f]{1,16}) rdx (?P<edx>[0-9a-f]{1,16})"
)
_FPU = re.compile(
    r"x86/fpu: (?P<fpu>\S{1,20}) (?:initialized: \d )?load: (?P<load>\d) "
    r"xfeatures: (?P<bv>[0-9a-f]{1,16}) xcomp_bv: (?P<comp>[0-9a-f]{1,16})"
)


class _Cpu:
    """What events told of a vCPU, or of a buffer, so far."""

    def __init__(self, name: str, arch: str) -> None:
        self.name = name
        self.arch = arch
        self.values: dict[str, Sized] = {}
        self.leaves: dict[tuple[int, int], CpuidValues] = {}

    def areas(self, file: str) -> list[Area]:
        """The last values, and the CPUID that the guest was shown."""
        areas = [named_area(self.values, file, "trace events, last values")] if self.values else []
        if self.leaves:
            areas.append(cpuid_area(Cpuid(self.leaves), Origin(file, 0), "CPUID as the guest was shown it (kvm_cpuid)"))
        return areas


def read(lines: Sequence[Line], file: str) -> Found:
    """Events as calls, and each vCPU and buffer with its last values."""
    cpus: dict[str, _Cpu] = {}
    of_thread: dict[str, str] = {}
    calls: list[Call] = []
    for line in lines:
        found = _EVENT.match(line.text) if "kvm_" in line.text or "x86_fpu_" in line.text else None
        if not found:
            continue
        name, text = found["name"], found["text"].strip()
        task = _TASK.search(found["head"])
        thread = (task["thread"] or task["tid"]) if task else ""
        if name.startswith("x86_fpu_"):
            _take_fpu(cpus, text)
            who = thread
        else:
            who = _vcpu_of(text, name, thread, of_thread)
            arch = "arm64" if _PC.search(text) else "x86"
            if (who in cpus or len(cpus) < MOST) and not _take(cpus.get(who) or _Cpu(who, arch), text, cpus):
                who = who if who in cpus else thread
        calls.append(Call(line.offset, who, -1, name, text))
    states = [State(cpu.name, cpu.arch, areas) for cpu in cpus.values() if (areas := cpu.areas(file))]
    return Found(states, calls=calls)


def _vcpu_of(text: str, name: str, thread: str, of_thread: dict[str, str]) -> str:
    named = _VCPU.search(text)
    who = f"vcpu {named['number']}" if named else of_thread.get(thread, f"thread {thread}" if thread else "vcpu ?")
    if named and name in ("kvm_entry", "kvm_exit") and len(of_thread) < MOST:
        of_thread[thread] = who
    return who


def _take(cpu: _Cpu, text: str, cpus: dict[str, _Cpu]) -> bool:
    """What an event's words tell of its vCPU; False when that is nothing."""
    before = len(cpu.values), len(cpu.leaves), dict(cpu.values)
    for pattern, path, group in ((_RIP, "regs.rip", "rip"), (_PC, "core.pc", "pc")):
        place = pattern.search(text)
        if place:
            cpu.values[path] = (int(place[group], 16), 8)
    msr, cr, cpuid = _MSR.search(text), _CR.search(text), _CPUID.search(text)
    if msr and not msr["fault"]:
        cpu.values[f"msr.{msr_name(int(msr['index'], 16))}"] = (int(msr["value"], 16), 8)
    if cr:
        cpu.values[f"sregs.cr{cr['number']}"] = (int(cr["value"], 16), 8)
    if cpuid and len(cpu.leaves) < MOST:
        values = [int(cpuid[register], 16) & 0xFFFF_FFFF for register in ("eax", "ebx", "ecx", "edx")]
        cpu.leaves[int(cpuid["leaf"], 16), int(cpuid["index"] or "0", 16)] = (
            values[0],
            values[1],
            values[2],
            values[3],
        )
    told = (len(cpu.values), len(cpu.leaves), cpu.values) != before
    if told:
        cpus[cpu.name] = cpu
    return told


def _take_fpu(cpus: dict[str, _Cpu], text: str) -> None:
    found = _FPU.search(text)
    if not found:
        return
    name = f"fpu {found['fpu']}"
    if name not in cpus and len(cpus) >= MOST:
        return
    cpu = cpus.setdefault(name, _Cpu(name, "x86"))
    cpu.values["xsave.header.xstate_bv"] = (int(found["bv"], 16), 8)
    cpu.values["xsave.header.xcomp_bv"] = (int(found["comp"], 16), 8)
