"""The report in a real browser: it renders, in both colour schemes, without a complaint."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pytest
from PIL import Image

from tests.xprune.explain.made_up_run import Run

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((found for name in BROWSERS if (found := shutil.which(name))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--window-size=1280,2400",
)
LIGHT_HEADLINE, DARK_HEADLINE = (15, 51, 65), (12, 42, 54)  # --deep in report.css
DARK = "--blink-settings=preferredColorScheme=0"

pytestmark = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")


@dataclass(frozen=True)
class Visit:
    """What the browser made of a page."""

    screenshot: Image.Image
    document: str
    complaints: list[str]


def visit(page: Path, *flags: str) -> Visit:
    """Open a page in a fresh profile and look at it."""
    assert BROWSER is not None
    shot = page.with_suffix(".png")
    profile = page.with_suffix(".profile")
    done = subprocess.run(
        [
            BROWSER,
            *FLAGS,
            *flags,
            f"--user-data-dir={profile}",
            f"--screenshot={shot}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    with Image.open(shot) as image:
        screenshot = image.convert("RGB")
    complaints = [line for line in done.stderr.splitlines() if ":CONSOLE:" in line]
    return Visit(screenshot, done.stdout, complaints)


@pytest.fixture(scope="module")
def light(plausible_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """The report of the plausible run, in a window of 1280 by 2400."""
    page = tmp_path_factory.mktemp("light") / "report.html"
    plausible_run.write(page)
    return visit(page)


def test_it_renders(light: Visit):
    """The headline is a coloured area on top, and below it there is more than blank paper."""
    shot = light.screenshot
    colours = shot.getcolors(shot.width * shot.height) or []

    assert shot.size == (1280, 2400)
    assert shot.getpixel((5, 5)) == LIGHT_HEADLINE
    assert shot.getpixel((1270, 250)) == LIGHT_HEADLINE
    assert len(colours) > 200
    headline_share = sum(n for n, colour in colours if colour == LIGHT_HEADLINE) / 1280 / 2400
    assert 0.1 < headline_share < 0.35


def test_charts_have_their_colours(light: Visit):
    """Removed layers are orange and the pruned model is teal, in large enough areas to see."""
    colours = {colour: n for n, colour in light.screenshot.getcolors(1 << 22) or []}

    assert colours.get((217, 87, 11), 0) > 2_000  # --gone
    assert colours.get((14, 116, 144), 0) > 2_000  # --after


def test_the_browser_has_no_complaint(light: Visit):
    """The console stays empty: no broken markup, no blocked resource."""
    assert light.complaints == []


def test_the_document_is_complete(light: Visit):
    """The title stands in the parsed document, and so does the last section."""
    assert re.search(r"<title>yolov8n: 1\.25.+ as fast</title>", light.document)
    assert "Where this was measured" in light.document
    assert light.document.rstrip().endswith("</html>")


def test_a_blocked_script_would_be_noticed(plausible_run: Run, tmp_path: Path):
    """The twin of the silent console: a script in the page is refused, and the test sees it."""
    page = tmp_path / "report.html"
    html = plausible_run.write(page)
    page.write_text(html.replace("</body>", "<script>document.title = 'run'</script></body>"))

    attacked = visit(page)

    assert any("Content Security Policy" in line for line in attacked.complaints)
    assert "<title>run</title>" not in attacked.document


def test_dark_mode_is_dark(plausible_run: Run, tmp_path: Path):
    """A reader who asks for dark pages gets dark paper under a dark headline."""
    page = tmp_path / "report.html"
    plausible_run.write(page)

    shot = visit(page, DARK).screenshot

    assert shot.getpixel((5, 5)) == DARK_HEADLINE
    paper = shot.getpixel((5, 1200))
    assert isinstance(paper, tuple)
    assert max(paper) < 64


def width_needed(html: str, folder: Path, *, offered_px: int) -> int:
    """Return the width in pixels that the page takes when it is offered `offered_px`."""
    frame = folder / "frame.html"
    # A frame, since the browser's own window cannot be as narrow as a phone.
    frame.write_text(
        f'<iframe style="border:0;width:{offered_px}px;height:900px" srcdoc="{escape(html)}" '
        "onload=\"document.title = 'needs ' + "
        'this.contentDocument.documentElement.scrollWidth"></iframe>',
        encoding="utf-8",
    )
    found = re.search(r"<title>needs (\d+)</title>", visit(frame).document)
    assert found is not None
    return int(found.group(1))


def test_a_phone_needs_no_sideways_scrolling(plausible_run: Run, tmp_path: Path):
    """At 390 pixels nothing reaches over the edge."""
    html = plausible_run.write(tmp_path / "report.html")

    assert width_needed(html, tmp_path, offered_px=390) == 390


def test_a_page_too_wide_for_a_phone_would_be_noticed(plausible_run: Run, tmp_path: Path):
    """The twin of the narrow page: a wide thing in it is seen."""
    html = plausible_run.write(tmp_path / "report.html")
    widened = html.replace("</main>", '<div style="width:700px">wide</div></main>')

    assert width_needed(widened, tmp_path, offered_px=390) > 700


def test_long_names_do_not_widen_the_page(run: Run, tmp_path: Path):
    """Names without a place to break are broken or cut, on a phone too."""
    long = "backbone_" * 20
    run.summary["model"]["name"] = long
    run.summary["machine"] = {long: long}
    run.summary["command"] = long
    for entry in run.plan["choices"]:
        entry["type"] = entry["reason"] = entry["substitute"] = long
    run.plan["choices"].append({"layer": long, "type": long, "score": 0.5, "saved_s": 0.0001})
    changed = run.changed(names=tuple(f"{long}{name}" for name in run.names))

    html = changed.write(tmp_path / "report.html")

    assert width_needed(html, tmp_path, offered_px=390) == 390
    assert width_needed(html, tmp_path, offered_px=1200) == 1200
