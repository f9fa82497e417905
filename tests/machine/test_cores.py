"""Named models are the cores and chips that they name: sources of values, and whether they run where they should."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from inspector.cli.main import main
from inspector.machine.arm64.host import PMU_V3
from inspector.machine.arm64.models.partial import PartialHost
from inspector.machine.arm64.models.realize import Realization, realize
from inspector.machine.arm64.models.request import parse_words, request
from layouts.arm64.chips import chip_of_words, chips, core_of, cores, known_cores
from layouts.arm64.hosts import bare_hosts
from layouts.arm64.hwcaps import HWCAPS
from layouts.arm64.ids import ISAR1
from layouts.arm64.named_models import NamedModel, chain
from layouts.arm64.properties import field_places
from layouts.arm64.sources import sources
from tests.machine.cores import MODELS, host, made
from tests.machine.support import host_named

DOC = Path(__file__).parents[2] / "docs" / "cpu-models.md"
#: Options of cores, which chips choose.
OPTIONS = ("AES", "SHA1", "SHA2", "SHA3", "SM3", "SM4", "RNDR", "MTE", "DIC", "GCIE")


def field(name: str, register: str, of: str) -> int:
    place = field_places()[register, of]
    return place.get(known_cores()[name].registers[place.encoding])


def value(model: str, name: str) -> str:
    """What a model or its parents say of a property; empty for nothing."""
    found = [str(v.assignment.text) for one in chain(MODELS[model]) for v in one.values if v.assignment.name == name]
    return found[-1] if found else ""


# Values


def test_every_source_is_one_that_is_explained() -> None:
    used = set()
    for model in MODELS.values():
        for one in model.values:
            used |= {one.source.key, *(second.key for second in one.second)}
            assert all(second.key for second in one.second), (model.name, str(one.assignment))
    assert used - {""} | {name for chip in chips().values() for name in map(str, chip.sources)} == set(sources())


def test_a_value_that_nobody_saw_is_not_verified() -> None:
    """Only QEMU says it: that is no machine."""
    for model in MODELS.values():
        for one in model.values:
            if one.source.kind == "emulator":
                assert not one.verified
                assert not one.has_second


def test_values_of_captured_cores_have_a_second_source() -> None:
    for name in ("neoverse-n1-v1", "graviton2-v1", "altra-v1", "axion-v1", "yitian710-v1", "cobalt100-v1"):
        assert all(one.has_second for one in MODELS[name].values), name
    without = [one for model in MODELS.values() for one in model.values if not one.has_second]
    assert len(without) < 0.3 * sum(len(model.values) for model in MODELS.values())


def test_values_from_captures_are_in_them() -> None:
    checked = 0
    for model in MODELS.values():
        for one in model.values:
            for source in (one.source, *one.second):
                if source.key not in chips() or one.switch:
                    continue
                for place, number in one.assignment.fields:
                    bound = chips()[source.key].likely.registers.get(place.encoding, 0)
                    found = place.get(bound)
                    checked += 1
                    # What the architecture asks for is the least that a core has.
                    assert found == number or (not model.realizable and found >= number), (model.name, place)
    assert checked > 100


def test_options_of_a_core_are_left_to_the_chips() -> None:
    for model in MODELS.values():
        is_core = model.realizable and MODELS[model.parent].realizable is False
        if is_core and model.name != "a64fx-v1":
            names = {one.assignment.name.removeprefix("feat_").removeprefix("hw_prop_") for one in model.values}
            assert not names & set(OPTIONS), model.name


@pytest.mark.parametrize(
    ("model", "name", "expected"),
    [
        ("grace-v1", "feat_RNDR", ""),
        ("graviton4-v1", "feat_RNDR", "on"),
        ("axion-v1", "feat_RNDR", "on"),
        ("graviton3-v1", "feat_RNDR", "on"),
        ("yitian710-v1", "feat_RNDR", ""),
        ("neoverse-v1-v1", "feat_BF16", "on"),
        ("neoverse-n1-v1", "feat_EVT", "on"),
        ("neoverse-n1-v1", "feat_IESB", ""),
        ("grace-v1", "feat_SM4", "on"),
        ("grace-v1", "feat_ZFR0_SM4", "on"),
        ("graviton4-v1", "feat_ZFR0_AES", "pmull128"),
        ("graviton4-v1", "feat_ZFR0_SM4", ""),
        ("neoverse-v2-v1", "feat_PMUVer", "v3p5"),
        ("a64fx-v1", "feat_AES", ""),
        ("graviton4-v1", "feat_TGRAN4_2", "off"),
        ("neoverse-v1-v1", "feat_APA", "pauth2"),
        ("neoverse-n2-v1", "feat_APA", "fpaccombine"),
        ("cortex-a55-v1", "hw_prop_IDC", "on"),
        ("altra-v1", "hw_prop_DIC", ""),
        ("grace-v1", "hw_prop_DIC", "on"),
    ],
)
def test_corrected_values(model: str, name: str, expected: str) -> None:
    assert value(model, name) == expected


def test_show_names_the_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "neoverse-n2-v1"]) == 0
    out = capsys.readouterr().out
    assert "feat_DGH=on                also yitian710-flags, n2-machine-flags" in out
    assert "feat_RAS=2.0               also arm-manuals" in out
    assert "hw_prop_CWG=4              no second source" in out
    assert "UNVERIFIED" in out
    assert main(["models", "show", "grace-v1", "--json"]) == 0
    assert '"kind": "flags"' in capsys.readouterr().out


# Hosts


def test_cores_are_silicon_and_qemus_stay_as_they_are() -> None:
    assert (field("neoverse-v1", "ID_AA64ISAR1_EL1", "APA"), field("neoverse-v1", "ID_AA64ISAR1_EL1", "API")) == (3, 0)
    assert (field("neoverse-n2", "ID_AA64ISAR1_EL1", "APA"), field("neoverse-n2", "ID_AA64ISAR1_EL1", "GPI")) == (5, 0)
    assert field("qemu-neoverse-n2", "ID_AA64ISAR1_EL1", "API") == 5
    assert known_cores()["qemu-neoverse-v1"].registers == bare_hosts()["neoverse-v1"].registers
    assert field("cortex-a710,mte=on", "ID_AA64ISAR1_EL1", "APA") == 5


def test_a_host_with_mte_gives_guests_mte() -> None:
    place = field_places()["ID_AA64PFR1_EL1", "MTE"]
    assert place.get(host("max,mte=on").limits[place.encoding]) == 3
    assert place.get(host("max").limits[place.encoding]) == 0


def test_what_a_chip_does_not_tell_is_open() -> None:
    grace = host("grace")
    assert isinstance(grace, PartialHost)
    places = field_places()
    known = ("ID_AA64ISAR0_EL1", "AES"), ("ID_AA64ISAR0_EL1", "RNDR"), ("CTR_EL0", "DIC"), ("ID_AA64ISAR1_EL1", "APA")
    assert not {places[name] for name in known} & grace.open.keys()
    unknown = ("ID_AA64DFR0_EL1", "BRPs"), ("CTR_EL0", "CWG"), ("ID_AA64MMFR0_EL1", "PARANGE")
    assert {places[name] for name in unknown} <= grace.open.keys()
    assert grace.open_features == PMU_V3
    assert grace.open_lengths


def test_a_known_field_of_a_chip_is_a_blocker_and_an_open_one_is_not() -> None:
    assert [blocker.name for blocker in made("graviton4-v1", "grace").blockers] == ["feat_RNDR"]
    grace = made("grace-v1", "grace")
    assert grace.verdict == "depends"
    assert not any(entry.why for entry in grace.open)
    wide = made("neoverse-v1-v1", "grace")
    assert [entry.why for entry in wide.open if entry.why] == ["no vq above the host's largest (1)"]


def test_a_chip_that_tells_everything_is_answered_for() -> None:
    assert made("graviton2-v1", "graviton2").verdict == "yes"


def test_bounds_follow_from_the_words() -> None:
    chip = chip_of_words(
        "x", ["fp", "asimd", "aes", "pmull", "sha1", "sha2", "crc32", "atomics", "fphp", "asimdhp", "sve", "dit", "bti"]
    )
    places = field_places()

    def bounds(register: str, name: str) -> tuple[int, int]:
        place = places[register, name]
        found = chip.bounds.get(place)
        return found if found is not None else (place.get(chip.likely.registers[place.encoding]),) * 2

    assert bounds("ID_AA64ISAR0_EL1", "AES") == (2, 2)
    assert bounds("ID_AA64ISAR0_EL1", "SHA2") == (1, 1)  # no sha512, which the kernel knows: it prints bti
    assert bounds("ID_AA64ISAR0_EL1", "ATOMIC") == (2, 3)  # lse128 is younger than bti
    assert bounds("ID_AA64ISAR0_EL1", "RNDR") == (0, 0)
    assert bounds("ID_AA64PFR1_EL1", "SSBS") == (0, 2)  # a workaround hides it
    assert bounds("ID_AA64DFR0_EL1", "BRPs")[0] == 0
    assert chip.pauth is None
    assert chip.sve


def test_registers_that_linux_shows_programs_are_a_host_known_in_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it hides is open, with the core's value as the likely one; what it shows decides."""
    path = tmp_path / "shown.txt"
    path.write_text(
        "arm_midr=410fd493\narm_id_aa64mmfr0=00000111ff000000\narm_id_aa64pfr0=0001000100110011\n"
        "arm_id_aa64isar0=0021111110212120\narm_id_aa64isar1=0011101101211052\narm_id_aa64zfr0=0000110100110021\n"
    )
    host = host_named(str(path))
    assert isinstance(host, PartialHost)
    assert host.core == "neoverse-n2"
    opened = {place.name for place in host.open}
    assert {"TGRAN4", "PARANGE", "RAS", "CSV2", "BRPs", "IDC"} <= opened
    assert not {"DIT", "DP", "ATOMIC", "BF16", "APA"} & opened
    assert main(["models", "check", "neoverse-n2-v1", "--host", str(path)]) == 1
    out = capsys.readouterr().out
    assert "usable depends" in out
    assert "blocker" not in out


def test_words_of_features_name_fields_that_there_are() -> None:
    assert len({cap.word for cap in HWCAPS}) == len(HWCAPS)
    for cap in HWCAPS:
        assert not cap.register or cap.value <= max(0, (1 << field_places()[cap.register, cap.field].width) - 1)


CPUINFO = """\
processor : 0
Features  : fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs
CPU implementer : 0x41
CPU architecture: 8
CPU variant : 0x3
CPU part : 0xd0c
CPU revision : 1
"""


def test_a_machines_cpuinfo_is_a_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO)
    assert main(["models", "check", "neoverse-n1-v1", "--host", str(path)]) == 1
    out = capsys.readouterr().out
    assert "usable depends" in out
    assert "as every neoverse-n1 has it:" in out
    assert main(["models", "check", "neoverse-v1-v1", "--host", str(path)]) == 1
    out = capsys.readouterr().out
    assert "usable no" in out
    assert "blocker feat_AT: ID_AA64MMFR2_EL1.AT: AT is at most 0 (found 1)" in out


def test_cores_by_their_part_number() -> None:
    assert core_of(0x410FD4F1) == "neoverse-v2"
    assert core_of(0x6D0FD490) == "neoverse-n2"
    assert core_of(0x410FD490) == "neoverse-n2"
    assert core_of(0x430F0AF0) == ""


def test_a_chip_is_its_core() -> None:
    for chip in chips().values():
        assert chip.core in cores()
        for place, bound in chip.bounds.items():
            assert bound.least < bound.most, (chip.name, place)


# Every model on its own hardware: the table of docs/cpu-models.md


def core_name(model: NamedModel) -> str:
    """The core that a model is of: itself, or its parent's."""
    lineage = [one.name.removesuffix("-v1") for one in chain(model) if one.realizable]
    return lineage[0]


def hardware(model: NamedModel) -> Iterator[str]:
    """The hosts that a model should run on: all of its core for a core's, the chip for a chip's."""
    name, core = model.name.removesuffix("-v1"), core_name(model)
    if name == core:
        yield from (one for one in (core, f"qemu-{core}") if one in known_cores())
        yield from (chip.name for chip in chips().values() if chip.core == core)
    else:
        yield from (chip.name for chip in chips().values() if chip.name == name)


def answer(found: Realization) -> str:
    """``yes``, ``no: PROPERTY ...``, or how many values it hangs on, and of these which are unlikely."""
    if found.verdict == "yes":
        return "yes"
    if found.verdict == "no":
        return "no: " + ", ".join(dict.fromkeys(blocker.name for blocker in found.blockers))
    unlikely = [entry.name for entry in found.open if entry.why]
    return f"hangs on {len(found.open)}" + (f", unlikely {', '.join(unlikely)}" if unlikely else "")


def table() -> Iterator[str]:
    for model in MODELS.values():
        if model.realizable:
            has_pauth = any(value.switch == "pauth" for one in chain(model) for value in one.values)
            for name in hardware(model):
                words = ("pauth=on", "pmu=on") if has_pauth else ("pmu=on",)
                found = answer(made(model.name, name)), answer(made(model.name, name, *words))
                yield f"| `{model.name}` | `{name}` | {found[0]} | {found[1]} |"


def test_every_model_runs_on_its_hardware_or_the_reason_is_told() -> None:
    told = re.findall(r"^\| `[\w.-]+` \| `[\w,=.-]+` \| .* \| .* \|$", DOC.read_text(), re.MULTILINE)
    assert told == list(table())


def test_nothing_that_is_known_of_a_chip_is_against_its_model() -> None:
    for model in MODELS.values():
        for name in hardware(model) if model.realizable else ():
            found = made(model.name, name)
            if not name.startswith("qemu-"):
                assert found.possible, (model.name, name, [str(blocker) for blocker in found.blockers])
                assert not any(entry.why for entry in found.open), (model.name, name)


def capture_table() -> Iterator[str]:
    """Cores and chips on the captured guests of them, on the kernel of the capture; those guests had no SVE."""
    for name in ("graviton2", "graviton3", "graviton4"):
        for model in (f"{chips()[name].core}-v1", f"{name}-v1"):
            for release in ("5.10", "6.1", "6.18"):
                where = host_named(f"sample:{name}/linux-{release}")
                found = realize(request(MODELS[model], parse_words(["sve=off"]), where), where)
                writes = bool(where.mask(ISAR1))
                told = answer(found) if writes else "no: its kernel writes no ID registers"
                assert writes or found.verdict == "no"
                yield f"| `{model}` | `sample:{name}/linux-{release}` | {told} |"


def test_every_model_runs_on_its_captures_or_the_reason_is_told() -> None:
    told = re.findall(r"^\| `[\w.-]+` \| `sample:[\w./-]+` \| .* \|$", DOC.read_text(), re.MULTILINE)
    assert told == list(capture_table())


def test_a_kernel_that_writes_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "check", "neoverse-n1-v1", "--host", "sample:graviton2/linux-6.1"]) == 1
    assert "note: this kernel takes only the host's own ID registers" in capsys.readouterr().out


def test_what_qemu_as_proposed_would_only_warn_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert [blocker.name for blocker in made("neoverse-n1-v1", "qemu-neoverse-n1").warned] == ["feat_EVT"]
    assert made("graviton4-v1", "grace").warned == ()  # RNDR is writable, and KVM refuses it
    assert main(["models", "check", "neoverse-n1-v1", "--host", "qemu-neoverse-n1"]) == 1
    assert "QEMU as proposed writes back what is writable, warns of feat_EVT" in capsys.readouterr().out
