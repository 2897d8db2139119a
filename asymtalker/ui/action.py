"""A run on the page: the buttons that start and stop it, what is said before it, and what went wrong with it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import gradio as gr

from asymtalker.ui.inputs import PRIVATE, Upload, clock
from asymtalker.ui.portrait import PortraitInput
from asymtalker.ui.voice import TYPED, VoiceInput, voice_seconds
from asymtalker.ui.words import in_page_words

STATUS_TEMPLATE = '<p class="status {{value.state}}" role="status">{{value.text}}</p>'
PROBLEM_TEMPLATE = """{{#if value}}<div class="problem" role="alert"><strong>That did not work.</strong>
<span>{{value}}</span></div>{{/if}}"""
SHOW = "() => { document.querySelector('RESULT').scrollIntoView({behavior: 'smooth', block: 'nearest'}); return []; }"
"""On a phone the result lies below the button."""

SILENT = {**PRIVATE, "preprocess": False, "trigger_mode": "always_last"}

SAID = 5  # values of a `VoiceInput`
NO_PORTRAIT = {"text": "First give a portrait with a face that can be animated."}
WORKING = {"text": "Working: the time left is shown in the picture. Cancel stops it."}
CANCELLED = {"text": "Cancelled: nothing was kept."}
DONE = {"text": "Done. Change what you like and press again."}
FAILED = {"text": "Nothing was made: put right what is said below, and press again."}


class Action:
    """Lays out the buttons, and the lines that say what is missing and what went wrong, in the current `gr.Blocks`.

    The button that starts waits for a portrait that can be animated, and for a text or a recording that can be used. An
    error stays where the result would be, until the next run.

    Args:
        verb: what the button says.
        portrait, said: the inputs.
        max_seconds: longest speech accepted.
        result: CSS selector of the place where the result appears.
    """

    def __init__(self, verb: str, portrait: PortraitInput, said: VoiceInput, max_seconds: float, result: str) -> None:
        self._max_seconds, self._result, self._pace = max_seconds, result, None
        with gr.Row():
            self.start = gr.Button(verb, variant="primary", scale=3, min_width=120, interactive=False)
            self.cancel = gr.Button("Cancel", scale=1, min_width=90, interactive=False)
        self.status = gr.HTML(NO_PORTRAIT, html_template=STATUS_TEMPLATE, js_on_load=None)
        self.problem = gr.HTML("", html_template=PROBLEM_TEMPLATE, js_on_load=None, elem_classes="problem-place")
        self._running = gr.State(False)
        self._inputs = [portrait.usable, self._running, *said.components]
        for changed in (portrait.judged.then, *(component.change for component in said.components)):
            changed(self.prepare, self._inputs, [self.status, self.start], **SILENT)

    def prepare(self, usable: bool, running: bool, mode: str, *given: Any) -> tuple[Any, Any]:
        """What is still missing or how long it will take, and whether a run can be started."""
        if running:
            return gr.skip(), gr.skip()
        if not usable:
            return NO_PORTRAIT, gr.update(interactive=False)
        try:
            seconds = voice_seconds(mode, *given, self._max_seconds)
        except (ValueError, OSError) as error:
            return {"state": "trouble", "text": in_page_words(str(error))}, gr.update(interactive=False)
        if seconds is None:
            asked = "Now type what it shall say" if mode == TYPED else "Now give a recording"
            return {"text": f"{asked}, {clock(self._max_seconds)} at most."}, gr.update(interactive=False)
        return {"text": self._expected(seconds)}, gr.update(interactive=True)

    def _expected(self, seconds: float) -> str:
        length = f"{clock(seconds)} of speech."
        if self._pace is None:
            return f"{length} Everything is ready."
        return f"{length} By the last video, expect about {clock(self._pace * seconds)} of work."

    def run(
        self,
        make: Callable[..., Iterator[tuple]],
        inputs: list[gr.components.Component],
        outputs: list[gr.components.Component],
        shown_on: gr.components.Component,
    ) -> gr.events.Dependency:
        """Has the button clear the outputs and call `make`, whose values are those of the outputs.

        Args:
            inputs: of `make`; portrait and voice, as `VoiceInput.components` has it, come first.
        """
        buttons, count = [self.start, self.cancel, self.status, self._running], len(outputs)

        def begin() -> tuple:
            waits, stops = gr.update(interactive=False), gr.update(interactive=True)
            return waits, stops, WORKING, True, "", *[None] * count

        def stopped(said: dict[str, str]) -> tuple:
            return gr.update(interactive=True), gr.update(interactive=False), said, False

        def end(problem: str) -> tuple:
            return stopped(FAILED if problem else DONE)

        script = SHOW.replace("RESULT", self._result)
        run = self.start.click(begin, None, [*buttons, self.problem, *outputs], js=script, **PRIVATE).then(
            self.explained(make, count),
            inputs,
            [self.problem, *outputs],
            api_visibility="private",
            preprocess=False,
            show_progress_on=shown_on,
        )
        for ended in (run.success, run.failure):  # `then` alone is not called after an error
            ended(end, self.problem, buttons, **PRIVATE)
        self.cancel.click(functools.partial(stopped, CANCELLED), None, buttons, cancels=[run], **PRIVATE)
        return run

    def explained(self, make: Callable[..., Iterator[tuple]], count: int) -> Callable[..., Iterator[tuple]]:
        """`make`, with "" before its values, or what went wrong before empty ones."""

        @functools.wraps(make)  # by its signature, Gradio knows where the progress goes
        def explained(portrait: Upload | None, *settings: Any) -> Iterator[tuple]:
            begun = time.monotonic()
            try:
                with closing(make(portrait, *settings)) as values:  # a cancelled run ends at once
                    for made in values:
                        yield "", *made
                self._pace = (time.monotonic() - begun) / voice_seconds(*settings[:SAID], self._max_seconds)
            except gr.Error as error:
                yield in_page_words(error.message), *[None] * count

        return explained
