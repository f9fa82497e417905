"""The machine against what an Emerald Rapids answered: a cut of the recordings, all of them where they are."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from inspector.capture.errors import InputError
from inspector.capture.host import Cpuid
from inspector.machine.verify import verify
from inspector.machine.x86.cpu.instructions import tiles, vectors, xsave
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.host import Host, shipped_host
from inspector.machine.x86.linux import signals
from inspector.machine.x86.linux.kernel import Linux
from layouts.x86.kernels import kernels, profile_for
from layouts.x86.xsave import PKRU, TILECFG, TILEDATA
from tests.shared import SHARED, needs

CUT = Path(__file__).parent / "verdicts" / "x86-silicon-linux-6.18.jsonl.gz"
SILICON = SHARED / "verdicts/silicon"
#: seq-a is the largest, half a minute on a busy machine: every eighth of its programs.
WHOLE = ("altstack", "facts", "misc", "permission", "shapes", "switches", "prctls", "xsave")
KERNEL = kernels()["6.18"]


def lines(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).splitlines()


def test_the_cut_agrees() -> None:
    agreement = verify(CUT.name, lines(CUT))
    assert agreement.disagreements == []
    assert agreement.total > 8000
    assert agreement.host == "kernel 6.18, the processor of silicon"
    assert agreement.unasked < agreement.total / 500


@needs(SILICON)
@pytest.mark.parametrize("name", WHOLE)
def test_recordings_agree(name: str) -> None:
    agreement = verify(name, lines(SILICON / f"{name}.jsonl.gz"), host=lines(SILICON / "host.jsonl.gz"))
    assert agreement.disagreements == []


@needs(SILICON)
@pytest.mark.parametrize(("name", "every"), [("seq-a", 8), ("xrstor", 4), ("frames", 4), ("ptrace", 8)])
def test_a_part_of_the_large_recordings_agrees(name: str, every: int) -> None:
    found = lines(SILICON / f"{name}.jsonl.gz")[::every]
    assert verify(name, found, host=lines(SILICON / "host.jsonl.gz")).disagreements == []


def test_a_release_without_a_profile_says_which_one_answers() -> None:
    found = [line.replace(b'"release":"6.18.', b'"release":"6.15.') for line in lines(CUT)[:200]]
    assert verify(CUT.name, found).host == "kernel 6.12 for 6.15, the processor of silicon"


def test_a_wrong_answer_is_found() -> None:
    found = [line.replace(b'"code":2,"trap":6', b'"code":1,"trap":6') for line in lines(CUT)]
    assert any("tile" in answer.record for answer in verify("changed", found).disagreements)


@pytest.mark.parametrize(
    "record",
    [
        {"t": "prog", "group": "g", "id": "1", "steps": [["no such step", 0, "0"]], "end": {}},
        {"t": "prog", "group": "g", "id": "1", "steps": [["endchild", 0, "0"]], "end": {}},
        {
            "t": "prog",
            "group": "g",
            "id": "1",
            "steps": [["xrstor_img", "0", "0", "0", [[0, 99999999, "0", "0"]], 0, "0"]],
        },
        {"t": "ptrace", "what": "get", "setup": "x", "steps": []},
    ],
)
def test_records_that_are_none_are_told(record: dict[str, object]) -> None:
    uname = json.dumps({"t": "uname", "release": "6.18.1"}).encode()
    with pytest.raises(InputError):
        verify("x", [uname, json.dumps(record).encode()])


def processor(*, emulated: bool = False) -> Processor:
    host = shipped_host("emerald-rapids", KERNEL)
    found = Processor(Host(Cpuid(host.cpuid.leaves), profile_for("6.18"), emulated=emulated))
    found.xcr0 = 0x602E7
    return found


def test_what_is_written_is_in_use_whatever_it_is() -> None:
    """Measured on a 06_CFh; the emulator goes by contents."""
    for emulated, expected in ((False, 0x600A6), (True, 0x20000)):
        cpu = processor(emulated=emulated)
        assert vectors.vmovdqu(cpu, 0, bytes(32)).accepted
        assert vectors.vmovdqu64(cpu, 16, bytes(64)).accepted
        assert vectors.kmovq(cpu, 0, 0).accepted
        assert tiles.ldtilecfg(cpu).accepted
        assert tiles.tilezero(cpu, 0).accepted
        assert cpu.registers.in_use == expected


def test_the_configuration_comes_before_xfd() -> None:
    for emulated, vector in ((False, 6), (True, 7)):
        cpu = processor(emulated=emulated)
        cpu.xfd = 1 << TILEDATA
        assert tiles.tilezero(cpu, 0).code == vector


@pytest.mark.parametrize("bad", [b"\2" + tiles.FULL_TILECFG[1:], bytes(64), tiles.FULL_TILECFG[:56] + b"\1" + bytes(7)])
def test_an_illegal_configuration_is_restored_as_none(bad: bytes) -> None:
    cpu = processor()
    image = bytearray(11008)
    image[512:520] = (1 << TILECFG | 1 << TILEDATA).to_bytes(8, "little")
    image[24:28] = (0x1F80).to_bytes(4, "little")
    image[2752:2816] = bad
    assert xsave.xrstor(cpu, "xrstor", bytes(image), 0x602E7).accepted
    assert cpu.registers.in_use == 1 << TILEDATA
    assert tiles.tilezero(cpu, 0).code == 6


def test_pkru_of_a_thread_that_crashed_without_a_switch_is_stale() -> None:
    linux = Linux(shipped_host("emerald-rapids", KERNEL))
    thread = linux.spawn().leader
    cpu = linux.cpu(0)
    assert linux.run(cpu, thread, lambda p: vectors.wrpkru(p, 0x55555650)).accepted
    assert signals.core_note(linux, thread).image[2688:2692].hex() == "54555555"
    linux.kernel_thread(cpu)
    assert signals.core_note(linux, thread).image[2688:2692].hex() == "50565555"
    assert linux.registers(thread).get(PKRU)[:4].hex() == "50565555"


def test_tiles_released_elsewhere_do_not_come_back() -> None:
    linux = Linux(shipped_host("emerald-rapids", KERNEL))
    thread = linux.spawn().leader
    assert linux.run(linux.cpu(0), thread, tiles.ldtilecfg).accepted
    assert linux.run(linux.cpu(1), thread, tiles.tilerelease).accepted
    linux.to_user(linux.cpu(0), thread)
    assert linux.registers(thread).in_use == 1 << PKRU
