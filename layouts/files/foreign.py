"""Files that hold no registers that are read here: how each is known, its name, and what to do instead.

``MAGIC`` are regular expressions at the first byte, ``TEXT`` are looked for in the first lines. A new format is one
line. Sources: the formats' own documentation and headers as each row names them.
"""

from __future__ import annotations

from layouts.light import NamedTuple


class Foreign(NamedTuple):
    """A format: a pattern of its first bytes, what it is, what to do, and where the mark is documented."""

    pattern: bytes
    name: str
    advice: str
    source: str


_UNPACK = "unpack it first"
_STREAM = "QEMU's `migrate file:NAME` and `virsh save` write streams that are read"
_XML = "it holds no registers: `virsh save`, `virsh dump --memory-only` or `info registers -a` do"

MAGIC = (
    Foreign(rb"\x04\x22\x4d\x18", "an LZ4 frame", f"{_UNPACK}: unlz4 FILE", "LZ4 frame format"),
    Foreign(rb"\x02\x21\x4c\x18", "a legacy LZ4 file", f"{_UNPACK}: unlz4 FILE", "LZ4 frame format"),
    Foreign(rb"\x89LZO\0\r\n\x1a\n", "an lzop file", f"{_UNPACK}: lzop -d FILE", "lzop 1.04, lzop.c"),
    Foreign(rb"\xff\x06\0\0sNaPpY", "a framed Snappy file", _UNPACK, "Snappy framing format"),
    Foreign(rb"PK\x03\x04", "a zip archive", f"{_UNPACK} and open what is in it", "PKZIP APPNOTE"),
    Foreign(rb"7z\xbc\xaf\x27\x1c", "a 7z archive", f"{_UNPACK} and open what is in it", "7z format"),
    Foreign(rb"(?s).{257}ustar[\0 ]", "a tar archive", f"{_UNPACK} and open what is in it", "POSIX pax"),
    Foreign(
        rb"\x11\x22\x33\x44\0\0\0[\x01-\x09]",
        "a further channel of a multifd migration, which carries memory pages only",
        "the registers are in the main channel, the file that begins with QEVM",
        "QEMU migration/multifd.h, MULTIFD_MAGIC",
    ),
    Foreign(
        rb"LibvirtQemudPart",
        "a libvirt save image that was never finished (the save was aborted or still runs)",
        "the registers come last and are not in it: save again",
        "libvirt src/qemu/qemu_saveimage.h, QEMU_SAVE_PARTIAL",
    ),
    Foreign(rb"KDMV", "a VMware disk (VMDK)", "a disk holds no registers", "VMware Virtual Disk Format 1.1"),
    Foreign(rb"<<< (?:Oracle|QEMU)", "a VirtualBox disk (VDI)", "a disk holds no registers", "VirtualBox VDICore.h"),
    Foreign(
        rb"PAGEDUMP",
        "a crash dump of a 32-bit Windows (`virsh dump --format win-dmp`, `dump-guest-memory -w`)",
        "its CPU contexts are not read: dump as elf or kdump-zlib instead",
        "QEMU include/qemu/win_dump_defs.h",
    ),
    Foreign(
        rb"\x7fVirtualBox SavedState V",
        "a VirtualBox saved state",
        "not read: `VBoxManage debugvm NAME dumpvmcore --filename=F` writes an ELF core",
        "VirtualBox SSM.cpp, SSMFILEHDR_MAGIC",
    ),
    Foreign(
        rb"[\xd0-\xd3]\xbe[\xd0-\xd3]\xbe",
        "a VMware suspended state (vmss or vmsn)",
        "not read: vmss2core writes an ELF core from it",
        "VMware vmss2core, dumper header",
    ),
    Foreign(
        rb"LibxenFmt|XenSavedDomain|Xen saved domain|\xff{8}FNEX|\xff{8}XENF",
        "a Xen save image",
        "its records of CPU context are not read: `xl dump-core` writes an ELF file",
        "Xen docs/specs/libxl-migration-stream.pandoc, libxc-migration-stream.pandoc",
    ),
    Foreign(rb"PERFILE2", "a perf recording", "it holds samples, no CPU state", "Linux tools/perf/util/header.h"),
)

TEXT = (
    Foreign(
        rb"<capabilities\b",
        "libvirt host capabilities (virsh capabilities)",
        "it holds no registers, and is a host: `inspector models check MODEL --host FILE`, `inspector migrate X FILE`",
        "libvirt docs/formatcaps",
    ),
    Foreign(rb"<domain\b[^>]*>", "libvirt domain XML (virsh dumpxml)", _XML, "libvirt"),
    Foreign(
        rb"<cpus?\b[^>]*>\s*<",
        "CPU models in libvirt's XML",
        "models are words about a CPU, and no capture: `inspector models` shows them",
        "libvirt docs/formatcaps",
    ),
    Foreign(
        rb"(?m)^(?:-cpu )?[\w.-]+,(?:[^\n]*,)?SYSREG_",
        "a QEMU -cpu line with writable ID registers (`models expand --to sysreg`)",
        "it is input of `inspector models expand MODEL NAME=VALUE...`, and no capture",
        "QEMU docs/system/arm/cpu-features.rst, SYSREG_*",
    ),
    Foreign(
        rb"\A-cpu [\w.-]+",
        "a QEMU -cpu line",
        "it is input of `inspector models expand MODEL NAME=VALUE...`, and no capture",
        "QEMU qemu-options.hx",
    ),
    Foreign(
        rb"\A(?!(?s:.*)eax=0x[0-9a-f]{8} ebx=0x)(?s:.*)(?:vendor_id = \"|version information \(1/eax\):)",
        "the explained output of cpuid",
        "values are rounded and named there: run `cpuid -r` (with -1 for one CPU) and open that",
        "cpuid(1)",
    ),
    Foreign(
        rb"dumping local APIC state for CPU",
        "the text of QEMU's `info lapic`",
        "not read: the apic section of a migration stream, or `info registers -a` for the CPU's registers",
        "QEMU target/i386/cpu-apic.c, x86_cpu_dump_local_apic_state",
    ),
    Foreign(
        rb"(?m)\brax=[0-9a-f]{16} rbx=[0-9a-f]{16}",
        "registers as VirtualBox's log prints them",
        "not read: `VBoxManage debugvm NAME dumpvmcore --filename=F` writes an ELF core",
        "VirtualBox DBGF, cpumR3InfoOne",
    ),
    Foreign(
        rb"(?m)^(?:.*[ \]:])?R00=[0-9a-f]{8} R01=[0-9a-f]{8}",
        "`info registers` of a 32-bit Arm CPU",
        "32-bit Arm is out of scope: inspector reads x86 and arm64",
        "QEMU target/arm/cpu.c, arm_cpu_dump_state",
    ),
    Foreign(
        rb"(?m)^r0 +0x[0-9a-f]+ .*\n(?:.*\n){0,40}?cpsr +0x",
        "gdb's registers of a 32-bit Arm program",
        "32-bit Arm is out of scope: inspector reads x86 and arm64",
        "GDB features/arm/arm-core.xml",
    ),
    Foreign(
        rb"(?m)^(?:.*[ \]:])?x0/zero +[0-9a-f]{16} +x1/ra|^zero +0x0\b.*\n(?:.*\n){0,2}?ra +0x",
        "registers of a RISC-V CPU",
        "inspector reads x86 and arm64",
        "QEMU target/riscv/cpu.c, riscv_cpu_dump_state",
    ),
)
