"""Real programs take what is written for them, and say what is predicted: QEMU by QMP, libvirt by virsh.

Skipped where they are not installed.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from inspector.export import x86_lines as lines
from inspector.machine.x86.models.cpuid import guest_cpuid
from inspector.machine.x86.models.expand import expand
from inspector.machine.x86.models.offer import tcg_offer
from inspector.machine.x86.models.realize import realize
from inspector.machine.x86.models.request import request
from inspector.targets.x86_offers import offer_of_expansion
from layouts.x86.models.features import features
from layouts.x86.models.libvirt import ONLY_LIBVIRT, libvirt_feature
from layouts.x86.models.qemu import qemu_models

QEMU, VIRSH = "qemu-system-x86_64", "virsh"
BARE = (QEMU, "-nodefaults", "-display", "none", "-S", "-machine", "q35", "-accel", "tcg")
MAPS = Path("/usr/share/libvirt/cpu_map")
needs_qemu = pytest.mark.skipif(shutil.which(QEMU) is None, reason=f"{QEMU} is not installed")
needs_virsh = pytest.mark.skipif(shutil.which(VIRSH) is None, reason=f"{VIRSH} is not installed")
needs_maps = pytest.mark.skipif(not MAPS.exists(), reason="libvirt's cpu_map is not installed")
DOMAIN = """<domain type='qemu'><name>x</name><memory>65536</memory>
<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>{cpu}</domain>"""
#: Over each first version: what hangs on a feature goes with it.
SWITCHES = ({"avx": False}, {"vmx": True}, {"svm": True}, {"lm": False}, {"rdrand": False, "xsaves": False})


def qmp(*commands: dict[str, Any]) -> list[dict[str, Any]]:
    """What QEMU answers, the greeting and events left out."""
    sent = "".join(
        json.dumps(command) + "\n" for command in ({"execute": "qmp_capabilities"}, *commands, {"execute": "quit"})
    )
    done = subprocess.run(
        [*BARE, "-qmp", "stdio"],
        input=sent, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [answer for answer in answers if "return" in answer or "error" in answer][1 : len(commands) + 1]


def expansion(name: str, switches: dict[str, bool]) -> dict[str, Any]:
    model = {"name": name, "props": switches}
    return {"execute": "query-cpu-model-expansion", "arguments": {"type": "full", "model": model}}


@cache
def installed_models() -> dict[str, dict[str, Any]]:
    (answer,) = qmp({"execute": "query-cpu-definitions"})
    return {entry["name"]: entry for entry in answer["return"]}


@needs_qemu
def test_models_expand_as_the_installed_qemu_says() -> None:
    """A model with its version is the same in every release that has it."""
    names = [name for name in qemu_models().models if name in installed_models()]
    asked = [(name, switches) for name in names for switches in ({}, *(SWITCHES if name.endswith("-v1") else ()))]
    differing = {}
    for (name, switches), answer in zip(asked, qmp(*(expansion(*one) for one in asked)), strict=True):
        said = {key: value for key, value in answer["return"]["model"]["props"].items() if isinstance(value, bool)}
        ours = expand(request(name, switches), tcg_offer()).features
        wrong = {feature for feature in features() if feature in said and said[feature] != (feature in ours)}
        if wrong:
            differing[name, str(switches)] = wrong
    assert len(asked) > 200
    assert differing == {}


@needs_qemu
def test_the_installed_qemu_takes_our_lines() -> None:
    """-cpu as written, with a feature of each word; a line with a name that it lacks it refuses."""
    known = qmp(expansion("max", {}))[0]["return"]["model"]["props"]
    firsts = {bits[0].word: name for name, bits in reversed(features().items()) if name in known}
    line = lines.qemu_cpu("EPYC-Rome-v2", dict.fromkeys(firsts.values(), False))
    done = subprocess.run(
        [*BARE, *line.split(), "-qmp", "stdio"],
        input='{"execute":"qmp_capabilities"}\n{"execute":"quit"}\n', capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.count('"return"')) == (0, 2), done.stderr
    assert len(firsts) > 25


@needs_virsh
def test_virsh_defines_a_domain_with_our_cpu(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    for model, switches in (("EPYC-Rome", {"xsaves": False, "lahf-lm": True}), ("host", {"vmx": False}), ("max", {})):
        path.write_text(DOMAIN.format(cpu=lines.libvirt_cpu(model, switches)))
        done = subprocess.run(
            [VIRSH, "-c", "test:///default", "define", str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@needs_maps
def test_the_installed_libvirt_has_our_names() -> None:
    """Each feature and each model of the installed cpu_map is one of ours; each bit is the same."""
    root = ElementTree.parse(MAPS / "x86_features.xml").getroot()
    ours = {libvirt_feature(name): bits for name, bits in features().items() if libvirt_feature(name)}
    compared = 0
    for feature in root.findall("feature"):
        place = feature.find("cpuid")
        bits = ours.get(feature.get("name", ""))
        if place is None or bits is None or bits[0].word.is_msr:
            continue
        leaf, subleaf = int(place.get("eax_in", "0"), 0), int(place.get("ecx_in", "0"), 0)
        masks = {name: int(place.get(name, "0"), 0) for name in ("eax", "ebx", "ecx", "edx") if place.get(name)}
        assert bits[0].word.leaf == (leaf, subleaf), feature.get("name")
        assert masks.get(bits[0].word.register, 0) >> bits[0].number & 1, feature.get("name")
        compared += 1
    models = {path.stem.removeprefix("x86_") for path in MAPS.glob("x86_*.xml")} - {"features", "vendors"}
    found = qemu_models()
    unknown = {name for name in models if found.named(name) is None} - ONLY_LIBVIRT
    assert unknown <= {"Icelake-Client", "Icelake-Client-noTSX"}
    assert compared > 150


# A guest that prints its CPUID


LEAVES = [(leaf, 0) for leaf in (0, 1, 6, 0x80000000, 0x80000001, 0x80000002, 0x80000003, 0x80000008, 0x8000000A)]
LEAVES += [(7, 0), (7, 1), (0xD, 0), (0xD, 1), (0xD, 2)]


def boot_sector(leaves: list[tuple[int, int]]) -> bytes:
    """A disk whose boot sector runs CPUID for a table of leaves and writes EAX to EDX of each to port 0xE9."""
    code = bytearray.fromhex("fa 31c0 8ed8 8ed0 bc007c be0000")  # stack at 0x7c00, si: the table
    table = len(code) - 2
    loop = len(code)
    code += bytes.fromhex("668b04 668b4c04 6683f8ff 0f840000")  # eax, ecx from the table; -1 ends it
    out = len(code) - 2
    code += bytes.fromhex("83c608 0fa2 6652 6651 6653 6650")
    code += 4 * bytes.fromhex("6658 b90400 e6e9 66c1e808 e2f8")
    code += b"\xe9" + (loop - len(code) - 3).to_bytes(2, "little", signed=True)
    code[out : out + 2] = (len(code) - out - 2).to_bytes(2, "little")
    code += bytes.fromhex("b000 e6f4 f4 ebfd")  # isa-debug-exit
    code[table : table + 2] = (0x7C00 + len(code)).to_bytes(2, "little")
    for leaf, subleaf in leaves:
        code += leaf.to_bytes(4, "little") + subleaf.to_bytes(4, "little")
    code += b"\xff\xff\xff\xff"
    assert len(code) <= 510
    return (bytes(code).ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0")


@needs_qemu
@pytest.mark.parametrize("name", ["EPYC-Rome-v1", "qemu64-v1"])
def test_a_guest_sees_the_cpuid_that_is_predicted(name: str, tmp_path: Path) -> None:
    """A guest in real mode under TCG. Intel's SYSCALL bit shows in long mode only, so these are AMD's."""
    (tmp_path / "disk").write_bytes(boot_sector(LEAVES))
    subprocess.run(
        [QEMU, "-nodefaults", "-display", "none", "-machine", "q35", "-accel", "tcg", "-cpu", name,
         "-debugcon", f"file:{tmp_path / 'out'}", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
         "-drive", f"file={tmp_path / 'disk'},format=raw"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    said = list(struct.iter_unpack("<4I", (tmp_path / "out").read_bytes()))
    properties = qmp(expansion("max", {}))[0]["return"]["model"]["props"]
    offer = offer_of_expansion("the installed QEMU", properties)._replace(accelerator="tcg")
    table = guest_cpuid(realize(request(name), offer))
    assert len(said) == len(LEAVES)
    for leaf, values in zip(LEAVES, said, strict=True):
        if leaf[0] <= said[LEAVES.index((leaf[0] & 0x80000000, 0))][0]:
            assert (table.get(*leaf) or (0, 0, 0, 0)) == values, leaf
