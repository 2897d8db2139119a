"""The stages of training, end to end at a tiny size, on clips and on tracks made here."""

import json
import os
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import PIL.Image
import pytest
import torch
import yaml
from diffusers import FlowMatchLCMScheduler
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from asymtalker import AsymTalkerPipeline
from asymtalker.renderer.motion_frame import CHANNELS
from tests.tracks import FACE_MODEL
from tests.train.interrupted import run_until
from tests.train.processes import run_script, run_two
from tests.train.tiny_stage import ROOT, command
from train import ablation, akd, autoencoder, clips, export, perform, renderer, speech, teacher
from train.config import RunSettings, build_settings
from train.data import to_unit
from train.face_model import FaceModel
from train.tracks import PersonView, load_tracks

TIMES = ("minutes", "samples_per_second", "waiting")
"""What is logged of the machine, and differs from run to run."""


@pytest.fixture(scope="module")
def trained(tracks, runs, initial_motion):
    settings = {"init": initial_motion, "output": runs / "teacher", "max_steps": 3, "tracker": "tensorboard"}
    arguments = command("teacher", **tracks, **settings)
    teacher.main(arguments)
    return runs / "teacher", arguments


@pytest.fixture(scope="module")
def distilled(tracks, runs, trained):
    settings = {"teacher": trained[0] / "pipeline", "output": runs / "akd", "sample_steps": 4}
    arguments = command("akd", **tracks, **settings, max_steps=4)
    akd.main(arguments)
    return runs / "akd", arguments


def logged(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_clips_without_a_face_are_named_and_left_out(initial, runs):
    records = {path.stem: json.loads(path.read_text()) for path in (runs / "store").rglob("*.json")}
    assert "a face was found in only 0 of 8 frames" in records["wall"]["error"]
    assert sum("error" not in record for record in records.values()) == 3


def test_the_autoencoder_is_a_pipeline_to_start_from(initial):
    pipeline = AsymTalkerPipeline.from_pretrained(initial)
    assert pipeline.frame_size == (64, 64) and pipeline.renderer is None
    assert (pipeline.vae.config.in_channels, pipeline.vae.config.scale_factor_spatial) == (3, 16)
    assert pipeline.transformer.config.sample_size == [4, 4]


def test_an_autoencoder_of_motion_has_a_renderer_that_knows_the_mean_face(initial_motion, tracks):
    pipeline, model = AsymTalkerPipeline.from_pretrained(initial_motion), FaceModel.load(FACE_MODEL)
    assert (pipeline.vae.config.in_channels, pipeline.vae.config.scale_factor_spatial) == (CHANNELS, 1)
    assert pipeline.transformer.config.sample_size == [1, 1]
    np.testing.assert_allclose(pipeline.renderer.skull, model.skull, atol=1e-3)
    np.testing.assert_allclose(pipeline.renderer.mean_frame, model.mean, atol=1e-3)
    assert pipeline.live_layout.window_frames == 13
    track = load_tracks(tracks["dataset"], FACE_MODEL)[1]  # one that it was fitted to
    frames = to_unit(PersonView(track, None).frames(list(range(21)))[None])
    with torch.no_grad():
        lost = (pipeline.vae(frames).sample - frames)[:, :, 1:]
    assert lost.square().mean() < 0.3 * (frames - frames.mean(2, keepdim=True)).square().mean()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"renderer": None}, "renderer: a checkpoint of motion frames needs one"),
        ({"face_model": "nothing"}, "nothing is not a face model"),
    ],
)
def test_an_autoencoder_of_motion_says_what_it_lacks(tracks, tmp_path, settings, message):
    with pytest.raises(SystemExit, match=message):
        autoencoder.main(command("autoencoder", **tracks | settings, output=tmp_path / "never"))
    assert not (tmp_path / "never").exists()


def test_the_teacher_learns_and_is_saved(trained, initial_motion):
    figures = logged(trained[0])
    assert [row["step"] for row in figures] == [1, 2, 3]
    assert all(np.isfinite(row["loss"]) and row["gradient"] > 0 for row in figures)
    before, after = (AsymTalkerPipeline.from_pretrained(f) for f in (initial_motion, trained[0] / "pipeline"))
    moved = after.transformer.proj_out.weight - before.transformer.proj_out.weight
    assert moved.abs().max() > 0
    np.testing.assert_array_equal(after.vae.basis.numpy(), before.vae.basis.numpy())


def test_a_tracker_gets_the_figures(trained):
    accumulator = EventAccumulator(str(trained[0] / "asymtalker"))
    accumulator.Reload()
    written = accumulator.Scalars("loss")
    assert [event.step for event in written][:3] == [1, 2, 3]
    assert written[0].value == pytest.approx(logged(trained[0])[0]["loss"], rel=1e-5)


def test_training_goes_on_where_it_stopped(trained):
    folder, arguments = trained
    teacher.main([*arguments, "--set", "max_steps=5"])
    assert [row["step"] for row in logged(folder)] == [1, 2, 3, 4, 5]
    assert json.loads((folder / "state" / "run.json").read_text())["step"] == 5


def test_a_kill_between_two_renames_loses_nothing(trained):
    folder, arguments = trained
    (folder / "state").rename(folder / "state.old")
    before = len(logged(folder))
    teacher.main([*arguments, "--set", f"max_steps={before}"])
    assert json.loads((folder / "state" / "run.json").read_text())["step"] == before == len(logged(folder))


@pytest.mark.parametrize("stage", ["teacher", "akd"])
def test_an_interruption_changes_nothing(stage, recordings, tmp_path):
    """Resumed training gives the losses of uninterrupted training: data, their lengths, noise and rollouts included."""
    data, initial = recordings
    source = {"teacher" if stage == "akd" else "init": initial, "max_steps": 6}
    losses = whole_and_in_parts(stage, tmp_path / stage, data | source)
    assert [row["step"] for row in losses[1]] == [1, 2, 3, 4, 5, 6]
    assert_same_losses(*losses)


@pytest.mark.parametrize("stage", ["teacher", "akd"])
def test_a_streamed_dataset_is_taken_up_where_it_was(stage, data, initial, runs, monkeypatch):
    """As above, with few clips open at a time, so that the stream goes on, and into its second epoch."""
    monkeypatch.setattr(clips, "FACE_PROBES", 2)  # looking for faces takes most of the time
    source = {"teacher" if stage == "akd" else "init": initial, "max_steps": 6, "max_chunks": 1}
    source |= {"streaming": True, "open_clips": 2, "passes": 0.3, "holdout": 0}
    source.pop("max_chunks" if stage == "teacher" else "passes")
    losses = whole_and_in_parts(stage, runs / f"{stage}-streamed", data | source)
    assert_same_losses(*losses)


def test_an_interruption_of_two_processes_changes_nothing(tracks, initial_motion, runs):
    source = {"teacher": initial_motion, "max_steps": 6}
    run = partial(run_two, run_until, log=runs / "akd-of-two")
    losses = whole_and_in_parts("akd", runs / "akd-of-two", tracks | source, run)
    assert [row["step"] for row in losses[1]] == [1, 2, 3, 4, 5, 6]
    assert_same_losses(*losses)


def test_a_batch_in_two_passes_teaches_what_it_teaches_in_one(recordings, tmp_path, monkeypatch):
    """Where the noise is always nothing, and speech never left out, nothing in the teacher's loss is random."""
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    (data, initial), losses = recordings, []
    for passes in (1, 2):
        known = {"pure_noise": 1, "speech_dropout": 0, "max_steps": 3, "accumulation": passes}
        teacher.main(command("teacher", **data, init=initial, output=tmp_path / str(passes), **known))
        losses.append([row["loss"] for row in logged(tmp_path / str(passes))])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_cached_windows_are_encoded_once_and_teach_the_same(recordings, tmp_path, monkeypatch):
    """The first pass fills the cache; a later run of the same settings finds all there, and learns the same."""
    (data, initial), encoded = recordings, []
    encode = teacher.encode_batch
    monkeypatch.setattr(teacher, "encode_batch", lambda *args: encoded.append(1) or encode(*args))
    cached = {"cache": tmp_path / "cache", "cached_batches": 3, "max_steps": 5}
    losses = []
    for name, counts, options in (("none", 5, {"max_steps": 5}), ("first", 3, cached), ("second", 0, cached)):
        encoded.clear()
        teacher.main(command("teacher", **data, init=initial, output=tmp_path / name, **options))
        assert len(encoded) == counts
        losses.append([row["loss"] for row in logged(tmp_path / name)])
    assert losses[0][:3] == pytest.approx(losses[1][:3], rel=1e-6)
    assert losses[1] == pytest.approx(losses[2], rel=1e-2)  # kept in half precision
    with pytest.raises(SystemExit, match="made with seed: 0, not 1"):
        teacher.main(command("teacher", **data, init=initial, output=tmp_path / "other", **cached, seed=1))


def test_a_batch_that_cannot_be_divided_is_refused(data, initial, runs):
    with pytest.raises(SystemExit, match="batch_size 2 cannot be divided among 1 processes with 3 passes"):
        teacher.main(command("teacher", **data, init=initial, output=runs / "never", accumulation=3))


def test_a_checkpoint_that_does_not_fit_is_refused(data, initial, runs, tmp_path):
    never = {"output": tmp_path / "never"}
    with pytest.raises(SystemExit, match="nowhere is not a checkpoint to start from"):
        teacher.main(command("teacher", **data, init=tmp_path / "nowhere", **never))
    with pytest.raises(SystemExit, match="frames of 64 × 64 pixels, and size is 96"):
        teacher.main(command("teacher", **data | {"size": 96}, init=initial, **never))
    other, folder = tmp_path / "other", tmp_path / "taken"
    pipeline = AsymTalkerPipeline.from_pretrained(initial)
    wider = type(pipeline.transformer).from_config(pipeline.transformer.config, ffn_dim=48)
    pipeline.register_modules(transformer=wider)
    pipeline.save_pretrained(other)
    teacher.main(command("teacher", **data, init=initial, output=folder, max_steps=1))
    with pytest.raises(SystemExit, match="state is not of these networks"):
        teacher.main(command("teacher", **data, init=other, output=folder, max_steps=2))


def test_a_signal_to_all_processes_of_a_run_ends_it_cleanly(data, initial, runs, tmp_path):
    """As schedulers of clusters and terminals send it: to the workers that load windows too."""
    arguments = command("teacher", **data, init=initial, output=tmp_path, max_steps=100_000, workers=1)
    run = subprocess.Popen(
        [sys.executable, "train/teacher.py", *arguments], cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE
    )
    try:
        for line in run.stderr:
            if b"step 3 " in line:
                os.killpg(run.pid, signal.SIGTERM)
                break
        rest = run.stderr.read().decode()
        assert run.wait() == 0, rest
    finally:
        run.kill()
    steps = [row["step"] for row in logged(tmp_path)]
    assert json.loads((tmp_path / "state" / "run.json").read_text())["step"] == steps[-1] >= 3


def test_an_unknown_dataset_is_named_before_any_training(initial, runs):
    missing = {"dataset": runs / "nothing", "store": runs / "store"}
    with pytest.raises(SystemExit, match=r"Cannot read the split 'train' of .*nothing"):
        teacher.main(command("teacher", **missing, init=initial, output=runs / "never"))


def whole_and_in_parts(stage, folder, settings, run=run_until):
    """What six steps log, in one run and in two."""
    losses = []
    for name, stops in (("whole", [6]), ("parts", [2, 6])):
        output = folder.with_name(f"{folder.name}-{name}")
        for stop in stops:
            run(stage, stop, command(stage, **settings, output=output))
        losses.append([{key: row[key] for key in row if key not in TIMES} for row in logged(output)])
    return losses


def assert_same_losses(whole, parts):
    """Losses to 1e-6; to 1e-4 what is of differences of nearly equal numbers, such as the norms of gradients.

    The last bits of a float32 sum depend on where in memory its arrays lie, which no two runs have in common.
    """
    for row, other in zip(whole, parts, strict=True):
        assert row == pytest.approx(other, rel=1e-4)
        for key in {"loss", "critic", "anchor"} & row.keys():
            assert row[key] == pytest.approx(other[key], rel=1e-6, abs=1e-6)


def test_the_student_is_ready_for_use(distilled):
    pipeline = AsymTalkerPipeline.from_pretrained(distilled[0] / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    assert isinstance(pipeline.scheduler, FlowMatchLCMScheduler)
    assert pipeline.config.num_inference_steps == 1
    portrait = PIL.Image.open(ROOT / "examples" / "nora.jpg").resize((80, 80))
    frames = pipeline(portrait, np.zeros(20 * 640, np.float32)).frames
    assert frames.shape == (20, 80, 80, 3) and np.isfinite(frames).all()


def test_a_student_of_pictures_is_ready_for_use(data, initial, tmp_path):
    akd.main(command("akd", **data, teacher=initial, output=tmp_path, max_steps=1, sample_steps=1))
    assert (tmp_path / "samples" / "step-0000001.mp4").stat().st_size > 10_000
    pipeline = AsymTalkerPipeline.from_pretrained(tmp_path / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    frames = pipeline(PIL.Image.new("RGB", (64, 64), (120, 100, 90)), np.zeros(20 * 640, np.float32)).frames
    assert frames.shape == (20, 64, 64, 3) and np.isfinite(frames).all()


def test_distillation_reports_what_matters(distilled):
    figures = logged(distilled[0])
    assert len(figures) == 4
    assert (distilled[0] / "samples" / "step-0000004.mp4").stat().st_size > 10_000
    for row in figures:
        assert all(np.isfinite(row[name]) for name in ("critic", "seam", "motion", "drift", "depth"))
    assert ["matching" in row for row in figures] == [True, False, False, True]  # the student every third iteration


def test_distillation_goes_on_where_it_stopped(distilled):
    folder, arguments = distilled
    akd.main([*arguments, "--set", "max_steps=5"])
    assert [row["step"] for row in logged(folder)] == [1, 2, 3, 4, 5]


def test_an_exported_checkpoint_is_half_as_large_and_works(distilled, tmp_path, capsys):
    source = distilled[0] / "pipeline"
    export.main([str(source), str(tmp_path), "--steps", "1"])
    assert "MB" in capsys.readouterr().out
    weights = [folder / "transformer/diffusion_pytorch_model.safetensors" for folder in (source, tmp_path)]
    assert "_name_or_path" not in (tmp_path / "model_index.json").read_text()
    assert weights[1].stat().st_size < 0.55 * weights[0].stat().st_size
    portrait = PIL.Image.open(ROOT / "examples" / "nora.jpg").resize((96, 96))
    videos = []
    for folder in (source, tmp_path):
        pipeline = AsymTalkerPipeline.from_pretrained(folder)
        pipeline.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(0)
        sound = np.zeros(20 * 640, np.float32)
        videos.append(pipeline(portrait, sound, generator=generator, num_inference_steps=1).frames)
    assert pipeline.config.num_inference_steps == 1
    assert np.abs(videos[0] - videos[1]).mean() < 0.01
    assert pipeline.renderer is not None


@pytest.mark.parametrize("script", ["autoencoder", "speech", "teacher", "akd", "renderer", "perform"])
def test_scripts_run_from_the_root_of_the_repository(script, tmp_path):
    """As the README has it; `accelerate launch` runs a script the same way."""
    assert "--config" in run_script(f"train/{script}.py", "--help", log=tmp_path / script)


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("train/configs/*/*.yaml")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_configurations_have_the_keys_of_their_stage(path):
    stage = {"autoencoder": autoencoder.AutoencoderSettings, "performances": perform.PerformSettings}
    stage |= {"speech": speech.SpeechSettings, "teacher": teacher.TeacherSettings, "akd": akd.AKDSettings}
    stage |= {"ablation": ablation.AblationSettings, "renderer": renderer.RendererSettings}
    settings = build_settings(stage[path.stem], yaml.safe_load(path.read_text()))
    if isinstance(settings, RunSettings):
        assert settings.samples(processes=8) >= 1


def test_an_unknown_setting_is_named(data, capsys):
    with pytest.raises(SystemExit):
        teacher.main(command("teacher", **data, init="x", output="y", learning_rat=1))
    assert "unknown key 'learning_rat'; did you mean 'learning_rate'?" in capsys.readouterr().err
