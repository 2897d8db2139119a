"""How the page looks: quiet surfaces, one accent colour, the same in the light and in the dark."""

from __future__ import annotations

import gradio as gr

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
    body_text_color_subdued="*neutral_500",
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
    block_label_text_color="*neutral_500",
    block_label_text_color_dark="*neutral_400",
    input_background_fill="*neutral_50",
    input_background_fill_dark="*neutral_950",
    button_large_radius="*radius_xl",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_600",
    button_primary_background_fill_hover_dark="*primary_500",
    button_primary_text_color="white",
    button_primary_text_color_dark="white",
)

CSS = """
.gradio-container { max-width: 1120px !important; width: 100%; margin: 0 auto !important; }
.gradio-container > .main, .gradio-container main { padding-top: 28px !important; }

.html-container, .prose { padding: 0 !important; }

.masthead h1 { font-size: 30px; font-weight: 700; letter-spacing: -0.02em; margin: 0; line-height: 1.15; }
.masthead p { color: var(--body-text-color-subdued); font-size: 16px; margin: 6px 0 4px; max-width: 62ch; }

.block > label[data-testid="block-label"], .block-label { border: 0 !important; }
.speech .upload-container .wrap { min-height: 179px; padding: 0; }  /* as high as a waveform: nothing jumps */

.crop { display: flex; align-items: center; gap: 14px; padding: 2px 4px; min-height: 96px; }
.crop img, .crop i { width: 96px; height: 96px; border-radius: 12px; flex: none; }
.crop i { border: 1px dashed var(--body-text-color-subdued); opacity: 0.5; }
.crop p { margin: 0; font-size: 14px; line-height: 1.4; color: var(--body-text-color-subdued); }
.faces { position: relative; width: fit-content; margin: 10px auto 2px; }
.faces img { display: block; max-width: 100%; max-height: 320px; border-radius: 12px; }
.faces button { position: absolute; padding: 0; border: 2px solid white; border-radius: 8px; background: none;
  cursor: pointer; box-shadow: 0 0 0 1px #0009, inset 0 0 0 1px #0006; }
.faces button:hover, .faces button[aria-pressed="true"] { border-color: var(--color-accent); }
.faces button[aria-pressed="true"] { box-shadow: 0 0 0 2px white, 0 0 0 3px #0009; }
.faces span { position: absolute; left: -2px; top: -2px; min-width: 20px; padding: 0 4px; border-radius: 7px 0 7px 0;
  background: #000a; color: white; font-size: 13px; line-height: 20px; }
.faces button[aria-pressed="true"] span { background: var(--color-accent); }
.crop.trouble p, .live .state.trouble { color: var(--error-icon-color); }

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
#video .empty::after { content: "Give a portrait and speech, and press Generate."; padding: 0 24px; text-align: center;
  color: var(--body-text-color-subdued); }

.link { margin: 8px 2px 0 !important; font-size: 13px; min-height: 1.5em; color: var(--body-text-color-subdued); }
.link a { padding: 0 !important; margin: 0 !important; }

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
.live .controls button { flex: 1; border: 0; line-height: 1.5; padding: var(--button-large-padding);
  border-radius: var(--button-large-radius); font-size: var(--button-large-text-size);
  font-weight: var(--button-large-text-weight); cursor: pointer; }
.live .record { background: var(--button-primary-background-fill); color: var(--button-primary-text-color); }
.live .stop { background: var(--button-secondary-background-fill); color: var(--button-secondary-text-color); }
.live .controls button:disabled { opacity: 0.5; cursor: default; }
.live .empty { margin: 0; padding: 24px; text-align: center; color: var(--body-text-color-subdued); }
.live .state { margin: 10px 2px !important; font-size: 14px; min-height: 1.5em; color: var(--body-text-color-subdued); }

.compare .screens { display: flex; gap: 10px; flex-wrap: wrap; }
.compare .screens figure { flex: 1 1 140px; max-width: calc(50% - 5px); margin: 0; min-width: 0; }
.compare .screens video, .compare .screens canvas { width: 100%; aspect-ratio: 1; object-fit: contain; display: block;
  border-radius: var(--radius-lg); background: var(--block-background-fill);
  border: 1px solid var(--block-border-color); }
.compare canvas { filter: brightness(4); }
.compare figcaption { font-size: 13px; margin: 6px 2px; color: var(--body-text-color-subdued); }
.compare .empty { margin: 0 0 12px; font-size: 14px; color: var(--body-text-color-subdued); }
.compare .controls { display: flex; align-items: center; gap: 8px; margin: 6px 0 14px; flex-wrap: wrap;
  font-size: 13px; }
.compare .controls[hidden], .compare [hidden] { display: none; }
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
.compare .screens figure:nth-child(-n+2) figcaption::before { content: ""; display: inline-block; width: 10px;
  height: 10px; border-radius: 99px; margin-right: 6px; background: var(--color-accent); }
.compare .screens figure:nth-child(2) figcaption::before { background: #d97706; }
.compare .curve { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
.compare .curve.a { stroke: var(--color-accent); }
.compare .curve.b { stroke: #d97706; }
.compare .cursor { stroke: var(--body-text-color-subdued); stroke-width: 1; vector-effect: non-scaling-stroke; }
.compare table { width: 100%; font-size: 14px; border-collapse: collapse; border: 0 !important; margin: 0 0 6px; }
.compare th { font-weight: 400; text-align: left; color: var(--body-text-color-subdued); }
.compare td, .compare thead th + th { text-align: right; font-variant-numeric: tabular-nums; }
.compare td, .compare th, .compare tr { padding: 7px 4px; border: 0 solid var(--block-border-color) !important; }
.compare tbody tr { border-top-width: 1px !important; }
.side { margin: 0 !important; padding: 10px 12px 0; font-size: 15px; background: var(--block-background-fill); }

.progress-level-inner { font: inherit; margin-bottom: 6px; }
.progress-bar-wrap, .progress-bar { border-radius: 99px; }
.wrap:has(.progress-bar) .meta-text { display: none; }  /* counts from the last chunk: of no use */

.examples .label { margin: 6px 2px 8px; font-size: 14px; color: var(--body-text-color-subdued); }
.examples .gallery { display: grid; grid-template-columns: repeat(3, 1fr); gap: 12px; align-items: start; }
.examples button { padding: 0; border: 0; background: none; cursor: pointer; min-width: 0; font: inherit; }
.examples picture { display: block; }
.examples img { display: block; margin: 0; width: 100%; aspect-ratio: 1; object-fit: contain;
  border-radius: var(--radius-lg); background: var(--block-background-fill);
  border: 1px solid var(--block-border-color); box-sizing: border-box; }
.examples button:hover img { border-color: var(--color-accent); }
.examples button:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px;
  border-radius: var(--radius-lg); }
.examples span { display: block; margin-top: 4px; font-size: 13px; color: var(--body-text-color); }

.consent { font-size: 13px; line-height: 1.5; color: var(--body-text-color-subdued); }

@media (max-width: 640px) {
  .masthead h1 { font-size: 25px; }
  .speech .upload-container .wrap { min-height: 207px; }
  /* What one looks at while speaking, the button that begins, and whom to choose: one after the other. */
  .row:has(> .column > #live-player) { flex-direction: column; flex-wrap: nowrap; align-items: stretch; }
  .row:has(> .column > #live-player) > .column { display: contents; }
  #live-player { order: -2; }
  #examples-live-speech { order: -1; }
  .examples .gallery { gap: 8px; }
}
"""
