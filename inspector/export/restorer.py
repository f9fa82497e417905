"""A C program that gives a captured vCPU to this machine's KVM, call by call, and tells what is refused.

x86: the structures of the capture in QEMU's order (target/i386/kvm/kvm.c, kvm_arch_put_registers; the local APIC's is
of hw/i386/kvm/apic.c). arm64: KVM_SET_ONE_REG of every register, the vector lengths before KVM_ARM_VCPU_FINALIZE.
Unlike the program of a log it is made of what the capture holds, keys and addresses too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from inspector.export.reproducer import INCLUDES, OPEN_KVM, array_of
from layouts.kvm_ioctls import ioctls

#: struct kvm_xsave is 4 KiB; KVM reads as much of KVM_SET_XSAVE's as the vCPU's state has (arch/x86/kvm/x86.c).
_XSAVE_SIZE_BYTES = 1 << 14
#: Layout of an area, and the call that sets it, in the order in which QEMU makes them.
_CALLS = (
    ("kvm-cpuid2", "KVM_SET_CPUID2"),
    ("kvm-sregs2", "KVM_SET_SREGS2"),
    ("kvm-sregs", "KVM_SET_SREGS"),
    ("kvm-nested-state", "KVM_SET_NESTED_STATE"),
    ("kvm-regs", "KVM_SET_REGS"),
    ("kvm-fpu", "KVM_SET_FPU"),
    ("xsave", "KVM_SET_XSAVE"),
    ("kvm-xcrs", "KVM_SET_XCRS"),
    ("kvm-msrs", "KVM_SET_MSRS"),
    ("kvm-vcpu-events", "KVM_SET_VCPU_EVENTS"),
    ("kvm-mp-state", "KVM_SET_MP_STATE"),
    ("kvm-lapic", "KVM_SET_LAPIC"),
    ("kvm-debugregs", "KVM_SET_DEBUGREGS"),
)
#: A structure and the newer one that holds the same.
_HELD_BY = {"kvm-sregs": "kvm-sregs2", "kvm-fpu": "xsave"}


class Given(NamedTuple):
    """A structure that is given to KVM. ``entries``: how many KVM_SET_MSRS should take."""

    name: str
    data: bytes
    entries: int = 0


def x86_calls(areas: Mapping[str, bytes]) -> list[Given]:
    """What is given, in order; areas by layout. The older of two structures that hold the same is left out."""
    found = []
    for layout, name in _CALLS:
        data = areas.get(layout)
        if data is None or _HELD_BY.get(layout) in areas:
            continue
        if layout == "xsave":
            data = data.ljust(_XSAVE_SIZE_BYTES, b"\0")
        found.append(Given(name, data, int.from_bytes(data[:4], "little") if layout == "kvm-msrs" else 0))
    return found


def x86_program(given: Sequence[Given], dynamic: int) -> Iterator[str]:
    """The lines; ``dynamic`` are the components that the guest needs permission for (ARCH_REQ_XCOMP_GUEST_PERM)."""
    yield from _HEAD.splitlines()
    yield from INCLUDES.splitlines()
    yield from OPEN_KVM.splitlines()
    for number, one in enumerate(given, 1):
        yield from array_of(f"bytes{number}", f"{one.name}: {len(one.data)} bytes.", one.data)
    yield ""
    yield "static const struct {"
    yield "    const char *name;"
    yield "    unsigned long request;"
    yield "    unsigned char *bytes;"
    yield "    long entries;"
    yield "} calls[] = {"
    for number, one in enumerate(given, 1):
        yield f'    {{"{one.name}", {ioctls()[one.name].request:#x}UL, bytes{number}, {one.entries}}},'
    yield "};"
    has_apic = any(one.name == "KVM_SET_LAPIC" for one in given)
    permissions = [number for number in range(63) if dynamic >> number & 1]
    for line in _X86_MAIN.splitlines():
        if line == "@permissions":
            for number in permissions:
                yield f"    if (syscall(SYS_arch_prctl, 0x1025, {number}UL) < 0)"
                yield f'        told("ARCH_REQ_XCOMP_GUEST_PERM {number}");'
        elif line == "@irqchip":
            if has_apic:
                yield "    if (ioctl(vm, 0xae60UL /* KVM_CREATE_IRQCHIP */, 0) < 0)"
                yield '        told("KVM_CREATE_IRQCHIP");'
        else:
            yield line


def arm64_program(registers: Mapping[int, bytes], features: int, lengths: int) -> Iterator[str]:
    """The lines: every register by its id, ``lengths`` (KVM_REG_ARM64_SVE_VLS) first where there is SVE."""
    yield from _HEAD.splitlines()
    yield "#include <stdint.h>"
    yield from INCLUDES.splitlines()
    yield from OPEN_KVM.splitlines()
    ordered = sorted(registers, key=lambda one: (one != lengths, one))
    for number, register_id in enumerate(ordered, 1):
        yield from array_of(f"bytes{number}", f"{register_id:#x}", registers[register_id])
    yield ""
    yield "static const struct {"
    yield "    uint64_t id;"
    yield "    unsigned char *bytes;"
    yield "} registers[] = {"
    for number, register_id in enumerate(ordered, 1):
        yield f"    {{{register_id:#x}ULL, bytes{number}}},"
    yield "};"
    yield from _ARM64_MAIN.format(features=f"{features:#x}", first=int(lengths in registers)).splitlines()


_HEAD = """\
/*
 * Gives a captured vCPU to the KVM of this machine, call by call, and tells what it refuses: exit code 0 when something
 * is refused, 1 when all of it is taken, 2 when it could not be tried. Nothing runs in the VM.
 *
 * cc -o case case.c && ./case
 */"""

_TOLD = """
static int refused;

static void told(const char *name)
{
    printf("refused: %s: %s (%d)\\n", name, strerror(errno), errno);
    refused++;
}

static int made(const char *name, int fd)
{
    if (fd < 0) {
        printf("%s: %s\\n", name, strerror(errno));
        exit(2);
    }
    return fd;
}
"""

_X86_MAIN = (
    _TOLD
    + """
int main(void)
{
    int kvm = open_kvm();
    int vm = made("KVM_CREATE_VM", ioctl(kvm, 0xae01UL /* KVM_CREATE_VM */, 0));
    int vcpu;

@permissions
@irqchip
    vcpu = made("KVM_CREATE_VCPU", ioctl(vm, 0xae41UL /* KVM_CREATE_VCPU */, 0));
    for (unsigned int i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        long result = ioctl(vcpu, calls[i].request, calls[i].bytes);

        if (result < 0)
            told(calls[i].name);
        /* KVM stops at the first entry that it refuses: those behind are given one by one. */
        for (long n = result < 0 ? calls[i].entries : result; n < calls[i].entries; n++) {
            struct { unsigned int count, pad, index, reserved; unsigned long long value; } msr = { 1, 0, 0, 0, 0 };

            memcpy(&msr.index, calls[i].bytes + 8 + 16 * n, 16);
            if (ioctl(vcpu, calls[i].request, &msr) == 1)
                continue;
            printf("refused: %s: MSR %#x = %#llx\\n", calls[i].name, msr.index, msr.value);
            refused++;
        }
    }
    printf("refused: %d; calls: %zu\\n", refused, sizeof(calls) / sizeof(calls[0]));
    return refused == 0;
}"""
)

_ARM64_MAIN = (
    _TOLD.replace("{", "{{").replace("}", "}}")
    + """
int main(void)
{{
    struct {{ uint32_t target, features[7]; }} init;
    struct {{ uint64_t id, address; }} one;
    int kvm = open_kvm();
    int vm = made("KVM_CREATE_VM", ioctl(kvm, 0xae01UL /* KVM_CREATE_VM */, 0));
    int vcpu;
    int sve = 4;

    memset(&init, 0, sizeof(init));
    made("KVM_ARM_PREFERRED_TARGET", ioctl(vm, 0x8020aeafUL, &init));
    vcpu = made("KVM_CREATE_VCPU", ioctl(vm, 0xae41UL /* KVM_CREATE_VCPU */, 0));
    init.features[0] = {features};
    made("KVM_ARM_VCPU_INIT", ioctl(vcpu, 0x4020aeaeUL, &init));
    for (unsigned int i = 0; i < sizeof(registers) / sizeof(registers[0]); i++) {{
        if (i == {first} && (init.features[0] & 1 << 4))
            made("KVM_ARM_VCPU_FINALIZE", ioctl(vcpu, 0x4004aec2UL, &sve));
        one.id = registers[i].id;
        one.address = (uint64_t)(uintptr_t)registers[i].bytes;
        if (ioctl(vcpu, 0x4010aeacUL /* KVM_SET_ONE_REG */, &one) < 0) {{
            char name[40];

            snprintf(name, sizeof(name), "register %#llx", (unsigned long long)one.id);
            told(name);
        }}
    }}
    printf("refused: %d; registers: %zu\\n", refused, sizeof(registers) / sizeof(registers[0]));
    return refused == 0;
}}"""
)
