"""The program in a browser: who may ask, what is refused, what the page shows."""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from inspector.cli.main import main
from inspector.tui import serve
from tests.browser import Browser, needs_browser

needs_extra = pytest.mark.skipif(
    importlib.util.find_spec("textual_serve") is None, reason="the extra is not installed (pip install .[serve])"
)


def test_requests_of_others_are_refused() -> None:
    names = serve.names_of("127.0.0.1", 8000)
    for host in ("127.0.0.1:8000", "localhost:8000", "LOCALHOST:8000", "[::1]:8000"):
        assert not serve.refusal(host, "", names)
        assert not serve.refusal(host, f"http://{host}", names)
    for host in ("", "evil.example:8000", "127.0.0.1:8001", "127.0.0.1", "127.0.0.1:8000.evil.example"):
        assert serve.refusal(host, "", names)
    for origin in (
        "http://evil.example",
        "null",
        "http://localhost:8001",
        "file://",
        "http://localhost:8000@evil.example",
    ):
        assert serve.refusal("localhost:8000", origin, names)
    assert "localhost:8000" not in serve.names_of("192.0.2.1", 8000)
    assert not serve.refusal("127.0.0.1", "http://127.0.0.1", serve.names_of("127.0.0.1", 80))


@pytest.mark.parametrize(
    ("words", "expected", "code"),
    [
        (["sample:amx", "--port", "0"], "a port is 1 to 65535", 2),
        (["sample:amx", "--host", "0.0.0.0"], "name one address of this machine", 2),
        (["-"], "standard input can be read once", 2),
        (["/nothing/there"], "no such file", 3),
    ],
)
def test_what_cannot_be_served_is_one_line(
    words: list[str], expected: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *words]) == code
    err = capsys.readouterr().err
    assert expected in err
    assert err.count("\n") == 1


def test_without_the_extra_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "textual_serve.server", None)
    assert main(["serve", "sample:amx"]) == 2
    assert capsys.readouterr().err == "inspector: serve needs textual-serve: pip install 'vcpu-inspector[serve]'\n"


@needs_extra
def test_a_taken_port_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "sample:amx", "--port", str(taken.getsockname()[1])]) == 2
    err = capsys.readouterr().err
    assert "address already in use" in err.lower()
    assert err.count("\n") == 1


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server of a sample; ended as Ctrl-C ends it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "inspector", "serve", "sample:amx/process.core", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line == f"inspector: http://127.0.0.1:{port}/ shows it; Ctrl-C ends\n"
        _wait_for(port)
        yield f"127.0.0.1:{port}"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def _wait_for(port: int) -> None:
    """Until the server takes connections: it says so a moment before."""
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return


def asked(address: str, path: str, **headers: str) -> tuple[int, str]:
    """What the server answers."""
    request = urllib.request.Request(f"http://{address}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@needs_extra
def test_the_server_answers_its_own_pages_only(address: str) -> None:
    assert asked(address, "/")[0] == 200
    assert asked(address, "/", Host="evil.example") == (403, "not answered: Host is evil.example\n")
    for path in ("/", "/ws", "/static/js/textual.js"):
        assert asked(address, path, Origin="http://evil.example")[0] == 403


@needs_extra
@needs_browser
def test_the_page_shows_the_application(address: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    try:
        browser.open_url(f"http://{address.replace('127.0.0.1', 'localhost')}/")
        end = time.monotonic() + 15
        while "xstate_bv" not in browser.frames and time.monotonic() < end:
            browser.value("1")
            time.sleep(0.05)
        assert "xstate_bv" in browser.frames
        assert not [url for url in browser.answered if "127.0.0.1" not in url and "localhost" not in url]
    finally:
        browser.close()
