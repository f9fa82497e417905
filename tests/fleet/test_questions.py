"""check, odd, and how answers are printed."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from inspector.cli.main import main
from inspector.export.kinds import SCHEMAS
from inspector.fleet.checked import check
from inspector.fleet.facts import digest
from inspector.fleet.gather import gather
from inspector.fleet.hosts import fleets
from inspector.fleet.odd import odd
from inspector.fleet.store import Row, Store
from tests.fleet.fleets import SMALL, add_all

PAGE = (Path(__file__).parents[2] / "docs/json.md").read_text("utf-8")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    found = str(tmp_path_factory.mktemp("fleet") / "a.fleet")
    with Store(found, create=True) as store:
        add_all(store, SMALL)
    return found


def test_who_takes_a_guest(path: str) -> None:
    with Store(path) as store:
        on_x86, on_arm64 = fleets(store, print)
        rows = {on_x86.guests[row.guest].name: row for row in check(on_x86, store.homes())}
        moved = rows["sample:ice-lake/linux-5.10"]
        assert moved.takes == 2
        refused = {on_x86.hosts[one.hosts[0]].name: {blocker.name for blocker in one.blockers} for one in moved.refused}
        assert "vendor" in refused["sample:epyc-milan/linux-6.1"]
        assert "sha-ni" in refused["sample:cascade-lake/linux-6.1"]
        for row in rows.values():
            assert row.takes + row.open + sum(one.captures for one in row.refused) == 4
        older = {on_arm64.guests[row.guest].name: row for row in check(on_arm64, store.homes())}
        assert older["sample:graviton3/linux-6.1"].takes == 2
        assert older["sample:graviton3/linux-6.18"].takes == 1


def test_an_msr_that_the_other_kernel_does_not_list(path: str) -> None:
    """Cascade Lake's bounds registers: the host that the guest is from lists IA32_BNDCFGS, Ice Lake's does not."""
    with Store(path) as store:
        (fleet, _) = fleets(store, print)
        row = next(row for row in check(fleet, store.homes()) if "cascade" in fleet.guests[row.guest].name)
        assert {"MSR.D90"} <= {blocker.where for one in row.refused for blocker in one.blockers}


def test_the_odd_one(tmp_path: Path) -> None:
    """Ten hosts, of which one has lost a bit (a microcode's doing), and one another kernel."""
    common, other = (gather(f"sample:ice-lake/linux-{one}")[0].host for one in ("6.1", "6.18"))
    lost = json.loads(json.dumps(common))
    for row in lost["guest"]:
        if row[:2] == [7, 0]:
            row[3] &= ~(1 << 10)
    lost["msrs"] = [[index, value ^ 1 if index == 0x10A else value] for index, value in lost["msrs"]]
    documents = {digest(one): one for one in (common, other, lost)}
    rows = [Row(f"host{number}", "", "", "", digest(common), "") for number in range(8)]
    rows += [Row("bit", "", "", "", digest(lost), ""), Row("kernel", "", "", "", digest(other), "")]
    with Store(str(tmp_path / "a.fleet"), create=True) as store:
        store.add(rows, documents)
        (fleet,) = fleets(store, print)
        found = {fleet.hosts[row.host].name: row for row in odd(fleet)}
        assert set(found) == {"bit", "kernel"}
        assert (found["bit"].siblings, fleet.hosts[found["bit"].norm].name) == (10, "host0")
        assert {one.where for one in found["bit"].differences} >= {"CPUID.7.0.EBX[10]", "MSR.10A[0]"}
        assert found["kernel"].differences[0][1:] == ("Linux", "6.1", "6.18")


def test_two_are_no_siblings(path: str) -> None:
    with Store(path) as store:
        assert [odd(fleet) for fleet in fleets(store, print)] == [[], []]


def keys_of(found: Any) -> set[str]:
    """Every key of an answer, but for those that are numbers of classes."""
    if isinstance(found, dict):
        return {key for key in found if not key.isdigit()}.union(*map(keys_of, found.values()))
    return set().union(*map(keys_of, found)) if isinstance(found, list) else set()


@pytest.mark.parametrize("words", ["lattice", "baseline", "check", "forecast --kernel 7.3", "odd"])
def test_every_key_is_documented(words: str, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fleet", *words.split(), "--store", path, "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert (answer["kind"], answer["schema"]) == (f"fleet-{words.split(maxsplit=1)[0]}", SCHEMAS[answer["kind"]])
    assert [one["arch"] for one in answer["architectures"]] == ["x86", "arm64"]
    assert keys_of(answer) <= set(re.findall(r"`(\w+)`", PAGE))


def test_every_key_of_add_is_documented(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad").write_bytes(b"\0\1")
    main(["fleet", "add", str(tmp_path / "bad"), SMALL[0], "--store", str(tmp_path / "s"), "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert (answer["kind"], answer["read"], answer["faults"]) == ("fleet-add", 1, 1)
    assert keys_of(answer) <= set(re.findall(r"`(\w+)`", PAGE))


def test_the_picture(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "lattice.svg"
    assert main(["fleet", "lattice", "--store", path, "--svg", str(picture)]) == 1
    said = capsys.readouterr().out
    pools = len(re.findall(r"^  pool \d+,", said, re.MULTILINE))
    root = ET.parse(picture).getroot()
    boxes = [one for one in root.iter() if one.tag.endswith("rect") and one.get("rx")]
    assert len(boxes) == pools
    assert sum(one.get("marker-end") is not None for one in root.iter()) == sum(
        line.partition("─► pool ")[2].count(",") + 1 for line in said.splitlines() if "─►" in line
    )


def test_the_picture_has_whole_names(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What all names have in common stands once; every box is as wide as its text."""
    picture = tmp_path / "lattice.svg"
    main(["fleet", "lattice", "--store", path, "--svg", str(picture)])
    capsys.readouterr()
    texts = [one.text or "" for one in ET.parse(picture).getroot().iter() if one.tag.endswith("text")]
    assert "names begin with sample:" in texts
    assert {"  ice-lake/linux-5.10", "  cascade-lake/linux-6.1", "  epyc-milan/linux-6.1"} <= set(texts)
    assert not [text for text in texts if "\N{HORIZONTAL ELLIPSIS}" in text]


def test_a_name_of_a_cpu_that_is_no_xml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A CPU before its microcode says of itself what is no text."""
    from inspector.targets.samples import path_of

    record = Path(path_of("sample:ice-lake/linux-6.1")).read_text()
    brand = next(line for line in record.splitlines() if line.startswith("0x80000002.0x0 "))
    lines, picture = tmp_path / "odd.jsonl", tmp_path / "odd.svg"
    odd = record.replace(brand, "0x80000002.0x0 = [0x02010101, 0x1b1b1b1b, 0x41414141, 0x41414141]")
    lines.write_text(json.dumps({"name": "one\x01", "text": odd}))
    main(["fleet", "add", str(lines), "--store", str(tmp_path / "s")])
    main(["fleet", "lattice", "--store", str(tmp_path / "s"), "--svg", str(picture)])
    capsys.readouterr()
    assert r"\x01\x01\x01\x02" in "".join(ET.parse(picture).getroot().itertext())
