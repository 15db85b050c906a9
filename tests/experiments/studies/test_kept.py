"""A supernet's training that was killed goes on from its last epoch, to the same result."""

import pytest
import pytorch_lightning as pl
from studies import plan_of

from experiments.studies.kept import CPUTime
from experiments.studies.study import Study
from nni_magic.supernet.checkpoint import read_checkpoint

SMALL = {
    "children": {"n": 3, "steps": 2, "seeds": [0]},
    "supernets": {
        "magic_at": {
            "strategy": "magic_at", "steps": 8, "seeds": [1],
            "options": {"aligned_layers": [2], "warmup_epochs": 1},
        },
    },
}  # fmt: skip


class Killed(pl.Callback):
    """Ends the process's work in the middle of an epoch."""

    def __init__(self, after):
        self.after = after
        self.steps = []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == self.after:
            raise KeyboardInterrupt
        self.steps.append(trainer.global_step)


def study_of(corpus, folder, **changes):
    folder.mkdir(exist_ok=True)
    return Study(
        plan_of(folder, corpus, **{**SMALL, **changes}), folder / "runs", corpus / "cache"
    )


def result(study, *callbacks):
    found = study.train_supernet("magic_at", 1, callbacks)
    assert found.pop("cpu_seconds") > 0
    return found


def killed(study):
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        study.train_supernet("magic_at", 1, [Killed(5)])
    [part] = study.output.rglob("*.part*")
    return part


def test_killed_training_goes_on_from_its_last_epoch(corpus, tmp_path):
    whole = result(study_of(corpus, tmp_path / "whole"))
    study = study_of(corpus, tmp_path / "killed")
    part = killed(study)
    assert read_checkpoint(part)["global_step"] == 4
    rest = Killed(None)
    assert result(study, rest) == whole
    assert rest.steps == [4, 5, 6, 7]
    assert [path.name for path in part.parent.iterdir()] == ["magic_at_seed1.ckpt"]


def test_training_of_another_plan_does_not_go_on(corpus, tmp_path):
    killed(study_of(corpus, tmp_path / "killed"))
    [supernets] = SMALL["supernets"].values()
    other = {"magic_at": {**supernets, "learning_rate": 1e-4}}
    study = study_of(corpus, tmp_path / "killed", supernets=other)
    with pytest.raises(ValueError, match=r"made with other settings: supernets.learning_rate is"):
        study.train_supernet("magic_at", 1)


def test_cpu_time_is_of_all_starts():
    first, second = CPUTime(), CPUTime()
    first.load_state_dict({"seconds": 100.0})
    second.load_state_dict(first.state_dict())
    assert 100 <= second.seconds < 110
