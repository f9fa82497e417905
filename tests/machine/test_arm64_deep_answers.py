"""Deep recordings of KVM/arm64, cut to one record: whatever answer of it is another disagrees, and each counts once."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable

import pytest

from inspector.capture.errors import InputError
from inspector.machine.answer import Answer
from inspector.machine.verify import Agreement
from tests.machine.cut import Record, answers, asked, first, section

NESTED = "arm72-max-nested.jsonl.xz"
HEADER = [first(NESTED, '{"op": "host"'), first(NESTED, '{"op":"meta"')]
#: KVM_ARM_VCPU_PSCI_0_2, and with a PMU, SVE, EL2.
PSCI, PMU, SVE, EL2 = 4, 12, 20, 132
TAKEN = frozenset("0wx")


def made(features: int, section: str = "base") -> Record:
    return {"op": "mk", "s": section, "f": features, "fl": 0, "e": 0, "at": 0}


VM = [{"op": "vm", "s": "feat", "e": 0}, {"op": "vcpu", "i": 0, "e": 0}]
OF_SVE = [*VM, {"op": "init", "i": 0, "f": SVE, "e": 0}]
RUN = [*VM, {"op": "init", "i": 0, "f": PSCI, "e": 0}, {"op": "mem", "e": 0}]
STORE = {"op": "run", "i": 0, "guest": "mmio", "e": 0, "exit": 6}
IDR, PAIR = '{"op":"idr","s":"base","r":"3_0_0_', '{"op":"pair","s":"pairs_base","n":"'
#: What is not asked of a record: what was asked, which is in the record beside the answers.
QUESTIONS = {
    "idr": {"s", "r", "rf"},
    "idno": {"s", "r"},
    "pair": {"s", "n", "a", "as", "b", "bs", "rf"},
    "ctr": {"order"},
    "ar": {"s", "id"},
    "sysw": {"s", "id"},
    "bmap": {"id"},
    "ccsidr": {"i"},
    "vlsall": {"s"},
    "vlsbit": {"s"},
    "bad": {"id"},
    "badcoproc": {"size", "lo"},
    "badcoproc_set": {"size", "lo", "cop"},
    "badbits": {"base", "or_bit"},
    "idmap": {"s", "what", "hi", "call"},
    "null": {"id"},
    "mrs_el0": {"reg"},
    "vm": {"s", "n"},
    "mk": {"s", "n", "f", "fl"},
    "cap": {"cap"},
    "vcpu": {"i"},
    "init": {"i", "f"},
    "fin": {"i", "f"},
    "get": {"i", "id"},
    "set": {"i", "id", "v"},
    "run": {"i", "guest"},
    "list": {"i"},
    "listsize": {"in"},
    "gicdev": {"type"},
    "pmuinit": {"i"},
    "inittgt": {"target"},
    "initbit": {"bit"},
    "initmx": {"order"},
    "maskerr": {"on", "range", "reserved", "addr"},
    "masks_same": {"fl"},
}
_NOTHING: Record = {"b": "0", "same": "n", "nib": ["n" * 16] * 16, "flip": "n" * 64, "sp": "n" * 4, "x": [], "rf": 0}
NO_IDR: Record = {"op": "idr", "s": "base", "r": "3_0_0_0_1", **_NOTHING, "rnd": ["7-n"]}
_OF_ONE = first(NESTED, PAIR + "PMUVer,DebugVer")
_TURNED = ["".join(row[digit] for row in _OF_ONE["r"]) for digit in range(16)]
RANDOM = {**first(NESTED, '{"op":"idr","s":"impid"', "!"), "rnd": ["10305f08!10305008"]}
#: A cut recording: what comes before the record, and the record.
CUTS: dict[str, tuple[list[Record], Record]] = {
    "a value that is kept": ([made(PSCI)], first(NESTED, IDR + "4_0")),
    "read-backs": ([made(PMU)], first(NESTED, '{"op":"idr","s":"pmu"', '"x":[[')),
    "a random write's read-back": ([{**made(PSCI), "fl": 2}], RANDOM),
    "a register of 0": ([made(PSCI)], first(NESTED, IDR + "1_3")),
    "a register that ignores": ([made(PSCI)], first(NESTED, IDR + "7_2")),
    "MPIDR": ([made(PSCI)], first(NESTED, IDR + "0_5")),
    "the implementation's identity": (
        [{**made(PSCI), "fl": 2}],
        first(NESTED, '{"op":"idr","s":"impid","r":"3_0_0_0_0"'),
    ),
    "no ID register": (
        [made(PSCI)],
        NO_IDR,
    ),
    "no register": ([made(PSCI)], first(NESTED, '{"op":"idno","s":"base"')),
    "two registers": ([made(PSCI)], first(NESTED, PAIR + "PFR0.CSV2,PFR1.CSV2_frac")),
    "the first is ignored": ([made(PSCI)], first(NESTED, PAIR + "NV,NV_frac")),
    "the second is ignored": ([made(PSCI)], first(NESTED, PAIR + "PMUVer,DFR0.PerfMon")),
    "both read otherwise": ([made(PMU)], first(NESTED, PAIR.replace("base", "pmu") + "PMUVer,DFR0.PerfMon")),
    "one register": ([made(PSCI)], _OF_ONE),
    "one register turned": ([made(PSCI)], {**_OF_ONE, "as": _OF_ONE["bs"], "bs": _OF_ONE["as"], "r": _TURNED}),
    "CTR": ([made(PSCI)], first(NESTED, '{"op":"ctr"')),
    "a system register": ([made(PSCI)], first(NESTED, '{"op":"sysw"', '603000000013c')),
    "a firmware bitmap": ([made(PSCI)], first(NESTED, '{"op":"bmap","id":"6030000000160000"')),
    "a bitmap after a run": ([*RUN, STORE], {**first(NESTED, '{"op":"bmap"'), "zero": 16}),
    "no bitmap": ([made(PSCI)], first(NESTED, '{"op":"bmap"', '"get":2')),
    "a cache": ([made(PSCI)], first(NESTED, '{"op":"ccsidr","i":0')),
    "no cache": ([made(PSCI)], first(NESTED, '{"op":"ccsidr"', '"get":2')),
    "sets of lengths": (OF_SVE, first(NESTED, '{"op":"vlsall"')),
    "bits of lengths": (OF_SVE, first(NESTED, '{"op":"vlsbit"')),
    "a bad id": ([made(PSCI)], first(NESTED, '{"op":"bad"')),
    "an id that is written again": ([made(PSCI)], {"op": "bad", "id": "603000000013c020", "get": 0, "set": 0}),
    "an id that is only read": ([made(PSCI)], first(NESTED, '{"op":"bad"', '"set":-1')),
    "coprocessors": ([made(PSCI)], first(NESTED, '{"op":"badcoproc"')),
    "coprocessors, written": ([made(PSCI)], first(NESTED, '{"op":"badcoproc_set"')),
    "bits of an id": ([made(PSCI)], first(NESTED, '{"op":"badbits"')),
    "core ids": ([made(PSCI)], first(NESTED, '{"op":"idmap"', '"core1"')),
    "ids of vectors, written": ([made(SVE)], first(NESTED, '{"op":"idmap"', '"set2048"')),
    "NULL": ([made(PSCI)], first(NESTED, '{"op":"null","id":"6')),
    "NULL before the lengths": (OF_SVE, first(NESTED, '{"op":"null","id":"VLS"')),
    "NULL for Z0": (OF_SVE, first(NESTED, '{"op":"null","id":"Z0 prefin"')),
    "MRS at EL0": ([], first(NESTED, '{"op":"mrs_el0","reg":"3_0_0_4_0"')),
    "SIGILL at EL0": ([], first(NESTED, '{"op":"mrs_el0"', '"ill"')),
    "a VM": ([], VM[0]),
    "a vCPU": ([VM[0]], VM[1]),
    "a capability": ([VM[0]], first(NESTED, '{"op":"cap"')),
    "an init": (VM, first(NESTED, '{"op":"init"')),
    "a finalization": (VM, first(NESTED, '{"op":"fin"')),
    "a VM at once": ([], made(PSCI)),
    "a VM at once that fails": ([], {**made(EL2 | 2), "e": 22, "at": 4}),
    "a read": ([made(PSCI)], first(NESTED, '{"op":"get"', '"id":"603000000013c020","e":0')),
    "a read that fails": (VM, first(NESTED, '{"op":"get"', '"e":8')),
    "a write": ([made(PSCI)], {"op": "set", "i": 0, "id": "603000000013c020", "v": "00" * 8, "e": 22}),
    "a list": ([made(PSCI, "dump_base")], section(NESTED, '{"op":"mk","s":"dump_base"')[1]),
    "a list that fails": (VM, first(NESTED, '{"op":"list"', '"e":8')),
    "a count": ([made(PSCI)], {"op": "listn", "e": 0, "n": section(NESTED, '{"op":"mk","s":"dump_base"')[1]["n"]}),
    "a list without room": ([made(PSCI)], first(NESTED, '{"op":"listsize"')),
    "a run": (RUN, STORE),
    "a run that fails": (VM, first(NESTED, '{"op":"run"', '"uninit"')),
    "a GIC": (VM, {"op": "gicdev", "type": 7, "e": 0, "dist": 0, "redist": 0, "init": 0}),
    "a GIC that is not there": (VM, first(NESTED, '{"op":"gicdev","type":5')),
    "a GIC's addresses": ([*VM, {"op": "gicdev", "type": 7, "e": 0}], first(NESTED, '{"op":"gicinit"')),
    "an ITS's addresses": (
        [*VM, {"op": "gicdev", "type": 8, "e": 0}],
        {"op": "gicinit", "dist": 19, "redist": 19, "init": 0},
    ),
    "a PMU": ([made(PMU)], first(NESTED, '{"op":"pmuinit"')),
    "memory": (VM, {"op": "mem", "e": 0}),
    "the target": ([], first(NESTED, '{"op":"pref"')),
    "another target": (VM, first(NESTED, '{"op":"inittgt"')),
    "a feature": (VM, first(NESTED, '{"op":"initbit","bit":7')),
    "a feature of EL2": (VM, first(NESTED, '{"op":"initbit","bit":8')),
    "no feature": (VM, first(NESTED, '{"op":"initbit","bit":9')),
    "feature words": ([], first(NESTED, '{"op":"initmx"')),
    "capabilities": ([], first(NESTED, '{"op":"caps"')),
    "masks": ([VM[0]], first(NESTED, '{"op":"masks"')),
    "masks of a kind": ([VM[0]], first(NESTED, '{"op":"maskerr","range"')),
    "masks with a word": ([VM[0]], first(NESTED, '{"op":"maskerr","reserved"')),
    "masks nowhere": ([VM[0]], first(NESTED, '{"op":"maskerr","addr"')),
    "masks of /dev/kvm": ([VM[0]], first(NESTED, '{"op":"maskerr","on"')),
    "masks with MTE": ([], first(NESTED, '{"op":"masks_same","fl":1')),
    "masks with capabilities": ([], first(NESTED, '{"op":"masks_same","fl":2')),
}  # fmt: skip


#: How a report names the place of an answer in its record, by the record's kind and key: the record alone, if not here.
PLACES: dict[str, dict[str, str]] = {
    "idr": {
        "b": "value",
        "same": r"same\[0\]",
        "nib": r"\w+ 3(_\d)+ nib (0|15)\[\d+\]",
        "flip": r"\w+ 3(_\d)+ flip\[\d+\]",
        "sp": r"\w+ 3(_\d)+ sp\[[0-3]\]",
        "rnd": r"c0\w\w [0-9a-f]+[-+~!]\w*(\[0\]| reads back)",
        "x": r"\w+ 3(_\d)+ read-back \d+",
    },
    "idno": {"get": "get", "set0": "set 0", "set1": "set ~0"},
    "pair": {
        "ab": r"value of c0\w\w",
        "bb": r"value of c0\w\w",
        "r": r"[0-9a-f]\[\d+\]",
        "first": r"first [0-9a-f]\[0\]",
        "ch": r"read-back \d+",
    },
    "ctr": {"b": "value", "r": r"[0-9a-f]{8}\[\d+\]"},
    "sysw": {"b": "value", "w": "write [0-9a-f]+", "restore": "write [0-9a-f]+", "after": "write [0-9a-f]+"},
    "bmap": {"get": "get", "b": "value", "bits": r"bit\[\d+\]", "zero": "zero", "restore": "restore"},
    "ccsidr": {
        "get": "get",
        "set0": "set 0",
        "b": "value",
        "same": r"same\[0\]",
        "flip": r"flip\[\d+\]",
        "rnd": "[0-9a-f]{1,8}",
    },
    "vlsall": {"ok": "vqs [0-9a-f]+( reads)?", "hist": "by errno"},
    "vlsbit": {name: rf"{name}\[\d+\]" for name in ("alone", "withdef", "prefixes", "defprefix")},
    "bad": {"get": "get", "set": "set"},
    "badcoproc": {"get": r"coprocessor\[\d+\]"},
    "badcoproc_set": {"set": r"coprocessor\[\d+\]"},
    "badbits": {"get": r"bit\[\d+\]"},
    "null": {"set": "set", "get": "get"},
    "list": {"n": "number of ids", "ids": r"id \d+"},
    "listn": {"n": "number of ids"},
    "listsize": {"n": "number of ids"},
    "pmuinit": {"irq": "irq"},
    "inittgt": {"badbit30": "bit 30", "word3": "word 3"},
    "initmx": {"r": r"features\[\d+\]"},
    "caps": {"vm": r"vm \d+", "sys": r"sys \d+"},
    "masks": {"guard": "guard", "m": r"3(_\d)+"},
    "masks_same": {"c205": "c205", "c239": "c239", "init": "init"},
}
#: What is shown of long records.
SHOWN = {
    "idr": ("op", "s", "r", "b"),
    "pair": ("op", "s", "n"),
    "ctr": ("op", "b"),
    "list": ("op", "e"),
    **dict.fromkeys(("vlsall", "vlsbit", "badcoproc", "badcoproc_set", "caps"), ("op",)),
}
#: Values that are compared as such: where one differs there is no check that says why.
VALUES = {
    "idr": {"b", "x"},
    "pair": {"ab", "bb", "ch"},
    "ctr": {"b"},
    "sysw": {"b"},
    "bmap": {"b"},
    "ccsidr": {"b"},
    "vlsall": {"hist"},
    "list": {"n", "ids"},
    "listn": {"e", "n"},
    "listsize": {"e", "n"},
    "mrs_el0": {"v"},
    "vm": {"e"},
    "gicdev": {"dist", "redist", "init"},
    "gicinit": {"dist", "redist", "init"},
    "pref": {"t"},
    "caps": {"vm", "sys"},
    "masks": {"guard", "m"},
    "masks_same": {"same"},
}
#: Of single cuts: what no call returned.
NO_ANSWERS = {
    "an id that is only read": {"get", "set"},
    "core ids": {"runs"},
    "ids of vectors, written": {"runs"},
    "a list that fails": {"n"},
    "masks with capabilities": {"c205"},
    "masks with MTE": {"c239"},
    "no bitmap": {"b"},
}


def _letters(*rows: str) -> tuple[int, int]:
    taken = sum(letter in TAKEN for row in rows for letter in row)
    return taken, sum(letter != "-" for row in rows for letter in row) - taken


def _idr(record: Record) -> tuple[int, int]:
    marks = [text.partition("-")[0][-1] if "-" not in text else "-" for text in record["rnd"]]
    taken, refused = _letters(record["same"], *record["nib"], record["flip"], record["sp"])
    refused += marks.count("-")
    return 1 + taken + len(marks) - marks.count("-") + len(record["x"]) + sum(
        "!" in text for text in record["rnd"]
    ), refused


def _pair(record: Record) -> tuple[int, int]:
    taken, refused = _letters(record["first"], *record["r"])
    return 2 + taken + len(record["ch"]), refused


def _idmap(record: Record) -> tuple[int, int]:
    sizes = [(int(last, 16) - int(low, 16) + 1, letter) for low, last, letter in record["runs"]]
    return sum(size for size, letter in sizes if letter == "0"), sum(size for size, letter in sizes if letter != "0")


def _errnos(record: Record, *names: str, values: int = 0) -> tuple[int, int]:
    """Of calls; ``values``: how many values were read besides, which are answers of calls that succeeded."""
    codes = [record[name] for name in names]
    return codes.count(0) + values, len(codes) - codes.count(0)


def _and(*several: tuple[int, int]) -> tuple[int, int]:
    return sum(taken for taken, _ in several), sum(refused for _, refused in several)


def _writes(rows: list[tuple[str, int, str]]) -> tuple[int, int]:
    return sum(not code for _, code, _ in rows), sum(bool(code) for _, code, _ in rows)


def _ccsidr(record: Record) -> tuple[int, int]:
    if record["get"]:
        return _errnos(record, "get", "set0")
    return _and(_errnos(record, "get", values=1), _letters(record["same"], record["flip"]), _writes(record["rnd"]))


def _list(record: Record) -> tuple[int, int]:
    return _errnos(record, "e", values=0 if record["e"] else 1 + len(record["ids"]))


def _masks(record: Record) -> tuple[int, int]:
    return _errnos(record, "e", values=0 if record["e"] else 192 + 1)


def _masks_same(record: Record) -> tuple[int, int]:
    names = [name for flag, name in ((1, "c205"), (2, "c239")) if record["fl"] & flag]
    return _errnos(record, *names, "init", "e", values=0 if record["e"] else 1)


def _gicdev(record: Record) -> tuple[int, int]:
    return _and(*[_errnos(record, "e")] * (2 if "dist" in record else 1))


def _gicinit(record: Record) -> tuple[int, int]:
    return (0, 1) if record["dist"] or record["redist"] or record["init"] else (1, 0)


def _caps(record: Record) -> tuple[int, int]:
    there = sum(number > 0 for name in ("vm", "sys") for number in record[name].values())
    return there, 2 * 300 - there


#: How many answers a record has that the kernel accepted, and that it refused; one errno each of other kinds.
ANSWERS: dict[str, Callable[[Record], tuple[int, int]]] = {
    "idr": _idr,
    "idno": lambda record: _errnos(record, "get", "set0", "set1"),
    "pair": _pair,
    "idmap": _idmap,
    "ctr": lambda record: _and((1, 0), _letters(*record["r"])),
    "sysw": lambda record: _and(_errnos(record, "restore", values=1), _writes(record["w"])),
    "bmap": lambda record: _and(
        _errnos(record, "get", "zero", "restore", values=not record["get"]), _letters(record["bits"])
    ),
    "ccsidr": _ccsidr,
    "vlsall": lambda record: (2 * len(record["ok"]), 65536 - len(record["ok"])),
    "vlsbit": lambda record: _letters(*(record[name] for name in ("alone", "withdef", "prefixes", "defprefix"))),
    "bad": lambda record: _errnos(record, "get", *(() if record["set"] == -1 else ("set",))),
    "badcoproc": lambda record: _letters(record["get"]),
    "badcoproc_set": lambda record: _letters(record["set"]),
    "badbits": lambda record: _letters(record["get"]),
    "null": lambda record: _errnos(record, *(name for name in ("get", "set") if name in record)),
    "mrs_el0": lambda record: (int("v" in record), int("v" not in record)),
    "list": _list,
    "listn": lambda record: _errnos(record, "e", values=1),
    "listsize": lambda record: _errnos(record, "e", values=1),
    "gicdev": _gicdev,
    "gicinit": _gicinit,
    "pmuinit": lambda record: _errnos(record, "irq", "e"),
    "pref": lambda _record: (1, 0),
    "inittgt": lambda record: _errnos(record, "badbit30", "word3"),
    "initmx": lambda record: _letters(record["r"]),
    "caps": _caps,
    "masks": _masks,
    "masks_same": _masks_same,
}


def counted(agreement: Agreement, before: list[Record]) -> tuple[int, int]:
    """Accepted and refused answers, less those of the records before: one each, all accepted."""
    return agreement.by_answer["accepted"][1] - len(before), agreement.by_answer["refused"][1]


def check_place(answer: Answer, record: Record, other: Record) -> None:
    """Where the answer is, the record or what is shown of it, and the check that decided."""
    told = answer.record
    where, brace, shown = told.partition("{")
    (key,) = (key for key in record if record[key] != other[key])
    if "reads" not in where:
        assert bool(answer.because) == (key not in VALUES.get(record["op"], ())), told
    assert re.fullmatch(PLACES.get(record["op"], {}).get(key, ""), where.removesuffix(": ")), told
    keys = SHOWN.get(record["op"], other.keys())
    assert (told.endswith("…") and record["op"] not in SHOWN) or json.loads(brace + shown) == {
        key: other[key] for key in keys
    }


@pytest.mark.parametrize("name", CUTS)
def test_whatever_answer_is_another_disagrees(name: str) -> None:
    """At its record alone, as an answer that the kernel gave: accepted or refused."""
    before, record = CUTS[name]
    kind = record["op"]
    count = ANSWERS.get(kind, lambda record: _errnos(record, "e"))
    agreement = asked("f", *HEADER, *before, record)
    assert agreement.disagreements == []
    assert agreement.total == agreement.agree
    assert counted(agreement, before) == count(record)
    assert set(agreement.by_kind) == {one["op"] for one in (*before, record)}
    others = list(answers(record, QUESTIONS.get(kind, set()) | NO_ANSWERS.get(name, set())))
    assert others or name in NO_ANSWERS
    for other in others:
        with contextlib.suppress(InputError):
            agreement = asked("f", *HEADER, *before, other)
            assert agreement.disagreements, other
            assert {answer.kind for answer in agreement.disagreements} == {kind}, other
            check_place(agreement.disagreements[0], record, other)
            # What should have been listed counts too: sets of lengths, what else another value reads back as.
            listed = kind == "vlsall" or other.get("b") != record.get("b")
            assert counted(agreement, before) == count(other) or listed, other
