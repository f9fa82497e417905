"""Stubs that are endless, huge, malformed, slow or gone end in one line, within seconds, and cost no memory."""

from __future__ import annotations

import socket
import time

import pytest

from inspector.cli.main import main
from inspector.targets.live import link
from tests.targets.live.played import Talk, dripping, endless, once, packet, served

_XML = b"<target><architecture>i386:x86-64</architecture>%s</target>"


def stub(**answers: bytes) -> Talk:
    """A stub that gives these answers by the first letters of what it is asked; ``xml`` is its target.xml."""
    known = {
        "qSupported": b"PacketSize=1000;qXfer:features:read+",
        "?": b"T05",
        "qfThreadInfo": b"m1",
        "qsThreadInfo": b"l",
        "Hg": b"OK",
        "qXfer": b"l" + _XML % b'<feature name="x"><reg name="rax" bitsize="64"/></feature>',
        "g": b"0102030405060708",
        "D": b"OK",
        **answers,
    }

    def talk(other: socket.socket) -> None:
        held = b""
        while data := other.recv(1 << 16):
            held += data
            while (end := held.find(b"#")) >= 0 and len(held) >= end + 3:
                asked, held = held[held.find(b"$") + 1 : end].decode("latin-1"), held[end + 3 :]
                found = [answer for name, answer in known.items() if asked.startswith(name)]
                other.sendall(b"+" + packet(found[-1] if found else b""))

    return talk


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "DEADLINE_SECONDS", 0.5)


def told(talk: Talk, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, list[str]]:
    began = time.monotonic()
    with served(talk) as port:
        code = main(["show", f"gdb:127.0.0.1:{port}"])
    assert time.monotonic() - began < 4
    out, err = capsys.readouterr()
    return code, out, err.splitlines()


def test_the_least_stub_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(stub(), capsys)
    assert (code, len(err)) == (0, 2)
    assert "regs.rax                     0x0807060504030201" in out


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (endless(b"+"), "no whole answer within 0.5 seconds"),
        (endless(b"$" + b"0" * 4096), "expected an answer of at most 1048576 bytes, found a longer one"),
        (endless(b"%x#00"), "no whole answer within"),
        (endless(packet(b"T05thread:1;")), "no whole answer within"),
        (once(b""), "the other end closed the connection"),
        (once(b"", 2), "no whole answer within"),
        (dripping, "no whole answer within"),
        (once(b"HTTP/1.1 400 Bad Request\r\n"), "found a byte 0x48 between its packets"),
        (once(b"+$abc#00"), "expected a packet with its checksum, found one of 0x26 that says 00"),
        (once(b"+$abc#zz"), "that says zz"),
        (once(b"+$" + b"0*~" * 8000 + b"#ff"), "checksum"),
        (once(packet(b"0" + b"*~" * 16000)), "a packet of at most 1048576 bytes"),
        (stub(qSupported=b""), "expected a stub with a target description"),
        (stub(qXfer=b""), "found an empty answer for target.xml"),
        (stub(qXfer=b"E01"), "found E01 for target.xml"),
        (stub(qXfer=b"m"), "expected a target description"),
        (stub(qXfer=b"m" + b"x" * 100000), "a description of at most"),
        (stub(qXfer=b"l<target>"), "expected a target description in XML"),
        (stub(qXfer=b'l<!DOCTYPE t [<!ENTITY a "b">]><target>&a;</target>'), "another document type"),
        (stub(qXfer=b'l<target><xi:include href="target.xml"/></target>'), "target.xml again, or more"),
        (stub(qXfer=b"l" + _XML % b'<feature><reg name="a" bitsize="-1"/></feature>'), "found a: -1 bits"),
        (stub(qXfer=b"l" + _XML % b'<feature><reg name="a" bitsize="99999999"/></feature>'), "found a: 99999999"),
        (stub(qXfer=b"l" + _XML % b'<feature><reg name="a" bitsize="8" regnum="-1"/></feature>'), "of its own"),
        (stub(qXfer=b"l<target><architecture>s390:64-bit</architecture></target>"), "none of 's390:64-bit'"),
        (
            stub(
                qXfer=b"l" + _XML.replace(b"i386:x86-64", b"mips") % b'<feature><reg name="a" bitsize="8"/></feature>'
            ),
            "expected CPUs of x86 or arm64, found mips",
        ),
        (stub(qfThreadInfo=b"m1", qsThreadInfo=b"m1"), "expected a list of at most 65536 threads, each once"),
        (stub(Hg=b"E01"), "expected thread 1, found E01"),
        (stub(g=b"zz02030405060708"), "expected rax as 8 bytes, found zz02030405060708"),
        (stub(g=b"E01"), "expected registers of a thread, found none"),
        (stub(**{"?": b"W00"}), "found a stub whose process has ended"),
        (stub(g=b"\x1b[2J\x1b[2J\x1b[2J\x1b[2J"), "\\x1b[2J"),
    ],
)
def test_what_is_no_answer_is_one_line(talk: Talk, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(talk, capsys)
    assert (code, out, len(err)) == (3, "", 3)
    assert said in err[-1]
    assert "\x1b" not in "".join(err)


def test_threads_that_came_before_a_fault_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(stub(qfThreadInfo=b"m1,2,3", Hg2=b"E16"), capsys)
    assert code == 3
    assert "vCPU 0  thread 1" in out
    assert "expected 3 threads, found 1, then E16" in err[-1]


@pytest.mark.parametrize(
    ("word", "said", "code"),
    [
        ("gdb:", "expected gdb:HOST:PORT or gdb:PATH of a unix socket", 2),
        ("gdb:localhost:70000", "expected a port of 1 to 65535", 2),
        ("gdb:localhost:1?", "expected ?paused behind the address", 2),
        ("gdb:localhost:1?dump", "expected ?paused behind the address", 2),
        ("gdb:localhost:1", "nobody who listens there (connection refused)", 3),
        ("gdb:no.such.host.invalid:1", "expected the address of no.such.host.invalid", 3),
        ("gdb:/no/such/socket", "no such socket", 3),
        ("gdb:/dev/null", "found nobody who listens there", 3),
        ("gdb:" + "x" * 200, "path too long", 3),
    ],
)
def test_words(word: str, said: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", word]) == code
    out, err = capsys.readouterr()
    assert not out
    assert said in err.splitlines()[-1]
    assert "goes on" not in err
