"""Rollouts in training are the streams of the pipeline, and gradients flow where they should."""

import itertools

import numpy as np
import PIL.Image
import pytest
import torch
from accelerate import Accelerator
from diffusers import FlowMatchLCMScheduler

from asymtalker.chunks import SAMPLES_PER_FRAME
from asymtalker.conditioning import decode_latents
from asymtalker.renderer.motion_frame import CHANNELS, POSE_CHANNELS
from asymtalker.sampling import denoise_chunk, set_steps
from tests.tiny import tiny_motion_pipeline, tiny_pipeline
from tests.tracks import tiny_track
from train.akd import AKDSettings, Roles, choose_continuity, critic_loss, score_gradient, student_sample
from train.clips import Clip
from train.data import to_unit
from train.loop import update
from train.recordings import RandomRecordings
from train.rollout import RolloutBatch, RolloutPool, measure_motion

SIZE = 64


@pytest.fixture(scope="module")
def clips():
    rng = np.random.default_rng(0)
    made = []
    for index, frames in enumerate((50, 90)):
        coarse = rng.uniform(0, 255, (frames // 10 + 1, 5, 5, 3)).astype(np.uint8)
        pictures = [PIL.Image.fromarray(coarse[i // 10]).resize((SIZE, SIZE), PIL.Image.BICUBIC) for i in range(frames)]
        speech = rng.normal(0, 3000, frames * SAMPLES_PER_FRAME).astype(np.int16)
        made.append(Clip(f"clip{index}", np.stack(pictures), speech, (0, 0, SIZE), (16, 16, 32, 32)))
    return made


@pytest.fixture
def pipeline():
    return tiny_pipeline()


def new_pool(clips, pipeline, **options):
    return RolloutPool(
        RandomRecordings(clips, pipeline.layout.new_frames + 1, options.get("seed", (0,))),
        pipeline,
        **({"batch_size": 2, "size": SIZE, "max_chunks": 4, "warm_start": 0.0, "jitter": True, "seed": (0,)} | options),
    )


def following_chunk(pool):
    return pool.encode(pool.read())


@torch.no_grad()
def generate(pipeline, batch):
    scheduler = FlowMatchLCMScheduler(shift=3.0)
    set_steps(scheduler, 2, torch.device("cpu"))
    window = batch.window
    return denoise_chunk(
        pipeline.transformer,
        scheduler,
        torch.randn_like(window.latents),
        batch.generated_continuity,
        window.reference,
        window.speech,
    )


@torch.no_grad()
def test_cold_streams_start_from_the_portrait(clips, pipeline):
    batch = following_chunk(new_pool(clips, pipeline))
    assert batch.depth == [0, 0]
    torch.testing.assert_close(batch.generated_continuity, batch.window.continuity)
    held = batch.window.reference[:, :, : pipeline.layout.continuity_latents]
    torch.testing.assert_close(
        batch.generated_continuity, held, atol=0.2, rtol=0
    )  # jitter moves clip and portrait alike


@torch.no_grad()
def test_what_was_generated_is_what_comes_next(clips, pipeline):
    """κ_gen is the end of the decoded chunk, encoded again: the state that the pipeline's stream would be in."""
    pool = new_pool(clips, pipeline, max_chunks=100, seed=(1,))
    batch = following_chunk(pool)
    for depth in range(1, 3):
        latents = generate(pipeline, batch)
        pool.advance(batch.generated_continuity, latents)
        following = following_chunk(pool)
        frames = pipeline.vae.decode(torch.cat([batch.generated_continuity, latents], dim=2)).sample
        expected = pipeline.vae.encode(frames[:, :, -pipeline.layout.continuity_frames :]).latent_dist.mode()
        gone_on = [index for index in range(2) if following.depth[index] == depth]
        assert gone_on  # the other's clip may have ended
        made, real = following.generated_continuity[gone_on], following.window.continuity[gone_on]
        torch.testing.assert_close(made, expected[gone_on], atol=1e-4, rtol=0)
        assert (made - real).abs().max() > 0.01
        batch = following


def expect_in_step(pool, batch, pipeline, state, chunks):
    """Rollout and stream have the same κ and reference, chunk after chunk."""
    for chunk in range(chunks):
        assert batch.depth == [chunk]
        torch.testing.assert_close(batch.generated_continuity, state.continuity, atol=1e-4, rtol=0)
        torch.testing.assert_close(batch.window.reference, state.reference, atol=1e-4, rtol=0)
        torch.manual_seed(chunk)
        latents = generate(pipeline, batch)
        pool.advance(batch.generated_continuity, latents)
        torch.manual_seed(chunk)
        pipeline.next_chunk(state)
        batch = following_chunk(pool)


@torch.no_grad()
def test_a_rollout_is_the_stream_of_the_pipeline(clips, pipeline):
    """The same clip, the same noise: chunk after chunk, κ is that of the pipeline given the same portrait and sound."""
    pool = new_pool(clips[1:], pipeline, batch_size=1, max_chunks=100, jitter=False)
    batch = following_chunk(pool)
    stream = pool._streams[0]
    portrait = stream.window(0, pipeline.layout)["portrait"].numpy()
    state = pipeline.prepare_stream(PIL.Image.fromarray(portrait), steps=2)
    sound = clips[1].speech[stream._first * SAMPLES_PER_FRAME :].astype(np.float32) / 32768
    state.speech.append(torch.from_numpy(sound))
    chunks = stream.frames // pipeline.layout.new_frames
    assert chunks > 2
    expect_in_step(pool, batch, pipeline, state, chunks)


@pytest.mark.parametrize("new_latents", [1, 2, 4])
@torch.no_grad()
def test_a_rollout_of_motion_is_the_stream_of_the_pipeline(new_latents):
    pipeline, track = tiny_motion_pipeline(), tiny_track(60)
    pool = new_pool([track], pipeline, batch_size=1, size=1, max_chunks=100, jitter=False, new_latents=(new_latents,))
    batch, stream = following_chunk(pool), pool._streams[0]
    assert batch.mouth is None
    layout = pipeline.layout.holding(5 + 4 * new_latents)
    state = pipeline.start_stream(to_unit(stream.window(0, layout)["portrait"][None]), steps=2, layout=layout)
    state.speech.append(torch.from_numpy(track.speech[stream._first * SAMPLES_PER_FRAME :].astype(np.float32) / 32768))
    chunks = min(stream.frames // layout.new_frames, 5)
    assert chunks > 1
    expect_in_step(pool, batch, pipeline, state, chunks)


@torch.no_grad()
def test_windows_of_several_lengths_follow_each_other_without_a_gap():
    """All streams of a round have one length; a recording goes on where the windows of the last round ended."""
    pipeline, tracks = tiny_motion_pipeline(), [tiny_track(90, seed) for seed in range(2)]
    options = {"size": 1, "max_chunks": 100, "jitter": False, "new_latents": (1, 2, 4), "seed": (3,)}
    pool, lengths, before = new_pool(tracks, pipeline, **options), [], None
    for _ in range(12):
        row = pool.read()
        batch, frames = pool.encode(row), row["window"]
        for index, depth in enumerate(batch.depth):
            if depth:
                torch.testing.assert_close(frames[index, :5], before[index, -5:], rtol=0, atol=0)
            else:
                torch.testing.assert_close(frames[index, :5], row["portrait"][index].expand(5, 1, 1, -1))
        assert batch.generated_continuity.shape[2] == 2
        lengths.append(batch.window.latents.shape[2])
        pool.advance(batch.generated_continuity, batch.window.latents)
        before = frames
    assert set(lengths) == {1, 2, 4}


@torch.no_grad()
def test_a_stream_that_breaks_down_is_replaced(clips, pipeline):
    pool = new_pool(clips, pipeline, max_chunks=100, seed=(1,))
    batch = following_chunk(pool)
    latents = batch.window.latents.clone()
    latents[0] = torch.nan
    pool.advance(batch.generated_continuity, latents)
    following = following_chunk(pool)
    assert following.depth == [0, 1]
    assert following.generated_continuity.isfinite().all()


@torch.no_grad()
def test_a_pool_goes_on_where_it_was_saved(clips, pipeline):
    """Also in streams that are replaced only after it was loaded, and in the noise of the microphone."""

    def run(pool, count):
        batches = []
        for _ in range(count):
            batches.append(following_chunk(pool))
            pool.advance(batches[-1].generated_continuity, torch.zeros_like(batches[-1].window.latents))
        return batches

    pool = new_pool(clips, pipeline, warm_start=0.5, batch_size=4)
    run(pool, 2)
    state = pool.state_dict()
    ahead = new_pool(clips, pipeline, warm_start=0.5, batch_size=4)
    ahead.load_state_dict(state)
    for one, other in zip(run(pool, 5), run(ahead, 5), strict=True):
        assert one.depth == other.depth
        for name in ("latents", "continuity", "reference", "speech"):
            torch.testing.assert_close(getattr(one.window, name), getattr(other.window, name), rtol=0, atol=0)
        torch.testing.assert_close(one.generated_continuity, other.generated_continuity, rtol=0, atol=0)


@torch.no_grad()
def test_the_real_head_goes_on_from_where_the_generated_one_is():
    pipeline, tracks = tiny_motion_pipeline(), [tiny_track(90, seed) for seed in range(2)]
    frames = []
    for carry in (False, True):
        pool = new_pool(tracks, pipeline, batch_size=6, size=1, max_chunks=100, jitter=False, carry_pose=carry)
        first = following_chunk(pool)
        latents = 3 * first.window.latents
        made = decode_latents(pipeline.vae, torch.cat([first.generated_continuity, latents], dim=2))
        pool.advance(first.generated_continuity, latents)
        depth = following_chunk(pool).depth
        frames.append(pool._frames)
    going_on = [index for index, chunks in enumerate(depth) if chunks]
    assert going_on
    made, plain, moved = (some[going_on] for some in (made, *frames))
    seam = pipeline.layout.continuity_frames - 1
    torch.testing.assert_close(moved[:, POSE_CHANNELS, seam], made[:, POSE_CHANNELS, -1])
    away = (moved - plain)[:, POSE_CHANNELS]
    assert away.abs().amax() > 0.01
    torch.testing.assert_close(away, away[:, :, :1].expand_as(away))
    others = [channel for channel in range(CHANNELS) if channel not in range(CHANNELS)[POSE_CHANNELS]]
    torch.testing.assert_close(moved[:, others], plain[:, others], rtol=0, atol=0)


@torch.no_grad()
def test_streams_end_with_their_clip_and_others_take_their_place(clips, pipeline):
    pool = new_pool(clips, pipeline, max_chunks=100)
    depths = []
    for _ in range(12):
        batch = following_chunk(pool)
        depths.append(batch.depth[0])
        pool.advance(batch.generated_continuity, batch.window.latents)
    longest = max(len(clip.frames) for clip in clips) // pipeline.layout.new_frames
    assert max(depths) < longest
    assert depths.count(0) > 1
    assert all(after in (0, before + 1) for before, after in itertools.pairwise(depths))


@torch.no_grad()
def test_streams_are_as_deep_as_allowed(clips, pipeline):
    pool = new_pool(clips, pipeline, max_chunks=2)
    seen = set()
    for _ in range(12):
        batch = following_chunk(pool)
        seen.update(batch.depth)
        pool.advance(batch.generated_continuity, batch.window.latents)
    assert seen == {0, 1}


def test_a_clip_without_a_chunk_is_refused(clips, pipeline):
    short = Clip("short", clips[0].frames[:16], clips[0].speech, (0, 0, SIZE), (16, 16, 32, 32))
    with pytest.raises(ValueError, match="shorter than 17 frames"):
        new_pool([short], pipeline)


@pytest.fixture
def batch(clips, pipeline) -> RolloutBatch:
    """A second chunk, where real and generated κ differ."""
    pool = new_pool(clips, pipeline, max_chunks=100, seed=(1,))
    with torch.no_grad():
        first = following_chunk(pool)
        pool.advance(first.generated_continuity, torch.randn_like(first.window.latents))
        return following_chunk(pool)


@pytest.mark.parametrize("exit_step", [0, 1])
def test_the_gradient_flows_through_one_step(pipeline, batch, exit_step):
    """Only the exit step's evaluation is in the graph, and the chunk that goes on is finished without one."""
    scheduler, graded = FlowMatchLCMScheduler(shift=3.0), []
    set_steps(scheduler, 2, torch.device("cpu"))
    pipeline.transformer.register_forward_pre_hook(lambda *_: graded.append(torch.is_grad_enabled()))
    sample, finished = student_sample(pipeline.transformer, scheduler, batch, batch.generated_continuity, exit_step)
    assert graded == [index == exit_step for index in range(2)]
    assert sample.requires_grad and not finished.requires_grad
    assert sample.shape == finished.shape == batch.window.latents.shape
    sample.sum().backward()
    assert pipeline.transformer.proj_out.weight.grad.abs().max() > 0


def test_each_network_sees_the_continuity_of_its_role(pipeline, batch):
    seen = {"teacher": [], "critic": []}
    networks = {name: tiny_pipeline().transformer for name in seen}
    for name, network in networks.items():
        network.register_forward_pre_hook(lambda _, args, name=name: seen[name].append(args[0]))
    roles = Roles(pipeline.transformer, networks["teacher"], networks["critic"])
    settings = AKDSettings(dataset="", teacher="", output="", guidance_scale=2.0)
    sample = torch.randn_like(batch.window.latents)
    score_gradient(roles, batch, sample, 3.0, settings)
    critic_loss(roles.critic, batch, sample, 3.0, settings)
    known, channels = pipeline.layout.continuity_latents, sample.shape[1]
    assert len(seen["teacher"]) == 2  # guidance: with speech and without
    for hidden in seen["teacher"]:
        torch.testing.assert_close(hidden[:, :channels, :known], batch.window.continuity)
    assert len(seen["critic"]) == 2  # for g, and for its own loss
    for hidden in seen["critic"]:
        torch.testing.assert_close(hidden[:, :channels, :known], batch.generated_continuity)


def test_where_teacher_and_critic_agree_nothing_is_learnt(pipeline, batch):
    """The same network under the same κ, without guidance: g is zero."""
    same = AKDSettings(dataset="", teacher="", output="", guidance_scale=1.0, teacher_continuity="generated")
    roles = Roles(pipeline.transformer, pipeline.transformer, pipeline.transformer)
    sample = torch.randn_like(batch.window.latents)
    assert score_gradient(roles, batch, sample, 3.0, same).abs().max() < 1e-5
    asymmetric = AKDSettings(dataset="", teacher="", output="", guidance_scale=1.0)
    assert score_gradient(roles, batch, sample, 3.0, asymmetric).abs().max() > 1e-3


def test_the_four_combinations_of_continuity(batch):
    torch.testing.assert_close(choose_continuity(batch, "real"), batch.window.continuity)
    torch.testing.assert_close(choose_continuity(batch, "generated"), batch.generated_continuity)


def test_a_gradient_that_is_not_finite_changes_nothing():
    accelerator, layer = Accelerator(cpu=True), torch.nn.Linear(1, 1)
    optimizer, before = torch.optim.AdamW(layer.parameters(), lr=1.0), layer.weight.item()
    for factor, moves in ((torch.nan, False), (1.0, True)):
        (layer(torch.ones(1)) * factor).sum().backward()
        update(accelerator, layer, optimizer, rate=1.0, max_grad_norm=1.0)
        assert layer.weight.grad is None
        assert (layer.weight.item() != before) == moves


def test_motion_of_a_steady_pan():
    """The real clip's own frames have its motion and no seam; frames half as fast have half of it."""
    ramp = torch.linspace(-0.5, 0.5, 21).view(1, 1, 21, 1, 1).expand(1, 3, 21, 4, 4)
    same, slow = measure_motion(ramp, ramp, 5), measure_motion(ramp / 2, ramp, 5)
    assert (same.seam_ratio, same.motion_ratio, same.drift) == pytest.approx((1, 1, 0), abs=1e-4)
    assert slow.motion_ratio == pytest.approx(0.5, rel=1e-4)
    jump = ramp.clone()
    jump[:, :, 5:] += 0.5
    assert measure_motion(jump, ramp, 5).seam_ratio > 5
