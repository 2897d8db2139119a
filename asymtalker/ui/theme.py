"""How the page looks: quiet surfaces, one accent colour, the same in the light and in the dark."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

ACCESS = f"() => {{ {(Path(__file__).parent / 'access.js').read_text()} }}"
"""What the page does for those who listen to it."""

_INK = gr.themes.Color(
    name="ink",
    c50="#f7f7f5",
    c100="#efefec",
    c200="#e2e2de",
    c300="#cbcbc6",
    c400="#9d9d98",
    c500="#73736f",
    c600="#565653",
    c700="#3c3d3d",
    c800="#26282a",
    c900="#191b1d",
    c950="#101214",
)

THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.teal,
    secondary_hue=gr.themes.colors.teal,
    neutral_hue=_INK,
    radius_size=gr.themes.sizes.radius_lg,
    font=[
        gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)),
        "system-ui",
        "sans-serif",
    ],  # served by the app itself
).set(
    body_background_fill="*neutral_50",
    body_background_fill_dark="*neutral_950",
    body_text_color="*neutral_900",
    body_text_color_dark="*neutral_100",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_400",
    block_background_fill="white",
    block_background_fill_dark="*neutral_900",
    block_border_color="*neutral_200",
    block_border_color_dark="*neutral_800",
    block_border_width="1px",
    block_shadow="0 1px 2px rgb(0 0 0 / 0.04)",
    block_shadow_dark="none",
    block_label_background_fill="white",
    block_label_background_fill_dark="*neutral_900",
    block_label_border_width="0",
    block_label_border_width_dark="0",
    block_label_text_color="*neutral_600",
    block_label_text_color_dark="*neutral_400",
    input_background_fill="*neutral_50",
    input_background_fill_dark="*neutral_950",
    button_large_radius="*radius_xl",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_800",
    button_primary_text_color="white",
    button_primary_text_color_dark="white",
)

CSS = """
.gradio-container { max-width: 1200px !important; width: 100%; margin: 0 auto !important; }
.gradio-container > .main, .gradio-container main { padding-top: 8px !important; }

.html-container, .prose { padding: 0 !important; }

.masthead h1 { font-size: 30px; font-weight: 700; letter-spacing: -0.02em; margin: 0; line-height: 1.15; }
.masthead p { color: var(--body-text-color-subdued); font-size: 16px; margin: 4px 0 0; max-width: 90ch; }

.block > label[data-testid="block-label"], .block-label { border: 0 !important; }
.speech .upload-container .wrap { min-height: 179px; padding: 0; }  /* as high as a waveform: nothing jumps */

/* Both panels take the same place, as high as the higher one: nothing jumps. */
.say-panels { display: grid !important; }
.say-panels > * { grid-area: 1 / 1; min-width: 0; }
.say:has(.say-mode input[value="type"]:checked) .say-recorded,
.say:has(.say-mode input[value="record"]:checked) .say-typed { visibility: hidden; }
.say, .say .styler, .say .row, .say .column { background: var(--block-background-fill) !important; }
.say .say-listen { align-items: center; gap: 12px; padding: 8px 12px 12px; }
.say .say-listen button { border-radius: 10px; min-height: 36px; }
.say-listen audio { width: 100%; height: 40px; display: block; }
.dark .say-listen audio { color-scheme: dark; }

.crop { display: flex; align-items: center; gap: 14px; padding: 2px 4px; min-height: 96px; }
.crop img, .crop i { width: 96px; height: 96px; border-radius: 12px; flex: none; }
.crop i { border: 1px dashed var(--body-text-color-subdued); opacity: 0.5; }
.crop p { margin: 0; font-size: 14px; line-height: 1.4; color: var(--body-text-color-subdued); }
.stage { position: relative; width: fit-content; margin: 12px auto 4px; border-radius: 12px; overflow: hidden;
  display: none; touch-action: none; user-select: none; }
.stage.several, #inputs:has(#adjust .label-wrap.open) .stage { display: block; }
.stage > img { display: block; max-width: 100%; max-height: 320px; margin: 0; }
.stage button { position: absolute; padding: 0; border: 2px solid white; border-radius: 8px; background: none;
  cursor: pointer; box-shadow: 0 0 0 1px #0009, inset 0 0 0 1px #0006; }
.stage button:hover { border-color: var(--color-accent); }
.stage button[aria-pressed="true"] { cursor: move; }
.stage button span { position: absolute; left: -2px; top: -2px; min-width: 24px; padding: 0 4px;
  border-radius: 7px 0 7px 0; background: #000c; color: white; font-size: 14px; line-height: 24px; }
.stage button[aria-pressed="true"] span { background: var(--primary-700); }
.stage .box { position: absolute; box-sizing: border-box; border: 2px solid var(--primary-400); border-radius: 6px;
  cursor: move; box-shadow: 0 0 0 1px #0009, 0 0 0 2000px #0006; }
.stage .box i { position: absolute; right: -2px; bottom: -2px; width: 26px; height: 26px; cursor: nwse-resize;
  background: var(--primary-400); border-radius: 10px 0 6px 0; }
.crop.trouble p, .status.trouble, .live .state.trouble { color: var(--error-text); }
.crop.doubt p { color: var(--body-text-color); }

.tab-container button.selected { color: var(--primary-700) !important; }
.dark .tab-container button.selected { color: var(--primary-400) !important; }

#speech time, #speech .playback span { color: var(--body-text-color-subdued) !important; }

/* Gradio's knob is white on white. */
input[type="range"]::-webkit-slider-thumb { border: 1px solid var(--neutral-400) !important; }
input[type="range"]::-moz-range-thumb { border: 1px solid var(--neutral-400) !important; }

.figures { display: flex; flex-wrap: wrap; gap: 10px; margin: 0; }
.figures div { flex: 1 1 28%; min-width: 124px; padding: 10px 12px; border-radius: var(--radius-lg);
  background: var(--block-background-fill); border: 1px solid var(--block-border-color); }
.figures dt { font-size: 12px; white-space: nowrap; color: var(--body-text-color-subdued); }
.figures dd { margin: 2px 0 0; font-size: 17px; font-weight: 700; font-variant-numeric: tabular-nums;
  letter-spacing: -0.01em; white-space: nowrap; }
.figures small { font-size: 12px; font-weight: 400; color: var(--body-text-color-subdued); }

#video .empty { flex-direction: column; gap: 12px; }
#video .empty::after { content: "The video appears here."; padding: 0 24px; text-align: center;
  color: var(--body-text-color-subdued); }

#result .figures div { flex-basis: 42%; }
#result .figures dd + dd { font-size: 13px; font-weight: 400; letter-spacing: 0; white-space: normal; line-height: 1.4;
  color: var(--body-text-color-subdued); }
.share { display: flex; flex-wrap: wrap; align-items: center; gap: 10px; margin-bottom: 10px; }
.share button { padding: 8px 16px; border-radius: var(--radius-xl); border: 1px solid var(--block-border-color);
  background: var(--block-background-fill); cursor: pointer; font: inherit; font-size: 14px; }
.share button:hover { border-color: var(--color-accent); }
.share output { font-size: 14px; color: var(--body-text-color-subdued); }
#result summary { padding: 6px 2px; }
#result:not(:has(.share)), .notice:not(:has(p)), .problem-place:not(:has(.problem)) { display: none; }

.status { margin: 0 2px !important; font-size: 14px; line-height: 1.5; min-height: 1.5em;
  color: var(--body-text-color-subdued); }
.problem { padding: 14px 16px; border-radius: var(--radius-lg); border: 1px solid var(--error-text);
  background: var(--block-background-fill); font-size: 15px; line-height: 1.5; }
.problem strong { display: block; color: var(--error-text); }

.live .screen { position: relative; aspect-ratio: 1; max-height: 420px; width: 100%; display: grid; place-items: center;
  overflow: hidden; background: var(--block-background-fill); border: 1px solid var(--block-border-color);
  border-radius: var(--radius-lg); }
.live .screen { grid-template: minmax(0, 1fr) / minmax(0, 1fr); }
.live .screen > * { grid-area: 1 / 1; }
.live .figures div { flex: 1 1 auto; min-width: 0; }
.live canvas { height: 100%; width: 100%; object-fit: contain; opacity: 0; }  /* tall and wide ones are seen whole */
.live .shows canvas { opacity: 1; }
.live .shows .empty { display: none; }
.live .controls { display: flex; gap: 10px; margin-top: 10px; }
.live .controls button { flex: 1; border: 0; margin: 0 !important; line-height: 1.5;
  padding: var(--button-large-padding); border-radius: var(--button-large-radius);
  font-size: var(--button-large-text-size); font-weight: var(--button-large-text-weight); cursor: pointer; }
.live .record { background: var(--button-primary-background-fill); color: var(--button-primary-text-color); }
.live .stop { background: var(--button-secondary-background-fill); color: var(--button-secondary-text-color); }
.live .controls button:disabled { opacity: 0.5; cursor: default; }
.live .empty { margin: 0; padding: 24px; text-align: center; color: var(--body-text-color-subdued); }
.live .state { margin: 10px 2px !important; font-size: 14px; min-height: 1.5em; color: var(--body-text-color-subdued); }

.compare .screens video, .compare .screens canvas { width: 100%; display: block; border-radius: var(--radius-lg);
  background: black; max-height: 560px; object-fit: contain; }
.compare .screens canvas { max-height: 300px; }
.compare .screens figure { margin: 10px 0 0; }
.compare canvas { filter: brightness(4); }
.compare figcaption { font-size: 13px; margin: 6px 2px; color: var(--body-text-color-subdued); }
.compare .empty { margin: 0; padding: 90px 24px; text-align: center; border-radius: var(--radius-lg);
  border: 1px solid var(--block-border-color); background: var(--block-background-fill);
  color: var(--body-text-color-subdued); }
.compare b.a { color: var(--primary-700); } .compare b.b { color: #a85400; }
.dark .compare b.a { color: var(--primary-400); } .dark .compare b.b { color: #f59e0b; }
.compare details p { font-size: 14px; margin: 6px 0 10px; }
.explained ul { margin: 6px 0 0; padding-left: 20px; font-size: 14px; line-height: 1.5; }
summary { cursor: pointer; font-size: 14px; min-height: 24px; }
.compare .controls { display: flex; align-items: center; gap: 8px; margin: 6px 0 14px; flex-wrap: wrap;
  font-size: 13px; }
.compare [hidden] { display: none !important; }
.compare .controls label { display: flex; align-items: center; gap: 6px; min-height: 24px; }
.compare .timeline { height: 24px; }
.compare .controls button { min-width: 40px; height: 36px; border-radius: 10px;
  border: 1px solid var(--block-border-color); background: var(--block-background-fill);
  font-variant-numeric: tabular-nums; cursor: pointer; }
.compare .controls button:hover { border-color: var(--color-accent); }
.compare .timeline { flex: 1 1 140px; accent-color: var(--color-accent); }
.compare .clock { min-width: 10.5em; text-align: right; font-variant-numeric: tabular-nums;
  color: var(--body-text-color-subdued); }
.compare .plots figure { position: relative; margin: 0 0 10px; }
.compare .plots svg { width: 100%; height: 84px; display: block; background: var(--block-background-fill);
  border: 1px solid var(--block-border-color); border-radius: var(--radius-lg); }
.compare .plots .top { position: absolute; right: 8px; top: 0; font-size: 11px; color: var(--body-text-color-subdued); }
.compare .curve { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
.compare .curve.a { stroke: var(--color-accent); }
.compare .curve.b { stroke: #d97706; }
.compare .cursor { stroke: var(--body-text-color-subdued); stroke-width: 1; vector-effect: non-scaling-stroke; }
.compare table { width: 100%; font-size: 14px; border-collapse: collapse; border: 0 !important; margin: 0 0 6px; }
.compare th { font-weight: 400; text-align: left; color: var(--body-text-color-subdued); }
.compare td, .compare thead th + th { text-align: right; font-variant-numeric: tabular-nums; }
.compare td, .compare th, .compare tr { padding: 7px 4px; border: 0 solid var(--block-border-color) !important; }
.compare tbody tr { border-top-width: 1px !important; }

.progress-level-inner { font: inherit; margin-bottom: 6px; }
.progress-bar-wrap, .progress-bar { border-radius: 99px; }
.wrap:has(.progress-bar) .meta-text { display: none; }  /* counts from the last chunk: of no use */

#examples .label { margin: 4px 2px 10px; font-size: 15px; color: var(--body-text-color); }
#examples .gallery { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(120px, 1fr); gap: 12px;
  overflow-x: auto; padding: 4px; margin: -4px; scroll-snap-type: x proximity; scrollbar-width: thin; }
#examples button { position: relative; padding: 0; border: 0; background: none; cursor: pointer; min-width: 0;
  font: inherit; border-radius: var(--radius-xl); scroll-snap-align: center; }
#examples picture { display: block; border-radius: var(--radius-xl); overflow: hidden; }
#examples img { display: block; margin: 0; width: 100%; aspect-ratio: 1; object-fit: cover; object-position: 50% 20%;
  background: var(--block-background-fill); transition: transform 0.2s; }
#examples button:hover img { transform: scale(1.03); }
#examples button::after { content: "▶"; position: absolute; left: 10px; top: 10px; width: 30px; line-height: 30px;
  border-radius: 99px; background: #fffe; color: #101214; font-size: 12px; text-indent: 2px; }
#examples span { display: block; padding: 6px 2px 2px; font-size: 15px; color: var(--body-text-color); }
#examples button[aria-pressed="true"] { outline: 3px solid var(--primary-600); outline-offset: 1px; }
/* Beside Live and Compare, only whom to choose. (Gradio puts its own prefix after every comma, so there is none in
   the brackets.) */
#examples:has(~ #workbench [data-tab-id="live"].selected) .gallery,
#examples:has(~ #workbench [data-tab-id="compare"].selected) .gallery { grid-auto-columns: 72px; }
#examples:has(~ #workbench [data-tab-id="live"].selected) span,
#examples:has(~ #workbench [data-tab-id="compare"].selected) span { display: none; }
#examples:has(~ #workbench [data-tab-id="live"].selected) .label,
#examples:has(~ #workbench [data-tab-id="compare"].selected) .label { display: none; }
#examples:has(~ #workbench [data-tab-id="live"].selected) button::after,
#examples:has(~ #workbench [data-tab-id="compare"].selected) button::after { display: none; }

:is(button, a, summary, input, [tabindex]):focus-visible { outline: 3px solid var(--primary-600) !important;
  outline-offset: 2px; }
.dark :is(button, a, summary, input, [tabindex]):focus-visible { outline-color: var(--primary-400) !important; }

/* Gradio's own buttons, of 18 px and more. */
#workbench button.icon-button, #workbench button.icon { display: inline-flex; min-width: 24px; min-height: 24px;
  align-items: center; justify-content: center; }
#workbench button.label-wrap, #workbench button.reset-button { min-width: 24px; min-height: 24px; }

.consent { font-size: 13px; line-height: 1.5; color: var(--body-text-color-subdued); }

@media (max-width: 640px) {
  .masthead h1 { font-size: 24px; }
  .masthead p { font-size: 15px; }
  .say-voice > *, .say-voice .form > * { min-width: 100% !important; }
  #examples .gallery { grid-auto-columns: 200px; gap: 12px; }
  .live .screen { max-height: 280px; }  /* the button that begins is seen, too */
  /* Tabs above the inputs, which come first except in Live. */
  #workbench { flex-direction: column; flex-wrap: nowrap; }
  #work, #work > .tabs { display: contents; }
  #work > .tabs > .tab-wrapper { order: -2; width: 100%; }
  #inputs { order: -1; }
  #workbench:has([data-tab-id="live"].selected) #inputs { order: 1; }
}
"""
