"""``pid:``: what a core of the same process has; nothing stays stopped, whatever happens."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inspector.capture.errors import InputError
from inspector.cli.main import main
from inspector.targets.schemes import capture_of
from tests.support import fields
from tests.targets.live.processes import all_sleep, states, until

#: Three threads that wait, and the word that they do.
_VICTIM = """
import threading, time
for _ in range(2):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[str]]:
    made = subprocess.Popen([sys.executable, "-c", _VICTIM], stdout=subprocess.PIPE, text=True)
    assert made.stdout is not None
    made.stdout.readline()
    until(lambda: all_sleep(made.pid, 3))
    yield made
    made.kill()
    made.wait()


def goes_on(pid: int) -> bool:
    """Every thread runs or waits for its own things, and nobody traces it."""
    return len(found := states(pid)) == 3 and set(found) <= {"S0", "R0"}


def stands(pid: int) -> bool:
    """Every thread is in the group's stop, and nobody traces it."""
    return states(pid) == ["T0"] * 3


def traced(pid: int) -> None:
    """Skip where this process may not trace its children."""
    try:
        capture_of(f"pid:{pid}")
    except InputError as error:
        if "Operation not permitted" in str(error):
            pytest.skip(str(error))
        raise


def _gdb_places_components() -> bool:
    """gdb before 15 writes AVX-512 and what is behind it where Intel's CPUs have it, on any CPU."""
    text = subprocess.run(["gdb", "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.findall(r"(\d+)\.\d+", text)[0]) >= 15


def test_it_agrees_with_gcore(victim: subprocess.Popen[str], tmp_path: Path) -> None:
    if shutil.which("gcore") is None:
        pytest.skip("gcore is not installed")
    traced(victim.pid)
    # In a group stop both look at the same registers: a call that is interrupted is begun anew.
    victim.send_signal(signal.SIGSTOP)
    until(lambda: stands(victim.pid))
    live = capture_of(f"pid:{victim.pid}")
    # A thread that is let go of in a group's stop runs into that stop again (ptrace_detach, __ptrace_unlink).
    until(lambda: stands(victim.pid))
    subprocess.run(["gcore", "-o", tmp_path / "core", str(victim.pid)], capture_output=True, check=True)
    core = capture_of(str(tmp_path / f"core.{victim.pid}"))
    by_name = {vcpu.name: fields(vcpu) for vcpu in core.vcpus}
    assert sorted(by_name) == sorted(vcpu.name for vcpu in live.vcpus)
    shared = ["regs.", "core.", "sysreg.", "fpregs.st", "fpregs.xmm", "xsave.xmm", "xsave.ymm"]
    if _gdb_places_components():
        shared += ["xsave.opmask", "xsave.zmm", "xsave.pkru", "sve.", "za"]
    for vcpu in live.vcpus:
        mine = {path: field.value for path, field in fields(vcpu).items() if path.startswith(tuple(shared))}
        assert len(mine) > 50
        assert mine == {path: by_name[vcpu.name][path].value for path in mine}


def test_one_thread(victim: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]) -> None:
    traced(victim.pid)
    other = sorted(map(int, os.listdir(f"/proc/{victim.pid}/task")))[1]
    assert main(["show", f"pid:{victim.pid}/{other}", "--list"]) == 0
    out, err = capsys.readouterr()
    assert f"thread {other}" in out
    assert f"thread {victim.pid}" not in out
    assert re.search(rf"stops thread {other} .*\n.*was stopped for [\d.]+ ms and goes on\n", err)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_at_each_step_nothing_stays_stopped(victim: subprocess.Popen[str], number: int) -> None:
    traced(victim.pid)
    code = (
        "import os, sys\n"
        "from inspector.targets.live import ptrace\n"
        "from inspector.targets.schemes import capture_of\n"
        "class Lib:\n"
        "    count = 0\n"
        "    def ptrace(self, *words):\n"
        "        done = real.ptrace(*words)\n"
        "        Lib.count += 1\n"
        "        if Lib.count == int(sys.argv[2]): os.kill(os.getpid(), int(sys.argv[3]))\n"
        "        return done\n"
        "real, ptrace._libc = ptrace._libc, Lib()\n"
        "capture_of(sys.argv[1])\n"
    )
    for step in (1, 2, 4, 7, 12, 19):
        words = [sys.executable, "-c", code, f"pid:{victim.pid}", str(step), str(number)]
        done = subprocess.run(words, capture_output=True, check=False)
        assert done.returncode != 0, step
        until(lambda: goes_on(victim.pid))


def test_a_signal_on_the_way_is_not_lost(victim: subprocess.Popen[str]) -> None:
    """A thread that stops with a signal, not at the interrupt, is let go with it."""
    code = "import signal, time\nsignal.signal(10, lambda *_: print('got', flush=True))\nprint(1, flush=True)\n"
    code += "while True: time.sleep(0.0001)"
    busy = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert busy.stdout is not None
    busy.stdout.readline()
    try:
        traced(busy.pid)
        for _ in range(20):
            busy.send_signal(signal.SIGUSR1)
            capture_of(f"pid:{busy.pid}")
            assert busy.stdout.readline() == "got\n"
    finally:
        busy.kill()
        busy.wait()


@pytest.mark.parametrize(
    ("word", "said", "code"),
    [
        ("pid:", "expected pid:N or pid:N/TID", 2),
        ("pid:0", "expected pid:N or pid:N/TID", 2),
        ("pid:12/", "expected pid:N or pid:N/TID", 2),
        ("pid:99999999999999999999", "expected pid:N or pid:N/TID", 2),
        ("pid:2147483647", "no such process", 3),
        ("pid:OWN/2147483647", "none with number 2147483647", 3),
        ("pid:OWN", "this program itself", 3),
    ],
)
def test_what_is_no_process_says_so(word: str, said: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", word.replace("OWN", str(os.getpid()))]) == code
    out, err = capsys.readouterr()
    assert not out
    assert said in err.splitlines()[-1]
    assert "goes on" not in err


def test_a_process_that_is_traced_already(victim: subprocess.Popen[str]) -> None:
    traced(victim.pid)
    code = (
        "import sys, time\n"
        "from inspector.targets.live.ptrace import Tracer\n"
        "tracer = Tracer('x', int(sys.argv[1]), lambda: None)\n"
        "tracer.stop()\nprint(1, flush=True)\ntime.sleep(60)\n"
    )
    tracer = subprocess.Popen([sys.executable, "-c", code, str(victim.pid)], stdout=subprocess.PIPE)
    assert tracer.stdout is not None
    tracer.stdout.readline()
    with pytest.raises(InputError, match=f"one that process {tracer.pid} traces"):
        capture_of(f"pid:{victim.pid}")
    tracer.kill()
    tracer.wait()
    until(lambda: goes_on(victim.pid))
