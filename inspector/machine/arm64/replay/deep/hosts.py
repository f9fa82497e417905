"""The host of a deep recording: from the bare facts of its header and the bare registers of that CPU."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.capture.errors import InputError
from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.replay.deep.count import Record
from layouts.arm64.hosts import bare_hosts
from layouts.arm64.kernels import arm64_kernel_for

_NESTED = "kvm-arm.mode=nested"


def host_of(file: str, records: Sequence[Record]) -> Host:
    """The host: kernel release, CPU, MTE, GIC and command line, nothing of the answers.

    Raises InputError where the header is not there, or names a CPU whose bare registers nobody knows, and
    UnknownReleaseError.
    """
    header = next((record for record in records if record["op"] == "host"), {})
    meta = next((record for record in records if record["op"] == "meta"), {})
    cpu, release = str(header.get("cpu", "")), str(meta.get("release", ""))
    name = f"{cpu},mte=on" if header.get("mte") == "on" else cpu
    bare = bare_hosts().get(name)
    if bare is None:
        raise InputError(file, "a header (op host) with a CPU whose bare registers are known", name or "no header")
    return from_bare(
        arm64_kernel_for(release),
        [bare],
        gic=2 if str(header.get("gic", "3")) == "2" else 3,
        nested=_NESTED in str(header.get("append", "")),
    )
