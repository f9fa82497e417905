"""The host of a file of recorded answers: its CPU's bare registers, or what the file shows.

The file's name says which CPU it was. Where nobody knows that one's bare registers, the host is what guests were
recorded to see: its values then tell nothing about the machine. What KVM hides (the host's MPAM, NV) they do not hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.host import EL1_32BIT, HAS_EL2, PMU_V3, POWER_OFF, PSCI_0_2, PTRAUTH, SVE, Host
from inspector.machine.arm64.idregs import HIDDEN_FIELDS
from layouts.arm64.hosts import BareHost, bare_hosts, encoding_of_text
from layouts.arm64.ids import CLIDR, SYSREG, RegisterId
from layouts.arm64.kernels import Arm64Kernel, profile_for

Record = dict[str, Any]
#: vCPU features of the recorder's configurations, all with PSCI_0_2.
CONFIGURATIONS = {
    "base": PSCI_0_2,
    "imp": PSCI_0_2,
    "pmu": PSCI_0_2 | PMU_V3,
    "sve": PSCI_0_2 | SVE,
    "pauth": PSCI_0_2 | PTRAUTH,
    "el2": PSCI_0_2 | HAS_EL2,
}
_FILE_NAME = re.compile(r"arm64-(?:sequences-)?linux-\d+\.\d+(?:-rc\d+)?-([^/]+?)(?:\.jsonl|$)")


def bare_of(file: str) -> BareHost | None:
    """The CPU that a recording's file name has (``arm64-linux-7.2-max_sve-max-vq_3.jsonl.gz``), if it is known."""
    found = _FILE_NAME.search(file)
    if found is None:
        return None
    return next((bare for known, bare in bare_hosts().items() if re.sub("[,=]", "_", known) == found[1]), None)


def kernel_of(records: Sequence[Record]) -> Arm64Kernel:
    """The kernel profile of the file's release. Raises UnknownReleaseError."""
    release = next((record["release"] for record in records if record["t"] == "uname"), "")
    return profile_for(release)


def host_of_records(records: Sequence[Record], *, measured: bool = True) -> Host:
    """The host as the file shows it; ``measured``: what KVM hides is taken from the answers to writes, too."""
    kernel = kernel_of(records)
    limits: dict[int, int] = {}
    registers: dict[int, bytes] = {}
    masks: dict[int, int] = {}
    features, vqs = POWER_OFF | PSCI_0_2, 0
    for record in records:
        kind = record["t"]
        if kind == "idreg" and record["cfg"] != "el2":
            encoding, value = encoding_of_text(record["reg"]), int(record["host"], 16)
            limits[encoding] = fuller(limits.get(encoding), value)
        elif kind == "reg" and record["err"] == 0:
            registers.setdefault(int(record["id"], 16), bytes.fromhex(record["le"]))
        elif kind == "mask":
            masks[encoding_of_text(record["reg"])] = int(record["mask"], 16)
        elif kind == "vls" and record["err"] == 0:
            vqs = int(record["vqs"], 16)
        elif kind == "feat" and record["err"] == 0:
            features |= 1 << record["bit"] if "bit" in record else PTRAUTH
    known = next((host.sanitised for host in _known(kernel, limits) if vqs in (0, host.sve_vqs)), None)
    sanitised = known or (_measured(records) if measured else {})
    return Host(
        kernel,
        limits,
        sanitised=sanitised,
        sve_vqs=vqs,
        features=features,
        masks=masks if masks and kernel.reports_masks else None,
        registers=registers,
    )


def _measured(records: Sequence[Record]) -> dict[int, int]:
    """The host's hidden fields, as the writes of the first configuration show them.

    KVM takes the host's own value of such a field and ignores it: the digit that is taken and does
    not read back is the host's. None is: the host has 0.
    """
    found = {}
    for record in records:
        if record["t"] != "idreg" or record["cfg"] != "base":
            continue
        encoding = encoding_of_text(record["reg"])
        hidden = HIDDEN_FIELDS.get(encoding)
        if hidden is not None:
            taken = [digit for digit, answer in enumerate(record["nib"][hidden.lsb // 4]) if isinstance(answer, str)]
            found[encoding] = hidden.put(0, taken[0] if taken else 0)
    return found


def fuller(one: int | None, other: int) -> int:
    """Two views of one register: fields that one of them hides are the other's."""
    if one is None:
        return other
    found = one
    for lsb in range(0, 64, 4):
        if not found >> lsb & 0xF:
            found |= other & 0xF << lsb
    return found


def _known(kernel: Arm64Kernel, limits: dict[int, int]) -> Iterator[Host]:
    """The known CPUs that have these limits; none where nothing tells them apart."""
    for bare in bare_hosts().values():
        host = from_bare(kernel, [bare])
        told = {encoding: value for encoding, value in limits.items() if _tells(host, encoding)}
        if told and all(host.limits.get(encoding) == value for encoding, value in told.items()):
            yield host


def _tells(host: Host, encoding: int) -> bool:
    register = host.kernel.registers.get(encoding)
    if register is None or encoding == CLIDR:
        return False
    return register.kind in ("writable", "sanitised") and not (register.aarch32 and not host.has_aarch32)


def host_of_sequences(records: Sequence[Record]) -> Host:
    """The host of random lifecycles: what fresh VMs read before anything was written.

    Features that some vCPU was initialized with are the host's; lengths those of a vCPU whose set was not changed.
    """
    kernel = kernel_of(records)
    seen = _Seen()
    for record in records:
        if record["t"] == "seq":
            seen.sequence(record["steps"])
    limits = {rid.encoding: int.from_bytes(data, "little") for rid, data in seen.values.items() if rid.is_sysreg}
    known = next((host for host in _known(kernel, limits) if host.sve_vqs == seen.vqs), None)
    if known is not None:
        known.features |= seen.features
        known.registers = {rid: data for rid, data in seen.values.items() if rid.encoding not in known.limits}
        return known
    return Host(kernel, limits, sve_vqs=seen.vqs, features=seen.features, registers=dict(seen.values.items()))


class _Seen:
    """What sequences show of their host."""

    def __init__(self) -> None:
        self.values: dict[RegisterId, bytes] = {}
        self.features = POWER_OFF | PSCI_0_2
        self.vqs = 0

    def sequence(self, steps: Iterable[list[Any]]) -> None:
        touched: set[object] = set()
        for step in steps:
            operation = step[0]
            if operation == "init" and step[3] == 0:
                features = int(step[2], 16)
                self.features |= features & ~(EL1_32BIT * bool(features & HAS_EL2))
            elif operation in ("run", "set_vls"):
                touched.add(operation)
            elif operation == "set":
                touched.add(int(step[2], 16))
            elif operation == "get_vls" and step[2] == 0 and "set_vls" not in touched:
                self.vqs |= int(step[3], 16)
            elif operation == "get" and step[3] == 0 and "run" not in touched:
                self._value(RegisterId(step[2], 16), bytes.fromhex(step[4]), touched)

    def _value(self, register_id: RegisterId, data: bytes, touched: set[object]) -> None:
        """A register that nobody wrote: of an ID register the fullest view."""
        if register_id in touched or register_id.coprocessor != SYSREG:
            return
        before = self.values.get(register_id)
        if register_id.is_sysreg and before is not None:
            value = fuller(int.from_bytes(before, "little"), int.from_bytes(data, "little"))
            data = value.to_bytes(8, "little")
        self.values[register_id] = data
