"""Command lines of stages small enough for a test, on clips or on tracks."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
RENDERER = ROOT / "asymtalker" / "presets" / "tiny" / "renderer"
NETWORK = {
    "latent_channels": 16,
    "windows": 8,
    "width": 32,
    "heads": 2,
    "layers": 1,
    "ffn_dim": 32,
    "audio_hidden_dim": 16,
    "speech_encoder": None,
}
TRAINING = {"batch_size": 2, "compile": False, "mixed_precision": "no", "log_steps": 1, "warmup_steps": 1}
TRAINING |= {"sample_steps": 0}  # a sample video takes longer than all steps; tests of them ask for it
AKD = {"steps": 1, "student_every": 3}
DATA = {"holdout": 3, "workers": 0}
CLIPS = DATA | {"size": 64, "face_model": None}
TRACKS = DATA | {"size": 1, "face_model": str(ROOT / "train" / "face_model.safetensors")}


def command(stage: str, **pairs: object) -> list[str]:
    """Arguments of a stage with its own configuration and these settings; on tracks where they name a `face_model`."""
    moves = pairs.get("face_model") is not None
    settings = TRACKS if moves else CLIPS
    if stage == "autoencoder":
        settings = settings | NETWORK | {"renderer": str(RENDERER) if moves else None}
    elif stage != "speech":
        settings = settings | TRAINING | {"new_latents": [1, 2] if moves else []} | (AKD if stage == "akd" else {})
    values = {key: json.dumps(value, default=str) for key, value in (settings | pairs).items()}
    overrides = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    return ["--config", str(ROOT / f"train/configs/tiny/{stage}.yaml"), *overrides]
