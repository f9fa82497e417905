"""Every format, cut and flipped: one clear error or a decoded capture."""

from __future__ import annotations

import gzip
import json
from functools import cache

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.readers.support import LIBCPUID_TEXT, REGISTER_TEXT, XSAVE, cloud_hypervisor_state, kdump, stream, survive
from tests.support import SAMPLES


@cache
def images() -> dict[str, bytes]:
    """A small file of each format, unpacked."""
    elf = gzip.decompress((SAMPLES / "qemu-turin/guest-memory.elf.gz").read_bytes())
    xml = b"<domain><cpu mode='custom'><model>EPYC</model></cpu></domain>\0"
    head = b"LibvirtQemudSave" + (2).to_bytes(4, "little") + len(xml).to_bytes(4, "little") + bytes(68)
    state = (0x0710198486640000).to_bytes(8, "little") + bytes(64) + XSAVE[:4096]
    return {
        "guest dump": elf,
        "kdump": kdump(elf[0x200:0x800], flattened=False),
        "flattened": kdump(elf[0x200:0x800], flattened=True),
        "libvirt": head + xml + stream("qemu-turin")[-30_000:],
        "arm64 core": (SAMPLES / "arm64-process/sme-za.core").read_bytes()[:20_000],
        "info": gzip.decompress((SAMPLES / "qemu-neoverse-v1/info-registers.txt.gz").read_bytes())[:6000],
        "fingerprint": (SAMPLES / "templates/graviton3-as-graviton2.json").read_bytes(),
        "cloud hypervisor": json.dumps(cloud_hypervisor_state()).encode()[:20_000],
        "crosvm": cbor2.dumps({"vcpu_id": 0, "regs": {"rax": 1}, "sregs": {"cr0": 1}, "xsave": XSAVE[:4096]}),
        "state": state,
        "register list": REGISTER_TEXT.encode(),
        "libcpuid": LIBCPUID_TEXT.encode(),
        "cpu record": (SAMPLES / "sapphire-rapids/linux-6.18.toml").read_bytes()[:2000],
        "qmp": (SAMPLES / "qemu-arm64-max/cpu-model-expansion.max.full.json").read_bytes(),
    }


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damaged_files(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(images())))
    raw = bytearray(images()[name])
    for _ in range(data.draw(st.integers(1, 3))):
        if data.draw(st.booleans()) and len(raw) > 1:
            limit = data.draw(st.sampled_from([min(600, len(raw) - 1), len(raw) - 1]))
            raw[data.draw(st.integers(0, limit))] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
        else:
            del raw[data.draw(st.integers(0, len(raw))) :]
    path = tmp_path_factory.mktemp("fuzz") / "f"
    path.write_bytes(raw)
    survive(path)


def test_each_image_opens_as_what_it_is(tmp_path) -> None:
    for name in (
        "guest dump",
        "arm64 core",
        "info",
        "fingerprint",
        "crosvm",
        "state",
        "register list",
        "libcpuid",
        "qmp",
    ):
        path = tmp_path / "f"
        path.write_bytes(images()[name])
        line = survive(path)
        assert not line or name in ("arm64 core", "libcpuid", "info"), (name, line)
