import pytest

from train.akd import AKDSettings
from train.config import RunSettings, build_settings

NEEDED = {"dataset": "d", "teacher": "t", "output": "o"}


def build(**values):
    return build_settings(AKDSettings, NEEDED | values)


def test_values_become_what_their_settings_are():
    settings = build(student_learning_rate="2e-5", guidance_scale=2, max_minutes=None, output=7, clips=None)
    assert settings.student_learning_rate == 2e-5
    assert isinstance(settings.guidance_scale, float)
    assert (settings.max_minutes, settings.output, settings.clips) == (None, "7", None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stpes": 1}, "unknown key 'stpes'; did you mean 'steps'?"),
        ({"steps": 1.5}, "steps must be a whole number, not 1.5"),
        ({"student_learning_rate": "fast"}, "student_learning_rate must be a number, not 'fast'"),
        ({"jitter": "maybe"}, "jitter must be true or false, not 'maybe'"),
        ({"teacher_continuity": "both"}, "teacher_continuity must be 'real' or 'generated', not 'both'"),
        ({"holdout": 1}, "would leave no clip"),
        ({"resume_from": "hub"}, "wants a hub_model_id"),
    ],
)
def test_what_is_wrong_is_said(values, message):
    with pytest.raises(ValueError) as raised:
        build(**values)
    assert message in str(raised.value)


def test_missing_keys_are_named():
    with pytest.raises(ValueError, match="missing key output, dataset, teacher"):
        build_settings(AKDSettings, {})


@pytest.mark.parametrize(("processes", "samples"), [(1, 4), (2, 2), (4, 1)])
def test_a_batch_is_shared(processes, samples):
    assert RunSettings(output="o", batch_size=8, accumulation=2).samples(processes) == samples


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match="give a multiple of 6"):
        RunSettings(output="o", batch_size=8, accumulation=2).samples(3)
