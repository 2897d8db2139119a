"""The report page in a real browser, and the table of several evaluations beside each other."""

import json
import os
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from asymtalker.__main__ import main
from asymtalker.evaluation.plots import _mean_curves
from asymtalker.metrics.face_mesh import PYTHON_VARIABLE
from tests.chromium import ARGUMENTS, CHROMIUM
from tests.conftest import wait_until


@pytest.fixture(scope="module")
def evaluations(checkpoint, clips, tmp_path_factory):
    """One checkpoint with one and with two steps: beside the real clips, and in rollouts of six seconds twice."""
    folder = tmp_path_factory.mktemp("evaluations")
    common = ["--checkpoint", checkpoint, "--dataset", str(clips), "--no-crop", "--clips", "2", "--films", "1"]
    protocol = folder / "long.yaml"
    protocol.write_text("seconds: 6\ninterval: 1\nrepeats: 2\n")
    kinds = {"paired": ["--metrics", "drift", "seams"], "long": ["--protocol", str(protocol)]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PYTHON_VARIABLE, "/nowhere/python")
        for steps in ("1", "2"):
            for kind, options in kinds.items():
                output = ["--steps", steps, "--output", str(folder / f"{kind}-{steps}")]
                assert main(["evaluate", *common, *options, *output]) == 0
    return folder


@pytest.fixture(scope="module")
def report(evaluations):
    named = [f"{steps} step={evaluations / f'{kind}-{steps}'}" for kind in ("paired", "long") for steps in (1, 2)]
    assert main(["report", *named, "--title", "One & two", "--output", str(evaluations / "report")]) == 0
    return evaluations / "report"


class Addresses(HTMLParser):
    """Everything in a page that names another file."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href")]


def test_evaluations_of_the_same_clips_share_a_table(report):
    table = (report / "results.md").read_text()
    assert table.count("| measure | 1 step | 2 step | real clips | goal |") == 2
    assert "## Long rollouts of 6 s, " in table and "2 clips, 4 videos" in table
    seams = next(line for line in table.splitlines() if line.startswith("| seam ratio"))
    assert "Δ " in seams and seams.endswith("| ≤ 1.15 |")


def test_curves_of_long_rollouts_are_drawn_together(report):
    pytest.importorskip("matplotlib")
    assert "](curves-2.png)" in (report / "results.md").read_text()
    assert "](frames-2.png)" in (report / "results.md").read_text() and not (report / "frames-1.png").exists()
    frames = Image.open(report / "frames-2.png")
    assert 2 * 64 < frames.height < 3 * 64 < frames.width  # one film by two checkpoints; portrait, 5 s, 6 s
    assert not (report / "curves-1.png").exists()  # clips of two seconds are one interval
    width, height = Image.open(report / "curves-2.png").size
    assert width > 2 * height


def test_curves_are_means_over_clips_of_means_over_videos():
    videos = {"a": ("a", [1, 2, 9]), "a~1": ("a", [3, 2, 9]), "b": ("b", [4, 6, 9])}
    drift = {name: {"clip": clip, "seconds": 2.2, "identity": curve} for name, (clip, curve) in videos.items()}
    curves = _mean_curves({"curves": {"interval": 1, "drift": {"generated": drift}}})
    assert list(curves) == ["identity"] and len(curves["identity"]) == 2  # the third interval is mostly missing
    for (mean, low, high), (first, second) in zip(curves["identity"], ((2, 4), (2, 6)), strict=True):
        assert mean == (first + second) / 2 and first <= low <= mean <= high <= second


def test_a_gap_in_a_curve_is_a_gap_in_the_mean_only_if_all_have_it():
    videos = {"a": [1, None, None], "b": [3, 5, None]}
    drift = {name: {"clip": name, "seconds": 3, "geometry": curve} for name, curve in videos.items()}
    first, second, third = _mean_curves({"curves": {"interval": 1, "drift": {"generated": drift}}})["geometry"]
    assert first[0] == 2 and second[0] == 5 and all(np.isnan(third))


def test_the_folder_can_be_moved_as_a_whole(report, tmp_path):
    page = (report / "report.html").read_text()
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    films = [film for group in data for clip in group["clips"] for film in [*clip["films"], clip["real"]] if film]
    pictures = [address for address in Addresses(page).found if not address.startswith("data:")]
    assert len(films) == 5 and len(pictures) == 2  # two and the real one, two long; frames of the long ones
    assert all((report / name).is_file() for name in films + pictures)
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert len(data[1]["clips"][0]["curves"][0]) == 2  # a curve a seed


def test_what_is_no_evaluation_says_so(evaluations, tmp_path, capsys):
    assert main(["report", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "holds no finished evaluation" in capsys.readouterr().err
    same = str(evaluations / "long-1")
    assert main(["report", same, same, "--output", str(tmp_path / "out")]) == 2
    assert "name them apart" in capsys.readouterr().err


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, report):
    """The page, opened as a file; it must ask no host for anything, and raise no error."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((report / "report.html").as_uri())
    yield page
    page.close()
    assert {address.split(":")[0] for address in requests} <= {"file", "data"}
    assert errors == []


def state(section):
    return section.locator("video").evaluate_all(
        "videos => videos.map(v => ({time: v.currentTime, paused: v.paused, muted: v.muted, error: v.error,"
        " width: v.videoWidth}))"
    )


PLAYING_IN_STEP = """videos => videos.every(video => !video.paused && !video.error && video.currentTime > 1)
  && Math.max(...videos.map(video => video.currentTime)) - Math.min(...videos.map(video => video.currentTime)) < 0.1"""


def in_step(section):
    """Whether the videos play within a tenth of a second of each other, asked of the page at one moment."""
    return section.locator("video").evaluate_all(PLAYING_IN_STEP)


needs_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not shutil.which(CHROMIUM) and os.environ.get("CI") != "true",
        reason="missing: chromium (Debian: apt-get install chromium)",
    ),
]


class TestBrowser:
    pytestmark = needs_browser

    def test_films_play_in_step(self, page):
        section = page.locator("section").nth(1)
        wait_until(lambda: [video["width"] for video in state(section)] == [64, 64], seconds=60)
        assert [video["muted"] for video in state(section)] == [False, True]
        section.get_by_role("button", name="Play").click()
        wait_until(lambda: in_step(section), seconds=60)
        section.get_by_role("button", name="Pause").click()
        wait_until(lambda: all(video["paused"] for video in state(section)), seconds=30)
        section.get_by_label("Time in seconds").fill("4")
        wait_until(lambda: [video["time"] for video in state(section)] == [4, 4], seconds=30)
        expect(section.locator(".clock")).to_contain_text("4.0 s of 6.0 s")
        cursor = section.locator(".cursor").first
        assert float(cursor.get_attribute("x1")) == pytest.approx(34 + 266 * 4 / 6, abs=1)

    def test_the_real_clip_plays_along_and_films_end_together(self, page):
        section = page.locator("section").first
        expect(section.locator("figcaption")).to_have_text(["1 step", "2 step", "Real clip"])
        wait_until(lambda: all(video["width"] for video in state(section)), seconds=60)
        play = section.get_by_role("button", name="Play")
        play.click()
        wait_until(lambda: state(section)[0]["time"] > 1.9, seconds=60)
        wait_until(lambda: all(video["paused"] for video in state(section)), seconds=30)
        note = "video => video.addEventListener('seeked', () => { window.soughtTo = video.currentTime; })"
        section.locator("video").first.evaluate(note)  # a busy machine may look again only when it has played through
        play.click()
        wait_until(lambda: page.evaluate("window.soughtTo ?? 9") < 1, seconds=30)

    def test_curves_follow_the_choice_of_a_clip(self, page):
        section = page.locator("section").nth(1)
        curves = section.locator(".plots path.curve:not(.real)")
        figures = section.locator(".plots figure")
        expect(figures).to_have_count(4)  # identity, colour, sharpness, motion; there is no face mesh
        expect(curves).to_have_count(8)
        expect(section.locator(".plots path.thin")).to_have_count(16)
        section.get_by_label("Clip").select_option(label="c-0 (curves only)")
        expect(section.get_by_text("No video of this clip was kept.")).to_be_visible()
        expect(section.get_by_role("button", name="Play")).to_be_hidden()
        expect(curves).to_have_count(8)
        section.get_by_label("Clip").select_option(label="all, averaged")
        expect(section.locator(".plots path.thin")).to_have_count(0)
        expect(curves).to_have_count(8)

    def test_a_curve_with_a_gap_is_a_broken_line(self, browser, evaluations, tmp_path):
        shutil.copytree(evaluations / "long-1", tmp_path / "gap")
        results = json.loads((tmp_path / "gap" / "results.json").read_text())
        for video in results["curves"]["drift"]["generated"].values():
            video["identity"][2] = video["identity"][4] = None  # the fourth of six stands alone
        (tmp_path / "gap" / "results.json").write_text(json.dumps(results))
        assert main(["report", str(tmp_path / "gap"), "--output", str(tmp_path / "report")]) == 0
        page = browser.new_page()
        page.goto((tmp_path / "report" / "report.html").as_uri())
        line = page.locator(".plots figure").first.locator("path.curve").first.get_attribute("d")
        assert [part.count("L") for part in line.split("M")[1:]] == [1, 0, 0]
        assert "NaN" not in line
        page.close()

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_fits_a_phone(self, browser, report, scheme):
        page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
        page.goto((report / "report.html").as_uri())
        expect(page.get_by_role("heading", name="One & two")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.close()
