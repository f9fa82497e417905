"""qcow2 disk images: where internal snapshots keep the state of the VM. All numbers are big-endian.

Source: QEMU ``docs/interop/qcow2.rst``; ``block/qcow2.h`` (qcow2_vm_state_offset).
"""

from __future__ import annotations

import struct

MAGIC = b"QFI\xfb"

#: Version, backing file (16 skipped), cluster_bits, disk size, (24 skipped), number of snapshots, their table.
HEADER = struct.Struct(">4xI12xIQ28xIQ")
#: Version 3: incompatible features at byte 72.
INCOMPATIBLE_OFFSET = 72
EXTERNAL_DATA_FILE = 1 << 2
EXTENDED_L2 = 1 << 4

#: L1 table and entries, length of id and name, (date and clock skipped), VM state bytes, extra bytes.
SNAPSHOT = struct.Struct(">QIHH16xII")
#: Extra data: VM state bytes in full, size of the disk.
SNAPSHOT_EXTRA = struct.Struct(">QQ")

OFFSET_MASK = 0x00FF_FFFF_FFFF_FE00
COMPRESSED = 1 << 62
ZERO = 1
