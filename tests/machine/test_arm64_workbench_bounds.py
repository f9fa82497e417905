"""A setup on a host, what is to be seen of it level by level, and the same guest asked of another host."""

from __future__ import annotations

import pytest

from inspector.machine.arm64.host import PSCI_0_2, PTRAUTH, SVE, Host
from inspector.machine.arm64.models.moves import Unlike, moves, unlike
from inspector.machine.arm64.models.workbench import PropertyRow, Workbench
from layouts.arm64.ids import CTR, DFR0, ISAR0, MIDR, PFR0
from layouts.arm64.kernels import kernels
from layouts.arm64.named_models import named_models, parse_model
from tests.machine.arm64 import known_host
from tests.machine.arm64_bounds import bare_host

AES, SM4 = 4, 40
#: Armv8 debug and a PIPT cache, without which no kernel takes its own values.
CPU = {PFR0: 0x11, DFR0: 6, CTR: 3 << 14, ISAR0: 2 << AES | 1 << SM4, MIDR: 0x410F_D400}


def row(bench: Workbench, name: str) -> PropertyRow:
    (found,) = (one for one in bench.rows if one.name == name)
    return found


def test_a_word_takes_the_place_of_an_earlier_one() -> None:
    bench = Workbench(bare_host(CPU)).with_word("feat_AES=off").with_word("feat_SM4=off").with_word("feat_AES=aes")
    assert bench.setup == ("", ("feat_SM4=off", "feat_AES=aes"), "merged")
    assert bench.with_abi("proposal").setup == (*bench.setup[:2], "proposal")
    with pytest.raises(ValueError, match="feat_AES"):
        bench.with_word("feat_AES=nothing")


def test_models_are_those_that_are_given() -> None:
    own = {name: named_models()[name] for name in ("kvm-base-v1", "arm-v8_4-a-v1")}
    bench = Workbench(bare_host(CPU), models=own)
    assert bench.with_model("arm-v8_4-a-v1").with_model("").setup.model == ""
    assert bench.with_model("kvm-base-v1").models == own
    with pytest.raises(ValueError, match=r"^neoverse-v1-v1: expected kvm-base-v1, arm-v8_4-a-v1$"):
        bench.with_model("neoverse-v1-v1")
    assert Workbench(bare_host(CPU)).models == dict(named_models())


def test_a_models_parent_is_one_of_them() -> None:
    parent = parse_model('name = "y-v1"\n[[values]]\nsource = "s"\n[values.properties]\nfeat_AES = "aes"', "y.toml")
    own = {"x-v1": parse_model('name = "x-v1"\nparent = "y-v1"', "x.toml"), "y-v1": parent}
    bench = Workbench(bare_host(CPU), "x-v1", own)
    assert bench.modelled.registers[ISAR0] == 1 << AES
    elsewhere = bench.with_abi("proposal").on(bare_host(CPU))
    assert (elsewhere.models, elsewhere.setup.abi) == (own, "proposal")


def test_this_machine_has_the_merged_interface() -> None:
    host = bare_host(CPU)
    host.is_live = True
    with pytest.raises(ValueError, match=r"^cpu: this machine's KVM has the merged interface$"):
        Workbench(host).with_abi("proposal")


def test_what_comes_of_it_in_few_words() -> None:
    bench = Workbench(bare_host(CPU))
    assert bench.verdict == "usable"
    assert bench.with_word("feat_SM3=on").verdict == "not usable, 1 in the way"
    known_in_part = Workbench(known_host("graviton3"), "neoverse-v1-v1")
    made = known_in_part.made
    assert made.open
    assert made.possible
    assert known_in_part.verdict == f"hangs on {len(made.open)} values that are not known of the host"


def test_a_property_at_each_level() -> None:
    bench = Workbench(bare_host(CPU), "kvm-base-v1", words=("feat_AES=aes", "feat_SM3=on"))
    found = row(bench, "feat_AES")
    assert (found.host, found.model, found.guest) == ("pmull", "off", "aes")
    assert (found.register, found.accepted.values, found.blockers) == (
        "ID_AA64ISAR0_EL1", ("off", "aes", "pmull"), ()
    )  # fmt: skip
    assert [one.name for one in row(bench, "feat_SM3").blockers] == ["feat_SM3"]
    assert bench.modelled.registers[ISAR0] == 0
    order = [(one.entry.places[0].encoding, -one.entry.places[0].lsb) for one in bench.rows]
    assert order == sorted(order)


def test_lengths_and_switches() -> None:
    bench = Workbench(known_host("neoverse-v1"), "neoverse-v1-v1")
    assert bench.with_word("sve256=off").lengths() == [(16, True, True), (32, True, False)]
    wide = Workbench(known_host("neoverse-n2"), "neoverse-v1-v1")
    assert wide.lengths() == [(16, True, True), (32, False, True)]
    assert wide.with_word("sve=off").lengths() == [(16, True, False), (32, False, False)]
    assert Workbench(known_host("neoverse-n2"), words=("sve256=on",)).lengths() == [(16, True, True), (32, False, True)]
    assert bench.switches() == {"sve": (True, True), "pauth": (True, False), "pmu": (True, False)}
    half = Host(kernels()["7.2"], bare_host(CPU).limits, features=PSCI_0_2 | PTRAUTH & -PTRAUTH)
    assert Workbench(half).switches()["pauth"] == (False, False)
    assert not half.features & SVE


def test_a_host_is_asked_once_for_all_setups_on_it() -> None:
    bench = Workbench(bare_host(CPU))
    other = bench.with_word("feat_AES=off")
    assert row(bench, "feat_SM4").accepted is row(other, "feat_SM4").accepted
    first, second = bench.on(bare_host(CPU)), other.on(bare_host(CPU))
    assert other.on(first.host, first)._answers is first._answers
    assert other.on(second.host, first)._answers is not first._answers
    without = Workbench(known_host("neoverse-v1"), "neoverse-v1-v1")
    assert row(without, "feat_SVE").host == "on"
    assert row(without.with_word("sve=off"), "feat_SVE").host == "off"
    assert row(without, "feat_APA").host == "off"
    assert row(without.with_word("pauth=on"), "feat_APA").host == "pauth2"


def test_the_same_guest_asked_of_another_host() -> None:
    """Who the CPU is is that host's, unless properties name it."""
    second = bare_host({**CPU, ISAR0: 1 << AES, MIDR: 0x410F_D0C0})
    bench = Workbench(bare_host(CPU))
    elsewhere = bench.on(second)
    assert elsewhere.made.request.registers[MIDR] == 0x410F_D0C0
    assert {one.name for one in elsewhere.made.blockers} == {"feat_AES", "feat_SM4"}
    named = bench.with_word("cpu_partnum=0xd41").on(second)
    assert named.made.request.registers[MIDR] == 0x410F_D410
    assert bench.on(bare_host(CPU)).migration.accepted
    assert not elsewhere.migration.accepted


def test_what_contradicts_itself_is_told_at_once() -> None:
    bench = Workbench(bare_host(CPU), words=("sve=off", "sve128=on"))
    with pytest.raises(ValueError, match="sve128=on: sve=off"):
        bench.on(bare_host(CPU))
    with pytest.raises(ValueError, match="sve128=on: sve=off"):
        Workbench(bare_host(CPU)).with_word("sve=off").with_word("sve128=on")


@pytest.mark.parametrize(
    ("bits", "words", "is_asked"), [(0, (), False), (2 << AES, (), True), (0, ("feat_AES=off",), True)]
)
def test_a_register_that_the_other_kernel_lacks(bits: int, words: tuple[str, ...], is_asked: bool) -> None:
    """In the way where the guest has something in it, or a property names it."""
    first, second = (bare_host({**CPU, ISAR0: bits}) for _ in "12")
    registers = {one: register for one, register in second.kernel.registers.items() if one != ISAR0}
    second.kernel = second.kernel.replaced(registers=registers)
    asked = Workbench(first, words=words).on(second)._request(words).registers
    assert (ISAR0 in asked, PFR0 in asked, DFR0 in asked) == (is_asked, True, True)


def test_guests_that_hosts_give_alike_and_otherwise() -> None:
    """Every one of three goes to the two others; a register that one kernel's guests lack has no value there."""
    other = {**CPU, ISAR0: 1 << AES | 1 << SM4, MIDR: 0x410F_D0C0}
    made = [Workbench(host).made for host in (bare_host(CPU), bare_host(other), bare_host(CPU, "5.10"))]
    assert len(moves(made)) == 6
    assert unlike(made[:2]) == [
        Unlike("MIDR_EL1", "", (0x410F_D400, 0x410F_D0C0), is_identity=True),
        Unlike("ID_AA64ISAR0_EL1", "AES", (2, 1), is_identity=False),
    ]
    assert Unlike("ID_AA64PFR2_EL1", "", (0, None), is_identity=False) in unlike(made[::2])
