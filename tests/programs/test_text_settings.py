"""Settings of trainings of text."""

from pathlib import Path

import pytest

from nni_magic.programs.text_settings import FineTuneSettings, PretrainSettings
from nni_magic.tasks.teaching import Teacher


@pytest.mark.parametrize(("given", "message"), [
    ({"objective": "clm"}, "objective is 'clm'; accepted are 'mlm', 'electra'"),
    ({"start": "there"}, "start is 'there'; accepted are 'scratch', 'inherited'"),
    ({"precision": "8"}, "precision is '8'; accepted are '32', 'bf16', 'fp16'"),
    ({"mask_probability": 0}, "mask_probability is 0; accepted are"),
    ({"warmup_steps": 1001}, "warmup_steps is 1001; accepted are whole numbers from 0 to 1000"),
    ({"steps": 0}, "steps is 0; accepted are"),
    ({"learning_rate": -1.0}, "learning_rate is -1.0; accepted are"),
    ({"objective": "electra", "teaching": Teacher(teacher=Path("a"))},
     "objective is 'electra'; accepted with a teacher is 'mlm', whose masks both of them read"),
])  # fmt: skip
def test_pretraining_is_checked(given, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        PretrainSettings(model=tmp_path, output=tmp_path, **given)


@pytest.mark.parametrize(("steps", "given", "warmup"), [
    (1000, None, 80), (50, None, 10), (1, None, 0), (50, 50, 50),
])  # fmt: skip
def test_warm_up_of_a_pretraining_is_at_most_a_fifth_unless_it_is_given(
    steps, given, warmup, tmp_path
):
    chosen = PretrainSettings(model=tmp_path, output=tmp_path, steps=steps, warmup_steps=given)
    assert chosen.warmup == warmup


@pytest.mark.parametrize(("given", "message"), [
    ({"epochs": 0}, "epochs is 0; accepted are"),
    ({"stride": 0}, "stride is 0; accepted are"),
    ({"warmup_share": 1.5}, "warmup_share is 1.5; accepted are numbers from 0 to 1"),
    ({"weight_decay": -1.0}, "weight_decay is -1.0; accepted are"),
    ({"precision": "8"}, "precision is '8'; accepted are '32', 'bf16', 'fp16'"),
    ({"seed": -1}, "seed is -1; accepted are"),
])  # fmt: skip
def test_fine_tuning_is_checked(given, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        FineTuneSettings(model=tmp_path, data=tmp_path, **given)
