"""Which host is chosen for a captured x86 vCPU, and why."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from inspector.capture.errors import InputError, UsageError
from inspector.capture.model import Capture, Vcpu
from inspector.cli.main import main
from inspector.machine.x86.host import shipped_host
from inspector.readers.open import open_capture
from inspector.targets.samples import names
from inspector.targets.x86_host import DEFAULT_CPU, choose_host, contradiction, named_by, require_fit, signature_words
from inspector.targets.x86_restore import captured_state
from layouts.x86.cpus import cpu_layouts
from layouts.x86.kernels import kernels
from tests.support import opened

KERNEL = kernels()["7.2"]
LIBCPUID = Path(__file__).parents[3] / "shared/captures/external/libcpuid/tests-200.tar.xz"

#: Every x86 sample whose vCPU can be restored: the host that its first vCPU gets, and why.
OF_SAMPLES = {
    "amx": ("sapphire-rapids", "the vCPU's CPUID says GenuineIntel family 0x6 model 0x8f stepping 8"),
    "amx/process.core": ("sapphire-rapids (a guess)", "note NT_X86_XSAVE_LAYOUT places each component as here"),
    "skylake-x": ("skylake-x", "the vCPU's CPUID says GenuineIntel family 0x6 model 0x55 stepping 4"),
    "skylake-x/process.core": (
        "ice-lake without pkru (a guess)",
        "note NT_X86_XSAVE_LAYOUT places each component as here",
    ),
    "zen5": ("zen5", "the host's CPUID was captured: AuthenticAMD family 0x1a model 0x2 stepping 1"),
    "zen5/cpuid-r.txt": ("zen5", "the host's CPUID was captured: AuthenticAMD family 0x1a model 0x2 stepping 1"),
    "zen5/process-4-threads.core": (
        "zen4 without pkru (a guess)",
        "note NT_X86_XSAVE_LAYOUT places each component as here",
    ),
    "zen5-kvm": ("zen5", "the host's CPUID was captured: AuthenticAMD family 0x1a model 0x2 stepping 1"),
    "zen5-threads/xcore.core.gz": (
        "zen4 without pkru (a guess)",
        "note NT_X86_XSAVE_LAYOUT places each component as here",
    ),
}


def first(name: str) -> tuple[Capture, Vcpu]:
    capture = opened(name)
    return capture, capture.vcpus[0]


@pytest.mark.parametrize("name", OF_SAMPLES)
def test_the_host_of_a_sample(name: str) -> None:
    capture, vcpu = first(name)
    chosen = choose_host(capture, vcpu, KERNEL)
    assert (chosen.label, chosen.because) == OF_SAMPLES[name]


def test_every_x86_sample_with_state_has_a_host_and_a_reason() -> None:
    for name in names():
        capture = opened(name)
        for vcpu in capture.vcpus:
            state = captured_state(vcpu)
            if state is not None:
                chosen = choose_host(capture, vcpu, KERNEL)
                assert chosen.because, name
                assert not contradiction(chosen.host, vcpu), name


@pytest.mark.parametrize(("name", "index", "offset"), [("zen5-threads/xcore.core.gz", 5, 832), ("amx", 5, 1088)])
def test_components_lie_where_the_capture_says(name: str, index: int, offset: int) -> None:
    capture, vcpu = first(name)
    row = choose_host(capture, vcpu, KERNEL).host.cpuid.get(0xD, index)
    assert row is not None
    assert row[1] == offset


def test_an_amd_core_is_restored_with_its_own_registers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """k1 of an AMD image lies at 0x340; an Intel host would take it from 0x440."""
    path = tmp_path / "restored.vcpu"
    assert main(["sim", "restore", "--from", "sample:zen5-threads/xcore.core.gz", "--save", str(path)]) == 0
    capsys.readouterr()
    assert main(["show", str(path), "--vcpu", "0", "--field", "xsave.opmask.k[1]", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["vcpus"][0]["fields"][0]["value"]
    assert (
        main(["show", "sample:zen5-threads/xcore.core.gz", "--vcpu", "0", "--field", "xsave.opmask.k[1]", "--json"])
        == 0
    )
    assert shown == json.loads(capsys.readouterr().out)["vcpus"][0]["fields"][0]["value"]


def test_a_host_of_another_layout_is_refused() -> None:
    _, vcpu = first("zen5-threads/xcore.core.gz")
    require_fit("zen5", shipped_host("zen5", KERNEL), vcpu)
    with pytest.raises(UsageError, match="opmask is at 0x440, the image's at 0x340"):
        require_fit("sapphire-rapids", shipped_host("sapphire-rapids", KERNEL), vcpu)


def test_a_cpu_that_no_shipped_one_is_keeps_its_own_facts() -> None:
    """An Ice Lake server's model is not shipped: what its guest sees stands in for it, PKRU included."""
    capture, vcpu = first("amx")
    area = vcpu.area("cpuid")
    assert area is not None
    data = bytearray(area.data)
    at = next(at for at in range(8, len(data), 40) if data[at : at + 8] == (1).to_bytes(4, "little") + bytes(4))
    data[at + 12 : at + 16] = 0x606A6.to_bytes(4, "little")
    area.original = bytes(data)
    chosen = choose_host(capture, vcpu, KERNEL)
    assert chosen.label == "family 0x6 model 0x6a (a guess)"
    assert chosen.host.user_max == 0x602E7


def test_an_edit_does_not_choose_another_host() -> None:
    capture, vcpu = first("amx")
    image = vcpu.area("xsave")
    assert image is not None
    edited = bytearray(image.data)
    edited[514] |= 8
    image.data = edited
    assert choose_host(capture, vcpu, KERNEL).label == "sapphire-rapids"


def test_a_scenario_takes_no_capture(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "guest-xfd", "--from", "sample:amx"]) == 2
    assert "--from goes with restore and new" in capsys.readouterr().err


def test_an_empty_host_is_the_captured_one_where_there_is_a_capture(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "new", "--from", "sample:zen5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["host"] == "zen5"
    assert found["because"].startswith("the host's CPUID was captured")


def test_signatures_do_not_overlap_but_for_variants_of_one_part() -> None:
    parts = Counter(
        (layout.signature.vendor, layout.signature.family, model, stepping)
        for layout in cpu_layouts().values()
        if layout.signature is not None
        for model in layout.signature.models
        for stepping in layout.signature.steppings
    )
    twice = {part[2] for part, count in parts.items() if count > 1}
    assert twice == {0x97, 0x9A}, "Alder Lake, whose firmware decides on AVX-512"


@pytest.mark.skipif(not LIBCPUID.exists(), reason="the corpus of CPUID dumps stands beside the checkout or nowhere")
def test_a_dump_of_a_real_cpu_is_its_own_host(tmp_path: Path) -> None:
    """Every x86 dump gives the host that it is; its name is the shipped CPU of its family and model, if one is."""
    seen: Counter[str] = Counter()
    with tarfile.open(LIBCPUID) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            if stream is None:
                continue
            path = tmp_path / "dump.test"
            path.write_bytes(stream.read())
            try:
                capture = open_capture(str(path))
            except InputError:
                seen["unread"] += 1
                continue
            if not capture.vcpus or capture.vcpus[0].arch != "x86":
                seen["arm64"] += 1
                continue
            cpuid = capture.host.cpuid
            assert cpuid is not None, member.name
            chosen = choose_host(capture, capture.vcpus[0], KERNEL)
            assert not chosen.is_guess, member.name
            assert chosen.because.startswith(f"the host's CPUID was captured: {signature_words(cpuid)}"), member.name
            assert chosen.host.cpuid is cpuid
            shipped = [layout.name for layout in named_by(cpuid)]
            assert chosen.name in shipped or (not shipped and chosen.name.startswith("family")), member.name
            assert chosen.because.endswith("no XSAVE") == (not cpuid.xsave_table())
            seen[chosen.name if shipped else "not shipped"] += 1
    assert sum(seen.values()) == 200
    assert {"zen2", "zen4-client", "alder-lake", "not shipped"} <= set(seen)


def test_the_default_is_said_to_be_a_guess() -> None:
    capture = Capture("nothing", "test", [Vcpu(0, "vcpu", "x86", [])])
    chosen = choose_host(capture, capture.vcpus[0], KERNEL)
    assert (chosen.label, chosen.because) == (f"{DEFAULT_CPU} (a guess)", "nothing captured tells the CPU")
