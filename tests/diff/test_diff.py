"""``inspector diff``: the same fields as the shell's diff of two ``show``, no more and no less."""

import io
import json
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.capture.errors import UsageError
from inspector.capture.model import Area, Capture
from inspector.cli.main import main
from inspector.decode.fields import Field, FieldTable, is_quiet
from inspector.decode.spec import FieldSpec
from inspector.diff.changes import difference, within
from inspector.diff.pairing import rows
from inspector.export import text
from inspector.targets import samples
from inspector.targets.schemes import capture_of
from layouts.salience import rank, volatile
from tests.readers.support import XSAVE
from tests.support import core64, note, prstatus64, slowed


def opened(name: str) -> Capture:
    return capture_of(f"sample:{name}")


def shown(areas: list[Area]) -> dict[str, str]:
    """The lines of ``show``, by path; the first of equal paths."""
    lines: dict[str, str] = {}
    for area in areas:
        for field in FieldTable(area):
            if is_quiet(field):
                continue
            lines.setdefault(field.path, "".join(part for part, _ in text._field(field)))
    return lines


def differing(one: list[Area], other: list[Area]) -> set[str]:
    left, right = shown(one), shown(other)
    return {path for path in left.keys() | right.keys() if left.get(path) != right.get(path)}


def edited(area: Area, seed: int) -> Area:
    """The same area with some bytes changed."""
    chosen = random.Random(seed)
    data = bytearray(area.data)
    for _ in range(chosen.randint(1, 4)):
        if data:
            data[chosen.randrange(len(data))] ^= chosen.randint(1, 255)
    copy = Area(area.layout, area.prefix, area.title, bytes(data), area.origin, attributes=area.attributes)
    copy.declared_size_bytes = area.declared_size_bytes
    return copy


def agree(one: list[Area], other: list[Area]) -> None:
    found = difference((one, other), whole=True)
    assert {change.path for change in found.changes} == differing(one, other)


@pytest.mark.parametrize("name", samples.names())
def test_diff_and_show_name_the_same_fields_for_every_sample(name: str) -> None:
    capture = opened(name)
    for vcpu in capture.vcpus[:2]:
        agree(vcpu.areas, vcpu.areas)
        agree(vcpu.areas, [edited(area, number) for number, area in enumerate(vcpu.areas)])
        agree(capture.vcpus[0].areas, vcpu.areas)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["amx", "zen5-threads/xcore.core.gz", "arm64-threads/max-72.core.gz"]))
def test_diff_and_show_agree_after_random_edits(seed: int, name: str) -> None:
    areas = opened(name).vcpus[0].areas
    agree(areas, [edited(area, seed + number) for number, area in enumerate(areas)])


def test_two_images_of_other_layouts_compare_by_meaning() -> None:
    intel, amd = opened("amx/process.core"), opened("zen5-threads/xcore.core.gz")
    found = difference((intel.vcpus[0].areas, amd.vcpus[0].areas))
    paths = {change.path for change in found.changes}
    assert "xsave.zmm[0]" in paths
    assert "xsave.zmm[31]" in paths


def test_what_always_differs_comes_last_and_says_why() -> None:
    assert volatile("msr.IA32_TIME_STAMP_COUNTER") == "time goes on"
    assert not volatile("msr.IA32_TSC_AUX")
    amx = opened("amx")
    found = difference((amx.vcpus[0].areas, amx.vcpus[1].areas))
    ranks = [rank(change.path) for change in found.changes]
    assert ranks == sorted(ranks)
    assert found.changes[0].path == "xcr.xcr0"
    assert found.changes[-1].volatile


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["diff", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_exit_codes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(capsys, "sample:amx", "sample:amx")[0] == 0
    assert run(capsys, "sample:amx", "sample:amx", "--vcpu", "0", "--vcpu", "1")[0] == 1
    assert run(capsys, "sample:amx")[0] == 2
    assert run(capsys, "sample:amx", "sample:amx", "--vcpu", "9")[0] == 2
    assert run(capsys, "sample:amx", str(tmp_path / "none"))[0] == 3


def test_only_what_always_differs_can_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("sample:amx", "sample:amx", "--vcpu", "0", "--vcpu", "1", "--field", "msr.*TIME*")
    assert run(capsys, *words)[0] == 1
    assert run(capsys, *words, "--no-volatile")[0] == 0


def test_bits_elements_and_states_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "sample:amx", "sample:amx", "--vcpu", "0", "--vcpu", "1")
    assert "xcr.xcr0                     0x00000000000602e7 → 0x00000000000000e7   -pkru  -xtilecfg  -xtiledata" in out
    assert "xsave.zmm[1..15]             the same value, in use → initial" in out
    assert "u64[0]     0xc7c6c5c4c3c2c1c0 → 0x0000000000000000" in out


def test_json_has_every_side(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "sample:amx", "sample:amx", "--vcpu", "0", "--vcpu", "1", "--json")
    found = json.loads(out)
    assert (found["kind"], found["schema"]) == ("diff", 1)
    assert found["differ"] is True
    first = found["vcpus"][0]["changes"][0]
    assert first["values"] == ["0x602e7", "0xe7"]
    assert [part["name"] for part in first["parts"]] == ["pkru", "xtilecfg", "xtiledata"]


def test_three_ways_say_who_changed_what(capsys: pytest.CaptureFixture[str]) -> None:
    scenes = [f"sample:emerald-rapids/{name}.core.gz" for name in ("full", "tilezero", "init")]
    code, out, _ = run(capsys, scenes[0], scenes[1], "--base", scenes[2], "--field", "xsave.header.xstate_bv", "--json")
    assert code == 1
    change = json.loads(out)["vcpus"][-1]["changes"][0]
    assert change["moved"] == "both"


def test_a_course_of_captures_says_when(capsys: pytest.CaptureFixture[str]) -> None:
    scenes = [f"sample:emerald-rapids/{name}.core.gz" for name in ("init", "tilezero", "released")]
    _, out, _ = run(capsys, *scenes, "--field", "xsave.header.xstate_bv")
    line = next(line for line in out.splitlines() if "xstate_bv" in line)
    assert line.count("[") >= 2


def test_numbers_of_vcpus_must_fit() -> None:
    amx = opened("amx")
    with pytest.raises(UsageError, match="3 numbers for 2 targets"):
        rows((amx, amx), (0, 1, 0))


def test_hostile_names_stay_in_their_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    name = tmp_path / "a\x1b[31m\nb.core"
    name.write_bytes(Path(samples.path_of("sample:amx/process.core")).read_bytes())
    _, out, _ = run(capsys, str(name), str(name))
    assert "\x1b" not in out
    assert io.StringIO(out).readline().endswith("elf-core\n")


def core_of(path: Path, threads: int, *, busy: bool) -> str:
    """A core whose threads all have the same image, or each other bytes in every XMM and YMM."""
    chosen = random.Random(1)
    notes = []
    for pid in range(threads):
        image = bytearray(XSAVE)
        if busy:
            image[160:416] = chosen.randbytes(256)
            image[576:832] = chosen.randbytes(256)
        notes.append(note("CORE", 1, prstatus64(pid)) + note("LINUX", 0x202, bytes(image)))
    path.write_bytes(core64(b"".join(notes)))
    return str(path)


def test_a_thousand_threads_of_which_all_vectors_differ_take_less_than_three_seconds(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    threads = 100
    words = [core_of(tmp_path / name, threads, busy=name == "b") for name in ("a", "b")]
    assert run(capsys, *words, "--vcpu", "0")[0] == 1
    began = time.process_time()
    _, out, _ = run(capsys, *words)
    assert time.process_time() - began < slowed() * 3 * threads / 1000
    assert out.count("  ~ xsave.xmm[0..15]             part of xsave.zmm[0..15]") == threads
    assert out.count("  ~ xsave.zmm[") == 16 * threads


def test_what_is_part_of_a_larger_field_is_not_decoded() -> None:
    decoded: list[str] = []

    class Counting(FieldTable):
        def decode(self, spec: FieldSpec) -> Field:
            decoded.append(spec.path)
            return super().decode(spec)

    area = next(area for area in opened("amx/process.core").vcpus[0].areas if area.layout == "xsave")
    other = bytearray(area.data)
    other[160] ^= 1
    changed = Area(area.layout, area.prefix, area.title, bytes(other), area.origin, attributes=area.attributes)
    changed.declared_size_bytes = area.declared_size_bytes
    found = difference([[area], [changed]], table=Counting)
    assert {change.path: change.sign for change in found.changes} == dict.fromkeys(
        ("xsave.xmm[0]", "xsave.ymm[0]", "xsave.zmm[0]"), "~"
    )
    assert "xsave.xmm[0]" not in decoded
    assert set(within(found.changes)) == {"xsave.xmm[0]", "xsave.ymm[0]"}
