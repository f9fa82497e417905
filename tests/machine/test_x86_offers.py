"""x86 hosts by what programs say of them, and the best model that several have in common."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from inspector.capture.errors import InputError, UsageError
from inspector.cli.main import main
from inspector.machine.x86.models.baseline import baseline
from inspector.machine.x86.models.realize import realize
from inspector.readers.domcapabilities import parse_domcapabilities
from inspector.readers.options import Options
from inspector.readers.x86_cpuinfo import parse_x86_cpuinfo
from inspector.targets.model_architecture import architecture_of
from inspector.targets.x86_models import asked_of
from inspector.targets.x86_offers import offer_named
from tests.shared import FIRECRACKER, needs

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


# Hosts


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
