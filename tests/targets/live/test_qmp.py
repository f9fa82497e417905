"""``qmp:``: what the monitor says agrees with the stub and the stream, and the machine goes on whatever happens."""

from __future__ import annotations

import importlib
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inspector.cli.main import main
from inspector.decode.fields import FieldTable
from inspector.readers.qemu_feature_words import areas_of
from inspector.targets.live import link, qmp
from inspector.targets.schemes import capture_of
from tests.support import field
from tests.targets.live.machines import disagreements, machine
from tests.targets.live.played import Talk, dripping, endless, once, served

GREETING = b'{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}\n'


@pytest.mark.parametrize(("arch", "shared"), [("x86", 60), ("arm64", 30)])
def test_monitor_stub_and_stream_agree(arch: str, shared: int, tmp_path: Path) -> None:
    with machine(arch, tmp_path) as qemu:
        qemu.settle()
        qemu.ask("stop")
        monitor = capture_of(f"qmp:{qemu.qmp}")
        assert qemu.status == "paused"
        stream = capture_of(str(qemu.migrated()))
        stub = capture_of(f"gdb:{qemu.gdb}")
    assert [vcpu.name for vcpu in monitor.vcpus] == ["cpu 0", "cpu 1"]
    for other in (stream, stub):
        differ, equal = disagreements(monitor, other)
        # The text has the x87 words that the stub has not, and numbers of registers that are no one's else.
        assert [change.path for change in differ] == []
        assert equal >= shared


@pytest.mark.parametrize("wish", ["", "?migrate", "?dump"])
def test_a_machine_that_runs_runs_after(wish: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with machine("x86", tmp_path) as qemu:
        qemu.settle()
        assert main(["show", f"qmp:{qemu.qmp}{wish}", "--field", "regs.*bx", "--vcpu", "0"]) == 0
        assert qemu.status == "running"
    out, err = capsys.readouterr()
    assert "cafebabe" in out
    assert "stops the machine while its registers are read" in err
    assert "and goes on" in err


def test_a_stopped_machine_that_migrates_is_told(tmp_path: Path) -> None:
    with machine("x86", tmp_path, "-S") as qemu:
        found = capture_of(f"qmp:{qemu.qmp}?migrate")
        assert found.notices[-1] == "the machine was prelaunch, and is postmigrate now; cont resumes it"
        assert found.format == "qemu-stream"


_KILLED = """
import os, sys
from inspector.targets.live import qmp_visit
from inspector.targets.schemes import capture_of
count, last, number = 0, int(sys.argv[2]), int(sys.argv[3])
ask = qmp_visit._Visit._ask
async def counted(self, *words):
    global count
    if count == last:
        os.kill(os.getpid(), number)
    count += 1
    return await ask(self, *words)
qmp_visit._Visit._ask = counted
capture_of(sys.argv[1])
"""


@pytest.mark.parametrize("wish", ["", "?migrate"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_at_each_step_the_machine_goes_on(number: int, wish: str, tmp_path: Path) -> None:
    with machine("x86", tmp_path) as qemu:
        qemu.settle()
        for step in (0, 1, 2, 3, 4):
            words = [sys.executable, "-c", _KILLED, f"qmp:{qemu.qmp}{wish}", str(step), str(number)]
            done = subprocess.run(words, capture_output=True, check=False, start_new_session=True)
            assert done.returncode != 0, (step, done.stderr)
            assert qemu.until("running"), step


def greeted(data: bytes, *, forever: bool = False) -> Talk:
    """A monitor that greets and takes the first command, and then says this."""

    def talk(other: socket.socket) -> None:
        other.sendall(GREETING)
        asked = json.loads(other.recv(4096))
        other.sendall(json.dumps({"return": {}, "id": asked.get("id")}).encode() + b"\n")
        other.recv(4096)
        while True:
            other.sendall(data)
            if not forever:
                time.sleep(5)

    return talk


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (once(b""), "expected a QMP monitor, found"),
        (once(b"", 2), "no whole answer in time"),
        (once(b"HTTP/1.1 400 Bad Request\r\n"), "expected a QMP monitor, found"),
        (endless(b"x" * 65536), "expected a QMP monitor, found"),
        (endless(b"{}\n"), "expected a QMP monitor, found"),
        (dripping, "no whole answer in time"),
        (once(b'{"QMP": 1}\n'), "expected a QMP monitor, found"),
        (greeted(b""), "no whole answer in time"),
        (greeted(b"not JSON\n"), "expected a QMP monitor, found"),
        (greeted(b"[" * 100000 + b"\n"), "expected a QMP monitor, found"),
        (greeted(b'{"event": "STOP", "timestamp": {}}\n' * 1000, forever=True), "no whole answer in time"),
        (greeted(b'{"return": {}, "id": "of no one"}\n' * 1000, forever=True), "no whole answer in time"),
    ],
)
def test_what_is_no_monitor_is_one_line(
    talk: Talk, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    visit = importlib.import_module("inspector.targets.live.qmp_visit")
    monkeypatch.setattr(visit, "DEADLINE_SECONDS", 0.5)
    monkeypatch.setattr(link, "DEADLINE_SECONDS", 0.5)
    began = time.monotonic()
    with served(talk) as port:
        assert main(["show", f"qmp:127.0.0.1:{port}"]) == 3
    assert time.monotonic() - began < 5
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert said in err


def test_without_the_extra_one_line_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(qmp, "find_spec", lambda _: None)
    assert main(["show", "qmp:/tmp/x"]) == 2
    assert "pip install 'vcpu-inspector[qmp]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "said", "code"),
    [
        ("qmp:", "expected qmp:HOST:PORT or qmp:PATH", 2),
        ("qmp:localhost:1?dump", "passes a file through a unix socket", 2),
        ("qmp:/x?stop", "expected ?migrate or ?dump", 2),
        ("qmp:/no/such", "no such socket", 3),
    ],
)
def test_words(word: str, said: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", word]) == code
    assert said in capsys.readouterr().err


def test_the_model_is_beside_the_registers(tmp_path: Path) -> None:
    # TCG has no AVX-512: what is asked for is named, and left out.
    with machine("x86", tmp_path, "-cpu", "Skylake-Server,+pku,+avx512-fp16") as qemu:
        found = capture_of(f"qmp:{qemu.qmp}")
    by_prefix = {area.prefix: FieldTable(area) for area in found.context}
    assert list(by_prefix) == ["props", "guest", "host", "refused"]
    assert field(found.vcpus[0], "regs.rbx").value is not None

    def bit(path: str) -> int | None:
        table = by_prefix[path.partition(".")[0]]
        return table.decode(table.find(path)[0]).value

    # Asked for and given: the host has it. Asked for and filtered: neither has it. Not asked for: nobody knows.
    assert (bit("guest.7.0.ecx.PKU"), bit("host.7.0.ecx.PKU")) == (1, 1)
    assert (bit("guest.7.0.edx.AVX512_FP16"), bit("host.7.0.edx.AVX512_FP16")) == (0, 0)
    assert (bit("guest.7.0.ecx.LA57"), bit("host.7.0.ecx.LA57")) == (0, None)
    assert bit("guest.1.0.ecx.OSXSAVE") is None
    assert by_prefix["refused"].get("refused.CPUID.7.0.EDX[23]")


@pytest.mark.parametrize("answer", [None, {}, [1, {}, {"cpuid-register": "EAX", "cpuid-input-eax": -1, "features": 1}]])
def test_what_is_no_word_is_left_out(answer: object) -> None:
    assert areas_of(answer, answer, "x") == []
