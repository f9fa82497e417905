"""The ELF header is unpacked by hand; pyelftools, which knows all of ELF, reads the same."""

from __future__ import annotations

import random

import pytest
from elftools.elf.structs import ELFStructs

from inspector.capture.errors import InputError
from inspector.readers.elf_notes import elf_name, read_header
from inspector.readers.open import open_capture
from inspector.readers.source import BytesSource
from tests.support import core64


@pytest.mark.parametrize("elf_class", [32, 64])
def test_header_is_what_pyelftools_reads(elf_class: int) -> None:
    structs = ELFStructs(little_endian=True, elfclass=elf_class)
    structs.create_basic_structs()
    for seed in range(50):
        raw = b"\x7fELF" + bytes((elf_class // 32, 1, 1)) + bytes(9) + random.Random(seed).randbytes(512)
        parsed = structs.Elf_Ehdr.parse(raw)
        found = read_header(BytesSource("made", raw))
        assert (found.elf_class, found.phoff, found.phnum) == (elf_class, parsed["e_phoff"], parsed["e_phnum"])
        assert found.phentsize == parsed["e_phentsize"]
        assert (found.type, found.machine) == (
            int.from_bytes(raw[16:18], "little"),
            int.from_bytes(raw[18:20], "little"),
        )


def test_more_segments_than_fit_are_counted_in_section_0() -> None:
    structs = ELFStructs(little_endian=True, elfclass=64)
    structs.create_basic_structs()
    structs.create_advanced_structs()
    section = random.Random(1).randbytes(structs.Elf_Shdr.sizeof())
    raw = core64(b"", phnum=0xFFFF, shoff=120)[:120] + section
    assert read_header(BytesSource("made", raw)).phnum == structs.Elf_Shdr.parse(section)["sh_info"]


def test_types_and_machines_have_their_names(tmp_path: object) -> None:
    assert elf_name("E_TYPE", 2) == "2 (ET_EXEC)"
    assert elf_name("E_MACHINE", 21) == "21 (EM_PPC64)"
    assert elf_name("E_MACHINE", 60_000) == "60000"
    path = tmp_path / "program"  # type: ignore[operator]
    path.write_bytes(core64(b"", type=2))
    with pytest.raises(InputError, match=r"expected an ELF core \(type 4\), found ELF type 2 \(ET_EXEC\)"):
        open_capture(str(path))
