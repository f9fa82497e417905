"""The host of a deep recording: from the bare facts of its header and the bare registers of that CPU."""

from __future__ import annotations

import re
from collections.abc import Sequence

from inspector.capture.errors import InputError
from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.replay.deep.count import Record
from layouts.arm64.hosts import BareHost, bare_hosts
from layouts.arm64.kernels import profile_for
from layouts.arm64.overrides import NESTED, overrides_of, words_of

_VQ_BYTES, _VQ_MAX = 16, 16
_LENGTH = re.compile(r"sve(\d{3,4})=(on|off)")
_MOST = re.compile(r"sve-max-vq=(\d{1,2})")
_BITS_PER_VQ = 128


def host_of_records(file: str, records: Sequence[Record]) -> Host:
    """The host: kernel release, CPU, MTE, GIC and command line, nothing of the answers.

    Raises InputError where the header is not there, or names a CPU whose bare registers nobody knows, and
    UnknownReleaseError.
    """
    header = next((record for record in records if record["op"] == "host"), {})
    meta = next((record for record in records if record["op"] == "meta"), {})
    cpu, release, command_line = header.get("cpu", ""), meta.get("release", ""), header.get("append", "")
    bare = bare_of(cpu, mte=header.get("mte") == "on")
    if bare is None:
        raise InputError(file, "a header (op host) with a CPU whose bare registers are known", cpu or "no header")
    registers = dict(bare.registers)
    for place, value in overrides_of(command_line):
        registers[place.encoding] = place.put(registers.get(place.encoding, 0), value)
    return from_bare(
        profile_for(release),
        [bare._replace(registers=registers)],
        gic=2 if header.get("gic") == "2" else 3,
        nested=NESTED in words_of(command_line),
    )


def bare_of(cpu: str, *, mte: bool) -> BareHost | None:
    """A CPU as QEMU's ``-cpu`` has it; vector lengths that it asks for are cut out of a known CPU's."""
    known = bare_hosts()
    found = known.get(f"{cpu},mte=on") if mte else None
    if found is None:
        found = known.get(cpu)
    if found is not None:
        return found
    name, *options = cpu.split(",")
    lengths = [option for option in options if _LENGTH.fullmatch(option) or _MOST.fullmatch(option)]
    if not lengths:
        return None
    base = bare_of(",".join((name, *(option for option in options if option not in lengths))), mte=mte)
    if base is None:
        return None
    asked = _lengths(lengths, {length // _VQ_BYTES for length in base.sve_vl_bytes})
    return base._replace(name=cpu, sve_vl_bytes=tuple(vq * _VQ_BYTES for vq in sorted(asked)))


def _lengths(options: Sequence[str], supported: set[int]) -> set[int]:
    """Vector lengths as QEMU works them out (target/arm/cpu64.c, arm_cpu_sve_finalize); each as vq.

    A length that is on brings the smaller powers of two; one that is off goes; all up to ``sve-max-vq``, if there is
    one, or all, if none is on.
    """
    on: set[int] = set()
    off: set[int] = set()
    most = 0
    for option in options:
        length, limit = _LENGTH.fullmatch(option), _MOST.fullmatch(option)
        if limit:
            most = int(limit[1])
        elif length:
            (on if length[2] == "on" else off).add(int(length[1]) // _BITS_PER_VQ)
    if most:
        return {vq for vq in supported if vq <= most} - off
    if on:
        powers = {1 << power for power in range(5) if 1 << power <= max(on)}
        return (on | powers - off) & supported
    smallest_off = min((vq for vq in off if vq & (vq - 1) == 0), default=_VQ_MAX + 1)
    return {vq for vq in supported if vq < smallest_off} - off
