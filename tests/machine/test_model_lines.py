"""Whatever ``models expand --to`` writes of a guest is read again as the same guest, on both architectures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.cli.main import main
from inspector.export.x86_guest_lines import line_of
from inspector.export.x86_lines import VMMS
from inspector.targets.models import target
from inspector.targets.x86_models import Asked, asked_of

AMX = ("amx-tile", "amx-int8", "amx-bf16")
#: A request, and the VMMs that can be told all of it.
REQUESTS = {
    "EPYC-v4": ("qemu", "libvirt", "kubevirt"),
    "EPYC-Milan-v2,-xsaves,+pcid,-lahf-lm,-svm": ("qemu", "libvirt", "kubevirt"),
    "SapphireRapids,-avx512f,+vmx,phys-bits=46": ("qemu", "libvirt"),
    "SapphireRapids,-rdctl-no,level=13,+kvm-pv-eoi": ("qemu",),
    "host": VMMS,
    "host,-xsaves,-avx2,+sse3": ("qemu", "libvirt", "kubevirt", "firecracker", "xl"),
    "host,-rdctl-no": ("qemu", "libvirt", "kubevirt", "firecracker"),
    "host,phys-bits=46": ("qemu", "libvirt"),
    "host,-" + ",-".join(AMX): VMMS,
    "host,-vmx,-svm,host-phys-bits-limit=46": ("qemu", "cloud-hypervisor"),
    "max,-xsaves": ("qemu", "libvirt"),
    "--cpus boot=2,max_phys_bits=46,nested=off": ("qemu", "cloud-hypervisor"),
    "cpuid='host,tm=0'": ("qemu", "libvirt", "kubevirt", "firecracker", "xl"),
    f'cpuid=["0x1:ecx={"x" * 14}0{"x" * 17}"]': ("qemu", "libvirt", "kubevirt", "firecracker", "xl"),
}


def _meaning(asked: Asked) -> tuple[object, ...]:
    properties = {name: value for name, value in asked.request.properties.items() if name not in ("check", "fallback")}
    return asked.request.name, dict(asked.request.switches), properties


@pytest.mark.parametrize("vmm", VMMS)
def test_a_line_of_each_vmm_is_read_again(vmm: str, tmp_path: Path) -> None:
    path = tmp_path / "guest"
    for word, told in REQUESTS.items():
        asked = asked_of(word)
        found = line_of(vmm, asked.request, asked.line)
        path.write_text(found.text)
        again = asked_of(str(path))
        assert (not found.lost) == (vmm in told), (word, found)
        if not found.lost:
            assert _meaning(again) == _meaning(asked), word
            assert line_of(vmm, again.request, again.line).text == found.text, word


def test_optional_features_and_host_model_stay(tmp_path: Path) -> None:
    path = tmp_path / "guest"
    path.write_text("<cpu mode='host-model'><feature policy='optional' name='pcid'/></cpu>")
    asked = asked_of(str(path))
    for vmm in ("libvirt", "kubevirt"):
        path.write_text(line_of(vmm, asked.request, asked.line).text)
        again = asked_of(str(path)).line
        assert (again.model, again.policies) == ("host-model", {"pcid": "optional"})
    assert line_of("qemu", asked.request, asked.line).lost == ("pcid where the host has it",)


def test_what_a_vmm_has_no_word_for_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("models expand EPYC-v4,-xsaves,level=13 --host EPYC-v4 --to xl".split()) == 0  # noqa: SIM905
    out = capsys.readouterr()
    assert out.out.startswith("cpuid = [")
    assert "--to xl: not said there: the model EPYC-v4, level=13" in out.err


@pytest.mark.parametrize("form", ["qemu", "libvirt", "sysreg"])
def test_arm64_lines_are_read_again(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "guest"
    words = ["neoverse-n1-v1", "feat_DPB=off", "--host", "neoverse-n1"]
    assert main(["models", "expand", *words, "--json"]) == 0
    registers = json.loads(capsys.readouterr().out)["registers"]
    words[1] = "sve=off" if form == "libvirt" else words[1]
    assert main(["models", "expand", *words, "--to", form]) == 0
    path.write_text(line := capsys.readouterr().out)
    for word in (str(path), *([line] if form != "libvirt" else [])):
        assert main(["models", "expand", word, "--host", "neoverse-n1", "--json"]) == 0
        again = json.loads(capsys.readouterr().out)["registers"]
        # Registers that are no ID registers are the host's in one, and of no model in the other.
        assert form == "libvirt" or {name: again[name] for name in registers} == registers
    if form != "sysreg":
        assert target(str(path)).words == (words[1],)


def test_old_words_are_the_new_ones(capsys: pytest.CaptureFixture[str]) -> None:
    hosts = {"EPYC-v4": "EPYC-v4", "neoverse-n1-v1": "neoverse-n1"}
    for model, host in hosts.items():
        for old, new in (("cpu", "qemu"), ("domain", "libvirt")):
            said = []
            for form in (old, new):
                assert main(["models", "expand", model, "--host", host, "--to", form]) == 0
                said.append(capsys.readouterr().out)
            assert said[0] == said[1]
