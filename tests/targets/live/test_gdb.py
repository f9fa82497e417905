"""``gdb:`` on QEMU: what it says agrees with the machine's own stream, and the machine goes on whatever happens."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inspector.cli.main import main
from inspector.targets.schemes import capture_of
from tests.support import field
from tests.targets.live.machines import disagreements, machine
from tests.targets.live.processes import all_sleep, states, until


@pytest.mark.parametrize(("arch", "shared"), [("x86", 90), ("arm64", 300)])
def test_the_stub_agrees_with_the_stream(arch: str, shared: int, tmp_path: Path) -> None:
    with machine(arch, tmp_path) as qemu:
        qemu.settle()
        stream = capture_of(str(qemu.migrated()))
        live = capture_of(f"gdb:{qemu.gdb}")
        assert qemu.status == "postmigrate"
    assert [vcpu.name for vcpu in live.vcpus] == ["cpu 0", "cpu 1"]
    differ, equal = disagreements(live, stream)
    assert [change.path for change in differ] == []
    assert equal >= shared


def test_what_is_stopped_is_told_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with machine("x86", tmp_path) as qemu:
        qemu.settle()
        assert main(["show", f"gdb:{qemu.gdb}", "--field", "regs.rbx", "--vcpu", "0"]) == 0
        assert qemu.status == "running"
    out, err = capsys.readouterr()
    assert "0x00000000cafebabe" in out
    before, after, x87 = err.splitlines()
    assert "stops what is behind the stub" in before
    assert "was stopped for" in after
    assert after.endswith("and goes on")
    assert "numbers x87 registers physically" in x87


def test_a_machine_that_did_not_run_does_not_run_after(tmp_path: Path) -> None:
    with machine("x86", tmp_path, "-S") as qemu:
        assert field(capture_of(f"gdb:{qemu.gdb}").vcpus[0], "regs.rip").value == 0xFFF0
        assert qemu.status == "prelaunch"
    with machine("x86", tmp_path) as qemu:
        qemu.ask("stop")
        capture_of(f"gdb:{qemu.gdb}?paused")
        assert qemu.status == "paused"


#: A program that kills itself at the nth packet that it sends, or when it has connected (0).
_KILLED = """
import os, sys
from inspector.targets.live import link
from inspector.targets.schemes import capture_of
count, last, number = 0, int(sys.argv[2]), int(sys.argv[3])
send = link.Link.send
def counted(self, data):
    global count
    if count == last:
        os.kill(os.getpid(), number)
    count += 1
    send(self, data)
link.Link.send = counted
capture_of(sys.argv[1])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_at_each_step_the_machine_goes_on(number: int, tmp_path: Path) -> None:
    with machine("x86", tmp_path) as qemu:
        qemu.settle()
        for step in (0, 1, 2, 5, 9, 14):
            words = [sys.executable, "-c", _KILLED, f"gdb:{qemu.gdb}", str(step), str(number)]
            done = subprocess.run(words, capture_output=True, check=False, start_new_session=True)
            assert done.returncode != 0, (step, done.stderr)
            assert qemu.until("running"), step
        assert qemu.process.poll() is None


def test_gdbserver_is_let_go_of() -> None:
    if shutil.which("gdbserver") is None:
        pytest.skip("gdbserver is not installed")
    victim = subprocess.Popen(
        [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"], stdout=subprocess.PIPE
    )
    assert victim.stdout is not None
    victim.stdout.read(2)
    until(lambda: all_sleep(victim.pid, 1))
    words = ["gdbserver", "--attach", "localhost:0", str(victim.pid)]
    server = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        port = next(line.split()[-1] for line in server.stderr if line.startswith("Listening on port"))
        found = capture_of(f"gdb:localhost:{port}")
        # It is let go of: gdbserver ends, and the victim sleeps on, which some time passes before.
        assert server.wait(60) == 0
        until(lambda: states(victim.pid) == ["S0"])
        own = capture_of(f"pid:{victim.pid}")
        until(lambda: states(victim.pid) == ["S0"])
    finally:
        for process in (victim, server):
            process.kill()
            process.wait()
    # Both stops are in the same sleep, which is begun anew between them (RAX). gdbserver has zeros for what is initial.
    differ, equal = disagreements(found, own)
    unlike = [change.path for change in differ if change.fields[1] and change.fields[1].state == ""]
    # gdbserver before 15 reads AVX-512 where Intel's CPUs have it, on any CPU.
    assert [path for path in unlike if not path.startswith(("xsave.zmm", "xsave.opmask", "xsave.pkru"))] in (
        [],
        ["regs.rax"],
    )
    assert equal > 25
