"""CPUID of the processor that this program runs on, asked by the instruction itself.

Where memory cannot be made executable (SELinux' execmem) there is none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from inspector.capture.host import Cpuid, CpuidValues

#: void f(edi: leaf, esi: sub-leaf, rdx: u32[4]), System V ABI: endbr64; push rbx; eax = edi; ecx = esi; r8 = rdx;
#: cpuid; store eax, ebx, ecx, edx at r8; pop rbx; ret
_CODE = bytes.fromhex("f30f1efa 53 89f8 89f1 4989d0 0fa2 418900 41895804 41894808 4189500c 5b c3")
_BASIC, _EXTENDED = 0x80, 0x80000000
_MOST_LEAVES = 64
#: Leaves with sub-leaves, and how many there may be; the first is 0.
_SUBLEAVES = {0x4: 8, 0x7: 4, 0xB: 4, 0xD: 63, 0x10: 4, 0x14: 2, 0x1D: 2, 0x1E: 2, 0x1F: 6, 0x24: 2}


def own_cpuid() -> Cpuid | None:
    """Every leaf of this processor, None on another architecture and where it cannot be asked."""
    import ctypes
    import mmap

    if os.uname().machine != "x86_64":
        return None
    try:
        memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None
    memory.write(_CODE)
    place = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    function = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)(place)
    answer = (ctypes.c_uint32 * 4)()

    def ask(leaf: int, subleaf: int) -> CpuidValues:
        function(leaf, subleaf, ctypes.addressof(answer))
        return answer[0], answer[1], answer[2], answer[3]

    return Cpuid({key: values for key, values in _all(ask) if any(values)})


def _all(ask: Callable[[int, int], CpuidValues]) -> Iterable[tuple[tuple[int, int], CpuidValues]]:
    for base in (0, _EXTENDED):
        last = min(ask(base, 0)[0], base + _MOST_LEAVES)
        for leaf in range(base, last + 1):
            for subleaf in range(_SUBLEAVES.get(leaf, 1)):
                yield (leaf, subleaf), ask(leaf, subleaf)
