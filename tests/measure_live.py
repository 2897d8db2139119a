"""How far the Live tab is behind the speaker, and what it costs: measured in a real browser, from sound to sound.

    .venv/bin/python -m tests.measure_live --seconds 60

A recording of clicks is played into Chromium's fake microphone while the page is live. A click is looked for twice:
in the sound that the page gets from the microphone, and in the sound that it plays. What lies between is the lag; the
output device's own latency, which the browser tells, is added. Browser and app run on the machine's cores like any
other program; what they use is read from /proc, the browser's with the little that listening for clicks takes.

With `--stall`, the connection is cut for five seconds in the middle: the lags before and after are given apart.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
from playwright.sync_api import Page, sync_playwright

from tests import chromium
from tests.conftest import ROOT, serve_app

RATE = 48_000
APART = 1.1
"""Seconds from one click to the next."""
CODES = 0.06 * 1.3 ** np.arange(7)
"""Seconds between the two bursts of a click, by which it is known: each of seven clicks in a row has another."""
LONGEST = 7.0
"""Seconds of lag that are looked for; then the same click comes again."""
SETTLED = 5.0
"""Seconds after the first frame from which lags count."""

LISTEN = """
(() => {
  const worklet = URL.createObjectURL(new Blob([`
    registerProcessor('clicks', class extends AudioWorkletProcessor {
      constructor() { super(); this.last = -1; }
      process([input]) {
        const sound = input[0];
        if (!sound) return true;
        for (let i = 0; i < sound.length; i++) {
          if (Math.abs(sound[i]) < 0.2) continue;
          const at = currentTime + i / sampleRate;
          if (at - this.last > 0.04) this.port.postMessage([Date.now() / 1000 + i / sampleRate, at]);
          this.last = at;
        }
        return true;
      }
    });`], {type: 'text/javascript'}));
  const measured = window.measured = {heard: [], played: [], latency: 0};
  const connect = AudioNode.prototype.connect;
  const listen = async (context, node, found) => {
    await context.audioWorklet.addModule(worklet);
    const ear = new AudioWorkletNode(context, 'clicks', {numberOfOutputs: 0});
    ear.port.onmessage = event => found.push(event.data);
    connect.call(node, ear);
  };
  const ears = new WeakMap();
  const overhear = (context, node) => { // one ear at each context's speakers
    if (!ears.has(context)) {
      const mix = new GainNode(context);
      ears.set(context, mix);
      setInterval(() => { measured.latency = context.outputLatency || context.baseLatency || 0; }, 1000);
      listen(context, mix, measured.played);
    }
    connect.call(node, ears.get(context));
  };
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target === this.context.destination && !this.silent) overhear(this.context, this);
    return connect.call(this, target, ...rest);
  };
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  let tapped = false;
  navigator.mediaDevices.getUserMedia = async wanted => {
    const stream = await ask(wanted);
    if (!tapped) {
      tapped = true;
      const context = new AudioContext();
      const source = new MediaStreamAudioSourceNode(context, {mediaStream: stream.clone()});
      await listen(context, source, measured.heard);
    }
    return stream;
  };
  document.addEventListener('play', event => { // a player that is an element, rather than WebAudio
    if (event.target.tagName !== 'VIDEO' || event.target.tapped) return;
    event.target.tapped = true;
    const context = new AudioContext();
    new MediaElementAudioSourceNode(context, {mediaElement: event.target}).connect(context.destination);
  }, true);
})();
"""
TIME = "document.querySelector('#live-player canvas').time ?? 0"


def click_track(path: Path, seconds: float) -> None:
    """Writes clicks of two bursts of 10 ms over a soft hum."""
    samples = 0.004 * np.sin(2 * np.pi * 150 * np.arange(round(seconds * RATE)) / RATE)
    burst = 0.8 * np.sign(np.sin(2 * np.pi * 700 * np.arange(round(0.01 * RATE)) / RATE))
    for number in range(int((seconds - 1) / APART)):
        for at in (0, CODES[number % len(CODES)]):
            start = round((0.6 + APART * number + at) * RATE)
            samples[start : start + len(burst)] = burst
    soundfile.write(path, samples, RATE)


def read_clicks(bursts: list[list[float]]) -> list[tuple[float, int]]:
    """Finds clicks in bursts (time of day, time of the sound); returns when each was, and which code it has."""
    clicks = []
    for (when, first), (_, second) in pairwise(bursts):
        ratios = np.abs(np.log((second - first) / CODES))
        if ratios.min() < np.log(1.3) / 2.1:
            clicks.append((when, int(ratios.argmin())))
    return clicks


def match(heard: list[tuple[float, int]], played: list[tuple[float, int]]) -> np.ndarray:
    """Pairs clicks of the same code; returns (n, 2): when each was heard, and the lag, in seconds."""
    pairs = []
    for when, code in played:
        before = [at for at, other in heard if other == code and 0 <= when - at < LONGEST]
        pairs += [(at, when - at) for at in before[-1:]]
    return np.array(pairs).reshape(-1, 2)


def processes(root: int) -> set[int]:
    """A process and all that it started."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def core_seconds(root: int) -> float:
    """Seconds of a core that a process and all that it started have used."""
    ticks = 0
    for process in processes(root):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def children(name: str) -> int:
    """The child of this process whose command line has `name` in it."""
    for process in processes(os.getpid()) - {os.getpid()}:
        command = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
        if name in command and "--type=" not in command:
            return process
    raise LookupError(f"no process of this one runs {name}")


@contextmanager
def open_page(sound: Path, portrait: Path, seconds: float):
    """The page with a portrait on its Live tab, in a browser whose microphone gives `sound`."""
    arguments = [
        *chromium.ARGUMENTS,
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
        f"--use-file-for-fake-audio-capture={sound}",
    ]
    os.environ["ASYMTALKER_LIVE_SECONDS"] = str(seconds + 60)
    with tempfile.TemporaryDirectory() as folder, serve_app("tiny", Path(folder)) as url, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium.CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(LISTEN)
        page.goto(url)
        page.get_by_role("tab", name="Live").click()
        tab = page.get_by_role("tabpanel").filter(has=page.locator("#live-player"))
        page.locator("input[type=file][accept*=image]").first.set_input_files(portrait)
        page.get_by_alt_text("The part of the portrait that is animated").wait_for(timeout=60_000)
        page.wait_for_timeout(3000)  # the page is idle
        yield page, tab
        browser.close()


def run(page: Page, tab, seconds: float, stall: bool) -> dict[str, float]:
    """Goes live for so long; returns the figures."""
    roots = {"browser": children("chromium"), "app": children("app.py")}
    began = time.monotonic()
    tab.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_function(f"() => ({TIME}) > 0", timeout=60_000, polling=20)
    first, shown = time.monotonic() - began, time.time()
    page.wait_for_timeout(1000 * SETTLED)
    before, started = {name: core_seconds(root) for name, root in roots.items()}, time.monotonic()
    cut = None
    if stall:
        page.wait_for_timeout(500 * seconds)
        cut = time.time()
        with stopped_app(roots["app"]):
            time.sleep(5)
    page.wait_for_timeout(1000 * max(seconds - (time.monotonic() - started), 1))
    lasted = time.monotonic() - started
    cores = {f"{name}_cores": (core_seconds(root) - before[name]) / lasted for name, root in roots.items()}
    measured = page.evaluate("() => measured")
    skipped = float(tab.locator(".skipped").inner_text().replace("–", "0"))
    state = tab.locator("#live-player .state").inner_text()
    tab.get_by_role("button", name="Stop", exact=True).first.click()
    heard = read_clicks(measured["heard"])
    pairs = match(heard, read_clicks(measured["played"]))
    pairs = pairs[pairs[:, 0] > shown + SETTLED]
    lags = pairs[:, 1] + measured["latency"]
    figures = {"first_frame": first, **cores, "skipped": skipped, "output_latency": measured["latency"]}
    figures |= {
        "clicks": sum(when > shown + SETTLED for when, _ in heard),
        "found": len(lags),
        "state": state,
        "load": os.getloadavg()[0],
    }
    if cut:
        early, late = lags[pairs[:, 0] < cut], lags[pairs[:, 0] > cut + 5]
        return figures | spread("before_stall_", early) | spread("after_stall_", late)
    return figures | spread("lag_", lags)


def spread(name: str, lags: np.ndarray) -> dict[str, float]:
    """Median and extremes of lags in seconds."""
    if not len(lags):
        return {f"{name}median": float("nan")}
    values = {"median": np.median(lags), "p95": np.percentile(lags, 95), "least": lags.min(), "most": lags.max()}
    return {name + which: float(value) for which, value in values.items()}


@contextmanager
def stopped_app(process: int):
    """Nothing comes from the app, and nothing arrives there: as on a network that stalls."""
    os.kill(process, 19)
    try:
        yield
    finally:
        os.kill(process, 18)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="that are measured")
    parser.add_argument("--portrait", type=Path, default=ROOT / "examples/nora.jpg")
    parser.add_argument("--stall", action="store_true", help="stop the app for five seconds in the middle")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "clicks.wav"
        click_track(sound, options.seconds + 30)
        with open_page(sound, options.portrait, options.seconds) as (page, tab):
            figures = run(page, tab, options.seconds, options.stall)
    print(json.dumps({name: round(v, 3) if isinstance(v, float) else v for name, v in figures.items()}, indent=1))


if __name__ == "__main__":
    main()
