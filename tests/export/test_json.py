"""Fields as JSON: what is written many at a time is what single fields are; meanings stand once."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from inspector.capture.model import Area, Capture, Vcpu
from inspector.cli.streams import say_json
from inspector.decode.fields import FieldTable
from inspector.decode.notes import notes_of
from inspector.export.encode import encode, indented
from inspector.export.json import write_json, write_json_lines
from inspector.export.json_fields import meaning_of, record_of
from tests.support import opened, xsave_area

SAMPLES = ("amx", "amx/process.core", "zen5-kvm", "qemu-arm64-max/guest-memory.elf.gz", "pasted/oops.txt")


def written(capture: Capture, patterns: tuple[str, ...] = ()) -> dict[str, Any]:
    out = io.StringIO()
    write_json(out, capture, capture.vcpus, patterns)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


@pytest.mark.parametrize("sample", SAMPLES)
def test_fields_are_those_of_the_table(sample: str) -> None:
    capture = opened(sample)
    found = written(capture)
    for vcpu, record in zip(capture.vcpus, found["vcpus"], strict=True):
        notes = notes_of(capture, vcpu)
        assert list(record["areas"]) == list(dict.fromkeys(area.prefix for area in vcpu.areas))
        fields = iter(record["fields"])
        for area in vcpu.areas:
            for field in FieldTable(area):
                given = next(fields)
                expected = record_of(field, given["meaning"])
                if field.path in notes:
                    expected["note"] = notes[field.path].text
                assert given == expected
                assert found["meanings"][given["meaning"]] == meaning_of(field.spec, area.prefix)
        assert next(fields, None) is None


def test_lines_say_the_same_and_each_meaning_once() -> None:
    capture = opened("zen5-threads/xcore.core.gz")
    whole = written(capture)
    out = io.StringIO()
    assert write_json_lines(out, capture, capture.vcpus, ()) > 1000
    head, *lines = [json.loads(line) for line in out.getvalue().splitlines()]
    meanings = dict(head.pop("meanings", {}))
    for line, vcpu in zip(lines, whole["vcpus"], strict=True):
        new = line.pop("meanings", {})
        assert not new.keys() & meanings.keys()
        meanings |= new
        assert line == vcpu
        assert all(str(field["meaning"]) in meanings for field in line["fields"])
    assert [meanings[str(number)] for number in range(len(meanings))] == whole["meanings"]
    assert head == {key: value for key, value in whole.items() if key not in ("vcpus", "meanings")}


def test_span_of_a_whole_register_names_its_pieces(area: Area) -> None:
    table = FieldTable(area)
    (spec,) = table.find("xsave.zmm[1]")
    span = meaning_of(spec, "xsave")["span"]
    assert [piece["offset"] for piece in span["pieces"]] == [176, 592, 1184]
    assert span["width"] == 512


def test_what_is_cut_off_is_null_and_says_why(area: Area) -> None:
    area.data = bytes(area.data[:2816])
    found = written(Capture("t", "xsave", [Vcpu(0, "vcpu", "x86", [area])]))["vcpus"][0]["fields"]
    (tile,) = [field for field in found if field["path"] == "xsave.xtiledata.tmm[0]"]
    assert (tile["value"], tile["bytes"], tile["text"]) == (None, None, "not captured")


def test_areas_are_given_back_unless_edited() -> None:
    capture = opened("amx/process.core")
    (vcpu,) = capture.vcpus
    first = vcpu.areas
    written(capture)
    assert vcpu.areas is not first
    kept = vcpu.areas
    kept[-1].data = bytes(len(kept[-1].data))
    vcpu.release()
    assert vcpu.areas is kept


@pytest.mark.parametrize(
    "value", ["", 'a"\\\n\x7f', "é\udc80", None, True, -3, 1 << 70, [], [1, "a", None], {}, {"a": {"b": [False]}}]
)
def test_text_of_values_is_that_of_json(value: object) -> None:
    assert encode(value) == json.dumps(value)
    assert indented([value, {"k": value}], 2) == json.dumps([value, {"k": value}], indent=2)


def test_a_fraction_is_left_to_json(capsys: pytest.CaptureFixture[str]) -> None:
    for indent in (1, None):
        say_json({"a": 1.5, "b": {2: "c"}}, indent)
        assert capsys.readouterr().out == json.dumps({"a": 1.5, "b": {2: "c"}}, indent=indent) + "\n"


@pytest.fixture
def area() -> Area:
    return xsave_area(bytes(11008))
