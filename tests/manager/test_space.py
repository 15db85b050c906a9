"""The children of a checkpoint as a search space for NNI's tuners."""

import json
from pathlib import Path

import pytest
from nni.algorithms.hpo.evolution_tuner import EvolutionTuner
from nni.algorithms.hpo.gridsearch_tuner import GridSearchTuner
from nni.algorithms.hpo.random_tuner import RandomTuner
from nni.algorithms.hpo.tpe_tuner import TpeTuner
from spaces import ConvSpace, MixedSpace, TupleSpace
from training import Watch, classification, make, train

from nni_magic.children.json_samples import in_space
from nni_magic.children.samples import candidates
from nni_magic.manager.space import search_space
from nni_magic.supernet.checkpoint import read_checkpoint

ROOT = Path(__file__).parents[2]
SPACES = (ConvSpace, MixedSpace, TupleSpace)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A supernet's checkpoint by the type of its space."""
    folder = tmp_path_factory.mktemp("checkpoints")
    found = {kind: folder / f"{kind.__name__}.ckpt" for kind in SPACES}
    for kind, path in found.items():
        train(make("spos"), kind(), classification(Watch(2, path)))
    return found


@pytest.mark.parametrize("tuner_type", [TpeTuner, RandomTuner, GridSearchTuner, EvolutionTuner])
@pytest.mark.parametrize("space_type", SPACES)
def test_tuners_of_nni_search_the_space(tuner_type, space_type, checkpoints):
    space = json.loads(json.dumps(search_space(read_checkpoint(checkpoints[space_type]))))
    tuner = tuner_type()
    tuner.update_search_space(space)
    for number in range(3):
        sample = tuner.generate_parameters(number)
        own = in_space(json.loads(json.dumps(sample)), candidates(space_type()))
        space_type().validate(own)
        tuner.receive_trial_result(number, sample, float(number))
