"""Every layout by its name, which is also the word for ``--as``."""

from __future__ import annotations

from layouts.light import cache
from layouts.vocabulary import Layout


@cache
def layouts() -> dict[str, Layout]:
    """All fixed and open-ended structures by name."""
    return _kvm() | _elf() | _elf_arm64()


def layout_named(name: str) -> Layout | None:
    """One of them; None when there is none. Only what an architecture's files have is imported for it."""
    if "arm64" in name:
        return _elf_arm64().get(name)
    found = _elf().get(name)
    return found if found is not None or name.startswith("elf-") else _kvm().get(name)


@cache
def _kvm() -> dict[str, Layout]:
    from layouts.files import elf_x86
    from layouts.x86 import fpstate, kvm

    return {layout.name: layout for layout in (*kvm.STRUCTS, elf_x86.FPREGSET, fpstate.FPSTATE)}


@cache
def _elf() -> dict[str, Layout]:
    from layouts.files import elf, elf_x86

    found = (
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
        elf_x86.FPREGSET,
    )
    return {layout.name: layout for layout in found}


@cache
def _elf_arm64() -> dict[str, Layout]:
    from layouts.files import elf_arm64

    return {layout.name: layout for layout in elf_arm64.ALL}


@cache
def size_bytes(name: str) -> int:
    """Bytes of a structure (of its fixed part, when it is open-ended). Raises KeyError."""
    layout = layout_named(name)
    if layout is None:
        raise KeyError(name)
    return layout.construct.sizeof()
