"""The children of a checkpoint as a search space for NNI's tuners."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from nni.algorithms.hpo.evolution_tuner import EvolutionTuner
from nni.algorithms.hpo.gridsearch_tuner import GridSearchTuner
from nni.algorithms.hpo.random_tuner import RandomTuner
from nni.algorithms.hpo.tpe_tuner import TpeTuner
from spaces import ConvSpace, MixedSpace
from training import Watch, classification, make, train

from nni_magic.manager.space import search_space
from nni_magic.supernet.checkpoint import read_checkpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A supernet's checkpoint by the type of its space."""
    folder = tmp_path_factory.mktemp("checkpoints")
    found = {kind: folder / f"{kind.__name__}.ckpt" for kind in (ConvSpace, MixedSpace)}
    for kind, path in found.items():
        train(make("spos"), kind(), classification(Watch(2, path)))
    return found


def run(path):
    return subprocess.run(
        [sys.executable, "-m", "nni_magic.manager.space", "--checkpoint", str(path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("tuner_type", [TpeTuner, RandomTuner, GridSearchTuner, EvolutionTuner])
@pytest.mark.parametrize("space_type", [ConvSpace, MixedSpace])
def test_tuners_of_nni_search_the_space(tuner_type, space_type, checkpoints):
    space = json.loads(json.dumps(search_space(read_checkpoint(checkpoints[space_type]))))
    tuner = tuner_type()
    tuner.update_search_space(space)
    for number in range(3):
        sample = tuner.generate_parameters(number)
        space_type().validate(sample)
        tuner.receive_trial_result(number, sample, float(number))


def test_program_prints_the_space(checkpoints):
    done = run(checkpoints[ConvSpace])
    assert done.returncode == 0, done.stderr
    choices = {"_type": "choice", "_value": list(ConvSpace.CANDIDATES)}
    assert json.loads(done.stdout) == {f"block_{n}": choices for n in range(1, 5)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "error: checkpoint is .*, which is not a file"),
        (b"", "error: checkpoint .* cannot be read"),
    ],
)
def test_program_says_what_is_wrong_in_one_line(content, message, tmp_path):
    path = tmp_path / "x.ckpt"
    if content is not None:
        path.write_bytes(content)
    done = run(path)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert re.match(message, line)
