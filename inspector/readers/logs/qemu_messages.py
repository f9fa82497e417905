"""What QEMU and KVM say of a host: features it does not give, MSRs and registers it refuses, internal errors.

A feature that QEMU names is one that the host, as QEMU finds it (CPU, kernel, module options), does not give to a
guest: its bit is 0. Everything that it does not name is unknown, for QEMU only tells what was asked for.

Sources: QEMU target/i386/cpu.c (feature_word_description, x86_cpu_filter_features; before QEMU 7.0 and downstream the
other spelling), target/i386/kvm/kvm.c (kvm_buf_set_msrs, kvm_get_msrs), accel/kvm/kvm-all.c (kvm_cpu_exec);
Linux arch/x86/kvm/x86.c (kvm_msr_ignored_check).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from inspector.readers.logs.found import MOST, CpuidBit, Found, Line, bits_area
from inspector.readers.named_values import facts_area
from layouts.files.qemu_features import subleaf_of
from layouts.x86.msrs import msr_name

_FEATURE = re.compile(
    r"(?P<who>host|TCG|KVM) doesn't support requested feature: "
    r"(?:CPUID\.(?P<leaf>[0-9A-Fa-f]{1,8})H:(?P<register>E[A-D]X)"
    r"|CPUID\[eax=(?P<eax>[0-9A-Fa-f]{1,8})h(?:,ecx=(?P<ecx>[0-9A-Fa-f]{1,8})h)?\]\.(?P<reg>E[A-D]X)"
    r"|MSR\((?P<msr>[0-9A-Fa-f]{1,8})H\))"
    r"(?:\.(?P<name>[\w.+-]{1,60}))? \[bit (?P<bit>\d{1,2})\]"
)
_MSR = re.compile(r"[Ff]ailed to (?P<what>[gs]et) MSR 0x(?P<index>[0-9a-f]{1,8})(?: to 0x(?P<value>[0-9a-f]{1,16}))?")
_IGNORED = re.compile(
    r"vcpu(?P<vcpu>\d{1,5}).{0,80}?(?P<what>[Ii]gnored|[Uu]nhandled) (?P<how>wrmsr|rdmsr|WRMSR|RDMSR)"
    r"(?:: |\()0x(?P<index>[0-9a-f]{1,8})\)?(?: data | = )?(?:0x(?P<value>[0-9a-f]{1,16}))?"
)
#: What is kept as it stands: the message from its first word on.
_SAID = re.compile(
    r"(?:error: )?[Ff]ailed to (?:get|set|put) (?!MSR 0x).{1,200}|[Cc]ould not set register .{1,200}"
    r"|KVM internal error\. Suberror: \d+.{0,80}|extra data\[\d+\]: 0x[0-9a-f]+|emulation failure"
    r"|KVM: entry failed, hardware error 0x[0-9a-f]+|kvm run failed .{1,100}"
)


def read(lines: Sequence[Line], file: str) -> Found:
    """Features as bits of the host's CPUID, MSRs and messages as facts."""
    bits: dict[CpuidBit, int] = {}
    refused: dict[str, str] = {}
    said: list[tuple[str, str]] = []
    for line in lines:
        feature = _FEATURE.search(line.text)
        if feature:
            _take_feature(feature, bits, refused)
            continue
        said += _messages(line.text)
        if len(said) > MOST or len(refused) > MOST:
            break
    context = []
    area = bits_area(bits, "host: features that QEMU was refused", file)
    if area is not None:
        context.append(area)
    if refused:
        context.append(facts_area(refused.items(), "refused", "features that the host does not give", file))
    if said:
        rows = ((f"{number}.{name}", text) for number, (name, text) in enumerate(said[:MOST], 1))
        context.append(facts_area(rows, "said", "what QEMU and KVM said", file))
    notices = [_NOTICE] if refused else []
    return Found(context=context, notices=notices)


_NOTICE = "features that the log does not name are unknown: QEMU tells only what was asked for and is not given"


def _take_feature(found: re.Match[str], bits: dict[CpuidBit, int], refused: dict[str, str]) -> None:
    name, bit = found["name"] or "", int(found["bit"])
    if bit > 63 or (bit > 31 and not found["msr"]):
        return
    words = f"{name or 'no name'}: not given by {'TCG' if found['who'] == 'TCG' else 'the host'}"
    if found["msr"]:
        refused[f"MSR.{int(found['msr'], 16):X}[{bit}]"] = words
        return
    leaf = int(found["leaf"] or found["eax"], 16)
    register = (found["register"] or found["reg"]).lower()
    subleaf = int(found["ecx"], 16) if found["ecx"] else 0 if found["eax"] else subleaf_of(leaf, register, name)
    refused[f"CPUID.{leaf:X}.{subleaf:X}.{register.upper()}[{bit}]"] = words
    bits[leaf, subleaf, register, bit] = 0


def _messages(text: str) -> Iterator[tuple[str, str]]:
    msr = _MSR.search(text)
    if msr:
        index = int(msr["index"], 16)
        name = _named(index)
        yield "MSR", f"{msr['what']} {name} refused" + (f": 0x{msr['value']}" if msr["value"] else "")
        return
    ignored = _IGNORED.search(text)
    if ignored:
        how, name = ignored["how"].lower(), _named(int(ignored["index"], 16))
        value = f" 0x{ignored['value']}" if ignored["value"] else ""
        yield "MSR", f"vCPU {ignored['vcpu']}: {ignored['what'].lower()} {how} {name}{value}"
        return
    for found in _SAID.finditer(text):
        yield "message", found[0].strip()


def _named(index: int) -> str:
    name = msr_name(index)
    return f"{name} ({index:#x})" if name and not name.lower().startswith("0x") else f"{index:#x}"
