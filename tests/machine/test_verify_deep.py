"""Deep recordings of KVM/arm64, read as they are: the host from the header's bare facts, every answer counted."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from inspector.capture.errors import InputError
from inspector.cli.main import main
from inspector.machine.answer import Agreed, Answer
from inspector.machine.arm64 import vm as machine
from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.host import HAS_EL2, PTRAUTH, SVE
from inspector.machine.arm64.replay.deep import ids
from inspector.machine.arm64.replay.deep.count import Count
from inspector.machine.arm64.replay.deep.hosts import bare_of, host_of_records
from inspector.machine.arm64.replay.deep.state import State
from inspector.machine.verify import verify
from layouts.arm64.hosts import bare_hosts
from layouts.arm64.kernels import kernels
from tests.machine.arm64 import DOCUMENTED, documented_row

VERDICTS = Path(__file__).parent / "verdicts"
#: The whole set, in the folder beside the checkout.
SHARED = Path(__file__).parents[3] / "shared" / "verdicts" / "arm64-deep"
SHIPPED = sorted(path.name for path in VERDICTS.glob("arm*.jsonl.xz"))
OTHERS = sorted({path.name for path in SHARED.glob("*.jsonl.xz")} - set(SHIPPED))


def lines(path: Path) -> list[bytes]:
    return lzma.decompress(path.read_bytes()).splitlines()


def check(path: Path) -> None:
    agreement = verify(path.name, lines(path))
    assert agreement.disagreements == []
    assert agreement.agree == agreement.total > 150_000
    assert agreement.host.endswith("from bare registers")
    assert documented_row(agreement) in DOCUMENTED


@pytest.mark.parametrize("name", SHIPPED)
def test_every_answer_agrees(name: str) -> None:
    check(VERDICTS / name)


@pytest.mark.parametrize("name", OTHERS or ["none"])
def test_every_answer_of_the_whole_set_agrees(name: str) -> None:
    if name == "none":
        pytest.skip("../shared/verdicts/arm64-deep is not beside this checkout")
    check(SHARED / name)


def part(name: str, *kinds: str, count: int = 1) -> list[bytes]:
    """The header of a recording and its first records of some kinds, in their order."""
    left = dict.fromkeys(kinds, count)
    found = []
    for line in lines(VERDICTS / name):
        kind = json.loads(line)["op"]
        if kind in ("host", "meta"):
            found.append(line)
        elif left.get(kind, 0):
            left[kind] -= 1
            found.append(line)
    return found


#: A counter that nobody wrote.
CLOCK = [
    b'{"op":"init","i":0,"f":4,"e":0}',
    b'{"op":"get","i":0,"id":"603000000013df01","e":0,"v":"0100000000000000"}',
]


def test_what_is_not_asked_is_no_agreement() -> None:
    agreement = verify(
        "f", part("arm72-cortex-a57.jsonl.xz", "vm", "vcpu", "caps", "mrs_el0", "masks", count=2) + CLOCK
    )
    assert agreement.by_kind == {
        "vm": [2, 2],
        "vcpu": [2, 2],
        "caps": [600, 600],
        "mrs_el0": [2, 2],
        "masks": [194, 194],
        "init": [1, 1],
    }
    assert agreement.unasked == 1
    assert agreement.as_json()["not_asked"] == {"the host's clock (kvm_phys_timer_read)": {"get": 1}}


def test_a_wrong_answer_is_found() -> None:
    """One digit of one sweep, and a mask that is not listed though it is there."""
    found = part("arm72-cortex-a57.jsonl.xz", "vm", "vcpu", "masks")
    record = json.loads(found[-1])
    del record["m"]["3_0_0_4_0"]
    (answer,) = verify("f", [*found[:-1], json.dumps(record).encode()]).disagreements
    assert (answer.expected, answer.predicted) == ("0000000000000000", "ffff00f0ff00ffff")
    assert answer.record.startswith("3_0_0_4_0")


def test_a_row_counts_each_answer_and_tells_the_ones_that_differ() -> None:
    said = {0: "0", 1: "i", 2: "w", 4: "b"}
    count = Count({"op": "row"})
    count.row("0iw-b", lambda at: (said[at], "why"))
    assert (count.agreed, count.others) == ([2, 2], [])
    count.row("0ii-0", lambda at: (said[at], "why"), "here")
    assert count.agreed == [3, 3]
    assert [(one.record, one.expected, one.predicted, one.accepted) for one in count.others] == [
        ('here[2]: {"op":"row"}', "i", "w", False),
        ('here[4]: {"op":"row"}', "0", "b", True),
    ]


@pytest.mark.parametrize(
    ("runs", "agree", "where"),
    [([["c000", "c003", "n"]], 3, "c000"), ([["c000", "c000", "0"], ["c001", "c003", "n"]], 4, "")],
)
def test_a_map_of_ids_is_asked_id_by_id(runs: list[list[str]], agree: int, where: str) -> None:
    """MIDR_EL1 is there and its three neighbours are not; where it is recorded as not there, that is told."""
    state = State(from_bare(kernels()["7.2"], [bare_hosts()["neoverse-v1"]]))
    state.vm.create_vcpu(0)
    state.vcpu().init(4)
    record = {"op": "idmap", "what": "sysreg", "hi": "6030000000130000", "call": "get", "runs": runs}
    found = list(ids.KINDS["idmap"](state, record))
    assert sum(one.accepted + one.refused for one in found if isinstance(one, Agreed)) == agree, found
    assert all(where in one.record for one in found if isinstance(one, Answer))


def test_the_kernel_and_the_cpu_are_the_headers() -> None:
    """The same answers of another kernel, or of another CPU, do not agree."""
    for old, new in ((b"7.2.13", b"6.12.107"), (b"cortex-a57", b"neoverse-v1")):
        changed = [line.replace(old, new, 1) for line in lines(VERDICTS / "arm72-cortex-a57.jsonl.xz")[:2500]]
        agreement = verify("f", changed)
        assert agreement.agree < agreement.total


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"op": "get", "i": 0, "e": 0}, '"id": a register id of 16 hexadecimal digits, found no such key'),
        ({"op": "set", "i": 0, "id": "603000000013c020", "v": "0", "e": 0}, '"v": bytes in hexadecimal'),
        ({"op": "ctr", "b": "0", "r": ["0" * 16]}, '"r": 256 of 16 letters'),
        ({"op": "idr", "s": "", "r": "3_0_0_99_0"}, "op0_op1_CRn_CRm_op2"),
        ({"op": "ccsidr", "i": 0, "get": True}, '"get": an errno'),
        ({"op": "gicinit", "dist": 0, "redist": 0, "init": 0}, "that was not made"),
        ({"op": "idno", "r": "3_0_0_1_0", "get": 2, "set0": 2, "set1": 2}, "vCPU 0, which was not created"),
        ({"op": "tea"}, "unknown kind 'tea'"),
        ({"op": "host", "cpu": "z80", "mte": "off"}, "CPU whose bare registers are known, found z80"),
        ({"op": "meta", "release": "4.4.0"}, "(a uname or meta record), found the release '4.4.0'"),
        ({"op": "meta"}, '"release": text'),
    ],
)
def test_a_bad_record_is_named(record: dict[str, Any], words: str) -> None:
    header = part("arm72-cortex-a57.jsonl.xz")
    kept = [line for line in header if json.loads(line)["op"] != record["op"]]
    with pytest.raises(InputError) as error:
        verify("f", [*kept, json.dumps(record).encode()])
    assert words in str(error.value)


def test_a_bug_of_ours_is_not_told_as_a_bad_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr(machine.Vm, "create_vcpu", broken)
    with pytest.raises(KeyError, match="ours"):
        verify("f", part("arm72-cortex-a57.jsonl.xz", "vm", "vcpu"))


def test_the_command_tells_the_host_and_what_it_did_not_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep.jsonl"
    path.write_bytes(b"\n".join(part("arm72-cortex-a57.jsonl.xz", "vm", "vcpu", "mem") + CLOCK))
    assert main(["verify", str(path)]) == 0
    out = capsys.readouterr().out
    assert "deep.jsonl: 4 of 4 answers agree\n" in out
    assert "  host: cortex-a57, kernel 7.2, from bare registers\n" in out
    assert "  not asked: 1, the host's clock (kvm_phys_timer_read) (get)\n" in out


@pytest.mark.parametrize(
    ("cpu", "vqs"),
    [
        ("max", list(range(1, 17))),
        ("max,sve-max-vq=3", [1, 2, 3]),
        ("max,sve-max-vq=8,sve384=off,sve768=off,sve896=off", [1, 2, 4, 5, 8]),
        ("max,sve640=on,sve1024=on", [1, 2, 4, 5, 8]),
        ("max,sve512=off", [1, 2, 3]),
        ("max,sve384=off", [1, 2, *range(4, 17)]),
        ("max,pauth-qarma3=on,sve256=on", [1, 2]),
    ],
)
def test_a_cpu_with_other_vector_lengths_is_known(cpu: str, vqs: list[int]) -> None:
    bare = bare_of(cpu, mte=False)
    assert bare is not None
    assert [length // 16 for length in bare.sve_vl_bytes] == vqs


def test_other_cpus_are_not() -> None:
    assert bare_of("max,lpa3=off", mte=False) is None
    assert bare_of("z80,sve256=on", mte=False) is None
    with_mte = bare_of("max", mte=True)
    assert with_mte is not None
    assert with_mte.name == "max,mte=on"


@pytest.mark.parametrize(
    ("command_line", "register", "lsb", "value"),
    [
        ("quiet arm64.nosve", 0xC020, 32, 0),
        ("kvm-arm.mode=nvhe", 0xC039, 8, 0),
        ("id_aa64mmfr1.vh=0", 0xC039, 8, 0),
        ("arm64.nopauth", 0xC031, 4, 0),
        ("arm64.nobti id_aa64pfr1.sme=0", 0xC021, 0, 0),
        ("kvm-arm.mode=protected", 0xC039, 8, 1),
    ],
)
def test_the_command_line_changes_the_host(command_line: str, register: int, lsb: int, value: int) -> None:
    header = {"op": "host", "cpu": "max", "mte": "off", "append": command_line}
    host = host_of_records("f", [header, {"op": "meta", "release": "7.2.13"}])
    features = host.features & ~HAS_EL2
    assert host.limit(register, features) >> lsb & 0xF == value
    assert bool(host.features & SVE) == ("nosve" not in command_line) == bool(host.sve_vqs)
    assert bool(host.features & PTRAUTH) == ("nopauth" not in command_line)
