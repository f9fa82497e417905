"""Capture, Vcpu, Area: what a reader makes and everybody else holds."""

from __future__ import annotations

from inspector.capture.errors import InputError
from inspector.capture.model import Area, Capture, Origin, Vcpu


def area(prefix: str = "regs", data: bytes = bytes(8), **more: int) -> Area:
    return Area("raw", prefix, "bytes", data, Origin("file", 16), **more)


def test_areas_are_made_when_they_are_first_asked_for_and_once() -> None:
    asked = []

    def make() -> list[Area]:
        asked.append(1)
        return [area("regs"), area("sregs")]

    vcpu = Vcpu(3, "thread 3", "x86", make)
    assert asked == []
    assert [each.prefix for each in vcpu.areas] == ["regs", "sregs"]
    assert vcpu.areas is vcpu.areas
    assert asked == [1]


def test_an_area_is_found_by_the_first_word_of_its_paths() -> None:
    vcpu = Vcpu(0, "cpu", "x86", [area("regs"), area("sregs")])
    found = vcpu.area("sregs")
    assert found is vcpu.areas[1]
    assert vcpu.area("xsave") is None


def test_an_area_that_was_cut_says_what_the_file_declares() -> None:
    whole, cut = area(), area(declared_size_bytes=4096)
    assert (whole.declared_size_bytes, whole.size_bytes) == (8, 8)
    assert (cut.declared_size_bytes, cut.size_bytes) == (4096, 8)
    assert "regs" in repr(cut)
    assert "8 bytes" in repr(cut)


def test_attributes_are_the_areas_own() -> None:
    given = {"number": 1}
    made = Area("raw", "a", "a", b"", Origin("f", 0), attributes=given)
    made.attributes["number"] = 2
    assert given == {"number": 1}


def test_a_capture_with_a_fault_is_partial() -> None:
    assert not Capture("t", "f", []).partial
    assert Capture("t", "f", [], faults=[InputError("t", "more", "less")]).partial


def test_a_capture_knows_a_host_even_where_nothing_is_known_of_it() -> None:
    host = Capture("t", "f", []).host
    assert (host.cpuid, host.kernel, host.about) == (None, "", "")
