"""The page in a real browser: Debian's Chromium, driven by Playwright, without a network."""

import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from asymtalker.ui.examples import find_examples
from tests import chromium
from tests.chromium import CHROMIUM
from tests.conftest import ROOT, wait_until, write_speech

ARGUMENTS = [
    *chromium.ARGUMENTS,
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
def playwright():
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright, speech_file):
    arguments = [*ARGUMENTS, f"--use-file-for-fake-audio-capture={speech_file}"]  # over and over
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
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
    expect(generate(page)).to_be_visible(timeout=30_000)
    yield page
    context.close()
    assert {host for host in hosts if host} == {app_url.split("/")[2]}
    assert errors == []


def fill(page, portrait, speech, crop=True):
    page.locator("input[type=file][accept*=image]").first.set_input_files(portrait)
    page.locator("input[type=file][accept*=audio]").first.set_input_files(speech)
    expect(page.get_by_text("0:00").first).to_be_visible()
    if not crop:
        page.get_by_role("button", name="Adjust the crop").click()
        page.get_by_label("Find the face").uncheck()


def generate(page):
    """The button that makes a video, beside the tab of the same name."""
    return page.get_by_role("button", name="Generate", exact=True)


def play_state(page):
    return page.evaluate(
        "() => { const video = document.querySelector('video');"
        " return video && {width: video.videoWidth, time: video.currentTime, error: video.error}; }"
    )


def expect_playing(page, width):
    wait_until(lambda: (state := play_state(page)) and state["time"] > 0.2, seconds=30)
    assert play_state(page)["width"] == width
    assert play_state(page)["error"] is None


def test_upload_generate_play(page, portrait_file, speech_file):
    fill(page, portrait_file, speech_file, crop=False)
    expect(page.locator(".crop")).to_contain_text("No face is seen in this part")
    generate(page).click()
    expect(page.locator("#result .figures")).to_contain_text(re.compile(r"Seed\s*\d"), timeout=30_000)
    expect_playing(page, 160)  # the portrait's width
    expect(generate(page)).to_be_enabled()
    with page.expect_download() as download:
        page.locator("#video").get_by_label("Download").click()
    assert download.value.suggested_filename == "portrait-talking.mp4"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the link").click()
    expect(page.locator(".share output")).to_contain_text("Copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(page.url) and "seed=" in link


def places(page):
    """Where on the page things are that a visitor is about to click."""
    names = ["#speech", "#video", "#examples", "button.primary"]
    for name in names:  # parts of a page appear one after the other
        page.locator(name).first.wait_for()
    return page.evaluate("names => names.map(name => document.querySelector(name).offsetTop)", names)


def test_an_example_plays_in_one_click_and_gives_portrait_and_voice_to_all_tabs(page):
    before = places(page)
    page.get_by_role("button", name="Play the example Amara").click()
    wait_until(lambda: (state := play_state(page)) and state["time"] > 0.2, seconds=10)
    expect(page.locator("#portrait img")).to_be_visible()
    expect(page.locator("#speech").get_by_text("0:08")).to_be_visible()
    expect(generate(page)).to_be_enabled()
    assert places(page) == pytest.approx(before, abs=2)  # nothing has jumped
    page.evaluate("document.querySelector('#video video').pause()")
    page.get_by_role("button", name="Play the example Amara").click()  # again, from the beginning
    wait_until(lambda: not page.evaluate("document.querySelector('#video video').paused"), seconds=5)
    page.evaluate("document.querySelector('#video video').pause()")
    page.get_by_role("tab", name="Compare").click()
    expect(page.get_by_role("button", name="Compare", exact=True)).to_be_enabled()
    page.get_by_role("button", name="Play the example Nora").click()
    expect(page.locator("#portrait img")).to_have_attribute("src", re.compile("nora.jpg"))
    assert page.evaluate("document.querySelector('#video video').src").endswith("amara.mp4")  # unseen, it stays silent


@pytest.mark.parametrize("width", [1280, 390])
def test_the_examples_move_unless_the_visitor_wants_no_motion(browser, app_url, width):
    examples = find_examples(ROOT / "examples")
    moving, still = [example.preview.name for example in examples], [example.portrait.name for example in examples]
    loaded = "all => all.every(picture => picture.naturalWidth > 0)"
    for motion, names in (("no-preference", moving), ("reduce", still)):
        page = browser.new_page(viewport={"width": width, "height": 900}, reduced_motion=motion)
        page.goto(app_url)
        pictures = page.locator("#examples img")
        expect(pictures).to_have_count(len(names))
        wait_until(lambda shown=pictures: shown.evaluate_all(loaded), seconds=30)
        shown = pictures.evaluate_all("all => all.map(picture => [picture.currentSrc, picture.clientWidth])")
        assert [address.rpartition("/")[2] for address, _ in shown] == names
        assert all(wide >= 140 for _, wide in shown)
        box = pictures.first.bounding_box()
        assert box["y"] + box["height"] < 500  # large, and seen at once
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.close()


def test_the_crop_is_adjusted_with_the_keyboard(page):
    page.locator("input[type=file][accept*=image]").first.set_input_files(ROOT / "examples" / "nora.jpg")
    preview = page.get_by_alt_text("The part of the portrait that is animated")
    expect(preview).to_be_visible()
    page.get_by_role("button", name="Adjust the crop").press("Enter")
    for name in ("Zoom", "Left – right", "Up – down"):
        before = preview.get_attribute("src")
        page.get_by_role("slider", name=name).press("ArrowRight")
        expect(preview).not_to_have_attribute("src", before)


def test_the_crop_is_dragged_and_begins_anew_with_another_portrait(page):
    upload = page.locator("input[type=file][accept*=image]").first
    upload.set_input_files(ROOT / "examples" / "nora.jpg")
    page.get_by_role("button", name="Adjust the crop").click()
    box, zoom = page.locator(".stage .box"), page.get_by_role("spinbutton", name="Zoom")

    def drag(handle, right, down):
        handle.scroll_into_view_if_needed()
        place = handle.bounding_box()
        x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + right, y + down, steps=3)
        page.mouse.up()

    expect(box).to_be_visible()
    begun = box.bounding_box()
    drag(box.locator("i"), -40, -40)
    expect(zoom).to_have_value(re.compile(r"1\.[12]"))
    assert box.bounding_box()["width"] == pytest.approx(begun["width"] - 40, abs=3)
    drag(box, 30, 0)
    expect(page.get_by_role("spinbutton", name="Left – right")).not_to_have_value("0")
    drag(box, 400, 400)  # to the corner of the picture, away from the face
    expect(page.locator(".crop.trouble")).to_contain_text("does not hold the face")
    expect(generate(page)).to_be_disabled()
    page.get_by_label("Remove Image").or_(page.get_by_label("Clear")).first.click()
    upload.set_input_files(ROOT / "examples" / "leon.jpg")
    expect(zoom).to_have_value("1")
    expect(page.locator(".crop")).to_contain_text("will do well")


def test_one_of_several_faces_is_chosen_by_a_click(page, two_people):
    upload = page.locator("input[type=file][accept*=image]").first
    upload.set_input_files(two_people)
    faces = page.locator(".stage")
    expect(faces.get_by_role("button", name="Face 1")).to_have_attribute("aria-pressed", "true")
    faces.get_by_role("button", name="Face 2").click()
    expect(faces.get_by_role("button", name="Face 2")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".crop").first).to_contain_text("number 2 by size is used")
    page.get_by_role("button", name="Adjust the crop").click()
    expect(page.get_by_label("Face", exact=False).and_(page.locator("input[type=number]")).first).to_have_value("2")
    page.get_by_label("Remove Image").or_(page.get_by_label("Clear")).first.click()
    upload.set_input_files(ROOT / "examples/nora.jpg")  # another portrait: it begins anew
    expect(page.get_by_alt_text("The part of the portrait that is animated")).to_be_visible()
    expect(page.get_by_label("Face", exact=False).and_(page.locator("input[type=number]")).first).to_have_value("")
    expect(faces).not_to_be_visible()


def test_no_face_is_said_before_generating(page, portrait_file, speech_file):
    fill(page, portrait_file, speech_file)
    expect(page.locator(".crop.trouble")).to_contain_text("No face was found")
    expect(page.locator(".status").first).to_contain_text("First give a portrait with a face")
    expect(generate(page)).to_be_disabled()


def test_an_error_stays_until_the_next_run(page, portrait_file, speech_file):
    fill(page, portrait_file, speech_file, crop=False)
    page.get_by_text("Advanced").first.click()
    page.get_by_label("Seed").first.fill("-2")
    generate(page).click()
    problem = page.locator(".problem").first
    expect(problem).to_contain_text("“Seed” must be a whole number from 0 to 4294967295, or −1 for any")
    expect(generate(page)).to_be_enabled()
    page.get_by_label("Seed").first.fill("2")
    expect(problem).to_be_visible()
    generate(page).click()
    expect(page.locator("#result .figures")).to_contain_text(re.compile(r"Seed\s*2"), timeout=30_000)
    expect(problem).not_to_be_visible()


def test_cancel(page, portrait_file, long_speech_file, app_folder):
    fill(page, portrait_file, long_speech_file, crop=False)
    generate(page).click()
    expect(page.locator(".progress-bar").first).to_be_visible(timeout=30_000)
    expect(page.get_by_text(" left").first).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(generate(page)).to_be_enabled()
    wait_until(lambda: not list(app_folder.glob("asymtalker-*")), seconds=5)


def test_closing_the_page_stops_the_run(browser, app_url, portrait_file, long_speech_file, app_folder):
    page = browser.new_page()
    page.goto(app_url)
    fill(page, portrait_file, long_speech_file, crop=False)
    generate(page).click()
    expect(page.locator(".progress-bar").first).to_be_visible(timeout=30_000)
    page.close()
    wait_until(lambda: not list(app_folder.glob("asymtalker-*")), seconds=5)


def open_live(page, portrait=ROOT / "examples" / "nora.jpg"):
    """Goes to the Live tab and gives it a portrait; returns the tab."""
    page.get_by_role("tab", name="Live").click()
    page.locator("input[type=file][accept*=image]").first.set_input_files(portrait)
    expect(page.get_by_alt_text("The part of the portrait that is animated")).to_be_visible()
    return page.get_by_role("tabpanel").filter(has=page.locator("#live-player"))


def live_state(page):
    return page.evaluate(
        "() => { const video = document.querySelector('#live-player video');"
        " return {time: video.currentTime, width: video.videoWidth, error: video.error,"
        " lag: parseFloat(document.querySelector('#live-player .lag').textContent)}; }"
    )


PLAYS = "!document.querySelector('#live-player video').paused"


def test_live_follows_the_microphone(page, app_folder):
    tab = open_live(page)
    tab.get_by_role("button", name="Record", exact=True).click()
    wait_until(lambda: live_state(page)["time"] > 1, seconds=30)
    lags, begun = [], live_state(page)["time"]
    for _ in range(8):
        page.wait_for_timeout(500)
        lags.append(live_state(page)["lag"])
    state = live_state(page)
    assert (state["width"], state["error"]) == (512, None)
    wait_until(lambda: live_state(page)["time"] - begun > 2, seconds=30)
    assert min(lags) > 0.5 and max(lags) < 10  # a machine may be busy; what must not be is that it grows and grows
    assert list(app_folder.glob("asymtalker-live-*"))
    tab.get_by_role("button", name="Stop", exact=True).first.click()
    wait_until(lambda: not list(app_folder.glob("asymtalker-live-*")), seconds=10)
    state = tab.locator("#live-player .state")
    expect(state).to_contain_text("Stopped", timeout=1000)
    stopped = live_state(page)["time"]
    page.wait_for_timeout(1500)  # longer than what was on its way
    assert live_state(page)["time"] == stopped
    expect(state).to_contain_text("Stopped")


def test_live_begins_again_as_soon_as_it_was_stopped(page, app_folder):
    tab = open_live(page)
    for _ in range(3):
        tab.get_by_role("button", name="Record", exact=True).click()
        wait_until(lambda: page.evaluate(PLAYS) and live_state(page)["time"] > 0.1, seconds=30)
        tab.get_by_role("button", name="Stop", exact=True).first.click()
        expect(tab.locator("#live-player .state")).to_contain_text("Stopped")
    wait_until(lambda: not list(app_folder.glob("asymtalker-live-*")), seconds=10)


def test_live_goes_by_hls_where_media_source_does_not_play(page, app_folder):
    page.add_init_script(
        "const real = MediaSource.isTypeSupported.bind(MediaSource);"
        "MediaSource.isTypeSupported = type => !type.includes('avc1.64001f') && real(type);"  # the player asks for this
    )
    page.reload()
    tab = open_live(page)
    expect(page.locator("#live-player .screen")).to_be_hidden()
    tab.get_by_role("button", name="Record", exact=True).click()
    video = page.locator("#live-film video")
    expect(video).to_be_visible(timeout=30_000)
    wait_until(lambda: video.evaluate("video => video.currentTime") > 1, seconds=30)
    assert video.evaluate("video => [video.videoWidth, video.error]") == [512, None]
    expect(tab.locator(".state")).to_contain_text("some seconds later")
    tab.get_by_role("button", name="Stop", exact=True).first.click()
    wait_until(lambda: not list(app_folder.glob("asymtalker-live-*")), seconds=10)
    wait_until(lambda: video.evaluate("video => video.paused"), seconds=10)


def test_closing_the_page_ends_live(browser, app_url, app_folder):
    page = browser.new_page()
    page.goto(app_url)
    open_live(page).get_by_role("button", name="Record", exact=True).click()
    wait_until(lambda: live_state(page)["time"] > 0.1, seconds=30)
    page.close()
    wait_until(lambda: not list(app_folder.glob("asymtalker-live-*")), seconds=3)


def test_live_without_a_portrait_says_so(page, app_folder):
    page.get_by_role("tab", name="Live").click()
    tab = page.get_by_role("tabpanel").filter(has=page.locator("#live-player"))
    page.wait_for_timeout(1000)  # Gradio loads its recorder after the button that needs it
    tab.get_by_role("button", name="Record", exact=True).click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("no portrait")
    wait_until(lambda: not list(app_folder.glob("asymtalker-live-*")), seconds=3)


@pytest.fixture
def strict_browser(playwright):
    """A browser whose user refuses what a page asks for."""
    arguments = [a for a in ARGUMENTS if a != "--use-fake-ui-for-media-stream"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*arguments, "--deny-permission-prompts"])
    yield browser
    browser.close()


def test_a_refused_microphone_is_explained_and_can_be_allowed(strict_browser, app_url, app_folder):
    page = strict_browser.new_page()
    page.goto(app_url)
    tab = open_live(page)
    record, state = tab.get_by_role("button", name="Record", exact=True), tab.locator("#live-player .state")
    for _ in range(2):
        record.click()
        expect(state).to_contain_text("Allow it in the browser, beside the address, and press Record again")
        expect(record).to_be_visible()
        assert not list(app_folder.glob("asymtalker-live-*"))  # no stream waits in vain
    page.context.grant_permissions(["microphone"])
    record.click()
    wait_until(lambda: live_state(page)["time"] > 0.1, seconds=30)
    expect(state).to_have_text("Live.")
    page.close()


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        ("throw new DOMException('', 'NotFoundError')", "There is no microphone. Connect one"),
        ("throw new DOMException('', 'NotReadableError')", "Close other programs"),
        ("throw new DOMException('it melted', 'Other')", "gives no sound: it melted"),
        ("return undefined.getUserMedia", "only to pages that begin with https://"),
    ],
)
def test_why_there_is_no_sound_is_said(page, happens, said):
    tab = open_live(page)
    page.evaluate(f"() => {{ navigator.mediaDevices.getUserMedia = async () => {{ {happens}; }}; }}")
    tab.get_by_role("button", name="Record", exact=True).click()
    expect(tab.locator("#live-player .state")).to_contain_text(said)


def test_two_visitors_have_their_own_streams(browser, app_url, tmp_path):
    pages = [browser.new_context().new_page() for _ in range(2)]
    for page, seconds in zip(pages, (2, 4), strict=True):
        page.goto(app_url)
        tab = open_live(page)
        tab.get_by_text("No microphone?").click()
        speech = write_speech(tmp_path / f"{seconds}.wav", seconds)
        page.locator("input[type=file][accept*=audio]").first.set_input_files(speech)
        expect(page.get_by_text("0:00").first).to_be_visible()
    for page in pages:
        page.get_by_role("button", name="Play it").click()
    for page, seconds in zip(pages, (2, 4), strict=True):
        expect(page.locator("#live-player .state")).to_contain_text(f"Ended after {seconds}.0 s", timeout=30_000)
        page.context.close()


@pytest.fixture(scope="module", params=["tall", "wide"])
def elongated(request, tmp_path_factory):
    """A picture three times as long as it is high, or the other way round, that has no face."""
    across, down = np.meshgrid(np.arange(300), np.arange(900))
    pixels = np.stack([across % 256, down % 256, (across + down) % 256], axis=-1).astype(np.uint8)
    path = tmp_path_factory.mktemp("elongated") / f"{request.param}.png"
    Image.fromarray(pixels if request.param == "tall" else pixels.transpose(1, 0, 2)).save(path)
    return str(path)


def shown(page, element):
    """Width and height of the pixels that a video or canvas shows, and of the place that it has on the page."""
    return page.evaluate(
        "name => { const it = document.querySelector(name), box = it.getBoundingClientRect();"
        " return [[it.videoWidth ?? it.width, it.videoHeight ?? it.height], [box.width, box.height],"
        " getComputedStyle(it).objectFit]; }",
        element,
    )


def test_tall_and_wide_pictures_are_shown_whole_and_nothing_jumps(page, elongated, tmp_path):
    speech = write_speech(tmp_path / "speech.wav", 0.5)
    size = [170, 512] if "tall" in elongated else [512, 170]
    fill(page, elongated, speech, crop=False)
    before = places(page)
    generate(page).click()
    expect(page.locator("#result .figures")).to_contain_text(re.compile(r"Seed\s*\d"), timeout=60_000)
    wait_until(
        lambda: (shown(page, "#video video") or [[0]])[0] == sorted([300, 900], reverse=size[0] > 300), seconds=20
    )
    assert places(page)[1:] == pytest.approx(before[1:], abs=2)
    page.get_by_role("tab", name="Live").click()
    page.get_by_text("No microphone?").click()
    place = shown(page, "#live-player video")[1]
    page.get_by_role("button", name="Play it").click()
    wait_until(lambda: shown(page, "#live-player video")[0] == size, seconds=60)
    assert shown(page, "#live-player video")[1:] == [pytest.approx(place, abs=1), "contain"]
    page.get_by_role("tab", name="Compare").click()
    page.get_by_role("button", name="Compare", exact=True).click()
    compared = [2 * size[0], pytest.approx(size[1], abs=60)]  # the captions stand above
    wait_until(lambda: shown(page, "#compare-player video")[0] == compared, seconds=60)
    page.get_by_label("Difference").check()
    wait_until(lambda: shown(page, "#compare-player canvas")[0] == size, seconds=10)
    assert shown(page, "#compare-player canvas")[2] == "contain"


def compare_time(page):
    return page.evaluate("document.querySelector('#compare-player video').currentTime")


def test_compare_plays_both_in_step(page, tmp_path):
    page.get_by_role("tab", name="Compare").click()
    tab = page.get_by_role("tabpanel").filter(has=page.locator("#compare-player"))
    speech = write_speech(tmp_path / "speech.wav", 8)  # so that it still plays when it is to pause
    fill(page, ROOT / "examples" / "nora.jpg", speech)
    tab.get_by_role("button", name="Compare", exact=True).click()
    player = tab.locator("#compare-player")
    player.get_by_text("Details").click(timeout=60_000)
    expect(player.get_by_role("row")).to_have_count(5)
    expect(player.locator("polyline.curve")).to_have_count(8)
    wait_until(lambda: shown(page, "#compare-player video")[0][0] == 2 * 512, seconds=10)  # one film of both
    player.get_by_role("button", name="Play", exact=True).click()
    wait_until(lambda: compare_time(page) > 0.4, seconds=10)
    player.get_by_role("button", name="Pause").click()
    tab.get_by_label("Frame", exact=True).fill("10")
    tab.get_by_role("button", name="One frame on").click()
    expect(tab.locator("output")).to_contain_text("frame 11")
    wait_until(lambda: compare_time(page) == pytest.approx(11.5 / 25), seconds=5)
    tab.get_by_role("button", name="One frame back").click()
    expect(tab.locator("output")).to_contain_text("frame 10")
    with page.expect_download() as download:
        tab.get_by_text("Download both").click()
    assert download.value.suggested_filename.endswith(".mp4")


def test_a_link_repeats_seed_and_settings(browser, app_url):
    page = browser.new_page()
    page.goto(
        f"{app_url}?seed=41&steps=1&label=false&zoom=1.5&size=%22%3Cb%3E&shift_x=x&view=%22square%22&max_side=720"
    )
    expect(page.locator(".status").first).to_contain_text("The settings of your link are filled in below")
    page.get_by_role("button", name="Adjust the crop").click()
    expect(page.get_by_label("Seed").first).to_have_value("41")
    expect(page.get_by_label("Steps").first).to_have_value("1")
    expect(page.get_by_label("Show the label").first).not_to_be_checked()
    expect(page.get_by_label("Square around the face").first).to_be_checked()
    expect(page.get_by_label("Longest side").first).to_have_value("720 pixels")
    expect(page.get_by_role("spinbutton", name="Zoom").first).to_have_value("1.5")
    page.close()


SMALL_TARGETS = """() => [...document.querySelectorAll('#workbench :is(button, summary), #examples button')]
  .filter(it => it.offsetParent && !it.disabled && (it.offsetWidth < 24 || it.offsetHeight < 24))
  .map(it => it.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(browser, app_url, scheme, portrait_file, long_speech_file):
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.goto(app_url)
    fill(page, portrait_file, long_speech_file, crop=False)
    for tab in ("Generate", "Live", "Compare"):
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
        small = page.evaluate(SMALL_TARGETS)
        assert small == [], tab
        if tab == "Live":  # one sees the portrait and the button that begins at once
            button = page.locator("#live-microphone").bounding_box()
            assert page.locator("#live-player").bounding_box()["y"] < button["y"] < 844 - button["height"]
    page.close()
