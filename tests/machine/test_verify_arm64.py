"""The arm64 machine against recorded answers of real kernels, on hosts that are known and on others."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from inspector.cli.main import main
from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.host import PSCI_0_2, Host
from inspector.machine.arm64.replay import hosts
from inspector.machine.arm64.replay.hosts import CONFIGURATIONS
from inspector.machine.verify import verify
from layouts.arm64.hosts import bare_hosts, encoding_of_text
from layouts.arm64.kernels import kernels, profile_for
from tests.machine.arm64 import DOCUMENTED, FILES, VERDICTS, documented_row

BATTERIES = [name for name in FILES if "sequences" not in name]
#: The CPUs of the files, as the bare hosts are called.
CPUS = {"max_sve-max-vq_3": "max,sve-max-vq=3"}
MPIDR = 0xC005


def lines(name: str) -> list[bytes]:
    return gzip.decompress((VERDICTS / f"{name}.jsonl.gz").read_bytes()).splitlines()


def records(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(name)]


@pytest.mark.parametrize("name", FILES)
def test_every_answer_agrees(name: str) -> None:
    agreement = verify(name, lines(name))
    assert agreement.disagreements == []
    assert agreement.agree == agreement.total > 13000
    assert agreement.host.endswith("from bare registers")
    assert documented_row(agreement) in DOCUMENTED


@pytest.mark.parametrize("name", ["arm64-linux-7.2-neoverse-v1", "arm64-sequences-linux-7.2-max"])
def test_on_a_host_that_nobody_knows_nearly_all_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the host is what the file shows: what only repeats that, and what hangs on what KVM hides, is not asked."""
    monkeypatch.setattr(hosts, "bare_hosts", dict)
    agreement = verify(name, lines(name))
    assert agreement.host.endswith("from the file's own answers")
    assert agreement.disagreements == []
    assert "the host is what the file itself shows" in agreement.not_asked


@pytest.mark.parametrize("name", BATTERIES)
def test_the_limits_follow_from_the_bare_registers(name: str) -> None:
    """Sanitising and KVM's filters give the very values that guests were recorded to start with."""
    kernel, _, cpu = name.removeprefix("arm64-linux-").partition("-")
    host = from_bare(profile_for(kernel), [bare_hosts()[CPUS.get(cpu, cpu)]])
    for record in records(name):
        if record["t"] == "idreg":
            encoding = encoding_of_text(record["reg"])
            expected = int(record["host"], 16)
            if encoding != MPIDR:
                assert host.reset_value(encoding, CONFIGURATIONS[record["cfg"]]) == expected, record["reg"]
        elif record["t"] == "vls":
            assert host.sve_vqs == int(record["vqs"], 16)
        elif record["t"] == "feat" and record.get("bit", 0) in (1, 3, 4) and record["err"] in (0, 22):
            assert bool(host.features >> record["bit"] & 1) == (record["err"] == 0)


@pytest.mark.parametrize("name", BATTERIES)
def test_the_writable_masks_are_the_kernels(name: str) -> None:
    kernel = profile_for(name.split("linux-")[1].split("-", maxsplit=1)[0])
    found = {encoding_of_text(r["reg"]): int(r["mask"], 16) for r in records(name) if r["t"] == "mask"}
    for encoding, register in kernel.registers.items():
        if found and not register.aarch32:
            assert found.get(encoding, 0) == register.mask, register.name


def test_a_wrong_answer_is_found() -> None:
    name = "arm64-linux-7.2-cortex-a57"
    changed = [line.replace(b'"afterrun","same":16', b'"afterrun","same":0') for line in lines(name)]
    (answer,) = verify("changed", changed).disagreements
    assert (answer.expected, answer.predicted) == (0, 16)
    assert "the VM has run" in answer.because


def test_another_kernel_answers_otherwise() -> None:
    """6.12 takes EL0 and EL1 of 0, does not ignore NV, has no implementation ID registers."""
    older = [line.replace(b'"release":"7.2', b'"release":"6.12') for line in lines("arm64-linux-7.2-max")]
    by_kind = verify("arm64-linux-7.2-max.jsonl", older).by_kind
    assert {kind for kind, (agree, total) in by_kind.items() if agree != total} >= {"idreg", "idw", "impcap", "feat"}


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(VERDICTS / "arm64-linux-7.2-cortex-a57.jsonl.gz")]) == 0
    assert "38505 of 38505 answers agree" in capsys.readouterr().out


def test_unlike_cpus_become_one_host() -> None:
    """Every field is safe for both, the vector lengths are those that both have."""
    kernel = kernels()["7.2"]
    big, little = bare_hosts()["neoverse-v1"], bare_hosts()["cortex-a55"]
    both, one = from_bare(kernel, [big, little]), from_bare(kernel, [big])
    assert both.sve_vqs == 0
    assert both.name == "neoverse-v1 + cortex-a55"
    for encoding, fields in kernel.fields.items():
        register = kernel.registers.get(encoding)
        if register is None or register.kind not in ("writable", "sanitised"):
            continue
        for field in fields:
            values = [field.get(host.sanitised[encoding]) for host in (both, one)]
            assert field.policy != "lower" or values[0] <= values[1], (register.name, field.name)


def test_aarch32_registers_are_writable_by_kernel() -> None:
    assert not Host(kernels()["6.16"], {0xC020: 2}).mask(0xC009)
    assert not Host(kernels()["7.2"], {0xC020: 1}).mask(0xC009)
    with_aarch32 = {0xC020: 2}
    assert not Host(kernels()["6.17"], with_aarch32).mask(0xC009)
    assert Host(kernels()["6.18"], with_aarch32).mask(0xC009)
    assert Host(kernels()["7.2"], {}).limit(0xC020, PSCI_0_2) == 0
