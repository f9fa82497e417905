"""How things are found: search while typing, places, marks, links."""

from __future__ import annotations

import pytest

from inspector.targets.schemes import capture_of
from inspector.tui.picture import text_of
from inspector.tui.session import Session
from tests.tui.support import running, session_of, type_line


def session(target: str = "sample:amx", path: str = "") -> Session:
    found = Session(capture_of(target))
    assert not path or found.jump(path)
    return found


def path_of(found: Session) -> str:
    field = found.field()
    return field.path if field is not None else ""


def first(found: Session, text: str) -> str:
    assert found.search(text), text
    return path_of(found)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("pkru", "xsave.pkru.pkru"),
        ("PKRU ", "xsave.pkru.pkru"),
        ("mxcsr", "xsave.legacy.mxcsr"),
        ("tmm", "xsave.xtiledata.tmm[0]"),
        ("tmm[1]", "xsave.xtiledata.tmm[1]"),
        ("xstate_bv.pkru", "xsave.header.xstate_bv.pkru"),
        ("zmm[3].u32[2]", "xsave.zmm[3].u32[2]"),
        ("rounding", "xsave.legacy.fcw.RC"),
    ],
)
def test_the_register_itself_comes_first(text: str, path: str) -> None:
    assert first(session(), text) == path


def test_matches_in_the_order_of_likeness_each_once_and_round() -> None:
    found = session(path="xsave.legacy.fcw")
    begun = first(found, "xtiledata")
    seen = [begun]
    while found.search("xtiledata", again=True) and path_of(found) != begun:
        seen.append(path_of(found))
    assert len(seen) == len(set(seen)) == len(found.matches)
    assert found.count_text() == f"1 of {len(seen)}"
    ranks = [match.rank for match in found.matches]
    assert ranks == sorted(ranks)
    # A component's own fields come before where it lies and how large it is.
    of_structure = [n for n, path in enumerate(seen) if ".xstate." in path]
    assert of_structure == list(range(len(seen) - len(of_structure), len(seen)))


def test_bytes_as_they_lie_in_memory() -> None:
    found = session("sample:amx/process.core")
    image = bytes(found.area.data)
    place = 0x240 + 5 if image[0x245:0x249].strip(b"\0") else image.index(image[1100:1104])
    text = image[place : place + 4].hex(" ")
    assert found.search(text)
    assert found.matches
    for match in found.matches:
        span = found.rows.table.find(match.path)[0].pieces
        at = next(at for at in range(len(image)) if image[at : at + 4].hex(" ") == text and spans(span, at))
        assert at >= 0
    assert not found.search("de ad be ef 01 02 03 04")


def spans(pieces: object, at: int) -> bool:
    return any(piece.offset <= at < piece.offset + piece.size_bytes for piece in pieces)


def test_elements_by_their_value_in_the_type_that_is_chosen() -> None:
    found = session("sample:amx", "xsave.legacy.fcw")
    found.elements.chosen["zmm"] = "u64"
    assert found.jump("zmm[3].u64[5]")
    found.set_value("0x123456789abcdef0")
    found.jump("fcw")
    assert first(found, "0x123456789abcdef0") == "xsave.zmm[3].u64[5]"
    assert first(found, str(0x123456789ABCDEF0)) == "xsave.zmm[3].u64[5]"


def test_all_vcpus_behind_a_star() -> None:
    found = session("sample:zen5-threads/xcore.core.gz", "mxcsr")
    assert found.search("mxcsr")
    alone = len(found.matches)
    assert found.search("*mxcsr")
    count = len(found.capture.vcpus)
    assert len(found.matches) == alone * count
    assert found.vcpu_number == 0
    seen = []
    for _ in found.matches:
        seen.append(found.vcpu_number)
        found.search("*mxcsr", again=True)
    assert sorted(set(seen)) == list(range(count))


def test_a_search_of_all_vcpus_goes_on_in_slices() -> None:
    found, whole = (session("sample:zen5-threads/xcore.core.gz", "mxcsr") for _ in range(2))
    whole.search("*mxcsr")
    assert found.search_on("*mxcsr", 0)
    assert found.is_searching
    assert found.count_text() == f"1 of {len(found.matches)} in 1 vCPU"
    found.search("*mxcsr", again=True)
    at = path_of(found), found.vcpu_number
    while found.is_searching:
        assert not found.search_further(0)
    assert (path_of(found), found.vcpu_number) == at
    assert found.matches == whole.matches
    assert not found.search_on("*nothing like it", 0)
    assert found.count_text() == "none yet in 1 vCPU"
    found.forget_search()
    assert not found.is_searching


def test_of_many_vcpus_only_matches_are_kept() -> None:
    found = session("sample:zen5-threads/xcore.core.gz", "mxcsr")
    found.search("*0x1f80")
    assert len(found._searcher._values) <= 32
    assert len(found._searcher._words) <= 32


def test_escape_is_where_one_was_with_all_that_was_folded() -> None:
    found = session(path="xsave.legacy.fcw")
    found.filter("f")
    before, folded = path_of(found), (set(found.rows.folded), set(found.rows.unfolded), found.rows.filter_text)
    area = found.area
    found.begin_search()
    for text in ("x", "xc", "xcr0.index", "zmm[3].u32[2]", "nothing like it"):
        found.search_on(text)
    found.end_search(keep=False)
    assert found.area is area
    assert (path_of(found), (found.rows.folded, found.rows.unfolded, found.rows.filter_text)) == (before, folded)
    assert not found.highlighted


def test_back_and_forward() -> None:
    found = session(path="xsave.legacy.fcw")
    assert not found.go_back()
    found.go_to("mxcsr")
    found.begin_search()
    found.search_on("pk")
    found.search_on("pkru")
    found.end_search(keep=True)
    assert path_of(found) == "xsave.pkru.pkru"
    assert found.go_back()
    assert path_of(found) == "xsave.legacy.mxcsr"
    assert found.go_back()
    assert path_of(found) == "xsave.legacy.fcw"
    assert not found.go_back()
    found.go_forward()
    found.go_forward()
    assert path_of(found) == "xsave.pkru.pkru"
    found.go_back()
    found.go_to("#1")
    assert not found.go_forward()
    found.go_back()
    assert (found.vcpu_number, path_of(found)) == (0, "xsave.legacy.mxcsr")


def test_marks_are_places_of_any_vcpu() -> None:
    found = session(path="xsave.legacy.fcw")
    found.mark("a")
    found.go_to("#1")
    found.go_to("mxcsr")
    assert found.go_to_mark("a")
    assert (found.vcpu_number, path_of(found)) == (0, "xsave.legacy.fcw")
    assert not found.go_to_mark("b")
    found.go_back()
    assert (found.vcpu_number, path_of(found)) == (1, "xsave.legacy.mxcsr")


@pytest.mark.parametrize(
    ("place", "leads"),
    [
        ("xsave.header.xstate_bv.xtiledata", "xsave.xtiledata.tmm[0]"),
        ("xsave.header.xstate_bv.pkru", "xsave.pkru.pkru"),
        ("xcr.xcr0.xtiledata", "cpuid.d.12.eax"),
        ("xcr.xcr0.sse", "cpuid.d.0.eax"),
        ("xsave.legacy.mxcsr.RC", ""),
        ("xsave.legacy.fcw", ""),
    ],
)
def test_links(place: str, leads: str) -> None:
    found = session(path=place)
    assert found.follow() is bool(leads)
    assert path_of(found) == (leads or place)
    if leads:
        assert found.go_back()
        assert path_of(found) == place


def test_an_edit_between_two_matches_changes_nothing_else() -> None:
    found = session()
    found.search("xstate_bv")
    found.jump("xstate_bv.pkru")
    found.toggle_bit()
    assert found.search("xstate_bv", again=True)


async def test_a_search_is_followed_while_typing() -> None:
    async with running(size=(120, 36)) as (app, pilot):
        await pilot.press("slash", *"pkru")
        await pilot.pause()
        assert path_of(session_of(app)) == "xsave.pkru.pkru"
        assert "1 of " in text_of(app).splitlines()[-2]
        await pilot.press("down")
        await pilot.pause()
        assert "2 of " in text_of(app).splitlines()[-2]
        await pilot.press("escape")
        await pilot.pause()
        assert session_of(app).cursor == 0
        assert "search" not in text_of(app).splitlines()[0]
        await type_line(pilot, "slash", "pkru")
        assert "1 of 1" in text_of(app).splitlines()[0]
        assert "Esc: end" in text_of(app).splitlines()[0]
        await pilot.press("escape")
        await pilot.pause()
        assert "Esc: end" not in text_of(app).splitlines()[0]


async def test_letters_behind_m_and_the_apostrophe_are_no_keys() -> None:
    async with running() as (app, pilot):
        await pilot.press("m", "q", "j", "j", "apostrophe", "q")
        await pilot.pause()
        assert not app._exit
        assert session_of(app).cursor == 0
        await pilot.press("m", "escape", "j")
        assert session_of(app).cursor == 1
