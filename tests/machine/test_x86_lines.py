"""Model lines of each VMM, read and written, and x86 hosts by what programs say of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from inspector.capture.cpu_line import CpuLine
from inspector.capture.errors import InputError, UsageError
from inspector.cli.main import main
from inspector.export import x86_lines as lines
from inspector.machine.x86.models.baseline import baseline
from inspector.machine.x86.models.realize import realize
from inspector.readers.cloud_hypervisor_cpu import parse_cpus
from inspector.readers.domcapabilities import parse_domcapabilities
from inspector.readers.kubevirt_cpu import parse_nodes, parse_virtual_machine
from inspector.readers.libvirt_x86 import parse_libvirt_x86
from inspector.readers.options import Options
from inspector.readers.qemu_cpu import parse_qemu_cpu
from inspector.readers.template_cpu import parse_template
from inspector.readers.x86_cpuinfo import parse_x86_cpuinfo
from inspector.readers.xl_cpuid import parse_xl_cpuid
from inspector.targets.model_architecture import architecture_of
from inspector.targets.x86_models import asked_of, optional_of
from inspector.targets.x86_offers import offer_named
from layouts.x86.models.features import feature_at, features, msr_feature_at
from tests.shared import FIRECRACKER, needs

XSAVES = (0xD, 1, "eax", 3)
DOMAIN = """<domain type='kvm'><os><type arch='x86_64' machine='pc-q35-9.0'>hvm</type></os>
<cpu mode='custom' match='exact' check='full'><model fallback='forbid' vendor_id='AuthenticAMD'>EPYC-Rome</model>
<vendor>AMD</vendor><feature policy='disable' name='xsaves'/><feature policy='optional' name='pcid'/>
<feature policy='require' name='lahf_lm'/></cpu></domain>"""
CAPABILITIES = """<domainCapabilities><machine>pc-q35-7.2</machine><arch>x86_64</arch><cpu>
<mode name='host-passthrough' supported='yes'/><mode name='host-model' supported='yes'>
<model fallback='forbid'>EPYC-Rome</model><vendor>AMD</vendor><maxphysaddr mode='passthrough' limit='48'/>
<feature policy='require' name='x2apic'/><feature policy='disable' name='xsaves'/></mode>
<mode name='custom' supported='yes'><model usable='yes' vendor='AMD'>EPYC</model>
<model usable='no' vendor='AMD'>EPYC-Milan</model><blockers model='EPYC-Milan'><feature name='erms'/></blockers>
</mode></cpu></domainCapabilities>"""
HOST_CAPABILITIES = """<capabilities><host><cpu><arch>x86_64</arch><model>kvm64</model><vendor>AMD</vendor>
<signature family='26' model='2' stepping='1'/><maxphysaddr mode='emulate' bits='48'/>
<feature name='xsave'/><feature name='avx512f'/><feature name='sha-ni'/><feature name='one-of-tomorrow'/></cpu></host>
</capabilities>"""
CPUINFO = """processor : 0
vendor_id\t: AuthenticAMD
cpu family\t: 23
model\t\t: 49
model name\t: AMD EPYC 7R32
stepping\t: 0
microcode\t: 0x830107a
flags\t\t: fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 ht syscall nx mmxext fxsr_opt pdpe1gb rdtscp lm cpuid pni pclmulqdq ssse3 fma cx16 sse4_1 sse4_2 x2apic movbe popcnt aes xsave avx f16c rdrand hypervisor lahf_lm cmp_legacy svm cr8_legacy abm sse4a misalignsse 3dnowprefetch topoext ssbd ibrs ibpb stibp fsgsbase bmi1 avx2 smep bmi2 rdseed adx smap clflushopt clwb sha_ni xsaveopt xsavec xgetbv1 clzero xsaveerptr wbnoinvd arat umip rdpid
address sizes\t: 48 bits physical, 48 bits virtual
"""  # noqa: E501 - as the kernel prints it


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


def test_domcapabilities_are_a_host(tmp_path: Path) -> None:
    found = parse_domcapabilities(CAPABILITIES, "x")
    assert found.models == {"EPYC": True, "EPYC-Milan": False}
    assert found.blockers == {"EPYC-Milan": ("erms",)}
    path = tmp_path / "caps.xml"
    path.write_text(CAPABILITIES)
    offer = offer_named(str(path))
    assert (offer.vendor, offer.phys_bits) == ("AuthenticAMD", 48)
    assert (offer.has("x2apic"), offer.has("xsaves"), offer.has("pcid"), offer.has("kvmclock")) == (
        True, False, False, None
    )  # fmt: skip


def test_capabilities_are_a_host_as_its_cpu_is(tmp_path: Path) -> None:
    path = tmp_path / "caps.xml"
    path.write_text(HOST_CAPABILITIES)
    offer = offer_named(str(path))
    assert (offer.signature, offer.phys_bits) == (("AuthenticAMD", 26, 2, 1), 48)
    had = {name: offer.has(name) for name in ("sse2", "avx512f", "sha-ni", "pku", "kvmclock", "vmx-hlt-exit")}
    # kvm64 of QEMU has VMX's MSRs, of which libvirt's model says nothing.
    assert had == {
        "sse2": True, "avx512f": True, "sha-ni": True, "pku": False, "kvmclock": True, "vmx-hlt-exit": None
    }  # fmt: skip
    assert architecture_of("", [str(path)]) == "x86"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("x86_64", "aarch64", "the model of an x86 CPU in <host>, found aarch64, kvm64"),
        ("<model>kvm64</model>", "", "x86_64, no model"),
        (">kvm64<", ">power9<", "expected a model of QEMU, found 'power9'"),
        ("</capabilities>", "", "no XML"),
        ("<cpu>", "<!DOCTYPE x><cpu>", "a document type"),
        ("<capabilities><host>", "<capabilities><guest>", "no XML"),
    ],
)
def test_capabilities_that_are_no_host(old: str, new: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "caps.xml"
    path.write_text(HOST_CAPABILITIES.replace(old, new))
    with pytest.raises(InputError, match=re.escape(said)):
        offer_named(str(path))


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


def test_every_named_bit_has_a_remedy_that_says_it_again() -> None:
    for name, bits in features().items():
        for bit in bits if not bits[0].word.is_msr else ():
            place = (*bit.word.leaf, bit.word.register, bit.number)
            found = lines.remedies(place)
            assert asked_of(f"EPYC,{found['qemu'].rpartition(',')[2]}").request.switches == {name: False}
            assert (
                parse_xl_cpuid(found["xl"]).bits == parse_template(json.loads(found["firecracker"])).bits == {place: 0}
            )


# Hosts


def test_cpuinfo_is_a_host_of_which_a_part_is_known(tmp_path: Path) -> None:
    words = parse_x86_cpuinfo(CPUINFO)
    assert words is not None
    assert (words.signature, words.phys_bits) == (("AuthenticAMD", 23, 49, 0), 48)
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO)
    offer = offer_named(str(path))
    assert (offer.has("amd-ssbd"), offer.has("ssbd"), offer.has("xsaves"), offer.has("amx-tile")) == (
        True, None, False, None
    )  # fmt: skip
    made = realize(asked_of("EPYC-Rome-v4").request, offer)
    assert {entry.feature for entry in made.missing} == {"osvw"}
    assert offer.has("arch-capabilities"), "KVM gives it on every host, and no flag of AMD's tells"
    path.write_text(CPUINFO.replace(" x2apic", ""))
    assert offer_named(str(path)).has("x2apic"), "KVM emulates it"
    assert parse_x86_cpuinfo("Features : fp asimd\n") is None


def test_an_expansion_of_qemu_is_a_host(tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    props = {"fpu": True, "avx": False, "sse4_1": True, "vendor": "GenuineIntel", "family": 6, "model": 143}
    path.write_text(json.dumps({"return": {"model": {"name": "host", "props": props}}}))
    offer = offer_named(str(path))
    assert (offer.has("fpu"), offer.has("avx"), offer.has("sse4.1"), offer.has("vmx")) == (True, False, True, None)


@needs(FIRECRACKER)
def test_a_fingerprint_is_a_host() -> None:
    older = offer_named(str(FIRECRACKER / "fingerprint_INTEL_SAPPHIRE_RAPIDS_5.10host.json"))
    newer = offer_named(str(FIRECRACKER / "fingerprint_INTEL_SAPPHIRE_RAPIDS_6.18host.json"))
    assert (older.has("amx-tile"), newer.has("amx-tile"), newer.has("cet-ss")) == (False, True, True)
    made = realize(asked_of("SapphireRapids-v1").request, older)
    assert "amx-tile" in {entry.feature for entry in made.missing}


def test_a_cpus_own_table_is_a_host_less_what_kvm_keeps(tmp_path: Path) -> None:
    path = tmp_path / "cpuid.txt"
    vendor = "ebx=0x756e6547 ecx=0x6c65746e edx=0x49656e69"
    leaf_7 = "eax=0x00000000 ebx=0x00000220 ecx=0x00000000 edx=0x00000000"
    leaf_1 = "eax=0x000806f8 ebx=0x00000000 ecx=0x7ffefbff edx=0xbfebfbff"
    rows = {0: f"eax=0x00000007 {vendor}", 1: leaf_1, 7: leaf_7}
    path.write_text("CPU 0:\n" + "".join(f"   {leaf:#010x} 0x00: {row}\n" for leaf, row in rows.items()))
    offer = offer_named(str(path))
    assert (offer.vendor, offer.has("erms"), offer.has("avx2")) == ("GenuineIntel", True, True)
    assert (offer.has("monitor"), offer.has("est"), offer.has("dtes64"), offer.has("avx")) == (False, False, True, True)
    older = offer_named(f"{path}@6.1")
    assert (older.kernel, older.has("dtes64"), older.has("tsc-adjust")) == ("6.1", False, True)


def test_a_model_under_a_kernel_has_what_that_kernel_gives() -> None:
    older, newer = offer_named("EPYC-Turin@6.1"), offer_named("EPYC-Turin@6.18")
    assert (older.kernel, older.has("auto-ibrs"), newer.has("auto-ibrs")) == ("6.1", False, True)
    assert offer_named("SapphireRapids@5.10").has("amx-tile") is False
    alone = offer_named("EPYC-Turin")
    assert (alone.kernel, alone.has("auto-ibrs"), alone.has("arch-capabilities")) == ("", True, False)


def test_a_cpu_goes_by_the_name_that_people_say() -> None:
    assert offer_named("milan@6.18").name.startswith("EPYC-Milan-v")
    assert offer_named("sapphire-rapids").has("amx-tile")
    assert offer_named("cascadelake@5.10").label.startswith("Cascadelake-Server-v")


def test_what_is_assumed_of_a_cpu_is_said(tmp_path: Path) -> None:
    path = tmp_path / "cpuid.txt"
    said: list[str] = []
    path.write_text("CPU 0:\n   0x00000000 0x00: eax=0x00000001 ebx=0x68747541 ecx=0x444d4163 edx=0x69746e65\n")
    offer_named(str(path), Options(note=said.append))
    assert [line.partition(": assumed: ")[2].split(":")[0] for line in said] == [
        "the CPU has SVM, which its CPUID does not show",
        "module parameters at their defaults",
        "Linux has every feature of the CPU",
    ]


def test_hosts_that_are_none() -> None:
    for word in ("tcg:9.9", "EPYC-Nope", "neoverse-v1"):
        with pytest.raises(UsageError):
            offer_named(word)


# Baseline


def test_the_best_model_of_two_hosts_needs_nothing_off() -> None:
    found = baseline([offer_named("EPYC-Rome-v4"), offer_named("EPYC-Milan-v2")])
    best = found.ranked[0]
    assert best.model.startswith("EPYC-Rome")
    assert best.usable
    assert all(made.verdict == "yes" for made in best.realizations)
    assert found.partial["erms"] == ("EPYC-Rome-v4",)
    assert not {"svm", "topoext", "invtsc"} & {word.lstrip("+-") for word in best.words}


def test_the_kernel_is_a_part_of_a_host_in_a_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    """HOST@RELEASE: what the older kernel keeps from guests is common to nobody, and its host is named for it."""
    older, newer = offer_named("SapphireRapids@5.10"), offer_named("SapphireRapids@6.18")
    kept = {name for name in newer.features if newer.has(name) and older.has(name) is False}
    assert {"amx-tile", "avx-vnni", "avx512-fp16"} <= kept
    found = baseline([older, newer])
    assert not kept & found.common
    assert {found.partial[name] for name in kept & found.partial.keys()} == {("SapphireRapids@5.10",)}
    alone = baseline([newer])
    assert alone.common - found.common == kept & alone.common
    for made in found.ranked[0].realizations:
        assert made.verdict == "yes"
    assert main(["models", "baseline", "SapphireRapids@5.10", "SapphireRapids@6.18", "--to", "cpu"]) == 0
    line = capsys.readouterr().out
    assert not {f"+{name}" for name in kept} & {*line.strip().split(",")}
    assert main(["models", "baseline", "SapphireRapids@2.6"]) == 2
    assert "2.6" in capsys.readouterr().err


def test_every_model_is_its_own_baseline() -> None:
    for name in ("Haswell-v4", "EPYC-v5", "SapphireRapids-v4", "Denverton-v3"):
        best = baseline([offer_named(name)]).ranked[0]
        assert best.usable, (name, best.model, best.words)
