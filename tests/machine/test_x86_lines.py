"""Model lines of each VMM, read and written, and the remedies in their words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.capture.cpu_line import CpuLine
from inspector.capture.errors import InputError, UsageError
from inspector.cli.main import main
from inspector.export import x86_lines as lines
from inspector.machine.x86.models.realize import realize
from inspector.readers.cloud_hypervisor_cpu import parse_cpus
from inspector.readers.kubevirt_cpu import parse_nodes, parse_virtual_machine
from inspector.readers.libvirt_x86 import parse_libvirt_x86
from inspector.readers.qemu_cpu import parse_qemu_cpu
from inspector.readers.template_cpu import parse_template
from inspector.readers.xl_cpuid import parse_xl_cpuid
from inspector.targets.x86_models import asked_of, optional_of
from inspector.targets.x86_offers import offer_named
from layouts.x86.models.features import feature_at, features, msr_feature_at
from tests.shared import FIRECRACKER, needs

XSAVES = (0xD, 1, "eax", 3)
DOMAIN = """<domain type='kvm'><os><type arch='x86_64' machine='pc-q35-9.0'>hvm</type></os>
<cpu mode='custom' match='exact' check='full'><model fallback='forbid' vendor_id='AuthenticAMD'>EPYC-Rome</model>
<vendor>AMD</vendor><feature policy='disable' name='xsaves'/><feature policy='optional' name='pcid'/>
<feature policy='require' name='lahf_lm'/></cpu></domain>"""


# QEMU


def test_plus_and_minus_count_after_values_and_minus_last() -> None:
    """x86_cpu_parse_featurestr, and plus_features before minus_features in x86_cpu_expand_features."""
    line = parse_qemu_cpu("-cpu EPYC-v4,-avx,+avx,sse4_1=off,x2apic,enforce,model-id=a,,b,phys-bits=46")
    assert (line.model, line.switches) == ("EPYC-v4", {"avx": False, "sse4_1": False, "x2apic": True})
    assert line.properties == {"enforce": "on", "model-id": "a,b", "phys-bits": "46"}


def test_a_whole_command_line_tells_its_machine_too() -> None:
    line = parse_qemu_cpu("qemu-system-x86_64 -M pc-q35-9.0,accel=kvm -cpu host,-vmx -m 4G")
    assert (line.model, line.machine, line.switches) == ("host", "pc-q35-9.0", {"vmx": False})


@pytest.mark.parametrize("text", ["", ",+x", "EPYC,=on", "EPYC,+", "qemu -cpu"])
def test_lines_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_qemu_cpu(text)


def test_what_is_written_is_read_back() -> None:
    switches = {"avx": False, "pcid": True, "vmx-ept": True}
    text = lines.qemu_cpu("EPYC-v4", switches, {"model-id": "a,b"})
    assert text == "-cpu EPYC-v4,-avx,+pcid,+vmx-ept,model-id=a,,b"
    assert parse_qemu_cpu(text).switches == switches
    xml = lines.libvirt_cpu("EPYC-Rome", {"lahf-lm": True, "avx": False, "kvmclock": False})
    assert parse_libvirt_x86(xml, "x").switches == {"lahf_lm": True, "avx": False}
    bits, msr_bits = lines.bits_of(switches)
    assert parse_template(lines.template(bits, msr_bits)).bits == bits
    assert parse_template(lines.template(bits, msr_bits)).msr_bits == msr_bits == {(0x48B, 1): 1}
    assert parse_xl_cpuid(lines.xl_cpuid(bits)).bits == bits


# libvirt


def test_a_domain_with_its_policies() -> None:
    line = parse_libvirt_x86(DOMAIN, "x")
    assert (line.vmm, line.model, line.machine) == ("libvirt", "EPYC-Rome", "pc-q35-9.0")
    assert line.switches == {"xsaves": False, "pcid": True, "lahf_lm": True}
    assert line.policies["pcid"] == "optional"
    assert line.properties["vendor_id"] == "AuthenticAMD"


def test_an_optional_feature_is_on_where_the_host_has_it(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_text(DOMAIN)
    asked = asked_of(str(path))
    assert asked.request.machine.name == "pc-q35-9.0"
    for host, has in (("EPYC-Rome-v4", False), ("EPYC-Milan-v2", True)):
        made = realize(optional_of(asked, offer_named(host)), offer_named(host))
        assert ("pcid" in made.features, made.verdict) == (has, "yes")


@pytest.mark.parametrize(
    ("mode", "model"), [("host-passthrough", "host"), ("maximum", "max"), ("host-model", "host-model")]
)
def test_modes_without_a_name(mode: str, model: str) -> None:
    assert parse_libvirt_x86(f"<cpu mode='{mode}'><feature policy='disable' name='vmx'/></cpu>", "x").model == model


@pytest.mark.parametrize(
    "text", ["<cpu mode='custom'/>", "<cpu mode='odd'/>", "<cpu><model>x</model><feature policy='no' name='y'/></cpu>"]
)
def test_xml_that_is_no_cpu(text: str) -> None:
    with pytest.raises(InputError):
        parse_libvirt_x86(text, "x")


@pytest.mark.parametrize("text", ["<cpu mode='host-model' check='partial'/>", "--cpus boot=4,features=amx"])
def test_a_file_that_names_no_model_is_of_the_hosts_architecture(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "guest"
    path.write_text(text)
    assert main(["models", "check", str(path), "--host", "milan"]) == 0
    assert "usable yes" in capsys.readouterr().out


# Firecracker, Cloud Hypervisor, KubeVirt, xl


@needs(FIRECRACKER)
@pytest.mark.parametrize("name", ["T2", "T2A", "T2CL", "T2S", "C3", "SPR_TO_T2_5.10", "GNR_TO_T2_6.1"])
def test_templates_of_firecracker_read_and_written(name: str) -> None:
    path = FIRECRACKER / f"{name}.json"
    line = parse_template(json.loads(path.read_text()))
    again = parse_template(lines.template(line.bits, line.msr_bits))
    assert (again.bits, again.msr_bits) == (line.bits, line.msr_bits)
    asked = asked_of(str(path))
    assert asked.request.name == "host"
    assert len(asked.request.switches) > 30
    named = [place for place in line.bits if place in feature_at()]
    assert len(asked.nameless) == len(line.bits) - len(named) + sum(
        key not in msr_feature_at() for key in line.msr_bits
    )


@pytest.mark.parametrize(
    "found",
    [
        [],
        {"cpuid_modifiers": [{"leaf": "x", "subleaf": "0x0", "modifiers": []}]},
        {"cpuid_modifiers": [{"leaf": "0x1", "subleaf": "0x0", "modifiers": [{"register": "rax", "bitmap": "0b1"}]}]},
        {"msr_modifiers": [{"addr": "0x10a", "bitmap": "0b2"}]},
    ],
)
def test_templates_that_are_none(found: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_template(found)


def test_cloud_hypervisors_options() -> None:
    line = parse_cpus("--cpus boot=2,max=4,max_phys_bits=46,nested=off")
    assert line.switches == {"amx-bf16": False, "amx-tile": False, "amx-int8": False, "vmx": False, "svm": False}
    assert parse_cpus("boot=1,features=amx").switches == {}
    assert asked_of("--cpus boot=1,max_phys_bits=46").request.number("host-phys-bits-limit", 0) == 46
    for text in ("--cpus boot", "boot=1,features=avx", "cores=2"):
        with pytest.raises(ValueError, match="expected"):
            parse_cpus(text)


def test_kubevirts_machine_and_node(tmp_path: Path) -> None:
    machine = {
        "spec": {"template": {"spec": {"domain": {
            "cpu": {"model": "Haswell", "features": [{"name": "pcid", "policy": "disable"}, {"name": "avx"}]},
            "machine": {"type": "pc-q35-9.0"},
        }}}}
    }  # fmt: skip
    line = parse_virtual_machine(machine)
    assert line == CpuLine(
        "kubevirt", "Haswell", {"pcid": False, "avx": True}, policies={"pcid": "disable", "avx": "require"},
        machine="pc-q35-9.0",
    )  # fmt: skip
    assert parse_virtual_machine({"spec": {}}) is None
    label = "{}.node.kubevirt.io/{}".format
    node = {"metadata": {"name": "n1", "labels": {
        label("cpu-feature", "avx2"): "true", label("cpu-model", "Haswell"): "true",
        label("host-model-cpu", "Broadwell"): "true", label("host-model-required-features", "x2apic"): "true",
        label("cpu-vendor", "Intel"): "true", "kubernetes.io/os": "linux",
    }}}  # fmt: skip
    (found,) = parse_nodes([node, {"metadata": {"labels": {}}}])
    assert (found.name, found.host_model, found.vendor) == ("n1", "Broadwell", "Intel")
    path = tmp_path / "node.json"
    path.write_text(json.dumps(node))
    offer = offer_named(str(path))
    assert (offer.name, offer.vendor, offer.has("avx2"), offer.has("amx-tile")) == ("n1", "GenuineIntel", True, None)
    path.write_text(json.dumps({"items": [node, node]}))
    with pytest.raises(UsageError, match="expected one node, found 2"):
        offer_named(str(path))


def test_xl_in_both_styles() -> None:
    assert parse_xl_cpuid('cpuid = "host,tm=0,sse3=1,avx=x,maxleaf=7"').switches == {"tm": False, "sse3": True}
    line = parse_xl_cpuid(f"cpuid = ['0xd,0x1:eax={'x' * 28}0xxx', '1:ecx={'x' * 5}0{'x' * 26},edx={'k' * 31}1']")
    assert line.bits == {XSAVES: 0, (1, 0, "ecx", 26): 0, (1, 0, "edx", 0): 1}
    assert asked_of("cpuid='host,tm=0'").request.switches == {"tm": False}
    for text in ("host,tm", "nothost,tm=0", "['1:ecx=01']"):
        with pytest.raises(ValueError, match="expected"):
            parse_xl_cpuid(text)


# Remedies


def test_a_bit_goes_in_the_words_of_each_vmm() -> None:
    found = lines.remedies(XSAVES)
    assert set(found) == set(lines.VMMS)
    assert found["qemu"] == "-cpu ...,-xsaves"
    assert found["libvirt"] == "<feature policy='disable' name='xsaves'/>"
    assert parse_template(json.loads(found["firecracker"])).bits == {XSAVES: 0}
    assert found["cloud-hypervisor"] == ""
    assert parse_xl_cpuid(found["xl"]).bits == {XSAVES: 0}
    assert lines.remedies((7, 0, "edx", 24))["cloud-hypervisor"] == "--cpus without features=amx"
    nameless = lines.remedies((7, 0, "ebx", 12))
    assert (nameless["qemu"], nameless["libvirt"]) == ("", "")
    assert lines.msr_remedies(0x10A, 28, on=True)["qemu"] == "-cpu ...,+rfds-clear"
    # What may be 1 of VMX's controls is the upper half of the MSR.
    assert [lines.msr_remedies(0x48B, at)["qemu"] for at in (1, 33)] == ["", "-cpu ...,-vmx-ept"]


def test_every_named_bit_has_a_remedy_that_says_it_again() -> None:
    for name, bits in features().items():
        for bit in bits if not bits[0].word.is_msr else ():
            place = (*bit.word.leaf, bit.word.register, bit.number)
            found = lines.remedies(place)
            assert asked_of(f"EPYC,{found['qemu'].rpartition(',')[2]}").request.switches == {name: False}
            assert (
                parse_xl_cpuid(found["xl"]).bits == parse_template(json.loads(found["firecracker"])).bits == {place: 0}
            )
