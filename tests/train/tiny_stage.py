"""Command lines of stages small enough for a test."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
NETWORK = {
    "latent_channels": 16,
    "windows": 8,
    "width": 32,
    "heads": 2,
    "layers": 1,
    "ffn_dim": 32,
    "audio_hidden_dim": 16,
}
TRAINING = {"batch_size": 2, "compile": "false", "mixed_precision": "no", "log_steps": 1, "warmup_steps": 1}
TRAINING |= {"sample_steps": 0}  # a sample video takes longer than all steps; tests of them ask for it
DATA = {"size": 64, "holdout": 3, "workers": 0}


def command(stage: str, **pairs: object) -> list[str]:
    """Arguments of a stage with its own configuration and these settings."""
    settings = DATA | {"autoencoder": NETWORK, "speech": {}}.get(stage, TRAINING) | pairs
    overrides = [argument for key, value in settings.items() for argument in ("--set", f"{key}={value}")]
    return ["--config", str(ROOT / f"train/configs/tiny/{stage}.yaml"), *overrides]
