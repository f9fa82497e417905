"""qcow2 images with internal snapshots (``savevm``, ``virsh snapshot-create``): the QEMU stream of the newest one.

The disk itself is not looked at. A snapshot has an L1 table of its own; behind the disk's end in it lies the VM state.
"""

from __future__ import annotations

from typing import NamedTuple

from inspector.capture.errors import InputError, visible
from inspector.capture.model import Capture
from inspector.readers import qemu_stream
from inspector.readers.options import Options
from inspector.readers.source import Source
from layouts.files import qcow2

_MOST_SNAPSHOTS = 4096
_MOST_EXTRA_BYTES = 1024


class _Image(NamedTuple):
    """What of the header matters: bits of a cluster and of an L2 table's index, bytes of an L2 entry, disk size."""

    cluster_bits: int
    l2_bits: int
    entry_bytes: int
    disk_size: int
    snapshots: int
    snapshots_at: int


class _Snapshot(NamedTuple):
    name: str
    l1_at: int
    l1_entries: int
    size_bytes: int
    disk_size: int


class VmStateSource(Source):
    """The VM state of a snapshot, read through its tables; a cluster that is not there is zeros."""

    def __init__(self, source: Source, image: _Image, snapshot: _Snapshot) -> None:
        self.name = source.name
        self.progress = source.progress
        self.size: int | None = snapshot.size_bytes
        self._source = source
        self._image = image
        self._snapshot = snapshot
        shift = image.cluster_bits + image.l2_bits
        self._base = -(-snapshot.disk_size >> shift) << shift
        self._l2: dict[int, bytes] = {}

    def read(self, offset: int, size: int) -> bytes:
        """See Source.read."""
        end = min(offset + size, self.size or 0)
        cluster_bytes = 1 << self._image.cluster_bits
        out = []
        while 0 <= offset < end:
            within = offset % cluster_bytes
            count = min(cluster_bytes - within, end - offset)
            at = self._cluster(self._base + offset)
            piece = self._source.read(at + within, count) if at else bytes(count)
            out.append(piece)
            if len(piece) < count:
                break
            offset += count
        return b"".join(out)

    def _cluster(self, guest: int) -> int:
        """Where the cluster of an address lies in the file; 0 for zeros."""
        image, number = self._image, guest >> self._image.cluster_bits
        index, slot = number >> image.l2_bits, number & ((1 << image.l2_bits) - 1)
        if index >= self._snapshot.l1_entries:
            raise InputError(self.name, "VM state within the snapshot's L1 table", f"entry {index}")
        if index not in self._l2:
            l1 = self._source.read_exactly(self._snapshot.l1_at + 8 * index, 8, "an L1 entry")
            at = int.from_bytes(l1, "big") & qcow2.OFFSET_MASK
            size = image.entry_bytes << image.l2_bits
            self._l2[index] = self._source.read_exactly(at, size, "an L2 table") if at else bytes(size)
        raw = self._l2[index][image.entry_bytes * slot : image.entry_bytes * slot + 8]
        entry = int.from_bytes(raw, "big")
        if entry & qcow2.COMPRESSED:
            raise InputError(self.name, "VM state in plain clusters", "a compressed one")
        return 0 if entry & qcow2.ZERO else entry & qcow2.OFFSET_MASK


def read(source: Source, _options: Options) -> Capture:
    """The newest snapshot that has VM state. Raises InputError when none has."""
    image = _header(source)
    found = [snapshot for snapshot in _snapshots(source, image) if snapshot.size_bytes]
    if not found:
        what = f"a disk with {image.snapshots} snapshots, none with VM state: it holds no registers"
        raise InputError(source.name, "an internal snapshot of a running VM (savevm)", what)
    newest = found[-1]
    about = f"snapshot {newest.name}"
    capture = qemu_stream.read_at(VmStateSource(source, image, newest), 0, source.name, "qcow2-snapshot", about)
    capture.notices.insert(0, f"{about}: offsets count from the beginning of its VM state")
    others = ", ".join(snapshot.name for snapshot in found[:-1][-8:])
    if others:
        capture.notices.insert(1, f"older snapshots with VM state, not shown: {others} (`qemu-img snapshot -l`)")
    return capture


def _header(source: Source) -> _Image:
    raw = source.read_exactly(0, qcow2.HEADER.size, "a qcow2 header")
    version, cluster_bits, disk_size, snapshots, snapshots_at = qcow2.HEADER.unpack(raw)
    if version not in (2, 3) or not 9 <= cluster_bits <= 21:
        found = f"version {version}, cluster_bits {cluster_bits}"
        raise InputError(source.name, "qcow2 version 2 or 3 with clusters of 512 bytes to 2 MiB", found, 4)
    incompatible = 0
    if version == 3:
        features = source.read_exactly(qcow2.INCOMPATIBLE_OFFSET, 8, "qcow2 features")
        incompatible = int.from_bytes(features, "big")
    if incompatible & qcow2.EXTERNAL_DATA_FILE:
        what = "an external data file, in which the VM state lies"
        raise InputError(source.name, "a qcow2 image that holds its data", what, qcow2.INCOMPATIBLE_OFFSET)
    entry_bytes = 16 if incompatible & qcow2.EXTENDED_L2 else 8
    l2_bits = cluster_bits - (4 if entry_bytes == 16 else 3)
    return _Image(cluster_bits, l2_bits, entry_bytes, disk_size, snapshots, snapshots_at)


def _snapshots(source: Source, image: _Image) -> list[_Snapshot]:
    """The table of snapshots, oldest first."""
    found = []
    at = image.snapshots_at
    for _ in range(min(image.snapshots, _MOST_SNAPSHOTS)):
        raw = source.read_exactly(at, qcow2.SNAPSHOT.size, "a snapshot's entry")
        l1_at, l1_entries, id_size, name_size, state_size, extra_size = qcow2.SNAPSHOT.unpack(raw)
        if extra_size > _MOST_EXTRA_BYTES:
            expected = f"at most {_MOST_EXTRA_BYTES} bytes of extra data"
            raise InputError(source.name, expected, str(extra_size), at)
        extra = source.read(at + qcow2.SNAPSHOT.size, extra_size)
        disk_size = image.disk_size
        if len(extra) >= qcow2.SNAPSHOT_EXTRA.size:
            state_size, disk_size = qcow2.SNAPSHOT_EXTRA.unpack_from(extra)
        name_at = at + qcow2.SNAPSHOT.size + extra_size + id_size
        name = visible(source.read(name_at, min(name_size, 256)).decode("utf-8", "replace"))
        found.append(_Snapshot(name, l1_at, l1_entries, state_size, disk_size))
        at = name_at + name_size
        at += -at % 8
    return found
