"""Steps of recorded programs on an Emerald Rapids with Linux 6.18: what the manual and the kernel say of each."""

from __future__ import annotations

import copy
import errno
import zlib
from typing import Any

import pytest

from inspector.machine.answer import Answer, NotAsked, text_of
from inspector.machine.x86.cpu.instructions.tiles import FULL_TILECFG
from inspector.machine.x86.replay.programs.digest import changed
from inspector.machine.x86.replay.programs.program import Program
from inspector.machine.x86.replay.programs.replay import replay_program
from inspector.machine.x86.replay.programs.traced import replay_ptrace
from tests.machine.x86_programs import Record, host, recorded, wrong

#: ARCH_GET_XCOMP_SUPP, ARCH_GET_XCOMP_PERM, ARCH_REQ_XCOMP_PERM, ARCH_GET_XCOMP_GUEST_PERM; one that is none.
SUPPORTED, PERMITTED, REQUEST, GUESTS, NONE = "1021", "1022", "1023", "1024", "1020"
TILES = ["arch_prctl", REQUEST, 18]
CONFIGURED = ["ldtilecfg", FULL_TILECFG.hex()]
MINUS_64 = (1 << 64) - 64
#: The first byte that is not mapped behind the data.
GUARD = "210010000"


def did(*steps: list[Any], group: str = "") -> list[Any]:
    program = Program(host(), group)
    return [program.step([*step, 0, "0"])[0] for step in steps]


def digest(data: bytes) -> str:
    return f"{zlib.crc32(data):08x}:{data[:16].hex()}"


# Addresses that have a name


def test_a_configuration_that_is_not_aligned_is_loaded() -> None:
    """LDTILECFG has no alignment."""
    *_, shown = did(TILES, ["ldtilecfg_at", "unaligned"], ["sttilecfg"], ["sttilecfg_bytes"])
    assert shown == FULL_TILECFG.hex()


@pytest.mark.parametrize(
    ("step", "address"),
    [
        (["ldtilecfg_at", "crosses-into-unmapped"], GUARD),
        (["sttilecfg_at", "crosses-into-unmapped"], GUARD),
        (["tileloadd_at", 0, "3 rows mapped", 64], GUARD),
        (["tilestored_at", 0, "15 rows mapped", 64], GUARD),
        (["load_unmapped"], "300000000"),
    ],
)
def test_where_a_step_faults(step: list[Any], address: str) -> None:
    """SIGSEGV with the first address that is not mapped."""
    *_, found = did(TILES, CONFIGURED, step)
    assert (found["sig"], found["addr"]) == (11, address)


def test_faults_that_have_no_address() -> None:
    """A general protection has none; x87 alone ends before the tail of an image."""
    done, fault = did(["xrstor", "1", "tail-unmapped"], ["load_noncanonical"])
    assert (done, fault["trap"], "addr" in fault) == (0, 13, False)


@pytest.mark.parametrize(("stride", "of_row"), [(MINUS_64, lambda row: 960 - 64 * row), (0, lambda _: 960)])
def test_rows_of_a_tile_by_its_stride(stride: int, of_row: Any) -> None:
    """A stride is signed: the rows lie below the address."""
    load = ["tileloadd_at", 2, "pattern 5", stride]
    *_, shown = did(TILES, CONFIGURED, load, ["tilestored", 2, 64], ["stored", 1024])
    assert shown == digest(bytes((5 + 3 * (of_row(row) + at)) & 0xFF for row in range(16) for at in range(64)))
    *_, shown = did(TILES, CONFIGURED, load, ["tilestored", 2, 64], ["stored", 64])
    assert shown == digest(bytes((5 + 3 * (960 + at)) & 0xFF for at in range(64)))


def test_a_tile_of_zeroes_by_its_number() -> None:
    *_, one, other = did(
        *(TILES, CONFIGURED, ["tileloadd", 0, 1, 64], ["tileloadd", 3, 1, 64], ["tileloadd_zero", 3]),
        *(["tilestored", 3, 64], ["stored", 1024], ["tilestored", 0, 64], ["stored", 1024]),
    )[-3::2]
    assert (one, other) == ("00*", digest(bytes((1 + 3 * at) & 0xFF for at in range(1024))))


def test_what_the_recorder_puts_where_a_step_faults() -> None:
    *_, shown = did(["ldtilecfg_at", "crosses-into-unmapped"], ["mem_before_guard"])
    assert shown == digest(bytes(992) + FULL_TILECFG[:32])
    # The image is the first that is mapped there: no offset is below it.
    assert did(["xsave", "1", "off64"]) == [0]


# Instructions


def test_tile_0_is_the_one_that_is_not_named() -> None:
    zero, one = ["tilestored", 0, 64], ["tilestored", 1, 64]
    load = [["tileloadd", tile, 1, 64] for tile in (0, 1)]
    found = did(TILES, CONFIGURED, *load, ["tileloadd_zero"], zero, ["stored", 1024], one, ["stored", 1024])
    assert (found[-3], found[-1]) == ("00*", digest(bytes((1 + 3 * at) & 0xFF for at in range(1024))))


def test_masks_are_hexadecimal() -> None:
    """SSE, AVX, a ZMM and an opmask are in use: what the mask names is saved or made initial, and no more."""
    used = (["load_zmm", 0, 1], ["kmovq", 0, "1"])
    assert did(*used, ["xsavec_hdr", "20"], ["header"])[-1].startswith("20" + "00" * 7)
    assert int(did(*used, ["xrstor", "60"], ["xgetbv", 1])[-1], 16) & 0x64 == 4
    image = ["xrstor_img", "2", "0", "2", [[24, 2, "100", "1a00"]]]
    assert did(image, ["stmxcsr"], ["mxcsr"])[-1] == "001b0000"


def test_a_field_is_changed_in_its_size() -> None:
    """What does not fit is cut; the first byte behind the image can be changed."""
    assert changed(bytes(4), 1, 1, 0, 0x1A5) == bytes((0, 0xA5, 0, 0))
    assert changed(b"\x77" * 4, 4, 1, 0, 5) == b"\x77" * 4 + b"\5"


def test_control_and_values_of_instructions() -> None:
    assert did(["wrpkru", "55"], ["rdpkru"]) == [0, "55"]
    (fault, kept) = did(["wrpkru", "55", 1], ["rdpkru"])
    assert (fault["trap"], kept) == (13, "55555554")
    (fault, _) = did(["wrpkru", "55", 0, 1], ["rdpkru"])
    assert fault["trap"] == 13
    # ZE is masked by what MXCSR has initially, and raised where it is not: #XM, FPE_FLTDIV.
    (_, fault) = did(["ldmxcsr", "1d80"], ["divps %xmm1,%xmm0"])
    assert (fault["sig"], fault["code"], fault["trap"], fault["mx"]) == (8, 3, 19, "1d84")
    assert did(["divps %xmm1,%xmm0"], ["stmxcsr"], ["mxcsr"])[-1] == "841f0000"
    # In user mode there are no XSAVES and XRSTORS.
    assert [fault["trap"] for fault in did(["xsaves", "1"], ["xrstors", "1"])] == [13, 13]


@pytest.mark.parametrize(
    ("name", "xcomp"), [("xsave", "cc" * 8), ("xsavec", "0300000000000080"), ("xsaveopt", "cc" * 8)]
)
def test_what_is_written_of_a_header(name: str, xcomp: str) -> None:
    """XSAVE and XSAVEOPT write no more than XSTATE_BV, of whose other bits none; XSAVEC 16 bytes."""
    _, shown = did([f"{name}_hdr", "3"], ["header"])
    assert (shown[16:32], shown[32:]) == (xcomp, "cc" * 48)


def test_fxsave_and_fxrstor() -> None:
    """Bytes 464 to 511 are left as they are; MM0 is at byte 32."""
    (_, registers, rest) = did(["fxsave"], ["fxsave_mmx"], ["sw416"])
    assert registers == "7f03" + "00" * 22 + "801f0000ffff0000"
    assert rest == "cc*"
    _, _, image = did(["fxrstor", [[24, 4, "1f00"]]], ["fxsave"], ["fxsave_mmx"])
    assert image[48:56] == "001f0000"
    assert did(["movq_mm", 0, 7], ["xsave_x87"], ["header"])[-1].startswith("01")


# System calls


def test_arch_prctl_with_a_pointer() -> None:
    """fpu_xstate_prctl: put_user fails where nothing is mapped, an operation that is none is EINVAL before that."""
    calls = [[SUPPORTED, "0"], [SUPPORTED, "210000000"], [NONE, "210000000"], [PERMITTED, "300000000"]]
    expected = [-errno.EFAULT, 0, -errno.EINVAL, -errno.EFAULT]
    assert did(*(["arch_prctl_ptr", *call] for call in calls)) == expected


def test_arch_prctl_without_one() -> None:
    operations = (NONE, SUPPORTED, PERMITTED, GUESTS)
    codes = [-errno.EINVAL, -errno.EFAULT, -errno.EFAULT, -errno.EFAULT]
    assert did(*(["arch_prctl", operation, 0] for operation in operations)) == codes
    # A component that is not there, and one without permission to ask for.
    assert did(["arch_prctl", REQUEST, 63], ["arch_prctl", REQUEST, 18]) == [-errno.EINVAL, 0]
    assert did(["arch_prctl_get", NONE]) == [[-errno.EINVAL, "dead"]]
    assert did(["arch_prctl", "1025", 18], ["arch_prctl_get", PERMITTED], ["arch_prctl_get", GUESTS])[1:] == [
        [0, "202e7"],
        [0, "602e7"],
    ]


def test_memory_after_fork_and_in_a_thread() -> None:
    """A child has its own; a thread has the same."""
    write, show = ["stmxcsr"], ["mxcsr"]
    for child, end, last in (("child", "endchild", "801f0000"), ("thread", "endthread", "a01f0000")):
        *_, found = did(write, [child], ["ldmxcsr", "1fa0"], write, [end], show)
        assert found == last


# Signals

USR1, USR2 = 10, 12


def test_what_a_handler_changed() -> None:
    """MXCSR of the frame is what sigreturn loads, wherever the pointer to the image was moved; NULL is no image."""
    mxcsr = [24, 4, "0", "1f00"]
    assert did(["raise", USR1, [mxcsr]], ["stmxcsr"], ["mxcsr"])[-1] == "001f0000"
    (seen, _, kept) = did(["raise", USR2, [[0, 10, "0", "0"]]], ["stmxcsr"], ["mxcsr"])
    assert (seen["sig"], kept) == (USR2, "801f0000")


@pytest.mark.parametrize(
    ("changes", "mxcsr", "masks"),
    [
        # The pointer to the image: there and back, NULL, and what would be changed in an image that is not there.
        ([[0, 10, "f" * 16, "40"], [0, 10, "f" * 16, f"{MINUS_64:x}"]], "a01f0000", True),
        ([[0, 10, "0", "0"]], "801f0000", False),
        ([[0, 10, "0", "0"], [24, 4, "0", "1f00"]], "801f0000", False),
        # uc_flags; FP_XSTATE_MAGIC2, without which no more than FXRSTOR is done.
        ([[0, 9, "0", "0"]], "a01f0000", True),
        ([[65535, 4, "0", "0"]], "a01f0000", False),
    ],
)
def test_what_sigreturn_makes_of_a_frame(changes: list[Any], mxcsr: str, *, masks: bool) -> None:
    used = (["ldmxcsr", "1fa0"], ["kmovq", 0, "1"])
    *_, in_use, _, shown = did(*used, ["raise", USR1, changes], ["xgetbv", 1], ["stmxcsr"], ["mxcsr"])
    assert (shown, bool(int(in_use, 16) >> 5 & 1)) == (mxcsr, masks)


def test_a_frame_is_filled_to_its_end_and_not_beyond() -> None:
    """PKRU is at byte 2688 of 2816."""
    for offset, pkru in ((1792, "8a878481"), (1793, "55555554")):
        assert did(["raise", USR1, [[offset, 11, "0", "1"]]], ["rdpkru"])[-1] == pkru


def test_a_later_signal_has_no_address() -> None:
    """The trap and the error code stay those of the page fault."""
    *_, seen = did(["load_unmapped"], ["raise", USR1, []])
    assert (seen["sig"], seen["trap"], seen["err"], "addr" in seen) == (USR1, 14, 4, False)


# Records


def predicted(*steps: list[Any]) -> list[list[Any]]:
    program = Program(host())
    return [[*step, *program.step([*step, 0, "0"])] for step in steps]


def asked(steps: list[list[Any]], **more: object) -> str:
    """Of each step: a for one that agrees, w for a wrong one, - for one that is not asked."""
    record = {"t": "prog", "group": "g", "id": "1", "steps": steps, "end": {"exit": 0}, **more}
    found = list(replay_program(host(), record))[:-1]
    return "".join("-" if isinstance(one, NotAsked) else "wa"[one.agrees] for one in found)


def without(in_use: str) -> str:
    return f"{int(in_use, 16) & ~0x200:x}"


def test_a_bit_of_pkru_that_was_not_the_same_in_every_run() -> None:
    """Two steps in which it is in use, recorded as initial in the second."""
    steps = predicted(["spin", 1], ["spin", 1])
    steps[1][-1] = without(steps[1][-1])
    assert [asked(steps, pkru_in_use_unstable=each) for each in ([1], [0], [])] == ["a-", "aw", "aw"]


def test_pkru_is_initial_before_a_step() -> None:
    steps = predicted(["xrstor_init_pkru"], ["wrpkru", "0"])
    steps[1][-1] = without(steps[1][-1])
    assert asked(steps) == "a-"


def test_pkru_in_a_digest() -> None:
    """Its bit of XSTATE_BV and its bytes differ, and XINUSE does not: no other task ran, and the next step agrees."""
    used = (["tileloadd", 0, 1, 64], ["kmovq", 0, "1"], ["load_zmm", 0, 1], ["load_zmm", 16, 1])
    steps = predicted(TILES, CONFIGURED, *used, ["xrstor_init_pkru"], ["dig"], ["spin", 1])
    shown = steps[-2][-2]
    steps[-2][-2] = {**shown, "bv": f"{int(shown['bv'], 16) | 0x200:x}", "9": "00" * 8}
    assert asked(steps) == "a" * 7 + "-a"
    steps[-2][-2]["bv"] = f"{int(shown['bv'], 16) ^ 0x220:x}"
    assert asked(steps) == "a" * 7 + "wa"


def test_runs_that_are_counted_by_what_they_answer() -> None:
    steps = [["arch_prctl", NONE, 0, -errno.EINVAL, "200"], ["ud2", {"sig": 4}, "200"], ["spin", 1, 0, "200"]]
    found = list(replay_program(host(), {"t": "prog", "group": "g", "id": "1", "steps": steps, "end": {"exit": 0}}))
    assert [answer.accepted for answer in found if isinstance(answer, Answer)] == [False, False, True, True]


def test_ptrace_calls_are_named_and_counted() -> None:
    """A refused call is refused; a disagreement has the case, the length and the changes."""
    records: list[Record] = [each for each in recorded() if each["t"] == "ptrace" and each["what"] != "get"]
    for record in records:
        (answer, end) = wrong(list(replay_ptrace(host(), {**record, "answer": {"err": 1}, "end": {}})))
        assert (answer.accepted, end.kind) == (False, "end")
        told = text_of([record[key] for key in ("setup", "case", "len", "mods") if key in record])
        assert answer.record.replace("null,", "") == told


def test_an_iovec_where_nothing_is_mapped() -> None:
    record = next(each for each in recorded() if each["t"] == "ptrace" and each["what"] == "set")
    asked = {**record, "case": "iov_base=1", "len": 77, "answer": None, "end": {"exit": 0}}
    answer = next(each for each in wrong(list(replay_ptrace(host(), asked))) if each.kind == "ptrace set")
    assert isinstance(answer.predicted, dict)
    assert (answer.predicted["err"], answer.predicted["iov_len"]) == (errno.EFAULT, 77)
    assert set(answer.predicted) == {"err", "iov_len", "read_back"}


def test_steps_after_a_ptrace_call_are_asked_by_their_number() -> None:
    record = copy.deepcopy(
        next(each for each in recorded() if each["t"] == "ptrace" and each["steps"][-1][0] != "stop")
    )
    stop = [step[0] for step in record["steps"]].index("stop")
    for step in record["steps"]:
        step[-2] = "another"
    found = [each for each in wrong(list(replay_ptrace(host(), record))) if not each.kind.startswith("ptrace")]
    assert len(found) == len(record["steps"]) > stop + 1
    for number, each in enumerate(found):
        assert f" step {number}: " in each.record
