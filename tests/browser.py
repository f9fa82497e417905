"""A real browser for pages that we write: chromium without a window, driven through its debugging pipe.

The protocol is the DevTools protocol, one JSON object a message, ended by a zero byte (chromium's
``--remote-debugging-pipe``: it reads from descriptor 3 and writes to 4).
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
needs_browser = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed (apt-get install chromium)")
_TIMEOUT_SECONDS = 30.0
#: A binary frame (RFC 6455, 5.2).
_BINARY = 2
_WORDS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-extensions"),
    *("--disable-sync", "--disable-default-apps", "--remote-debugging-pipe"),
)


class Browser:
    """One page of one browser.

    ``requests`` are the URLs that it asked for, ``answered`` those that somebody answered, ``errors`` what its console
    told, ``frames`` what came through its WebSockets. ``folder`` is its own, with a short name: it makes sockets there.
    """

    def __init__(self, folder: Path) -> None:
        ours_read, theirs_write = os.pipe()
        theirs_read, ours_write = os.pipe()
        high = [fcntl.fcntl(number, fcntl.F_DUPFD, 20) for number in (theirs_read, theirs_write)]

        def place() -> None:
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self._process = subprocess.Popen(
            [CHROMIUM, *_WORDS, f"--user-data-dir={folder}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(3, 4),
            preexec_fn=place,
            env={
                **os.environ,
                "TMPDIR": str(folder),
                "HOME": str(folder),
                "XDG_CONFIG_HOME": str(folder),
                "XDG_STATE_HOME": str(folder),
            },
        )
        for number in (theirs_read, theirs_write, *high):
            os.close(number)
        self._read, self._write = ours_read, ours_write
        self._buffer = b""
        self._number = 0
        self._session = ""
        self.requests: list[str] = []
        self.answered: list[str] = []
        self.errors: list[str] = []
        self.frames = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser that we started."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def call(self, method: str, **parameters: Any) -> Any:
        """A command and its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        number = self._number
        answer = self._until(lambda found: found.get("id") == number)
        assert "error" not in answer, answer
        return answer.get("result", {})

    def open(
        self, page: Path, *, width: int = 1280, height: int = 900, dark: bool = False, scripts: bool = True
    ) -> None:
        """Show a file, and wait until it is loaded."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.open_url(page.as_uri())

    def open_url(self, url: str) -> None:
        """Show an address, and wait until it is loaded."""
        self.requests.clear()
        self.answered.clear()
        self.errors.clear()
        self.frames = ""
        self.call("Page.navigate", url=url)
        self._until(lambda found: found.get("method") == "Page.loadEventFired")

    def value(self, expression: str) -> Any:
        """What an expression is in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def click(self, x: float, y: float) -> None:
        """A click with the mouse."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self) -> bytes:
        """The window as PNG."""
        return b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def _until(self, is_it: Any) -> dict[str, Any]:
        end = time.monotonic() + _TIMEOUT_SECONDS
        while True:
            while b"\0" in self._buffer:
                text, _, self._buffer = self._buffer.partition(b"\0")
                found = json.loads(text)
                self._note(found)
                if is_it(found):
                    return dict(found)
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            chunk = os.read(self._read, 1 << 20)
            assert chunk, "the browser ended"
            self._buffer += chunk

    def _note(self, found: dict[str, Any]) -> None:
        parameters = found.get("params", {})
        if found.get("method") == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif found.get("method") == "Network.responseReceived":
            self.answered.append(parameters["response"]["url"])
        elif found.get("method") == "Network.webSocketFrameReceived":
            data = parameters["response"]
            text = data["payloadData"]
            self.frames += b64decode(text).decode(errors="replace") if data["opcode"] == _BINARY else text
        elif found.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(parameters["exceptionDetails"]))
        elif found.get("method") == "Log.entryAdded":
            self.errors.append(parameters["entry"]["text"])
