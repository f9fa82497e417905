"""Reports in a real browser: they fit, nothing in them runs, nothing is fetched, fields and bytes mark each other."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.cli.main import main
from inspector.export.files import save_new
from inspector.export.vcpu import write_vcpu
from tests.browser import Browser, needs_browser
from tests.hostile import TEXT, hostile_files
from tests.support import field, opened

pytestmark = needs_browser

_ATTACKS = (
    "</script><script>window.ran = 1</script>",
    '"><img src="{url}/x.png" onerror="window.ran = 2">',
    "</style><style>@import url({url}/x.css);</style>",
    "<svg onload=window.ran=3><link rel=stylesheet href={url}/y.css>",
    "]]>--><iframe src={url}/z></iframe>&lt;b&gt;",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("chromium"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "case.html"
    assert main(["report", "sample:amx", "--lint", "--vmm", "qemu", "-o", str(path)]) == 0
    return path


@pytest.fixture
def visitors() -> Iterator[tuple[str, list[bytes]]]:
    """A web server that nobody should visit: its address, and what was asked."""
    found: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            found.append(client.recv(200))
            client.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}", found
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width=width, dark=dark)
    browser.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("document.documentElement.scrollHeight") > 900
    colours = json.loads(browser.value("JSON.stringify([getComputedStyle(document.body).backgroundColor])"))
    light = sum(map(int, colours[0].removeprefix("rgb(").removesuffix(")").split(",")))
    assert (light < 3 * 64) is dark
    assert len(browser.screenshot()) > 20_000, "not blank"
    assert browser.requests == [page.as_uri()]
    assert browser.errors == []


def test_text_can_be_read_in_both_schemes(browser: Browser, page: Path) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 for the text, the quiet text and the marks."""
    ratio = """(() => {
      const style = getComputedStyle(document.documentElement);
      const part = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
      const light = (name) => {
        const hex = style.getPropertyValue(name).trim().slice(1);
        const full = hex.length === 3 ? [...hex].map((c) => c + c).join("") : hex;
        const [r, g, b] = [0, 2, 4].map((at) => part(parseInt(full.slice(at, at + 2), 16) / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const pairs = [];
      for (const ground of ["--ground", "--paper", "--tint"])
        for (const text of ["--text", "--quiet", "--good", "--bad", "--warn"]) pairs.push([text, ground]);
      pairs.push(["--on-mark", "--mark"]);
      return Math.min(...pairs.map(([one, other]) => {
        const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
      }));
    })()"""
    for dark in (False, True):
        browser.open(page, dark=dark)
        assert browser.value(ratio) >= 4.5


def test_fields_and_bytes_mark_each_other(browser: Browser, page: Path) -> None:
    browser.open(page)
    row = (
        "[...document.querySelectorAll('tr[data-at]')].find((one) => one.textContent.startsWith('xsave.header.xstate'))"
    )
    browser.value(f"{row}.click()")
    marked = f"[...{row}.closest('.pair').querySelectorAll('mark')].map((one) => one.textContent).join(' ')"
    assert browser.value(marked) == browser.value(f"{row}.querySelector('.b').textContent")
    # The third byte of the other one: XCOMP_BV at 520.
    place = browser.value(
        f"""(() => {{
          const line = {row}.closest('.pair').querySelector('code[data-o="512"]');
          line.scrollIntoView({{block: "center"}});
          const range = document.createRange();
          const text = line.lastChild;
          range.setStart(text, text.length - 17);
          range.setEnd(text, text.length - 15);
          const box = range.getBoundingClientRect();
          return JSON.stringify([box.x + 2, box.y + box.height / 2]);
        }})()"""
    )
    browser.click(*json.loads(place))
    on = f"[...{row}.closest('.pair').querySelectorAll('tr.on code')].map((one) => one.textContent).join()"
    assert browser.value(on) == "xsave.header.xcomp_bv"


def test_nothing_that_a_file_brings_runs_or_is_fetched(
    browser: Browser, tmp_path: Path, visitors: tuple[str, list[bytes]]
) -> None:
    url, found = visitors
    attack = TEXT + "".join(_ATTACKS).replace("{url}", url)
    origin = Origin(attack, 0)
    areas = [
        Area("properties", "props", attack, b"", origin, attributes={"rows": [[attack, attack]], "synthesized": True}),
        Area("named-values", "named", attack, b"hello", origin, attributes={"named": [[attack, "uint", 5]]}),
    ]
    hostile = Capture(
        "t",
        attack,
        [Vcpu(0, attack, "x86", areas)],
        notices=[attack],
        context=[Area("raw", attack, attack, b"x", origin)],
    )
    save_new(str(tmp_path / "hostile.vcpu"), lambda out: write_vcpu(out, hostile))
    for name, target in (("kept", ["--keep", "all"]), ("dropped", [])):
        page = tmp_path / f"{name}.html"
        main(["report", str(tmp_path / "hostile.vcpu"), "--lint", "-o", str(page), *target])
        browser.open(page)
        assert browser.value("window.ran === undefined")
        assert browser.value("document.scripts.length") == 2
        assert (
            browser.value("document.querySelectorAll('img, svg, iframe, link, object, form, style + style').length")
            == 0
        )
        assert browser.requests == [page.as_uri()]
        assert browser.errors == []
    assert found == []


def test_all_of_it_can_be_read_without_scripts(browser: Browser, page: Path) -> None:
    browser.open(page, scripts=False)
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    text = browser.value("document.body.innerText")
    value = f"{field(opened('amx').vcpus[0], 'xsave.header.xstate_bv').value:#018x}"
    for words in (
        "sample:amx",
        "lint for qemu",
        "xsave.header.xstate_bv",
        value,
        "Left out",
    ):
        assert words in text
    assert browser.value("document.querySelectorAll('.live').length") == 0


def test_hostile_formats_make_quiet_pages(browser: Browser, tmp_path: Path) -> None:
    for name in ("elf", "qemu", "libvirt"):
        (tmp_path / name).write_bytes(hostile_files()[name])
        main(["report", str(tmp_path / name), "--keep", "all", "-o", str(tmp_path / f"{name}.html")])
        browser.open(tmp_path / f"{name}.html", width=400)
        assert browser.errors == []
        assert browser.value("document.documentElement.scrollWidth") <= 400
