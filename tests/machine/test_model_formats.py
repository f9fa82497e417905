"""Named models in other programs' words: the reviewer's scheme and back, libvirt's names and XML."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.cli.main import main
from inspector.export.model_formats import domain_cpu, sysreg_line
from inspector.machine.arm64.models.realize import realize
from inspector.machine.arm64.models.request import parse_words, request
from inspector.targets.models import target
from layouts.arm64.ids import CLIDR
from layouts.arm64.named_models import model_named, named_models
from tests.machine.support import host_named

MODELS = named_models()


@pytest.mark.parametrize("kernel", ["6.12", "6.18", "7.2"])
@pytest.mark.parametrize("name", ["max", "neoverse-v1", "neoverse-n1", "neoverse-n2", "cortex-a55", "graviton2"])
def test_a_guest_in_the_reviewers_scheme_is_the_same_guest(name: str, kernel: str) -> None:
    host = host_named(f"{name}@{kernel}")
    usable = 0
    for model in MODELS.values():
        for words in ((), ("sve=off",), ("pmu=on",)):
            there = realize(request(model, parse_words(words), host), host)
            if not there.possible:
                continue
            usable += 1
            line = sysreg_line(there).removeprefix("-cpu host").lstrip(",").split(",")
            back = realize(request(None, parse_words(line), host), host)
            assert back.possible, [str(blocker) for blocker in back.blockers]
            # CLIDR_EL1 is the vCPU's own: what reset gives, in both.
            assert {e: v for e, v in back.registers.items() if e != CLIDR} == there.registers, model.name
            assert (back.request.features, back.request.vqs) == (there.request.features, there.request.vqs)
    assert usable or kernel == "6.12"


def test_vector_lengths_go_along() -> None:
    host = host_named("neoverse-v1")
    there = realize(request(MODELS["neoverse-v1-v1"], parse_words(["sve256=off"]), host), host)
    assert "sve256=off" in sysreg_line(there)


# libvirt

DOMAIN = """\
<domain type='kvm'>
  <name>guest</name>
  <features><gic version='3'/><pmu state='on'/></features>
  <cpu mode='custom' match='exact' check='none'>
    <model fallback='forbid'>{model}</model>
    <feature policy='disable' name='sve'/>
    <feature policy='optional' name='pauth'/>
  </cpu>
</domain>
"""


def test_names_of_libvirt_and_qemu() -> None:
    grace = MODELS["grace-v1"]
    assert (grace.libvirt, grace.typename) == ("nvidia-grace-v1", "arm-nvidia-grace-v1-arm-cpu")
    assert model_named("nvidia-grace-v1", MODELS) is model_named("nvidia-grace", MODELS) is grace
    assert len({model.libvirt for model in MODELS.values()}) == len(MODELS)


def test_a_domain_is_a_model_with_its_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "guest.xml"
    path.write_text(DOMAIN.format(model="aws-graviton2-v1"))
    assert main(["models", "check", str(path), "--host", "graviton2", "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert [entry["property"] for entry in found["open"]] == ["pmu", "feat_PMUVer"]
    path.write_text("<cpu mode='host-passthrough'/>")
    assert main(["models", "check", str(path), "--host", "neoverse-n1"]) == 0


def test_a_models_xml_is_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cpu.xml"
    assert main(["models", "expand", "grace-v1", "sve=off", "pauth=on", "--host", "grace", "--to", "domain"]) == 1
    out = capsys.readouterr()
    assert "not as released" in out.err
    path.write_text(out.out)
    found = target(str(path))
    assert found.model == MODELS["grace-v1"]
    assert found.words == ("sve=off", "pauth=on")


def test_what_libvirt_cannot_say_is_said() -> None:
    assert "<!-- no feature of libvirt says feat_AES=pmull -->" in domain_cpu(MODELS["grace-v1"], ["feat_AES=pmull"])
    assert 'mode="host-passthrough"' in domain_cpu(None, [])


def test_a_host_that_is_known_in_part_is_neither_yes_nor_no(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "--host", "grace", "--to", "libvirt"]) == 0
    out = capsys.readouterr().out
    assert 'name="nvidia-grace-v1" typename="arm-nvidia-grace-v1-arm-cpu" usable="unknown"' in out
    assert 'name="aws-graviton4-v1" typename="arm-aws-graviton4-v1-arm-cpu" usable="no"' in out


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("<domain/>", "<domain> without <cpu>"),
        ("<network/>", "found <network>"),
        ("<cpu mode='custom'/>", "expected <model> in <cpu mode='custom'>, found none"),
        ("<cpu", "no XML"),
        (DOMAIN.format(model="EPYC"), "max is an arm64 CPU, and an x86 model was asked for"),
        (DOMAIN.format(model="Nope"), "expected the name of an arm64 model (inspector models list), found 'Nope'"),
        ("<cpu><model>grace-v1</model><feature policy='maybe' name='x'/></cpu>", "policy 'maybe'"),
        ("<cpu><model>grace-v1</model><feature name='nope'/></cpu>", "nope: expected a property's name"),
        ("<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><cpu>&a;</cpu>", "a document type"),
        ("<cpu>" * 5000, "no XML"),
    ],
)
def test_wrong_xml_is_one_line(text: str, wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.xml"
    path.write_text(text)
    assert main(["models", "check", str(path), "--host", "max"]) in (2, 3)
    err = capsys.readouterr().err
    assert wrong in err
    assert err.count("\n") == 1


# Nothing passes silently


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["neoverse-v1-v1", "sve=off", "sve256=on"], "sve256=on: sve=off; a guest without SVE has no vector lengths"),
        (["neoverse-n1-v1", "sve128=on"], "sve128=on: this guest has no SVE without sve=on"),
        (["neoverse-v2-v2"], "neoverse-v2-v2: no such model or file; did you mean neoverse-v2-v1"),
        (["neoverse-v1-v1", "feat_aes=on"], "feat_aes: expected a property's name; did you mean feat_AES"),
        (["neoverse-v1-v1", "FEAT_LSX=on"], "FEAT_LSX: expected the name of a feature"),
        (["neoverse-v1-v1", "feat_RNG=on"], "feat_RNG: expected a property's name such as feat_RNDR=on"),
        (["neoverse-v1-v1", "feat_DPB=dpb3"], "feat_DPB: expected off, on, dpb2; found 'dpb3'"),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "check", *words, "--host", "max"]) == 2
    assert wrong in capsys.readouterr().err


def test_the_baseline_as_qmp_gives_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "baseline", "neoverse-v1", "neoverse-n2", "--to", "qmp"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "return": {"model": {"name": "neoverse-v1-v1", "props": {"sve256": False, "pmu": True}}}
    }
    assert main(["models", "baseline", "a64fx", "max", "--to", "qmp"]) == 2
    assert "no named model runs on all" in capsys.readouterr().err
