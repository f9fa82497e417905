"""The machine against recorded answers of real kernels."""

from __future__ import annotations

import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from inspector.capture.errors import InputError
from inspector.cli.main import main
from inspector.machine.answer import Agreed, Answer, NotAsked
from inspector.machine.verify import Agreement, verify
from inspector.machine.x86.linux.process import Process
from inspector.machine.x86.replay import shapes

VERDICTS = Path(__file__).parent / "verdicts"
WHOLE = ("x86-amx-linux-7.2", "x86-skylake_x-linux-6.12", "x86-amx-sequences-linux-7.2")
HEAVY = "x86-amx-heavy-sequences-linux-7.2"
#: VMs of the heavy file in which the emulator ran a stale instruction (docs/x86-machine.md).
STALE = {11, 35, 66, 114, 191, 216}


def lines(name: str) -> list[bytes]:
    return gzip.decompress((VERDICTS / f"{name}.jsonl.gz").read_bytes()).splitlines()


@pytest.mark.parametrize("name", WHOLE)
def test_every_answer_agrees(name: str) -> None:
    agreement = verify(name, lines(name))
    assert agreement.disagreements == []
    assert agreement.agree == agreement.total > 8000


def test_heavy_sequences_agree_but_for_stale_instructions() -> None:
    agreement = verify(HEAVY, lines(HEAVY))
    assert agreement.total == 10032
    assert {int(answer.record.split()[1]) for answer in agreement.disagreements} == STALE
    kept = [line for line in lines(HEAVY) if json.loads(line).get("n") not in STALE]
    agreement = verify(HEAVY, kept)
    assert agreement.disagreements == []


def test_a_wrong_answer_is_found() -> None:
    changed = [
        line.replace(b'"op":"REQ_PERM","arg":19,"ret":-95', b'"op":"REQ_PERM","arg":19,"ret":-22')
        for line in lines(WHOLE[0])
    ]
    agreement = verify("changed", changed)
    (answer,) = agreement.disagreements
    assert (answer.expected, answer.predicted) == ([-22], [-95])
    assert "allocated on demand" in answer.because


def test_the_kernel_of_the_record_decides() -> None:
    """6.12 has no component 19, so the request is out of range there."""
    older = [line.replace(b'"release":"7.2.13', b'"release":"6.12.107') for line in lines(WHOLE[0])]
    assert any('arg":19' in answer.record for answer in verify("older", older).disagreements)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(VERDICTS / f"{WHOLE[1]}.jsonl.gz")
    assert main(["verify", path]) == 0
    assert "8832 of 8832 answers agree" in capsys.readouterr().out
    assert main(["verify", "--json", str(VERDICTS / f"{HEAVY}.jsonl.gz")]) == 1
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert set(found) == {
        "kind",
        "schema",
        "file",
        "total",
        "agree",
        "by_kind",
        "by_answer",
        "host",
        "not_asked",
        "disagreements",
    }
    assert sum(total for _, total in found["by_kind"].values()) == found["total"] == 10032
    assert set(found["by_answer"]) == {"accepted", "refused"}
    assert set(found["disagreements"][0]) == {"record", "expected", "predicted", "because"}


UNAME = b'{"t":"uname","release":"7.2.13"}\n'


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (b"\x7fELF\x01", "one JSON object"),
        (b"[1]\n", "an object with a kind"),
        (UNAME + b'{"t":"seq","ctx":"perm","n":0,"steps":[["g_halt",0]]}\n', "g_halt"),
        (UNAME + b'{"t":"seq","ctx":"perm","n":0,"steps":[["set_xcr0","zz",0]]}\n', "zz"),
        (UNAME + b'{"t":"cap","name":"arm"}\n', "recorded answers of x86 or arm64"),
        (UNAME + b'{"t":"prctl","ctx":"fresh"}\n', '"op"'),
        (UNAME + b'{"t":"cpuid","leaf":7,"sub":0,"r":[1,2,3]}\n', '"r": 4 of a 32-bit number'),
        (UNAME + b'{"t":"seq","ctx":"perm","n":0,"steps":[["set_msr","10","0",1]]}\n', "a step with its arguments"),
        (b'{"t":"prctl","ctx":"fresh","op":"GET_SUPP","ret":0}\n', "found 1 records without one"),
        (
            b'{"t":"uname","release":"4.19.1"}\n{"t":"feat","bit":0,"err":0}\n',
            "expected answers of Linux 5.10 or newer",
        ),
    ],
)
def test_bad_files_are_one_line(data: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(data)
    assert main(["verify", str(path)]) == 3
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_an_unknown_cpu_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--cpu", "z80", "x"]) == 2
    assert "no such CPU" in capsys.readouterr().err


def test_a_cut_record_is_an_input_error() -> None:
    with pytest.raises(InputError, match="line 2"):
        verify("f", [*lines(WHOLE[0])[:1], b'{"t":'])


def test_a_fault_of_ours_is_not_told_as_a_bad_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Process) -> int:
        raise KeyError("of ours")

    monkeypatch.setattr("inspector.machine.x86.replay.kvm.xsave2_capability", broken)
    with pytest.raises(KeyError, match="of ours"):
        verify(WHOLE[0], lines(WHOLE[0]))


def test_records_of_any_shape_are_taken_or_told() -> None:
    """Keys that are missing or hold something else: an answer, or one line, and nothing else."""
    found = [json.loads(line) for line in lines(WHOLE[0])]
    kinds = {record["t"]: record for record in found if record["t"] in shapes.SHAPES}
    uname = json.dumps(kinds["uname"]).encode()
    for record in kinds.values():
        for key in record.keys() - {"t"}:
            for value in (None, -1, 1 << 64, 1.5, "zz", "", [], [[]], {}):
                line = json.dumps({**record, key: value}).encode()
                with contextlib.suppress(InputError):
                    verify("f", [uname, line])


def test_answers_are_counted_by_kind_and_by_what_the_kernel_said() -> None:
    agreement = Agreement("mine")
    assert (agreement.host, agreement.total, agreement.unasked) == ("", 0, 0)
    for answer in (
        Answer("get", "one", 1, 1, accepted=True),
        Answer("get", "two", "EINVAL", "ok", accepted=False, because="a check"),
        Agreed("set", 3, 2),
        NotAsked("get", "the clock", 2),
        NotAsked("get", "the clock", 1),
        NotAsked("set", "the clock", 4),
    ):
        agreement.add(answer)
    assert agreement.as_json() == {
        "file": "mine",
        "total": 7,
        "agree": 6,
        "by_kind": {"get": [1, 2], "set": [5, 5]},
        "by_answer": {"accepted": [4, 4], "refused": [2, 3]},
        "host": "",
        "not_asked": {"the clock": {"get": 3, "set": 4}},
        "disagreements": [{"record": "two", "expected": "EINVAL", "predicted": "ok", "because": "a check"}],
    }
    assert agreement.unasked == 7
    for _ in range(100):
        agreement.add(Answer("get", "three", 1, 2, accepted=True))
    assert (agreement.total, len(agreement.disagreements)) == (107, 100)
