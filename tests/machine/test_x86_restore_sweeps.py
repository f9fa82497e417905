"""Sweeps of recorded restores: one character an answer, one written bit or value an answer."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from inspector.machine.answer import Agreed, Answer, NotAsked
from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore.structs import Struct, StructSweeps, different_words
from inspector.machine.x86.replay.restore.sweeps import char_of, char_of_errno, compare, expand, masks, shortened
from inspector.machine.x86.replay.restore.whole import compared, saved_of, words
from tests.machine.restores import NAMES, Record, answers, bench, wrong


def test_characters_are_answers() -> None:
    assert [char_of_errno(code) for code in (0, errno.EINVAL, errno.EBUSY, 99)] == ["0", "i", "b", "?"]
    rule = Rule("")
    assert (char_of(rule.ok()), char_of(rule.refuse(errno.ENXIO))) == ("0", "y")
    # A call that did less is no errno, and no acceptance either.
    assert char_of(rule.ok()._replace(verdict="short", code=errno.EIO)) == "I"
    assert [expand(*one) for one in (("i", 3), ("i", 2), ("0i", 2), ("i", 1), ("", 2))] == ["iii", "ii", "0i", "i", ""]
    assert [shortened(text) for text in ("iii", "ii", "i", "ii0", "0ii", "")] == ["i", "i", "i", "ii0", "0ii", ""]
    assert masks((0, 2)) == [0, 1, 4, 5]
    assert masks(()) == [0]


def test_each_character_is_compared() -> None:
    """What the kernel accepted and refused is told apart; what was not tried is no answer, on its side alone."""
    found = list(compare("k", "r", "0i-w0i", "0i0wi0", ["a", "b", "c", "d", "e", "f"]))
    assert found == [
        Agreed("k", 2, 1),
        Answer("k", "r [4]", "0", "i", accepted=True, because="e"),
        Answer("k", "r [5]", "i", "0", accepted=False, because="f"),
    ]
    assert list(compare("k", "r", "i-", "--", "one reason")) == [
        Answer("k", "r [0]", "i", "-", accepted=False, because="one reason")
    ]
    assert list(compare("k", "r", "0", "00", "")) == [Agreed("k", 2, 0)]
    for recorded, mine in (("00", "0"), ("00", "000"), ("", "0")):
        with pytest.raises(ValueError, match="zip"):
            list(compare("k", "r", recorded, mine))


class Kept:
    """A structure of 12 bytes: byte 0 is taken as written, 1 is ignored, of 2 the low half is; 3 is refused."""

    def __init__(self) -> None:
        self.image = bytearray(12)
        self.stuck = False

    def get(self, _vcpu: object) -> bytes:
        return bytes(self.image)

    def put(self, _vcpu: object, image: bytes) -> Outcome:
        rule = Rule("a source")
        if not rule.check("byte 3 is zero", not image[3]):
            return rule.refuse(errno.EINVAL)
        kept = bytearray(image)
        kept[1] = self.image[1]
        kept[2] &= 0xF
        if self.stuck:
            kept[0] |= self.image[0]
        self.image = kept
        return rule.ok()


def replayed(kept: Kept, record: Record, base: str = "00" * 12) -> list[Answer | Agreed | NotAsked]:
    sweeps = StructSweeps("s", {"it": Struct(12, kept.get, kept.put)})
    vcpu: Any = object()
    made = list(sweeps.replay(vcpu, {"op": "base", "st": "it", "state": "fresh", "hex": base, "set_e": 0, "same": 1}))
    assert wrong(made) == []
    assert len(made) == 2
    return list(sweeps.replay(vcpu, {"st": "it", "off": 0, **record}))


#: Bits 0 to 7 as written, 8 to 15 ignored, of the third byte the low half; the fourth is refused; the rest is taken.
BITS = "0" * 8 + "w" * 8 + "0" * 4 + "w" * 4 + "i" * 8 + "0" * 32


def test_each_bit_is_written_over_the_base() -> None:
    assert replayed(Kept(), {"op": "bits", "s": BITS}) == [Agreed("s.bits", 56, 8)]
    # The last word of the structure is shorter.
    assert replayed(Kept(), {"op": "bits", "off": 8, "s": "0"}) == [Agreed("s.bits", 32, 0)]
    other = BITS[:-1] + "i"
    assert replayed(Kept(), {"op": "bits", "s": other}) == [
        Answer("s.bits", "it 0: bit 63", "i", "0", accepted=False, because="byte 3 is zero"),
        Agreed("s.bits", 55, 8),
    ]
    other = BITS[:24] + "0" + BITS[25:]
    assert replayed(Kept(), {"op": "bits", "s": other}) == [
        Answer("s.bits", "it 0: bit 24", "0", "i", accepted=True, because="byte 3 is zero"),
        Agreed("s.bits", 56, 7),
    ]


def test_each_value_is_written_over_the_base() -> None:
    """0x17 loses its upper half, which is told word by word; a value is cut to its width."""
    record = {"op": "vals", "off": 2, "width": 1, "v": ["0", "3", "17", "103", "10"], "s": "00x0w"}
    read = [["17", [[0, "170000", "70000"]]]]
    assert replayed(Kept(), {**record, "x": read}) == [Agreed("s.vals", 5, 0)]
    for words_read in ([], [["17", [[0, "170000", "60000"]]]]):
        (answer, agreed) = replayed(Kept(), {**record, "x": words_read})
        assert agreed == Agreed("s.vals", 4, 0)
        given = words_read[0][1] if words_read else None
        told = ["x", [[0, "170000", "70000"]]]
        assert answer == Answer("s.vals", "it 2: 0x17", ["x", given], told, accepted=True, because="byte 3 is zero")
    (answer, _) = replayed(Kept(), {**record, "s": "0000w"})
    assert answer == Answer("s.vals", "it 2: 0x17", "0", "x", accepted=True, because="byte 3 is zero")
    wide = {"op": "vals", "off": 3, "width": 2, "v": ["100", "1", "10000"], "s": "0i0"}
    assert replayed(Kept(), wide) == [Agreed("s.vals", 2, 1)]
    with pytest.raises(ValueError, match="zip"):
        replayed(Kept(), {**record, "s": "00"})


def test_how_often_the_base_does_not_come_back() -> None:
    """Byte 0 keeps what was once set: each of its bits is read back, and the base never again."""
    kept = Kept()
    kept.stuck = True
    chars = "0" + "x" * 7 + "x" * 56
    told = {"op": "bits", "s": chars, "rf": 1}
    found = wrong(replayed(kept, told))
    (answer,) = [each for each in found if "did not come back" in each.record]
    assert (answer.kind, answer.record) == ("s.bits", "it 0: times that the base did not come back")
    assert (answer.expected, answer.accepted, answer.because) == (1, True, "the base is written again")
    assert answer.predicted == 64
    (answer,) = wrong(replayed(Kept(), {"op": "bits", "s": BITS, "rf": 2}))
    assert (answer.expected, answer.predicted) == (2, 0)
    kept.image = bytearray(12)
    (*_, answer) = replayed(kept, {"op": "bits", "s": chars})
    assert (answer.expected, answer.predicted) == (0, 64)


def test_a_base_that_is_another() -> None:
    sweeps = StructSweeps("s", {"it": Struct(12, Kept().get, Kept().put, unread=lambda _vcpu: errno.EINVAL)})
    vcpu: Any = object()
    record = {"op": "base", "st": "it", "state": "fresh", "e": 0, "hex": "00" * 11 + "01", "set_e": 7, "same": 0}
    read, put = sweeps.replay(vcpu, record)
    text = "it fresh"
    assert read == Answer(
        "s.base", text, [0, record["hex"]], [errno.EINVAL, "00" * 12], accepted=True, because="as read from the vCPU"
    )
    assert put == Answer("s.base", text, [7, 0], [0, 0], accepted=False, because="byte 3 is zero")
    assert sweeps.base == bytes(11) + b"\1"
    assert list(sweeps.replay(vcpu, {"op": "other"})) == [
        NotAsked("s.other", "records of kinds that the machine does not know", 1)
    ]


def test_words_that_differ() -> None:
    assert different_words(bytes(16), bytes(9) + b"\1" + bytes(6)) == [[8, "0", "100"]]
    many = different_words(bytes(88), b"\1" * 88)
    assert (len(many), many[9], many[10]) == (11, [72, "0", "101010101010101"], "more")
    assert different_words(bytes(80), b"\1" * 80, 10)[-1] == "more"
    assert len(different_words(bytes(72), b"\1" * 72)) == 9
    assert words(bytes(16), bytes(16)) is None
    assert words(b"\2" + bytes(15), bytes(15) + b"\1") == [[0, "2", "0"], [8, "0", "100000000000000"], 2]
    assert words(bytes(80), b"\1" * 80)[7:] == [[56, "0", "101010101010101"], 10]  # type: ignore[index]


def test_structures_that_are_compared() -> None:
    """The local APIC's current count is time; nested state is as long as its header says; the rest as it was saved."""
    sizes = {"regs": 144, "sregs": 312, "vcpu_events": 64, "xcrs": 392}
    files = {f"vcpu0.kvm_{name}.bin": bytes(size) for name, size in sizes.items()}
    saved = saved_of({**files, "vcpu0.kvm_mp_state.bin": b"\1\0\0\0"}, 7)
    assert (saved.tsc_khz, saved.mp_state, saved.msrs, saved.cpuid) == (7, 1, (), ())
    assert (saved.xsave, saved.debugregs, saved.sregs2, saved.lapic, saved.nested) == (b"", b"", None, None, None)
    assert saved_of({**files}, 0).mp_state == 0
    lapic = bytes(0x390) + b"\xff" * 5 + bytes(107)
    nested = bytes(4) + (130).to_bytes(4, "little") + bytes(200)
    now = saved._replace(mp_state=3, lapic=lapic, nested=nested, sregs2=b"2", xsave=bytes(5000), regs=b"r")
    pairs = compared(saved, now)
    assert set(pairs) == {"regs", "sregs", "xsave", "xcrs", "events", "debugregs", "mp"}
    assert (pairs["mp"], len(pairs["xsave"][1])) == ((b"\1\0\0\0", b"\3\0\0\0"), 4096)
    assert pairs["regs"] == (bytes(144), b"r")
    pairs = compared(now, now._replace(nested=nested[:100]))
    assert set(pairs) == {"regs", "sregs", "xsave", "xcrs", "events", "debugregs", "mp", "sregs2", "lapic", "nested"}
    assert pairs["lapic"][0][0x390:0x396] == b"\0\0\0\0\xff\0"
    assert pairs["nested"] == (nested[:130], nested[:100] + bytes(30))
    with pytest.raises(ValueError, match=r"vcpu0\.kvm_xcrs\.bin has 391 bytes of 392"):
        saved_of({**files, "vcpu0.kvm_xcrs.bin": bytes(391)}, 0)


def test_an_msr_of_a_battery_is_compared_character_by_character() -> None:
    name = NAMES[0]
    records = [each for each in bench(name).sections["hide"] if each["op"] in ("batvals", "bat")][:2]
    chars, base = records[1]["msr"]["c0000081"]
    for text, at, kernel, machine in ((f"r{chars[1:]}", 0, "r", "0"), (f"{chars[:-1]}r", len(chars) - 1, "r", "0")):
        assert len(chars) == 1 or chars[at] == machine
        text = text if len(chars) > 1 else ("r0000" if at == 0 else "0000r")
        at = at if len(chars) > 1 else (0 if text[0] == "r" else 4)
        other = {**records[1], "msr": {**records[1]["msr"], "c0000081": [text, base]}}
        found = [each for each in wrong(answers(name, "hide", [records[0], other])) if each.kind == "hide.msr"]
        assert found == [Answer("hide.msr", f"sup c0000081 [{at}]", kernel, machine, accepted=False)]
    other = {**records[1], "msr": {**records[1]["msr"], "c0000081": [chars, "77"]}}
    found = [each for each in wrong(answers(name, "hide", [records[0], other])) if each.kind == "hide.msr"]
    assert found == [Answer("hide.msr", "sup c0000081 base", "77", base, accepted=True)]
    with pytest.raises(ValueError, match="zip"):
        answers(name, "hide", [records[0], {**records[1], "msr": {"c0000081": ["00", base]}}])


def test_a_vcpu_is_whole() -> None:
    """The sweeps of the recordings are of KVM's structures."""
    assert isinstance(bench(NAMES[0]).vcpu, WholeVcpu)
