"""Named models on hosts: realization, accepted values, baseline, and the properties of ID-register writes."""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.export.model_hosts import baseline_toml
from inspector.machine.arm64.host import PSCI_0_2, Host
from inspector.machine.arm64.models.accepted import on_host
from inspector.machine.arm64.models.baseline import baseline, common_vqs, rank
from inspector.machine.arm64.models.realize import places_of, realize
from inspector.machine.arm64.models.request import parse_words, request
from inspector.machine.arm64.models.workbench import Workbench
from layouts.arm64.ids import CTR, DFR0, PFR0
from layouts.arm64.named_models import ModelError, chain, model_named, named_models, parse_model
from layouts.arm64.properties import COMPOSITE, assign, properties
from tests.machine.arm64 import FILES, VERDICTS, as_vcpu, hosts, known_host, write
from tests.machine.support import host_named

MODELS = sorted(named_models())
NONE = parse_words([])


@cache
def recorded_host(name: str) -> Host:
    return host_named(str(VERDICTS / f"{name}.jsonl.gz"))


# Realization


@pytest.mark.parametrize("name", FILES)
def test_every_model_on_every_recorded_host_has_a_verdict_with_reasons(name: str) -> None:
    host = recorded_host(name)
    for model in named_models().values():
        made = realize(request(model, NONE, host), host)
        assert made.agree, (model.name, made.blockers)
        assert made.usable or all(blocker.why for blocker in made.blockers)


def test_prediction_and_scratch_vcpu_agree_on_every_model_and_host() -> None:
    for host in hosts():
        for model in named_models().values():
            made = realize(request(model, NONE, host), host)
            assert made.agree, (host.name, host.kernel.name, model.name, [str(b) for b in made.blockers])


def test_field_by_field_gives_the_same_registers_in_any_order() -> None:
    usable = 0
    for host in hosts():
        for model in named_models().values():
            wanted = request(model, NONE, host)
            made = realize(wanted, host)
            if not made.usable:
                continue
            usable += 1
            vm, vcpu = as_vcpu(host, wanted.features)
            aarch32 = {e for e in wanted.registers if host.kernel.registers[e].aarch32}
            places = [place for encoding in wanted.registers for place in places_of(encoding)]
            places = [place for place in places if place.encoding not in aarch32]
            random.Random(usable).shuffle(places)
            for place in places:
                current = vm.id_registers[place.encoding]
                value = place.put(current, place.get(wanted.registers[place.encoding]))
                if value != current:
                    assert write(vcpu, place.encoding, value) == "ok", place
            for encoding in wanted.registers.keys() - aarch32:
                assert vm.id_registers[encoding] == made.registers[encoding] == wanted.registers[encoding]
    assert usable > 40


def test_a_core_model_runs_on_its_core() -> None:
    for name in ("neoverse-n1", "neoverse-v1", "neoverse-n2", "a64fx", "cortex-a57", "cortex-a72", "cortex-a710"):
        host = known_host(name)
        made = realize(request(named_models()[f"{name}-v1"], NONE, host), host)
        assert made.usable, (name, [str(blocker) for blocker in made.blockers])


@pytest.mark.parametrize("system", ["graviton2", "graviton3", "graviton4"])
def test_a_system_model_runs_on_the_machine_that_it_describes(system: str) -> None:
    host = host_named(f"sample:{system}/linux-6.18@7.2")
    made = realize(request(named_models()[f"{system}-v1"], parse_words(["sve=off"]), host), host)
    assert made.usable, [str(blocker) for blocker in made.blockers]


def test_architecture_models_lack_what_the_implementation_defines() -> None:
    host = known_host("neoverse-v1")
    made = realize(request(named_models()["arm-v8_4-a-v1"], NONE, host), host)
    assert not made.usable
    assert {"hw_prop_CWG", "hw_prop_ERG", "hw_prop_BRPs"} <= {blocker.name for blocker in made.blockers}


def test_precedence_and_conflicts() -> None:
    host = known_host("neoverse-v1")
    words = parse_words(["feat_AES=pmull", "SYSREG_ID_AA64ISAR0_EL1_AES=1"])
    wanted = request(named_models()["neoverse-v1-v1"], words, host)
    assert wanted.registers[0xC030] >> 4 & 15 == 2
    assert [str(conflict) for conflict in wanted.conflicts] == [
        "feat_AES=pmull overrides SYSREG_ID_AA64ISAR0_EL1_AES=1 in ID_AA64ISAR0_EL1.AES"
    ]
    off = request(named_models()["neoverse-v1-v1"], parse_words(["feat_ZFR0_BF16=on", "sve=off"]), host)
    assert off.registers[0xC024] == 0
    assert off.vqs == 0
    assert [conflict.wins for conflict in off.conflicts] == ["sve=off"]


def test_switches_take_the_models_fields_or_the_hosts() -> None:
    host = known_host("neoverse-v1")
    wanted = request(named_models()["neoverse-v1-v1"], parse_words(["pmu=on", "pauth=on"]), host)
    assert wanted.registers[DFR0] >> 8 & 15 == 5
    assert wanted.registers[0xC031] == host.limit(0xC031, wanted.features)
    assert realize(wanted, host).usable


def test_vector_lengths_must_be_the_hosts_prefix() -> None:
    host = known_host("neoverse-v1")
    model = named_models()["neoverse-v1-v1"]
    assert realize(request(model, parse_words(["sve256=off"]), host), host).usable
    made = realize(request(model, parse_words(["sve128=off"]), host), host)
    assert [blocker.name for blocker in made.blockers] == ["sve"]


def test_aarch32_registers_are_the_hosts() -> None:
    """Models do not describe them; what they do describe stays theirs."""
    host, model = known_host("neoverse-v1"), named_models()["neoverse-n1-v1"]
    without = request(model, NONE, host).registers
    wanted = request(model, parse_words(["el0_mode=aarch32"]), host)
    aarch32 = {encoding for encoding in without if host.kernel.registers[encoding].aarch32}
    assert wanted.registers == {
        **without,
        **{encoding: host.limit(encoding, wanted.features) for encoding in aarch32},
        PFR0: without[PFR0] + 1,
    }


def test_blockers_in_words() -> None:
    host = known_host("neoverse-n1")
    made = realize(request(named_models()["neoverse-v1-v1"], NONE, host), host)
    assert str(made.blockers[0]) == "sve: the host does not support this vCPU feature"
    host = known_host("neoverse-v1")
    made = realize(request(named_models()["neoverse-n1-v1"], NONE, host), host)
    assert "feat_FWB: ID_AA64MMFR2_EL1.FWB: not writable; the host has 1 (found 0); the model leaves it 0" in map(
        str, made.blockers
    )


def test_who_it_is_needs_a_capability() -> None:
    words = parse_words(["cpu_partnum=0xd4f"])
    new, old = known_host("neoverse-v1"), known_host("neoverse-v1", "6.12")
    made = realize(request(named_models()["neoverse-v1-v1"], words, new), new)
    assert made.usable
    assert made.registers[0xC000] == 0x411FD4F2
    blockers = realize(request(None, words, old), old).blockers
    assert [blocker.name for blocker in blockers] == ["cpu_partnum"]


@pytest.mark.parametrize("size", [0, 4])
def test_a_register_that_kvm_does_not_have_blocks(size: int) -> None:
    host = known_host("max")
    made = realize(request(named_models()["neoverse-v1-v1"], parse_words([f"hw_prop_BS={size}"]), host), host)
    assert [str(blocker) for blocker in made.blockers] == [
        "hw_prop_BS: DCZID_EL0.BS: KVM does not let user space set this register"
    ]
    assert [(write.event, write.outcome.name) for write in made.writes if not write.outcome.accepted] == [
        (f"KVM_SET_ONE_REG DCZID_EL0 {size:#x}", "ENOENT")
    ]
    assert made.agree


# Accepted values


def test_differences_between_prediction_and_answer_are_the_known_ones() -> None:
    found = set()
    for host in hosts():
        if host.kernel.checks_features:
            for entry in on_host(host, host.features):
                found |= {(host.kernel.name, entry.entry.name, choice.text) for choice in entry.differences}
    assert found == {
        # Taken at the hardware's value, and ignored.
        ("6.12", "feat_MPAM", "1.0"),
        ("7.2", "feat_MPAM", "1.0"),
        ("6.12", "feat_PMUVer", "imp_def"),
        ("7.2", "feat_PMUVer", "imp_def"),
        ("7.2", "feat_NV", "nv2"),
        ("7.2", "el0_mode", "off"),
        ("7.2", "el1_mode", "off"),
    }


def test_accepted_values_as_libvirt_prints_them() -> None:
    host = known_host("neoverse-v1")
    told = {entry.entry.name: entry.values for entry in on_host(host, PSCI_0_2)}
    assert told["feat_AES"] == ("off", "aes", "pmull")
    assert told["feat_CSV2"] == ("0.0", "1.0")
    assert told["hw_prop_CWG"] == ("4",)


# Several hosts


@pytest.mark.parametrize(
    "names", [("neoverse-v1", "neoverse-n2"), ("neoverse-v1", "max"), ("cortex-a55", "cortex-a76"), ("cortex-a35",)]
)
def test_a_baseline_runs_everywhere(names: tuple[str, ...]) -> None:
    both = [known_host(name) for name in names]
    found = baseline(both)
    assert found.differences == ()
    model = parse_model(baseline_toml(found, "ours", both), "ours.toml")
    registers = []
    for host in both:
        made = realize(request(model, NONE, host), host)
        assert made.usable, (host.name, [str(blocker) for blocker in made.blockers])
        registers.append({e: v for e, v in made.registers.items() if 0xC020 <= e < 0xC040 or e == CTR})
    assert all(each == registers[0] for each in registers)


def test_no_baseline_names_the_fields() -> None:
    found = baseline([known_host("neoverse-v1"), known_host("a64fx")])
    assert {"hw_prop_CWG", "feat_EVT"} <= {difference.name for difference in found.differences}


def test_common_vector_lengths() -> None:
    assert common_vqs([known_host("neoverse-v1"), known_host("neoverse-n2")]) == 0b1
    assert common_vqs([known_host("a64fx"), known_host("max")]) == 0b11
    assert common_vqs([known_host("a64fx"), known_host("neoverse-n1")]) == 0


def test_the_best_common_model() -> None:
    best = rank(named_models(), [known_host("neoverse-v1"), known_host("max")], NONE)[0]
    assert best.model.name == "graviton3-v1"
    assert best.usable


# The workbench


def test_a_workbench_stays_as_it_is() -> None:
    bench = Workbench(known_host("neoverse-v1"), "neoverse-v1-v1")
    other = bench.with_word("feat_AES=off").with_model("cortex-a72-v1")
    assert (bench.setup.model, bench.setup.words) == ("neoverse-v1-v1", ())
    assert (other.setup.model, other.setup.words) == ("cortex-a72-v1", ("feat_AES=off",))
    assert bench.made.usable
    assert not other.made.usable


def test_a_length_without_sve_is_refused() -> None:
    bench = Workbench(known_host("neoverse-v1"), "neoverse-v1-v1").with_word("sve128=on")
    with pytest.raises(ValueError, match="sve128=on: sve=off"):
        bench.with_word("sve=off")


# Model files


def test_every_value_has_a_source() -> None:
    for model in named_models().values():
        assert model.title
        assert all(value.source for value in model.values)
        assert chain(model)[0].name == "kvm-base-v1"


def test_the_hierarchy_of_the_proposal() -> None:
    for path in (
        "kvm-base-v1 arm-v8_4-a-v1 neoverse-v1-v1 graviton3-v1",
        "kvm-base-v1 arm-v8_4-a-v1 arm-v9_0-a-v1 neoverse-v2-v1 grace-v1",
    ):
        names = path.split()
        assert [model.name for model in chain(named_models()[names[-1]])] == names


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("name = ", "expected TOML"),
        ("version = 1", "expected 'name', found none"),
        ("name = 1", "name: expected a string, found 1"),
        ('name = "x"\nversion = true', "version: expected a number, found True"),
        ('name = "x"\ncolour = 1', "'colour': expected one of libvirt, name"),
        ('name = "x"\n[[values]]\n', "values[0]: expected 'source', found none"),
        ('name = "x"\nvalues = [1]', "values[0]: expected a table"),
        ('name = "x"\n[[values]]\nsource = "s"\nswitch = "mte"', "expected sve, pauth, pmu; found 'mte'"),
        ('name = "x"\n[[values]]\nsource = "s"\nvl_bytes = [20]', "multiples of 16 up to 256, found 20"),
        (
            'name = "x"\n[[values]]\nsource = "s"\n[values.properties]\nfeat_AES = "aess"',
            "values[0].properties.feat_AES: expected off, aes, pmull; found 'aess'",
        ),
        ('name = "x"\n[[values]]\nsource = "s"\n[values.properties]\nfeat_AES = 1.5', "feat_AES: expected a string"),
        (
            'name = "x"\n[[values]]\nsource = "s"\n[values.properties]\nfeat_AESS = "on"',
            "feat_AESS: expected a property's name; did you mean feat_AES",
        ),
        (
            'name = "x"\n[[values]]\nsource = "s"\n[values.properties]\nhw_prop_CWG = 16',
            "hw_prop_CWG: expected a number of 4 bits; found '16'",
        ),
    ],
)
def test_a_wrong_model_file_says_what_was_expected(text: str, wrong: str) -> None:
    with pytest.raises(ModelError, match=r"mine\.toml") as caught:
        parse_model(text, "mine.toml")
    assert wrong in str(caught.value)


def test_parents_that_are_none() -> None:
    lost = parse_model('name = "x"\nparent = "y"', "x.toml")
    with pytest.raises(ModelError, match="x: parent: expected a model's name, found 'y'"):
        chain(lost)
    circle = parse_model('name = "x"\nparent = "x"', "x.toml")
    with pytest.raises(ModelError, match="its own parent"):
        chain(circle, {"x": circle})


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_model_or_a_model_error(text: str) -> None:
    try:
        parse_model(text, "x.toml")
    except ModelError:
        return


def test_both_schemes_set_the_same_field() -> None:
    for entry in properties().values():
        if entry.kind != COMPOSITE and len(entry.places) == 1 and entry.values:
            text, numbers = next(iter(entry.values.items()))
            one, other = assign(entry.name, text), assign(entry.sysreg, numbers[0])
            assert one.fields == other.fields


def test_a_name_without_version_is_the_newest() -> None:
    assert model_named("neoverse-v1", named_models()) is named_models()["neoverse-v1-v1"]
    two = parse_model('name = "x-v2"\nversion = 2', "x2.toml")
    ten = parse_model('name = "x-v10"\nversion = 10', "x10.toml")
    assert model_named("x", {"x-v2": two, "x-v10": ten}) is ten
    assert model_named("x-v2", {"x-v2": two, "x-v10": ten}) is two
    assert model_named("y", {"x-v2": two}) is None
