"""What the arm64 machine is asked for records in their first form: the calls that the recorder made, and no others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from inspector.capture.errors import InputError
from inspector.machine.arm64.host import EL1_32BIT, HAS_EL2, PSCI_0_2, PTRAUTH, SVE
from inspector.machine.arm64.replay import causes
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import Vm
from layouts.arm64.ids import MIDR, PFR0, SVE_FFR, SVE_VLS, ZFR0, sysreg_id
from tests.machine.cut import asked, first

MAX, SEQUENCES = "arm64-linux-7.2-max.jsonl.gz", "arm64-sequences-linux-7.2-max.jsonl.gz"
UNAME, FEAT, RAN = {"t": "uname", "release": "7.2.13"}, {"t": "feat", "bit": 0, "err": 0}, {"t": "run", "exit": 6}
Z0, Z5, P3 = 0x6080_0000_0015_0000, 0x6080_0000_0015_00A0, 0x6050_0000_0015_0460
PC, X0 = 0x6030_0000_0010_0040, 0x6030_0000_0010_0000
OF_SVE, PFR0_ID, MIDR_ID = ("init", 0, PSCI_0_2 | SVE), sysreg_id(PFR0), sysreg_id(MIDR)
FINAL, PFR0_VALUE = ("finalize", 0, 4), 0x1101_0010_2111_0222
#: CSV2 and CSV3 are the host's; without CSV2.
LOWER = PFR0_VALUE & ~(0xF << 56)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What vCPUs and VMs are asked: each call, the vCPU's number, its arguments."""
    found: list[tuple[object, ...]] = []

    def spied(kind: type, name: str) -> None:
        call = getattr(kind, name)

        def asks(self: Any, *values: Any, **named: Any) -> Any:
            values_ = [int.from_bytes(value, "little") if isinstance(value, bytes) else value for value in values]
            found.append((name, *([self.number] if kind is Vcpu else []), *values_, *named.items()))
            return call(self, *values, **named)

        monkeypatch.setattr(kind, name, asks)

    for name in ("init", "get", "set", "finalize", "run", "reg_list"):
        spied(Vcpu, name)
    for name in ("writable_masks", "enable_imp_id_regs"):
        spied(Vm, name)
    return found


def value(data: bytes) -> int:
    return int.from_bytes(data, "little")


HOST_VLS = (1 << 16) - 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("maskbad", [("writable_masks", ("range_number", 1)), ("writable_masks", ("reserved", 1))]),
        ('feat","bit":1,', [("init", 0, PSCI_0_2 | EL1_32BIT)]),
        ('feat","bits', [("init", 0, PSCI_0_2 | PTRAUTH)]),
        ('reglist","cfg":"sve', [OF_SVE, ("reg_list", 0)]),
        ("impcap", [("enable_imp_id_regs",)]),
        ("finalize_nosve", [("init", 0, PSCI_0_2), FINAL]),
        ("sve", [OF_SVE]),
        ("vls", [OF_SVE, ("get", 0, SVE_VLS)]),
        ("sve_prefin", [OF_SVE, ("get", 0, Z0), ("set", 0, Z0, 0), ("reg_list", 0)]),
        ("run_prefin", [OF_SVE, ("run", 0)]),
        (
            "vls_vq17",
            [OF_SVE, ("set", 0, SVE_VLS, 1 << 16 | HOST_VLS), OF_SVE, ("set", 0, SVE_VLS, 1 << 511 | HOST_VLS)],
        ),
        (
            "vls_set_def",
            [OF_SVE, ("set", 0, SVE_VLS, HOST_VLS), FINAL, FINAL, ("set", 0, SVE_VLS, HOST_VLS), ("get", 0, SVE_VLS)],
        ),
        ("z5rw", [OF_SVE, FINAL, ("set", 0, Z5, value(bytes(range(256)))), ("get", 0, Z5)]),
        ("p3rw", [OF_SVE, FINAL, ("set", 0, P3, value(bytes(range(0xA0, 0xC0)))), ("get", 0, P3)]),
        ("ffrrw", [OF_SVE, FINAL, ("set", 0, SVE_FFR, (1 << 256) - 1), ("get", 0, SVE_FFR)]),
        ("sveid", [OF_SVE, FINAL, ("get", 0, Z0 + 1), ("set", 0, Z0 + 1, 0)]),
        (
            'vlmax","vq":3',
            [
                *(OF_SVE, ("set", 0, SVE_VLS, 0b111), FINAL, ("get", 0, sysreg_id(ZFR0))),
                *(("set", 0, Z0, value(b"\x5a" * 256)), ("get", 0, Z0)),
            ],
        ),
        (
            "vmwide",
            [
                *(("init", 0, PSCI_0_2), ("init", 1, PSCI_0_2)),
                *(("set", 0, PFR0_ID, 0x1001_0010_2111_0222), ("get", 1, PFR0_ID)),
            ],
        ),
        (
            "midr",
            [
                *(("init", 0, PSCI_0_2), ("get", 0, MIDR_ID)),
                *(("set", 0, MIDR_ID, 0xF0510), ("set", 0, MIDR_ID, 0xF0511)),
            ],
        ),
    ],
)
def test_the_calls_are_the_recorders(kind: str, expected: list[object], calls: list[object]) -> None:
    closed = '"' if '"' not in kind else ""
    assert asked(MAX, UNAME, FEAT, first(MAX, f'{{"t":"{kind}{closed}')).disagreements == []
    assert calls[1:] == expected, "behind that of the first record"


def test_after_a_run_both_vcpus_write(calls: list[object]) -> None:
    """The host's PFR0 through the one that ran, and without CSV2 through each."""
    asked(MAX, UNAME, FEAT, RAN, first(MAX, '{"t":"afterrun"'))
    assert calls[1:] == [
        *(("init", 0, PSCI_0_2), ("init", 1, PSCI_0_2), ("run", 0)),
        *(("set", 0, PFR0_ID, PFR0_VALUE), ("set", 0, PFR0_ID, LOWER), ("set", 1, PFR0_ID, LOWER)),
    ]


def test_an_id_that_can_be_read_is_written_again(calls: list[object]) -> None:
    record = {"t": "badid", "id": f"{PFR0_ID:x}", "get": 0, "set": 0}
    assert asked(MAX, UNAME, FEAT, record).disagreements == []
    assert calls[-1] == ("set", 0, PFR0_ID, PFR0_VALUE)


def test_a_digit_that_differs_is_told_with_its_write() -> None:
    record = first(MAX, '{"t":"idreg","cfg":"base","reg":"3_0_0_4_0"')
    record["nib"][15][3] = 0
    record["nib"][0][0] = "0000000000000007"
    found = asked(MAX, UNAME, FEAT, record).disagreements
    assert found[0] == ("idreg", "base 3_0_0_4_0 bits 3:0 = 0", "0000000000000007", 22, True, "EL0 is not 0")
    assert found[1][:5] == ("idreg", "base 3_0_0_4_0 bits 63:60 = 3", 0, 22, True)
    assert found[1].because == "CSV3 is at most 1 (found 3)"


@pytest.mark.parametrize("nib", [[[0] * 16] * 15, [[0] * 15] * 16, ["0" * 16] * 16, [[0] * 15 + [None]] * 16, "0" * 16])
def test_answers_of_another_form_are_said(nib: object) -> None:
    record = {**first(MAX, '{"t":"idreg"'), "nib": nib}
    with pytest.raises(InputError, match="16 rows of 16 errnos or values"):
        asked(MAX, UNAME, FEAT, record)


def test_a_length_that_the_kernel_refused_has_no_vector() -> None:
    found = asked(MAX, UNAME, FEAT, {"t": "vlmax", "vq": 3, "set": 22}).disagreements
    assert [answer.expected for answer in found] == [22]
    found = asked(MAX, UNAME, FEAT, {"t": "vlmax", "vq": 3, "set": 0}).disagreements
    assert [answer.expected for answer in found] == [None]


def test_a_call_of_which_nobody_knows_the_hosts_part_is_not_asked() -> None:
    """MPAM of a host that the file shows: a chosen write, and one in a sequence, whatever they came to."""
    kinds = ("vls", 'mask","reg":"3_0_0_4_0', 'idreg","cfg":"base","reg":"3_0_0_4_0')
    shown = [first(MAX, f'{{"t":"{kind}"') for kind in kinds]
    with_mpam = f"{PFR0_VALUE | 3 << 40:016x}"
    chosen = {"t": "idw", "cfg": "base", "reg": "3_0_0_4_0", "w": with_mpam, "err": 22, "rb": "0"}
    assert asked("f", UNAME, *shown, chosen).not_asked[causes.HIDDEN] == {"idreg": 15, "idw": 1}
    of_nobody = PFR0_VALUE & ~(0xF << 60)
    memory = (of_nobody | 3 << 40).to_bytes(8, "little").hex()
    found = sequence("f", read(PFR0_ID, of_nobody), ["set", 0, f"{PFR0_ID:x}", memory, 22], ["create_vcpu", 0, 17])
    assert found.not_asked == {causes.HIDDEN: {"seq set": 1}, causes.RECALLED: {"seq get": 1}}
    assert found.by_kind["seq create_vcpu"] == [2, 2]


def sequence(name: str, *steps: list[Any]) -> Any:
    """A vCPU that is made and initialized, and steps."""
    before = [["create_vcpu", 0, 0], ["init", 0, "4", 0]]
    return asked(name, UNAME, {"t": "seq", "n": 7, "steps": [*before, *steps]})


def read(register_id: int, number: int, size: int = 8) -> list[Any]:
    return ["get", 0, f"{register_id:x}", 0, number.to_bytes(size, "little").hex()]


def test_a_sequence_on_a_host_that_it_shows() -> None:
    """What it reads of system registers and how many there are would only repeat that; core registers it asks."""
    record = first(SEQUENCES, '{"t":"seq","n":263,')
    found = asked("f", UNAME, record)
    steps = record["steps"]
    sysregs = [step for step in steps if step[0] == "get" and step[2].startswith("603000000013")]
    lists = [step for step in steps if step[0] == "list" and step[2] == 7]
    assert found.not_asked == {causes.RECALLED: {"seq get": len(sysregs), "seq list": len(lists)}}
    assert not {"seq get", "seq list"} & {answer.kind for answer in found.disagreements}
    assert sequence("f", read(X0, 0)).by_kind["seq get"] == [1, 1]
    refused = sequence("f", ["list", 0, 8, 0])
    assert refused.not_asked == {}, "an errno is no number of registers"


def test_a_clock_of_a_fresh_vcpu_is_not_asked() -> None:
    record = {"t": "reg", "cfg": "base", "id": "603000000013df01", "err": 0, "le": "05" + "00" * 7}
    assert asked(MAX, UNAME, FEAT, record).not_asked == {causes.CLOCK: {"reg": 1}}


def test_a_clock_in_a_sequence_is_not_asked() -> None:
    found = sequence(SEQUENCES, read(0x6030_0000_0013_DF01, 5), read(X0, 0), ["nop"], read(PC, 0))
    assert found.not_asked == {causes.CLOCK: {"seq get": 1}}
    assert found.by_kind["seq get"] == [2, 2]


def test_the_guest_of_a_sequence() -> None:
    """After an exit for a device KVM_RUN completes the access first: X0 is as it was written; else all begins anew."""
    written = ["set", 0, f"{X0:x}", "77" * 8, 0]
    at_device = ["run", 0, 0, 6]
    completed = [at_device, read(X0, 0x200_0000), read(PC, 0x100_0004), written, at_device]
    again = sequence(SEQUENCES, *completed, read(X0, 0x7777777777777777))
    assert again.disagreements == []
    interrupted = sequence(SEQUENCES, ["run", 0, 0, -4], written, at_device, read(X0, 0x200_0000))
    assert (interrupted.disagreements, interrupted.not_asked) == ([], {causes.TIMER: {"seq run": 1}})
    for result, taken in ((0, True), (1, True), (-22, False)):
        (answer,) = sequence(SEQUENCES, ["run", 0, 0, result]).disagreements
        assert (answer.predicted, answer.accepted) == ([0, 0, 6], taken)
        assert answer.because


@pytest.mark.parametrize(
    ("features", "ran", "register", "cause"),
    [
        (HAS_EL2, True, 0xDF01, causes.CLOCK),
        (HAS_EL2, True, 0xE65B, causes.EL2_MASKS),
        (HAS_EL2, False, 0xE65B, causes.OTHER_SYSREG),
        (PSCI_0_2, True, 0xE65B, causes.OTHER_SYSREG),
    ],
)
def test_why_a_register_is_not_asked(
    features: int, ran: bool, register: int, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counter of the host's clock; of a vCPU with EL2 that ran what its masks hang on; else what has no rule."""
    vcpu: Any = SimpleNamespace(features=features, vm=SimpleNamespace(ran=ran))
    monkeypatch.setattr(causes, "is_answered", lambda *_: False)
    assert causes.of(vcpu, sysreg_id(register)) == cause
    monkeypatch.setattr(causes, "is_answered", lambda *_: True)
    assert causes.of(vcpu, sysreg_id(register)) == ""
