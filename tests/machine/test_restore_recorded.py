"""Recorded answers of whole vCPUs' restores, replayed; what a recording has to have."""

from __future__ import annotations

import contextlib
import io
import json
import lzma
import tarfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from inspector.capture.errors import InputError
from inspector.cli.verify import _captures_beside, _host_beside
from inspector.machine.answer import Agreed, Answer, RecordError
from inspector.machine.verify import Agreement, verify
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore import hide, shapes
from inspector.machine.x86.replay.restore.bench import Bench
from inspector.machine.x86.replay.restore.captures import Captures
from inspector.machine.x86.replay.restore.replay import sections
from inspector.machine.x86.replay.restore.sweeps import compare
from inspector.machine.x86.replay.restore.whole import saved_of
from tests.machine.recorded import FOREIGN, RECORDED
from tests.shared import needs

HOSTS = sorted(path.name.removesuffix(".jsonl.xz") for path in (RECORDED / "hosts").glob("*.xz"))


def test_each_character_is_an_answer() -> None:
    found = list(compare("k", "r", "0", "0w0", "because"))
    assert found[0] == Agreed("k", 2, 0)
    answer = found[1]
    assert isinstance(answer, Answer)
    assert (answer.expected, answer.predicted) == ("0", "w")


def test_an_archive_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "captures.tar.xz"
    path.write_bytes(b"no archive")
    with pytest.raises(InputError):
        Captures(path)("any")
    with tarfile.open(path, "w:xz") as archive:
        member = tarfile.TarInfo("captures/one/khz")
        member.size = 2
        archive.addfile(member, io.BytesIO(b"12"))
    assert Captures(path)("one") == {"khz": b"12"}
    assert Captures(path)("two") is None


@pytest.mark.parametrize(
    "record", [{"op": "section", "name": "cpuid"}, {"op": "mk"}, {"op": "meta", "release": 5}, {"op": "rawcpuid"}]
)
def test_a_recording_that_lacks_its_host_is_told(record: dict[str, object]) -> None:
    lines = [json.dumps({"op": "runner"}).encode(), json.dumps(record).encode()]
    with pytest.raises(InputError):
        verify("file", lines)


@cache
def bench(name: str) -> Bench:
    lines = lzma.decompress((RECORDED / "hosts" / f"{name}.jsonl.xz").read_bytes()).splitlines()
    return Bench(name, [json.loads(line) for line in lines])


def disagreements(name: str, section: str) -> list[Answer]:
    made = bench(name)
    if section not in made.sections:
        pytest.skip(f"{name} has no section {section}")
    agreement = Agreement(name)
    for answer in sections()[section](made, made.sections[section]):
        agreement.add(answer)
    return agreement.disagreements


@needs(RECORDED)
@pytest.mark.parametrize("section", ["host", "restore"])
@pytest.mark.parametrize("name", HOSTS)
def test_recorded_answers(name: str, section: str) -> None:
    assert not disagreements(name, section)


@needs(RECORDED)
@pytest.mark.parametrize(
    ("name", "section"),
    [
        *(("5.10-milan", section) for section in ("xsave", "arun")),
        *(("7.2-bspr", section) for section in ("xsave", "cpuid", "arun")),
        ("7.2-qemu64", "sregs"),
    ],
)
def test_longer_recorded_answers(name: str, section: str) -> None:
    assert not disagreements(name, section)


@needs(RECORDED)
@pytest.mark.parametrize("name", ["5.10-milan", "7.2-bspr2"])
def test_recorded_machine_checks(name: str) -> None:
    assert not disagreements(name, "mce")


@needs(RECORDED)
def test_recorded_batteries_of_hidden_features() -> None:
    """The first tables, and one that answers as the supported one; their MSRs are tests of test_msrs.py."""
    made = bench("6.12-max")
    batteries = [record for record in made.sections["hide"] if record["op"] == "bat"][:6]
    alike = [{**record, "v": record["v"][:2]} for record in made.sections["hide"] if record["op"] == "batsame"]
    agreement = Agreement("hide")
    for answer in hide.replay(made, [*batteries, *alike]):
        agreement.add(answer)
    assert agreement.total > 1000
    assert not agreement.disagreements


@needs(RECORDED)
@pytest.mark.parametrize("name", FOREIGN)
def test_restores_of_other_hosts(name: str) -> None:
    file = str(RECORDED / "foreign" / name)
    lines = lzma.decompress(Path(file).read_bytes()).splitlines()
    agreement = verify(file, lines, "", _host_beside(file), _captures_beside(file))
    assert agreement.total > 500
    assert not agreement.disagreements


@cache
def small(section: str) -> tuple[dict[str, Any], ...]:
    """The records of a recording that name its host, and the first of each kind of a section."""
    lines = lzma.decompress((RECORDED / "hosts/6.12-milan.jsonl.xz").read_bytes()).splitlines()
    found = [json.loads(line) for line in lines]
    bench = Bench("f", found)
    kinds: dict[str, dict[str, Any]] = {}
    for record in bench.sections[section]:
        kinds.setdefault(record["op"], dict(record))
    host = [{"op": "section", "name": "host"}, *bench.sections["host"], {"op": "end", "name": "host"}]
    return (found[0], *host, {"op": "section", "name": section}, *kinds.values())


def verified(records: Iterable[Mapping[str, Any]]) -> None:
    verify("f", [json.dumps(record).encode() for record in records])


@needs(RECORDED)
@pytest.mark.parametrize("section", ["mp", "lapic", "dbg"])
def test_records_of_restores_of_any_shape_are_taken_or_told(section: str) -> None:
    whole = small(section)
    at = whole.index({"op": "section", "name": section})
    for number, record in enumerate(whole[at + 1 :], at + 1):
        for key in record.keys() - {"op"}:
            for value in (None, "zz", [[]]):
                with contextlib.suppress(InputError):
                    verified([*whole[:number], {**record, key: value}, *whole[number + 1 :]])


@needs(RECORDED)
def test_a_fault_of_ours_in_a_restore_is_not_told_as_a_bad_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise AttributeError("of ours")

    monkeypatch.setattr(WholeVcpu, "set_cpuid2", broken)
    with pytest.raises(AttributeError, match="of ours"):
        verified(small("mp"))


@needs(RECORDED)
def test_a_captured_vcpu_that_is_cut_is_told() -> None:
    with pytest.raises(RecordError, match=r"vcpu0.kvm_sregs.bin has 7 bytes of 312"):
        saved_of({"vcpu0.kvm_regs.bin": bytes(144), "vcpu0.kvm_sregs.bin": bytes(7)}, 0)


def test_a_grid_of_events_has_a_row_of_vectors() -> None:
    shapes.check("a recording", [{"op": "evgrid", "nr": [0, 255]}])
    with pytest.raises(InputError, match='record 1, evgrid: expected "nr"'):
        shapes.check("a recording", [{"op": "evgrid", "nr": 3}])
