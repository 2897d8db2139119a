"""The page in a real browser: Debian's Chromium, driven by Playwright, without a network."""

import os
import shutil

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.conftest import ROOT, wait_until

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]
MISSING = [tool for tool in (CHROMIUM, "ffmpeg") if not shutil.which(tool)]

pytestmark = [
    pytest.mark.browser,
    # On continuous integration they run, and fail where a tool is missing.
    pytest.mark.skipif(
        bool(MISSING) and os.environ.get("CI") != "true",
        reason=f"missing: {', '.join(MISSING)} (Debian: apt-get install chromium ffmpeg)",
    ),
]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, app_url):
    """A page that must ask no other host for anything, and must raise no error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    hosts, errors = set(), []
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(app_url)
    expect(page.get_by_role("button", name="Generate")).to_be_visible(timeout=30_000)
    yield page
    context.close()
    assert {host for host in hosts if host} == {app_url.split("/")[2]}
    assert errors == []


def fill(page, portrait, speech, crop=True):
    page.locator("input[type=file][accept*=image]").first.set_input_files(portrait)
    page.locator("input[type=file][accept*=audio]").first.set_input_files(speech)
    expect(page.get_by_text("0:00").first).to_be_visible()
    if not crop:
        page.get_by_text("Adjust the crop").click()
        page.get_by_label("Find the face").uncheck()


def play_state(page):
    return page.evaluate(
        "() => { const video = document.querySelector('video');"
        " return video && {width: video.videoWidth, time: video.currentTime, error: video.error}; }"
    )


def expect_playing(page, width):
    wait_until(lambda: (state := play_state(page)) and state["time"] > 0.2, seconds=30)
    assert play_state(page)["width"] == width
    assert play_state(page)["error"] is None


def test_upload_generate_play(page, pipeline, portrait_file, speech_file):
    fill(page, portrait_file, speech_file, crop=False)
    expect(page.get_by_alt_text("The part of the portrait that is animated")).to_be_visible()
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("dl.figures")).to_contain_text("Seed", timeout=30_000)
    expect_playing(page, pipeline.frame_size[0])
    expect(page.get_by_role("button", name="Generate")).to_be_enabled()
    with page.expect_download() as download:
        page.get_by_label("Download").last.click()
    assert download.value.suggested_filename.endswith(".mp4")


def test_an_example_runs_in_one_click(page, pipeline):
    if not list((ROOT / "examples").glob("*.jpg")):
        pytest.skip("no examples yet")
    page.locator("#examples-speech button").first.click()
    expect(page.locator("dl.figures")).to_contain_text("Seed", timeout=60_000)
    expect_playing(page, pipeline.frame_size[0])


def test_no_face_is_said_before_generating(page, portrait_file, speech_file):
    fill(page, portrait_file, speech_file)
    expect(page.locator(".crop.trouble")).to_contain_text("No face was found")
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("No face was found")
    expect(page.get_by_role("button", name="Generate")).to_be_enabled()


def test_cancel(page, portrait_file, long_speech_file, app_folder):
    fill(page, portrait_file, long_speech_file, crop=False)
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(".progress-bar").first).to_be_visible(timeout=30_000)
    expect(page.get_by_text(" left").first).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Generate")).to_be_enabled()
    wait_until(lambda: not list(app_folder.glob("asymtalker-*")), seconds=5)


def test_closing_the_page_stops_the_run(browser, app_url, portrait_file, long_speech_file, app_folder):
    page = browser.new_page()
    page.goto(app_url)
    fill(page, portrait_file, long_speech_file, crop=False)
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(".progress-bar").first).to_be_visible(timeout=30_000)
    page.close()
    wait_until(lambda: not list(app_folder.glob("asymtalker-*")), seconds=5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(browser, app_url, scheme, portrait_file, long_speech_file):
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.goto(app_url)
    fill(page, portrait_file, long_speech_file, crop=False)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
