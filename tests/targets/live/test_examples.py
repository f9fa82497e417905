"""The documentation's commands on live targets: each runs on a machine, a process or a KVM of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile

import pytest

from inspector.capture.exit_code import ExitCode
from inspector.cli import watch
from inspector.cli.main import main
from inspector.machine.x86.live import LiveError, LiveKvm
from tests.documents import Example, live_examples
from tests.support import SAMPLES
from tests.targets.live.machines import Machine, machine

#: What the documents call a machine, its process, and a stream that was saved before.
_STUBS, _MONITOR = ("gdb:localhost:1234", "gdb:/run/vm.gdb"), "qmp:/run/vm.qmp"
_PROCESS, _THREAD = "4711", "4712"
_STREAMS = ("saved.stream", "before.stream")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine("x86", tmp_path_factory.mktemp("vm")) as made:
        made.settle()
        yield made


@pytest.fixture(scope="module")
def child() -> Iterator[int]:
    words = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"]
    made = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert made.stdout is not None
    made.stdout.readline()
    yield made.pid
    made.kill()
    made.wait()


def placed(example: Example, request: pytest.FixtureRequest) -> list[str]:
    """The words, with what is there instead of what the page names."""
    text = example.text
    if example.needs in ("a stub", "a monitor"):
        if example.needs == "a monitor":
            pytest.importorskip("qemu.qmp")
        there: Machine = request.getfixturevalue("running")
        for stub in _STUBS:
            text = text.replace(stub, f"gdb:{there.gdb}")
        text = text.replace(_MONITOR, f"qmp:{there.qmp}")
    elif example.needs == "a process":
        pid = str(request.getfixturevalue("child"))
        text = text.replace(_PROCESS, pid).replace(_THREAD, pid)
    return example._replace(text=text).words


def require_kvm() -> None:
    try:
        with LiveKvm() as kvm, kvm.vcpu():
            pass
    except (LiveError, OSError) as error:
        pytest.skip(f"no KVM of x86 here: {error}")


@pytest.mark.parametrize("example", live_examples(), ids=lambda example: f"{example.page}: {example.text}")
def test_a_live_example_runs(
    example: Example,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if example.needs.startswith("/dev/kvm"):
        require_kvm()
    words = placed(example, request)
    monkeypatch.chdir(tmp_path)
    for name in _STREAMS:
        copyfile(SAMPLES / "qemu-x86-max/migration-stream.gz", name)
    if words[0] == "verify":
        assert main(["record", "kvm:", "-o", words[1]]) == 0
    looks = iter((None, None))

    def sleep(_seconds: float) -> None:
        if next(looks, KeyboardInterrupt):
            raise KeyboardInterrupt

    monkeypatch.setattr(watch, "sleep", sleep)
    code = main(words)
    said = capsys.readouterr()
    if "Operation not permitted" in said.err:
        pytest.skip(said.err.strip())
    if "--watch" in words:
        assert code == ExitCode.INTERRUPTED
    else:
        # What was saved before, and what a kernel answers, may differ.
        assert code == 0 or (code == 1 and words[0] in ("diff", "verify", "sim")), said.err
    assert said.out or any(os.listdir())
