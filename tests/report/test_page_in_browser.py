"""The page as a reader opens it: in a browser, wide and narrow, without network, and on paper."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import escape

import pytest

from bayesaffect.report.page import write_report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-default-apps"),
    *("--disable-extensions", "--disable-background-networking", "--disable-component-update"),
    *("--disable-dev-shm-usage", "--virtual-time-budget=4000", "--host-resolver-rules=MAP * ~NOTFOUND"),
)
# what the browser asks of its maker by itself, whatever page is open
OWN = re.compile(r"https?://[\w.-]*\b(google|googleapis|gvt1|gstatic)\.com/")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium or Chrome on this machine to open the page with"),
]


def browse(page, *options, home):
    """Open a page; returns what the browser printed (the page as it ended up, with --dump-dom) and its log."""
    command = [BROWSER, *QUIET, f"--user-data-dir={home}", "--enable-logging=stderr", *options, f"file://{page}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def page(affect, tmp_path_factory):
    """The whole page, with long names, failures and cautions."""
    findings = replace(
        affect,
        failures=("R-hat of kappa[" + "a_very_long_name_" * 8 + "] is 1.03",),
        cautions=("The face fits the previous trial better than its own.",),
        hashes={"opinions": "0123456789abcdef" * 4},
        command="bayesaffect study " + "/a/long/path" * 20,
    )
    return write_report(findings, tmp_path_factory.mktemp("browser"))


def test_the_console_stays_empty_and_nothing_is_requested(page, tmp_path):
    log = tmp_path / "net.json"
    dom, told = browse(page, "--dump-dom", f"--log-net-log={log}", home=tmp_path / "home")
    assert "How to reproduce" in dom
    assert not re.findall(r".*CONSOLE.*", told)
    asked = set(re.findall(r'"url":\s*"(https?://[^"]*)"', log.read_text(encoding="utf-8")))
    assert not {url for url in asked if not OWN.match(url)}


def test_a_planted_request_and_error_would_be_seen(page, tmp_path):
    """The checks above can fail: a script and a picture from elsewhere are refused, and the console says so."""
    text = page.read_text(encoding="utf-8")
    planted = tmp_path / "planted.html"
    extra = '<img src="http://127.0.0.1:9/x.png"><script>undefinedFunction()</script></body>'
    planted.write_text(text.replace("</body>", extra), encoding="utf-8")
    _, told = browse(planted, "--dump-dom", home=tmp_path / "home")
    assert len(re.findall(r".*CONSOLE.*", told)) == 2 and "Content Security Policy" in told


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways(page, tmp_path, width):
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<!DOCTYPE html><title>waiting</title><iframe id="f" style="width:{width}px;height:900px;border:0" '
        f'srcdoc="{escape(page.read_text(encoding="utf-8"))}"></iframe><script>f.onload = () => {{'
        "const d = f.contentDocument, wide = [...d.querySelectorAll('body *')].filter(e => "
        "e.getBoundingClientRect().right > f.clientWidth + 1 && !e.closest('.scroll')).map(e => e.tagName);"
        "document.title = JSON.stringify([d.documentElement.scrollWidth, f.clientWidth, wide]); f.remove(); };"
        "</script>",
        encoding="utf-8",
    )
    dom, _ = browse(frame, "--dump-dom", home=tmp_path / "home")
    content, room, wide = json.loads(re.search(r"<title>(.*?)</title>", dom).group(1).replace("&quot;", '"'))
    assert room == width and not wide and content <= width


def test_it_prints(page, tmp_path):
    paper = tmp_path / "page.pdf"
    browse(page, f"--print-to-pdf={paper}", "--no-pdf-header-footer", home=tmp_path / "home")
    assert paper.read_bytes()[:5] == b"%PDF-" and paper.stat().st_size > 50_000
