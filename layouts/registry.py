"""Every layout by its name, which is also the word for ``--as``."""

from __future__ import annotations

from functools import cache

from layouts.vocabulary import Layout


@cache
def layouts() -> dict[str, Layout]:
    """All fixed and open-ended structures by name."""
    from layouts.files import elf, elf_arm64, elf_x86
    from layouts.x86 import fpstate, kvm

    found = (
        *kvm.STRUCTS,
        elf_x86.FPREGSET,
        fpstate.FPSTATE,
        elf.PRPSINFO_64,
        elf.PRPSINFO_32,
        elf.SIGINFO,
        elf_x86.PRSTATUS_64,
        elf_x86.PRSTATUS_32,
        elf_x86.REGSET_64,
        elf_x86.REGSET_32,
        elf_x86.SHSTK,
        elf_x86.FSAVE,
        elf_x86.QEMU_CPU,
        *elf_arm64.ALL,
    )
    return {layout.name: layout for layout in found}


@cache
def size_bytes(name: str) -> int:
    """Bytes of a structure (of its fixed part, when it is open-ended)."""
    return int(layouts()[name].construct.sizeof())
