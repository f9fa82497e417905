"""Any prefix and any flipped byte of any sample: one clear error or a decoded capture, never more."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.readers.kvm_struct import as_words
from inspector.readers.options import Options
from tests.readers.support import survive
from tests.support import SAMPLES

FILES = sorted(
    path for path in SAMPLES.glob("*/*") if path.is_file() and path.suffix in (".bin", ".core", ".gz", ".txt")
)
SMALL = [path for path in FILES if path.stat().st_size < 70_000]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SMALL), st.floats(0, 1))
def test_prefixes(tmp_path_factory: pytest.TempPathFactory, sample: Path, where: float) -> None:
    data = sample.read_bytes()
    path = tmp_path_factory.mktemp("cut") / "f"
    path.write_bytes(data[: int(len(data) * where)])
    survive(path)


@pytest.mark.parametrize("sample", ["amx/process.core", "zen5/process-4-threads.core"])
def test_every_cut_of_a_core_is_told(tmp_path: Path, sample: str) -> None:
    """Whatever is missing, the user hears of it: no prefix looks whole."""
    data = (SAMPLES / sample).read_bytes()
    path = tmp_path / "core"
    for cut in [*range(1, 1200, 13), *range(1200, len(data), 1009)]:
        path.write_bytes(data[:cut])
        assert survive(path), cut


def test_every_cut_of_an_image_is_told(tmp_path: Path) -> None:
    data = (SAMPLES / "amx/vcpu-permitted.kvm_xsave2.bin").read_bytes()
    path = tmp_path / "image"
    for cut in range(1, len(data), 97):
        path.write_bytes(data[:cut])
        assert survive(path), cut
        assert survive(path, Options(as_format="kvm-xsave2")), cut


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SMALL), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_flipped_bytes(tmp_path_factory: pytest.TempPathFactory, sample: Path, where: float, flip: int) -> None:
    data = bytearray(sample.read_bytes())
    # Most headers are in the first 2,000 bytes: half of the flips go there.
    limit = min(len(data), 2000) if flip & 1 else len(data)
    data[int(limit * where)] ^= flip
    path = tmp_path_factory.mktemp("flip") / "f"
    path.write_bytes(data)
    survive(path)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=2000), st.sampled_from(["", *as_words()]))
def test_any_bytes_as_anything(tmp_path_factory: pytest.TempPathFactory, data: bytes, word: str) -> None:
    path = tmp_path_factory.mktemp("any") / "f"
    path.write_bytes(data)
    survive(path, Options(as_format=word))


@pytest.mark.parametrize("word", as_words())
@pytest.mark.parametrize("sample", ["amx/vcpu-permitted.kvm_regs.bin", "amx/process.core", "zen5/cpuid-r.txt"])
def test_wrong_as_is_told(sample: str, word: str) -> None:
    if (sample, word) == ("amx/vcpu-permitted.kvm_regs.bin", "kvm-regs"):
        return
    line = survive(SAMPLES / sample, Options(as_format=word))
    assert line or word in ("kvm-nested-state", "kvm-msr-list", "kvm-msrs")
