"""The host of recorded answers of KVM/arm64: of its file's name, of its header, or of what guests read."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.capture.errors import InputError
from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.host import EL1_32BIT, HAS_EL2, PMU_V3, POWER_OFF, PSCI_0_2, PTRAUTH, SVE
from inspector.machine.arm64.replay import hosts
from inspector.machine.arm64.replay.deep import hosts as deep
from inspector.machine.arm64.replay.records import hosted
from layouts.arm64.hosts import bare_hosts
from layouts.arm64.ids import PFR0, sysreg_id
from layouts.arm64.kernels import profile_for
from layouts.kernels import UnknownReleaseError
from tests.machine.cut import Record, of_kind

MAX, A57 = "arm64-linux-7.2-max.jsonl.gz", "arm64-linux-7.2-cortex-a57.jsonl.gz"
SEQUENCES = "arm64-sequences-linux-7.2-max.jsonl.gz"
UNAME = {"t": "uname", "release": "7.2.13"}
MIDR, PFR0_ID, MPAM_LSB = 0xC000, f"{sysreg_id(PFR0):x}", 40
FRESH = POWER_OFF | PSCI_0_2


@pytest.mark.parametrize(
    ("file", "cpu"),
    [
        ("arm64-linux-7.2-max.jsonl.gz", "max"),
        ("/a/folder/arm64-linux-6.12-neoverse-n1.jsonl", "neoverse-n1"),
        ("arm64-sequences-linux-6.12-neoverse-v1.jsonl.gz", "neoverse-v1"),
        ("arm64-linux-7.3-rc7-cortex-a57", "cortex-a57"),
        ("arm64-linux-7.2-max_sve-max-vq_3.jsonl.gz", "max,sve-max-vq=3"),
        ("arm64-linux-7.2-z80.jsonl.gz", None),
        ("mine.jsonl", None),
        ("arm64-linux-max.jsonl", None),
    ],
)
def test_the_cpu_is_in_the_files_name(file: str, cpu: str | None) -> None:
    found = hosts.bare_of(file)
    assert (found and found.name) == cpu
    assert hosted(file, [UNAME]).recalled == (cpu is None)
    assert cpu is None or hosted(file, [UNAME]).host.name == cpu


def test_the_kernel_is_the_unames() -> None:
    assert hosts.kernel_of([{"t": "api"}, UNAME, {"t": "uname", "release": "6.1.0"}]) == profile_for("7.2.13")
    with pytest.raises(UnknownReleaseError) as error:
        hosts.kernel_of([{"t": "api"}])
    assert error.value.release == ""


def idreg(value: int, configuration: str = "base", register: str = "3_0_0_4_0", **taken: int) -> Record:
    """Writes that are all refused, but for one of MPAM that is taken and ignored."""
    rows: list[list[Any]] = [[22] * 16 for _ in range(16)]
    for digit in taken.values():
        rows[MPAM_LSB // 4][digit] = f"{value:016x}"
    return {"t": "idreg", "cfg": configuration, "reg": register, "host": f"{value:016x}", "nib": rows}


def test_fields_that_one_configuration_hides_are_of_another() -> None:
    found = hosts.host_of_records([UNAME, idreg(0x0100_0011), idreg(0x1_0300_0011, "sve"), idreg(1 << 60, "el2")])
    assert found.limits == {PFR0: 0x1_0100_0011}
    assert (found.sve_vqs, found.features, found.registers) == (0, FRESH, {})
    assert (hosts.fuller(None, 5), hosts.fuller(0x50, 0x37), hosts.fuller(0, 1 << 63)) == (5, 0x57, 1 << 63)


def test_what_a_fresh_vcpu_read_is_the_hosts() -> None:
    """The first value of each register; the features, lengths and masks that were taken."""
    records = [
        UNAME,
        {"t": "reg", "cfg": "base", "id": "603000000013c000", "err": 0, "le": "01"},
        {"t": "reg", "cfg": "sve", "id": "603000000013c000", "err": 0, "le": "02"},
        {"t": "reg", "cfg": "base", "id": "603000000013c001", "err": 2, "le": "03"},
        {"t": "mask", "reg": "3_0_0_4_0", "mask": "f0"},
        {"t": "vls", "err": 0, "vqs": "b"},
        {"t": "vls", "err": 1, "vqs": "ff"},
        {"t": "feat", "bit": 3, "err": 0},
        {"t": "feat", "bit": 1, "err": 22},
        {"t": "feat", "bits": "5+6", "err": 0},
    ]
    found = hosts.host_of_records(records)
    assert found.registers == {0x6030_0000_0013_C000: b"\x01"}
    assert (found.sve_vqs, found.features) == (0b1011, FRESH | PMU_V3 | PTRAUTH)
    assert found.masks == {PFR0: 0xF0}
    older = [{"t": "uname", "release": "6.1.0"}, *records[1:]]
    assert hosts.host_of_records(older).masks is None
    assert hosts.host_of_records(records[:2]).masks is None


def test_what_kvm_hides_is_measured() -> None:
    """The host's own MPAM is taken and ignored; none is: the host has 0."""
    records = [UNAME, idreg(0x11, mpam=2), idreg(0x11, "sve", mpam=3)]
    assert hosts.host_of_records(records).sanitised == {PFR0: 2 << MPAM_LSB}
    assert hosts.host_of_records([UNAME, idreg(0x11, "sve", mpam=3), idreg(0x11)]).sanitised == {PFR0: 0}
    assert hosts.host_of_records(records, measured=False).sanitised == {}
    assert hosted("mine", records).host.sanitised == {}


@pytest.mark.parametrize(("name", "cpu"), [(MAX, "max"), (A57, "cortex-a57")])
def test_a_known_cpu_has_these_limits(name: str, cpu: str) -> None:
    """What KVM hides of it is then known, too; CLIDR_EL1, and AArch32's where there is none, tell nothing of it."""
    records = of_kind(name, "uname", "idreg", "vls", "mask")
    bare = from_bare(profile_for("7.2.13"), [bare_hosts()[cpu]])
    found = hosted("mine", records)
    assert (found.recalled, found.host.sanitised) == (True, bare.sanitised)
    assert found.host.sve_vqs == bare.sve_vqs
    without = [one for one in records if one["t"] != "vls"]
    assert hosts.host_of_records(without, measured=False).sanitised == bare.sanitised
    others = [{**one, "vqs": "1f"} if one["t"] == "vls" else one for one in records]
    known = hosts.host_of_records([*others, {"t": "vls", "err": 0, "vqs": "1f"}], measured=False)
    assert known.sanitised == {}
    only_cache = [one for one in records if one.get("reg") in (None, "3_1_0_0_1")]
    assert hosts.host_of_records(only_cache, measured=False).sanitised == {}


@pytest.mark.parametrize(
    ("cpu", "register", "known"),
    [
        ("a64fx", "3_1_0_0_1", True),
        ("a64fx", "3_0_0_0_0", True),
        ("a64fx", "3_0_0_2_0", True),
        ("neoverse-v1", "3_0_0_2_0", False),
        ("a64fx", "3_0_0_4_0", False),
        ("a64fx", "3_0_0_6_1", False),
        ("max", "3_0_0_7_0", False),
        ("max", "3_1_0_0_1", True),
    ],
)
def test_which_registers_tell_a_cpu(cpu: str, register: str, known: bool) -> None:
    """CLIDR_EL1 and MIDR_EL1 do not, nor AArch32's (ID_ISAR0_EL1) of a CPU that has none."""
    release = "6.1" if cpu == "max" else "7.2"
    bare = from_bare(profile_for(f"{release}.13"), [bare_hosts()[cpu]])
    records = of_kind(f"arm64-linux-{release}-{cpu}.jsonl.gz", "uname", "idreg", "vls", "mask")
    for one in records:
        if one["t"] == "idreg" and one["reg"] == register:
            one["host"] = f"{int(one['host'], 16) ^ 0x70:016x}"
    found = hosts.host_of_records(records, measured=False).sanitised
    assert (found == bare.sanitised) == known


def sequences(*steps: list[Any]) -> Any:
    return hosts.host_of_sequences([UNAME, {"t": "seq", "n": 0, "steps": list(steps)}])


def get(register_id: str, value: int, number: int = 0, code: int = 0) -> list[Any]:
    return ["get", number, register_id, code, value.to_bytes(8, "little").hex()]


def test_what_sequences_show_of_their_host() -> None:
    """What is read before it is written, features that were taken, lengths of a set that was not changed."""
    init = ["init", 0, f"{PSCI_0_2 | SVE | POWER_OFF:x}", 0]
    found = sequences(init, ["init", 0, f"{PMU_V3:x}", 22], get(PFR0_ID, 0x11), ["get_vls", 0, 0, "7"])
    assert (found.features, found.limits, found.sve_vqs) == (FRESH | SVE, {PFR0: 0x11}, 7)
    assert found.registers == {sysreg_id(PFR0): bytes([0x11, *[0] * 7])}
    assert sequences(["init", 0, f"{HAS_EL2 | EL1_32BIT:x}", 0]).features == FRESH | HAS_EL2
    assert sequences(["init", 0, f"{EL1_32BIT:x}", 0]).features == FRESH | EL1_32BIT
    assert sequences(get(PFR0_ID, 0x10), get(PFR0_ID, 0x21)).limits == {PFR0: 0x11}
    for before in (["run", 0, 0, 6], ["set", 0, PFR0_ID, "00" * 8, 22]):
        assert sequences(before, get(PFR0_ID, 0x11)).limits == {}
    assert sequences(["set", 0, "603000000013c000", "00" * 8, 22], get(PFR0_ID, 0x11)).limits == {PFR0: 0x11}
    assert sequences(["set_vls", 0, "1", 22], ["get_vls", 0, 0, "7"]).sve_vqs == 0
    assert sequences(["get_vls", 0, 1, "7"], ["get_vls", 0, 0, "1"], ["get_vls", 1, 0, "2"]).sve_vqs == 3
    assert sequences(get(PFR0_ID, 0x11, code=2)).limits == {}
    assert sequences(get("6030000000100000", 0x11)).registers == {}
    runs, reads = ({"t": "seq", "n": 0, "steps": [step]} for step in (["run", 0, 0, 6], get(PFR0_ID, 3)))
    assert hosts.host_of_sequences([UNAME, runs, reads]).limits == {PFR0: 3}, "a run of another VM"


def test_sequences_of_a_known_cpu() -> None:
    records = of_kind(SEQUENCES, "uname", "seq")
    bare = from_bare(profile_for("7.2.13"), [bare_hosts()["max"]])
    found = hosted("mine", records)
    assert found.recalled
    assert (found.host.name, found.host.limits, found.host.sve_vqs) == ("max", bare.limits, bare.sve_vqs)
    assert found.host.features == bare.features | FRESH
    assert not set(found.host.registers or {}) & {sysreg_id(encoding) for encoding in bare.limits}
    assert not hosted(SEQUENCES, records).recalled
    assert hosts.host_of_sequences([*records, {"t": "seq", "n": 400, "steps": [["get_vls", 0, 0, "10000"]]}]).name == ""


@pytest.mark.parametrize(
    ("records", "found"),
    [
        ([], "no header"),
        ([{"op": "meta", "release": "7.2.13"}], "no header"),
        ([{"op": "host", "cpu": "z80", "mte": "off"}, {"op": "meta", "release": "7.2.13"}], "z80"),
    ],
)
def test_a_deep_recording_without_its_host(records: list[Record], found: str) -> None:
    with pytest.raises(InputError) as error:
        deep.host_of_records("a file", records)
    told = f"a file: expected a header (op host) with a CPU whose bare registers are known, found {found}"
    assert str(error.value) == told


def deep_host(**header: str) -> Any:
    meta = {"op": "meta", "release": header.pop("release", "7.2.13")}
    return deep.host_of_records("f", [meta, {"op": "host", "cpu": "max", "mte": "off", **header}])


def test_a_deep_recordings_header_says_what_the_host_has() -> None:
    plain = deep_host()
    assert (plain.name, plain.kernel, plain.gic, plain.features & HAS_EL2) == ("max", profile_for("7.2.13"), 3, 0)
    assert (deep_host(gic="2").gic, deep_host(gic="3").gic) == (2, 3)
    assert deep_host(mte="on").name == "max,mte=on"
    assert deep_host(append="kvm-arm.mode=nested").features & HAS_EL2
    assert deep_host(append="quiet arm64.nosve").sve_vqs == 0
    assert deep_host(release="6.1.176").kernel == profile_for("6.1.176")
    with pytest.raises(UnknownReleaseError) as error:
        deep.host_of_records("f", [{"op": "host", "cpu": "max", "mte": "off"}])
    assert error.value.release == ""


@pytest.mark.parametrize(
    ("cpu", "vqs"),
    [
        ("max,sve-max-vq=1", [1]),
        ("max,sve-max-vq=16", list(range(1, 17))),
        ("max,sve-max-vq=4,sve384=off", [1, 2, 4]),
        ("max,sve2048=on", [1, 2, 4, 8, 16]),
        ("max,sve128=on", [1]),
        ("max,sve384=on", [1, 2, 3]),
        ("max,sve2048=off", list(range(1, 16))),
        ("max,sve256=off", [1]),
        ("max,sve256=on,sve512=off", [1, 2]),
        ("max,sve4096=on", [1, 2, 4, 8, 16]),
        ("max,sve384=off,sve1024=off", [1, 2, 4, 5, 6, 7]),
        ("neoverse-v1,sve128=on", [1]),
        ("neoverse-v1,sve512=on", [1, 2]),
        ("max,sve128=off", []),
    ],
)
def test_lengths_as_qemu_cuts_them(cpu: str, vqs: list[int]) -> None:
    """arm_cpu_sve_finalize: the smaller powers of two of one that is on; one that is off takes the larger with it."""
    found = deep.bare_of(cpu, mte=False)
    assert found is not None
    assert (found.name, [length // 16 for length in found.sve_vl_bytes]) == (cpu, vqs)


def test_lengths_of_a_cpu_with_mte() -> None:
    found = deep.bare_of("max,sve256=on", mte=True)
    assert found is not None
    assert found.registers == bare_hosts()["max,mte=on"].registers
    assert deep.bare_of("max", mte=False) is bare_hosts()["max"]
    assert deep.bare_of("cortex-a57", mte=True) is bare_hosts()["cortex-a57"]
    assert deep.bare_of("max,sve128=maybe", mte=False) is None
    assert deep.bare_of("max,lpa2=off,sve128=on", mte=False) is None
