"""Recorded ptrace calls on a stopped program, and how it went on."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from inspector.machine.answer import Answer, NotAsked, text_of
from inspector.machine.outcome import Outcome
from inspector.machine.x86.host import Host
from inspector.machine.x86.linux import signals
from inspector.machine.x86.replay.programs import digest
from inspector.machine.x86.replay.programs.frames import FILL, filled
from inspector.machine.x86.replay.programs.program import Program, ProgramStep
from inspector.machine.x86.replay.programs.replay import ended, replay_steps
from layouts.x86.xsave import LEGACY_AT, LEGACY_SIZE_BYTES

_XSTATE, _PRFPREG, _PRSTATUS, _IOPERM = "202", "2", "1", "201"
_BUFFER_BYTES = 20000
_FILL = b"\xdb"
_PRSTATUS_SIZE_BYTES = 216
_EIO, _ENXIO, _EFAULT, _EINVAL = 5, 6, 14, 22
_STOP = "stop"
_NOT_MAPPED = "iov_base="


def replay_ptrace(host: Host, record: dict[str, Any]) -> Iterator[Answer | NotAsked]:
    """The answers before the program stopped, those of the calls, and those after it went on."""
    program = Program(host)
    steps: list[ProgramStep] = record["steps"]
    stop = [step[0] for step in steps].index(_STOP)
    where = f"ptrace {record['what']} {record['setup']} {record.get('case', '')}"
    yield from replay_steps(program, where, steps[: stop + 1], frozenset())
    # The tracee sleeps, and its tracer runs.
    program.linux.schedule(program.cpu, None)
    kind = f"ptrace {record['what']}"
    for expected, predicted in _calls(program, record):
        text = text_of([record["setup"], record.get("case"), record.get("len"), record.get("mods")])
        accepted = not (isinstance(expected, dict) and expected.get("err"))
        yield Answer(kind, text, expected, predicted, accepted)
    yield from replay_steps(program, where, steps[stop + 1 :], frozenset(), stop + 1)
    yield ended(where, record["end"])


def _calls(program: Program, record: dict[str, Any]) -> Iterator[tuple[object, object]]:
    if record["what"] != "get":
        yield record["answer"], _set(program, record)
        return
    for expected in record["answer"]:
        yield expected, _get(program, expected)


def _image(program: Program) -> bytes:
    return signals.core_note(program.linux, program.thread).image


def _shown(program: Program) -> digest.Shown:
    return digest.digest(_image(program), everything=True)


def _get(program: Program, asked: dict[str, Any]) -> object:
    if "getfpregs" in asked:
        return {"getfpregs": 0} | _legacy(_image(program)[:LEGACY_SIZE_BYTES])
    if "getfpxregs" in asked:
        return {"getfpxregs": _EIO}
    if "image" in asked:
        return {"get": asked.get("get"), "image": _shown(program)}
    note, size = asked["get"], asked.get("len", _BUFFER_BYTES)
    found: dict[str, object] = {"get": note, "len": size}
    if asked.get("base"):
        # An iov_base where nothing is mapped.
        return {"get": note, "base": asked["base"], "err": _EFAULT}
    if note == _IOPERM:
        return found | {"err": _ENXIO}
    if note not in (_XSTATE, _PRFPREG, _PRSTATUS):
        return found | {"err": _EINVAL}
    if note == _PRSTATUS:
        done = min(size, _PRSTATUS_SIZE_BYTES)
        return found | {"err": 0, "iov_len": done, "beyond": digest.region(_FILL * (_BUFFER_BYTES - done))}
    outcome = signals.get_regset(program.linux, program.thread, size, legacy=note == _PRFPREG)
    if not outcome.accepted:
        return found | {"err": outcome.code}
    beyond = digest.region(_FILL * (_BUFFER_BYTES - outcome.value))
    crc = f"{zlib.crc32(outcome.image):08x}"
    return found | {"err": 0, "iov_len": outcome.value, "crc": crc, "beyond": beyond}


def _legacy(image: bytes) -> dict[str, object]:
    image = signals.without_software(image)
    return {
        "crc": f"{zlib.crc32(image):08x}",
        "head": image[: LEGACY_AT["st"].offset].hex(),
        "st": digest.region(image[LEGACY_AT["st"].slice]),
        "xmm": digest.region(image[LEGACY_AT["xmm"].slice]),
        "tail": digest.region(image[LEGACY_AT["xmm"].end :]),
    }


def _changed(image: bytes, offset: int, size: int, keep: int, add: int) -> bytes:
    if size == FILL:
        return image[:offset] + filled(add) + image[offset + len(filled(add)) :]
    return digest.changed(image, offset, size, keep, add)


def _set(program: Program, record: dict[str, Any]) -> object:
    legacy = record["what"] == "setfpregs"
    if record.get("case", "").startswith(_NOT_MAPPED):
        return {"err": _EFAULT, "iov_len": record["len"], "read_back": _shown(program)}
    image = _image(program) if record["image"] == "as_read" else _good(record["image"])
    image = image.ljust(_BUFFER_BYTES, _FILL)
    for offset, size, keep, add in record["mods"]:
        image = _changed(image, offset, size, int(keep, 16), int(add, 16))
    size_bytes = LEGACY_SIZE_BYTES if legacy else record["len"]
    outcome = _write(program, image[:size_bytes], _PRFPREG if legacy else record["type"])
    found: dict[str, object] = {"err": outcome.code}
    if not legacy:
        limit = LEGACY_SIZE_BYTES if record["type"] == _PRFPREG else len(_image(program))
        refused = size_bytes % 8
        found["iov_len"] = size_bytes if refused else min(size_bytes, limit)
    return found | {"read_back": _shown(program)}


def _good(name: str) -> bytes:
    return digest.good_image(0, int(name.split()[1], 16))[:11008]


def _write(program: Program, image: bytes, note: str) -> Outcome:
    if note == _PRFPREG:
        return signals.set_fpregs(program.linux, program.thread, image)
    return signals.set_regset(program.linux, program.thread, image)
