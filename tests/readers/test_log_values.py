"""What logs print of calls, and the bytes that are made of it: nothing is made up of what is unclear or left out."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from inspector.capture.calls import Call, Printed
from inspector.readers.logs import printk, vmcb
from inspector.readers.logs.found import Line
from inspector.readers.logs.passed import passed_by, struct_bytes
from inspector.readers.logs.printed import UnclearError, arguments
from inspector.readers.logs.vcpu_life import cpuid_given, lives_of

ENTRY = {"function": 0xD, "index": 1, "flags": "KVM_CPUID_FLAG_SIGNIFCANT_INDEX", "eax": 0xF, "ebx": 0, "ecx": 0}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("3, KVM_RUN, 0", [3, "KVM_RUN", 0]),
        ("010, -1, 0x1f, 08", [8, -1, 31, 8]),
        # What is between /* and */ is strace's explanation, => what the kernel made of it.
        ("{a=1 /* one */, b=[1, 2]} => {a=2}", [{"a": 2}]),
        ("{nent=2, ...}", [{"nent": 2, "...": None}]),
        ("[1, ...], {1, 2}", [[1, None], [1, 2]]),
        ('"a\\"b"..., MSR(0x10, 5)', ['"a\\"b"...', "MSR(0x10, 5)"]),
        ("...", [None]),
    ],
)
def test_values_as_strace_prints_them(text: str, values: list[Printed]) -> None:
    assert arguments(text) == values


@pytest.mark.parametrize(
    "text",
    [
        "{a=1 b=2}",
        "{a=1, 2}",
        "{a=1",
        "[1, 2",
        "[1 2]",
        "1 2",
        "1]",
        "{a=}",
        ")",
        "1 => ",
        "[" * 20 + "]" * 20,
        "0," * 70_000,
    ],
)
def test_what_strace_does_not_print_is_unclear(text: str) -> None:
    with pytest.raises(UnclearError):
        arguments(text)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        # A structure without its table, with members that are words, or with numbers that do not fit.
        ("KVM_SET_CPUID2", {"nent": 1}),
        ("KVM_SET_CPUID2", {"nent": 1, "entries": "0x7ffe"}),
        ("KVM_SET_CPUID2", {"entries": [5]}),
        ("KVM_SET_CPUID2", {"entries": [{**ENTRY, "edx": 1 << 32}]}),
        ("KVM_SET_CPUID2", {"entries": [{**ENTRY, "edx": "KVM_WHAT"}]}),
        ("KVM_SET_MSRS", {"nmsrs": 1}),
        ("KVM_SET_MSRS", {"entries": "0x7ffe"}),
        ("KVM_SET_MSRS", {"entries": [7]}),
        ("KVM_SET_MSRS", {"entries": [{"index": 1 << 32, "data": 0}]}),
        ("KVM_SET_MSRS", {"entries": [{"index": 1, "data": None}]}),
        ("KVM_SET_USER_MEMORY_REGION", {"slot": 1 << 32, "flags": 0}),
        ("KVM_SET_USER_MEMORY_REGION", {"slot": 0, "flags": "KVM_MEM_WHAT"}),
        ("KVM_ENABLE_CAP", {"cap": "KVM_CAP_OF_NO_KERNEL"}),
        ("KVM_ENABLE_CAP", {"cap": 1, "args": [0] * 5}),
        ("KVM_ENABLE_CAP", {"cap": 1, "args": "0x1"}),
        ("KVM_ENABLE_CAP", {"cap": 1, "args": [1 << 64]}),
        ("KVM_ENABLE_CAP", {"cap": 1, "flags": 1 << 32}),
        ("KVM_ENABLE_CAP", {"cap": [1]}),
        ("KVM_GET_DIRTY_LOG", {"slot": 0}),
    ],
)
def test_bytes_that_a_log_does_not_tell(name: str, given: dict[str, Any]) -> None:
    assert struct_bytes(name, given) is None


def test_bytes_of_what_is_printed() -> None:
    entry = {**ENTRY, "edx": 0}
    assert struct_bytes("KVM_SET_CPUID2", {"entries": [entry]}) == struct.pack(
        "<2I10I", 1, 0, 0xD, 1, 1, 0xF, *(0,) * 6
    )
    assert struct_bytes("KVM_SET_MSRS", {"entries": [{"index": 0x1C4, "data": 1 << 18}]}) == struct.pack(
        "<4IQ", 1, 0, 0x1C4, 0, 1 << 18
    )
    region = {"slot": 1, "flags": "KVM_MEM_LOG_DIRTY_PAGES|KVM_MEM_READONLY", "guest_phys_addr": 0, "memory_size": 4096}
    region["userspace_addr"] = 0x7F0000000000
    assert struct_bytes("KVM_SET_USER_MEMORY_REGION", region) == struct.pack("<2I3Q", 1, 3, 0, 4096, 0x7F0000000000)
    assert struct_bytes("KVM_ENABLE_CAP", {"cap": "KVM_CAP_SPLIT_IRQCHIP", "args": [24]}) == struct.pack(
        "<2I4Q64x", 121, 0, 24, 0, 0, 0
    )


@pytest.mark.parametrize(
    ("name", "given", "known"),
    [
        ("KVM_RUN", 0, True),
        ("KVM_CREATE_VM", -1, True),
        ("KVM_SET_SREGS", 0x7FFE0000, False),
        ("KVM_SET_SREGS", {"cr0": 1, "...": None}, False),
        ("KVM_SET_SREGS", "garbage", False),
        ("KVM_CREATE_VM", 1 << 64, False),
        ("ARCH_GET_XCOMP_PERM", 0x7FFE0000, True),
        ("ARCH_GET_XCOMP_PERM", [0x602E7], True),
    ],
)
def test_what_a_call_passes(name: str, given: Printed, known: bool) -> None:
    assert passed_by(Call(0, "", 3, name, "", given)).is_known is known


@pytest.mark.parametrize(
    "given",
    [0x7FFE, {"nent": 1}, {"entries": "0x7ffe"}, {"entries": [5]}, {"entries": [{**ENTRY, "edx": "0xf"}]}],
)
def test_a_table_that_is_not_whole_is_none(given: Printed) -> None:
    assert cpuid_given(given) is None


def test_a_vcpu_whose_calls_are_not_printed_whole() -> None:
    """A table that lacks a member leaves the one before it; a segment that is an address is not taken."""
    whole = {"entries": [{**ENTRY, "edx": 0}]}
    calls = [
        Call(0, "", 3, "KVM_CREATE_VCPU", "", 1, result=4),
        Call(1, "", 4, "KVM_SET_CPUID2", "", whole, result=0),
        Call(2, "", 4, "KVM_SET_CPUID2", "", {"entries": [{}]}, result=0),
        Call(3, "", 4, "KVM_SET_SREGS", "", {"cs": 0x7FFE, "cr0": 0x80000011, "cr3": 1 << 64}, result=0),
    ]
    states, *_ = lives_of(calls, "log")
    cpuid, registers = states[0].areas
    assert cpuid.title == "KVM_SET_CPUID2"
    assert registers.title == "registers, as last set or read"
    # CR3 of more than 64 bits is none.
    assert [row[0] for row in registers.attributes["named"]] == ["sregs.cr0"]
    # A vCPU of which nothing is printed is one all the same, and so is a call that gives back no table.
    bare, _, _, notices = lives_of([calls[0], Call(1, "", 4, "KVM_SET_MSRS", "", 0x7FFE, result=0)], "log")
    assert (bare[0].name, bare[0].areas) == ("cpu 1", [])
    assert notices == ["KVM_SET_MSRS: strace prints the address alone, so what they set is not captured"]


def lines(*texts: str) -> list[Line]:
    return [Line(number, text) for number, text in enumerate(texts)]


def test_messages_of_xfd() -> None:
    found = printk.read(
        lines(
            "kvm_set_msr_common set MSR_IA32_XFD to 0x40000 on vcpu1 cpu1",
            "write xfd to cpu3 with 0x0",
            "handle_xfd_event catch an event of 0x40000",
            # A line of a call trace: a function and its offset is none of these messages.
            "handle_xfd_event called from asm_exc_device_not_available+0x1f",
            "nothing of the kind",
            *(f"write xfd to cpu{cpu} with 0x0" for cpu in range(4, 5000)),
        ),
        "log",
    )
    assert found.calls[2].name == "handle_xfd_event"
    assert [state.name for state in found.states[:2]] == ["vcpu 1", "host cpu 3"]
    assert len(found.calls) == 2 + 1 + 4996
    assert len(found.states) < 4998


def test_dumps_of_a_vmcb_one_behind_the_other() -> None:
    head, control, save = (
        "VMCB 0000000012345678, last attempted VMRUN on CPU 3",
        "VMCB Control Area:",
        "VMCB State Save Area:",
    )
    found = vmcb.read(
        lines(
            "before",
            head,
            control,
            "asid:               x",
            "asid:               1",
            "cr_read:            0000 00000011",
            "no value here",
            save,
            "cpl:            0",
            control,
            "asid:               2",
        ),
        "log",
    )
    assert [state.name for state in found.states] == ["VMCB 0000000012345678, CPU 3", "VMCB"]
    assert not vmcb.read(lines("nothing"), "log").states
