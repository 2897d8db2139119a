"""The page in a real browser: Debian's Chromium, driven by Playwright, without a network."""

import json
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
    context.set_default_timeout(120_000)
    page = context.new_page()
    hosts, errors = set(), []
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(app_url)
    expect(generate(page)).to_be_visible(timeout=120_000)
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
    wait_until(lambda: (state := play_state(page)) and state["time"] > 0.2, seconds=90)
    assert play_state(page)["width"] == width
    assert play_state(page)["error"] is None


def test_upload_generate_play(page, portrait_file, speech_file):
    fill(page, portrait_file, speech_file, crop=False)
    expect(page.locator(".crop")).to_contain_text("No face is seen in this part")
    generate(page).click()
    expect(page.locator("#result .figures")).to_contain_text(re.compile(r"Seed\s*\d"), timeout=120_000)
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


def test_type_listen_generate_play(page):
    page.locator("input[type=file][accept*=image]").first.set_input_files(ROOT / "examples" / "nora.jpg")
    expect(page.get_by_alt_text("The part of the portrait that is animated")).to_be_visible()
    expect(page.locator(".status").first).to_contain_text("Now type what it shall say")
    text = page.get_by_placeholder("Type what the portrait shall say")
    text.fill("Hello there. Nice to meet you.")
    page.get_by_role("button", name="Listen").click()
    alone = page.get_by_label("The voice alone")
    wait_until(lambda: alone.count() and alone.evaluate("sound => sound.currentTime") > 0.2, seconds=60)
    expect(page.locator(".status").first).to_contain_text("s of speech")
    generate(page).click()
    expect(page.locator("#result .figures")).to_contain_text(re.compile(r"Seed\s*\d"), timeout=120_000)
    expect_playing(page, 640)
    assert page.evaluate("document.querySelector('#video video').webkitAudioDecodedByteCount") > 0
    assert page.evaluate("document.querySelector('#video video').duration") > 2
    page.get_by_label("Upload or record").check()
    expect(text).to_be_hidden()
    expect(generate(page)).to_be_disabled()  # there is no recording
    page.get_by_label("Type").check()
    page.get_by_role("tab", name="Compare").click()
    expect(page.get_by_role("button", name="Compare", exact=True)).to_be_enabled()
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Play your text").click()
    expect(said(page)).to_contain_text(re.compile(r"Ended after [2-4]\.\d s"), timeout=120_000)
    expect(page.locator("#live-player .skipped")).to_have_text("0.0")


def places(page):
    """Where on the page things are that a visitor is about to click."""
    names = ["#speech-mode", "#video", "#examples", "button.primary"]
    for name in names:  # parts of a page appear one after the other
        page.locator(name).first.wait_for()
    return page.evaluate("names => names.map(name => document.querySelector(name).offsetTop)", names)


def test_an_example_plays_in_one_click_and_gives_portrait_and_voice_to_all_tabs(page):
    before = places(page)
    page.get_by_role("button", name="Play the example Amara").click()
    wait_until(lambda: (state := play_state(page)) and state["time"] > 0.2, seconds=90)
    expect(page.locator("#portrait img")).to_be_visible()
    expect(page.locator("#speech").get_by_text("0:08")).to_be_visible()
    expect(generate(page)).to_be_enabled()
    assert places(page) == pytest.approx(before, abs=2)  # nothing has jumped
    page.evaluate("document.querySelector('#video video').pause()")
    page.get_by_role("button", name="Play the example Amara").click()  # again, from the beginning
    wait_until(lambda: not page.evaluate("document.querySelector('#video video').paused"), seconds=60)
    page.evaluate("document.querySelector('#video video').pause()")
    page.get_by_role("tab", name="Compare").click()
    expect(page.get_by_role("button", name="Compare", exact=True)).to_be_enabled()
    page.get_by_label("Type").check()
    page.get_by_role("button", name="Play the example Nora").click()
    expect(page.get_by_label("Upload or record")).to_be_checked()
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
        wait_until(lambda shown=pictures: shown.evaluate_all(loaded), seconds=90)
        shown = pictures.evaluate_all("all => all.map(picture => [picture.currentSrc, picture.clientWidth])")
        assert [address.rpartition("/")[2] for address, _ in shown] == names
        assert all(wide >= 125 for _, wide in shown)
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
    page.get_by_role("button", name="Adjust the crop").click()  # with it, the box to drag is shut, too
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
    expect(page.locator("#result .figures")).to_contain_text(re.compile(r"Seed\s*2"), timeout=120_000)
    expect(problem).not_to_be_visible()


def test_cancel(page, portrait_file, long_speech_file, app_folder):
    fill(page, portrait_file, long_speech_file, crop=False)
    generate(page).click()
    expect(page.locator(".progress-bar").first).to_be_visible(timeout=120_000)
    expect(page.get_by_text(" left").first).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(generate(page)).to_be_enabled()
    wait_until(lambda: not list(app_folder.glob("asymtalker-*")), seconds=5)


def test_closing_the_page_stops_the_run(browser, app_url, portrait_file, long_speech_file, app_folder):
    page = browser.new_page()
    page.goto(app_url)
    fill(page, portrait_file, long_speech_file, crop=False)
    generate(page).click()
    expect(page.locator(".progress-bar").first).to_be_visible(timeout=120_000)
    page.close()
    wait_until(lambda: not list(app_folder.glob("asymtalker-*")), seconds=5)


def open_live(page, portrait=ROOT / "examples" / "nora.jpg"):
    """Goes to the Live tab and gives it a portrait; returns the tab."""
    page.get_by_role("tab", name="Live").click()
    page.locator("input[type=file][accept*=image]").first.set_input_files(portrait)
    expect(page.get_by_alt_text("The part of the portrait that is animated")).to_be_visible()
    return page.get_by_role("tabpanel").filter(has=page.locator("#live-player"))


def live_state(page):
    """Seconds of the stream that were shown, the picture's width, and the lag that the page says."""
    return page.evaluate(
        "() => { const canvas = document.querySelector('#live-player canvas');"
        " return {time: canvas.time ?? 0, width: canvas.width,"
        " lag: parseFloat(document.querySelector('#live-player .lag').textContent)}; }"
    )


def record(tab):
    tab.get_by_role("button", name="Record", exact=True).click()


def stop(tab):
    tab.get_by_role("button", name="Stop", exact=True).click()


def said(tab):
    return tab.locator("#live-player .state")


def wait_for_live(page, seconds=0.1):
    """Waits until so many seconds of the stream were shown."""
    wait_until(lambda: live_state(page)["time"] > seconds, seconds=90)


def test_live_follows_the_microphone(page, app_folder):
    tab = open_live(page)
    record(tab)
    wait_for_live(page, 1)
    expect(said(tab)).to_have_text("Live.")
    lags, begun = [], live_state(page)["time"]
    for _ in range(8):
        page.wait_for_timeout(500)
        lags.append(live_state(page)["lag"])
    assert live_state(page)["width"] == 512
    wait_until(lambda: live_state(page)["time"] - begun > 2, seconds=90)
    assert min(lags) > 0.2 and max(lags) < 5  # a machine may be busy; what must not be is that it grows and grows
    assert list(app_folder.glob("asymtalker-live-*"))
    stop(tab)
    expect(said(tab)).to_contain_text("Stopped", timeout=1000)
    stopped = live_state(page)["time"]
    wait_until(lambda: not list(app_folder.glob("asymtalker-live-*")), seconds=10)
    page.wait_for_timeout(500)  # longer than what was on its way
    assert live_state(page)["time"] == stopped
    expect(said(tab)).to_contain_text("Stopped")


def test_live_begins_again_as_soon_as_it_was_stopped_with_figures_of_its_own(page, app_folder):
    tab = open_live(page)
    for _ in range(3):
        record(tab)
        assert tab.locator("#live-player dd").all_inner_texts() == ["– s", "–", "– s"]
        wait_for_live(page)
        stop(tab)
        expect(said(tab)).to_contain_text("Stopped")
    wait_until(lambda: not list(app_folder.glob("asymtalker-live-*")), seconds=10)


def test_live_goes_by_jpeg_where_pictures_cannot_be_decoded_one_by_one(page):
    page.add_init_script("delete window.VideoDecoder")
    page.reload()
    tab = open_live(page)
    record(tab)
    wait_for_live(page, 0.5)
    assert live_state(page)["width"] == 512
    expect(said(tab)).to_have_text("Live.")
    assert len(page.evaluate(COLORS)) > 50  # a picture, and not a plain canvas


COLORS = """() => {
  const canvas = document.querySelector('#live-player canvas'), {width, height} = canvas;
  const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  return [...new Set(new Uint32Array(pixels.buffer))];
}"""


def test_another_portrait_takes_over_while_live(page, portrait_file):
    tab = open_live(page)
    record(tab)
    wait_for_live(page, 0.5)
    before = live_state(page)["time"]
    page.get_by_label("Remove Image").or_(page.get_by_label("Clear")).first.click()
    page.locator("input[type=file][accept*=image]").first.set_input_files(portrait_file)
    page.get_by_role("button", name="Adjust the crop").click()
    page.get_by_label("Find the face").uncheck()  # it has none: until then the first portrait stays
    wait_until(lambda: live_state(page)["width"] == 160, seconds=90)
    after = live_state(page)["time"]
    assert after > before  # the same stream
    wait_for_live(page, after + 0.5)
    expect(said(tab)).to_have_text("Live.")


def test_live_catches_up_after_the_network_has_stalled(page):
    held, starts, stalled = [], [], [False]

    def forward(socket):
        server = socket.connect_to_server()

        def pass_on(message):
            held.append(message)
            while held and not stalled[0]:
                message = held.pop(0)
                head = json.loads(message[4 : 4 + int.from_bytes(message[:4], "little")])
                starts.append(head.get("start", 0))
                socket.send(message)

        server.on_message(pass_on)

    page.route_web_socket(re.compile("/live/line"), forward)
    tab = open_live(page)
    record(tab)
    wait_for_live(page, 0.5)
    stalled[0] = True
    wait_for_pieces(page, lambda: len(held) >= 8)  # of 0.64 s
    expect(said(tab)).to_contain_text("stalled")
    stalled[0] = False
    wait_for_pieces(page, lambda: not held)  # the next one takes with it those that were held
    wait_for_live(page, max(starts) - 1.2)
    page.wait_for_timeout(500)
    assert live_state(page)["time"] > max(starts) - 2.5  # and not the five seconds that it stood still


def wait_for_pieces(page, condition):
    """Waits for what comes over a line that the test listens to; Playwright tells only while it waits for the page."""
    for _ in range(600):
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError("nothing comes over the line")


def test_an_unplugged_microphone_is_said_and_a_recording_is_offered(page):
    page.add_init_script(
        "const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);"
        "navigator.mediaDevices.getUserMedia = async wanted => (window.sound = await ask(wanted));"
    )
    page.reload()
    tab = open_live(page)
    record(tab)
    wait_for_live(page, 0.5)
    page.evaluate("() => { const [track] = sound.getTracks(); track.stop(); track.dispatchEvent(new Event('ended')); }")
    expect(said(tab)).to_contain_text("was unplugged", timeout=120_000)
    expect(tab.get_by_role("button", name="Play your text")).to_be_enabled()
    expect(tab.get_by_role("button", name="Record", exact=True)).to_be_enabled()


def test_closing_the_page_ends_live(browser, app_url, app_folder):
    page = browser.new_page()
    page.goto(app_url)
    record(open_live(page))
    wait_for_live(page)
    page.close()
    wait_until(lambda: not list(app_folder.glob("asymtalker-live-*")), seconds=3)


def test_live_without_a_portrait_says_so(page, app_folder):
    page.get_by_role("tab", name="Live").click()
    tab = page.get_by_role("tabpanel").filter(has=page.locator("#live-player"))
    record(tab)
    expect(said(tab)).to_contain_text("no portrait")
    expect(tab.get_by_role("button", name="Record", exact=True)).to_be_enabled()
    wait_until(lambda: not list(app_folder.glob("asymtalker-live-*")), seconds=3)


def test_two_tabs_of_one_visitor_do_not_disturb_one_another(browser, app_url):
    context = browser.new_context()
    pages = [context.new_page() for _ in range(2)]
    tabs = []
    for page in pages:
        page.goto(app_url)
        tabs.append(open_live(page))
        record(tabs[-1])
        wait_for_live(page)
    stop(tabs[0])
    expect(said(tabs[0])).to_contain_text("Stopped")
    wait_for_live(pages[1], live_state(pages[1])["time"] + 0.5)
    expect(said(tabs[1])).to_have_text("Live.")
    context.close()


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
    for _ in range(2):
        record(tab)
        expect(said(tab)).to_contain_text("Allow it in the browser, beside the address, and press Record again")
        expect(tab.get_by_role("button", name="Play your text")).to_be_visible()
        assert not list(app_folder.glob("asymtalker-live-*"))  # no stream waits in vain
    page.context.grant_permissions(["microphone"])
    record(tab)
    wait_for_live(page)
    expect(said(tab)).to_have_text("Live.")
    page.close()


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        ("throw new DOMException('', 'NotFoundError')", "There is no microphone. Connect one"),
        ("throw new DOMException('', 'NotReadableError')", "Close other programs"),
        ("throw new DOMException('it melted', 'Other')", "gives no sound: it melted"),
        ("return undefined.getUserMedia", "only to pages that begin with https://"),
    ],
)
def test_why_there_is_no_sound_is_said(page, happens, words):
    tab = open_live(page)
    page.evaluate(f"() => {{ navigator.mediaDevices.getUserMedia = async () => {{ {happens}; }}; }}")
    record(tab)
    expect(said(tab)).to_contain_text(words)
    expect(tab.get_by_role("button", name="Play your text")).to_be_visible()


def test_two_visitors_have_their_own_streams(browser, app_url, tmp_path):
    pages = [browser.new_context().new_page() for _ in range(2)]
    for page, seconds in zip(pages, (2, 4), strict=True):
        page.goto(app_url)
        open_live(page)
        speech = write_speech(tmp_path / f"{seconds}.wav", seconds)
        page.locator("input[type=file][accept*=audio]").first.set_input_files(speech)
        expect(page.get_by_text("0:00").first).to_be_visible()
    for page in pages:
        page.get_by_role("button", name="Play your text").click()
    for page, seconds in zip(pages, (2, 4), strict=True):
        expect(said(page)).to_contain_text(f"Ended after {seconds}.0 s", timeout=120_000)
        assert live_state(page)["time"] > seconds - 0.2  # to its end
        expect(page.locator("#live-player .skipped")).to_have_text("0.0")
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
    expect(page.locator("#result .figures")).to_contain_text(re.compile(r"Seed\s*\d"), timeout=120_000)
    wait_until(
        lambda: (shown(page, "#video video") or [[0]])[0] == sorted([300, 900], reverse=size[0] > 300), seconds=20
    )
    assert places(page)[1:] == pytest.approx(before[1:], abs=2)
    page.get_by_role("tab", name="Live").click()
    place = shown(page, "#live-player canvas")[1]
    page.get_by_role("button", name="Play your text").click()
    wait_until(lambda: shown(page, "#live-player canvas")[0] == size, seconds=60)
    assert shown(page, "#live-player canvas")[1:] == [pytest.approx(place, abs=1), "contain"]
    page.get_by_role("tab", name="Compare").click()
    page.get_by_role("button", name="Compare", exact=True).click()
    side = size if "tall" in elongated else [770, 256]  # low pictures are enlarged
    compared = [2 * side[0], pytest.approx(side[1], abs=60)]  # the captions stand above
    wait_until(lambda: shown(page, "#compare-player video")[0] == compared, seconds=60)
    page.get_by_label("Difference").check()
    wait_until(lambda: shown(page, "#compare-player canvas")[0] == side, seconds=90)
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
    player.get_by_text("Details").click(timeout=120_000)
    expect(player.get_by_role("row")).to_have_count(5)
    expect(player.locator("polyline.curve")).to_have_count(8)
    wait_until(lambda: shown(page, "#compare-player video")[0][0] == 2 * 512, seconds=90)  # one film of both
    player.get_by_role("button", name="Play", exact=True).click()
    wait_until(lambda: compare_time(page) > 0.4, seconds=90)
    player.get_by_role("button", name="Pause").click()
    tab.get_by_label("Frame", exact=True).fill("10")
    tab.get_by_role("button", name="One frame on").click()
    expect(tab.locator("output")).to_contain_text("frame 11")
    wait_until(lambda: compare_time(page) == pytest.approx(11.5 / 25), seconds=60)
    tab.get_by_role("button", name="One frame back").click()
    expect(tab.locator("output")).to_contain_text("frame 10")
    with page.expect_download() as download:
        tab.get_by_text("Download both").click()
    assert download.value.suggested_filename.endswith(".mp4")


def test_a_link_repeats_seed_and_settings(browser, app_url):
    page = browser.new_page()
    page.goto(
        f"{app_url}?seed=41&steps=1&label=false&zoom=1.5&size=%22%3Cb%3E&shift_x=x&view=%22square%22&max_side=720"
        "&text=%22Hello+there.%22&voice=%22heart-low%22&pace=1.5"
    )
    expect(page.locator(".status").first).to_contain_text("your link are filled in: give the same portrait for")
    expect(page.get_by_placeholder("Type what the portrait shall say")).to_have_value("Hello there.")
    expect(page.get_by_label("Voice", exact=True)).to_have_value("Heart · American, female, low")
    expect(page.get_by_role("spinbutton", name="Pace")).to_have_value("1.5")
    page.get_by_role("button", name="Adjust the crop").click()
    expect(page.get_by_label("Seed").first).to_have_value("41")
    expect(page.get_by_label("Steps").first).to_have_value("1")
    expect(page.get_by_label("Show the label").first).not_to_be_checked()
    expect(page.get_by_label("Square around the face").first).to_be_checked()
    expect(page.get_by_label("Longest side").first).to_have_value("720 pixels")
    expect(page.get_by_role("spinbutton", name="Zoom").first).to_have_value("1.5")
    page.close()


SMALL_TARGETS = """() => [...document.querySelectorAll('#workbench :is(button, summary), #examples button')]
  .filter(it => it.offsetParent && !it.disabled && it.tabIndex >= 0 && (it.offsetWidth < 24 || it.offsetHeight < 24))
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
            button = page.locator("#live-player .record").bounding_box()
            assert page.locator("#live-player canvas").bounding_box()["y"] < button["y"] < 844 - button["height"]
    page.close()
