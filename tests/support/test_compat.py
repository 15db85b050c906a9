"""The shims: what they mend is really broken without them, and they change nothing else."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from fresh import python
from nni.nas.hub.pytorch import ProxylessNAS
from nni.nas.space import model_context
from scores import trained
from spaces import set_path

from nni_magic.children.samples import candidates, random_sample
from nni_magic.support import compat

ROOT = Path(__file__).parents[2]


def test_nni_checkpoint_types_let_a_stopped_experiment_be_resumed(tmp_path):
    code = f"""
        import pathlib, pickle, torch
        import nni_bootstrap
        from nni_magic.support import compat
        import nni
        from nni.nas.evaluator.functional import FunctionalEvaluator
        from nni.nas.experiment import NasExperiment
        from nni.nas.experiment.config import NasExperimentConfig
        from nni.nas.strategy import RegularizedEvolution
        from spaces import MixedSpace

        def evaluate(model):
            nni.report_final_result(float(sum(p.numel() for p in model.parameters())))

        def experiment(id=None, n=6):
            config = NasExperimentConfig("sequential", "raw", "local")
            config.max_trial_number = n
            config.experiment_working_directory = {str(tmp_path / "experiments")!r}
            strategy = RegularizedEvolution(population_size=4, sample_size=2, seed=0)
            return NasExperiment(MixedSpace(), FunctionalEvaluator(evaluate), strategy, config, id)

        first = experiment()
        first.run()
        population = list(first.strategy._population)
        assert len(population) == 4
        state = next(pathlib.Path({str(tmp_path)!r}).rglob("state.ckpt*"))

        try:
            torch.load(state)
        except pickle.UnpicklingError as error:
            assert "Weights only load failed" in str(error)
        else:
            raise AssertionError("the shim is not needed any more")
        allowed = set(torch.serialization.get_safe_globals())
        with compat.nni_checkpoint_types():
            torch.load(state)
            second = experiment(id=first.id, n=9)
            second.resume()
        assert set(torch.serialization.get_safe_globals()) == allowed
        try:
            torch.load(state)
        except pickle.UnpicklingError:
            pass
        else:
            raise AssertionError("the types are still allowed")
        resumed = list(second.strategy._population)
        kept = sum(individual in resumed for individual in population)
        pathlib.Path({str(tmp_path / "counts")!r}).write_text(f"{{len(resumed)}} {{kept}}")
    """
    python(code, HOME=str(tmp_path))
    n, kept = map(int, (tmp_path / "counts").read_text().split())
    assert n == 4
    assert kept == 1  # nine models in all, so three are new in a population of four


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_nni_checkpoint_types_do_not_allow_other_types(tmp_path):
    torch.save({"x": Evil()}, tmp_path / "evil.pt")
    with (
        compat.nni_checkpoint_types(),
        pytest.raises(pickle.UnpicklingError, match="Weights only load failed"),
    ):
        torch.load(tmp_path / "evil.pt")


def test_nni_checkpoint_types_are_taken_back_after_an_error():
    allowed = set(torch.serialization.get_safe_globals())
    with pytest.raises(KeyError, match="lost"), compat.nni_checkpoint_types():
        assert len(torch.serialization.get_safe_globals()) > len(allowed)
        raise KeyError("lost")
    assert set(torch.serialization.get_safe_globals()) == allowed


def hub():
    # NNI's supernet takes BatchNorm's default, whatever the space was made with.
    return ProxylessNAS(10, width_mult=0.25, bn_eps=1e-5)


def test_supernet_of_the_hub_is_frozen_with_its_weights():
    sample = random_sample(candidates(hub()), np.random.default_rng(0))
    net = trained(hub).eval()
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"bias"'):
        net.freeze(sample)
    child = compat.freeze(net, sample).eval()
    with model_context(sample):
        anew = hub().eval()
    anew.load_state_dict(child.state_dict())
    set_path(net, sample)
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(child(x), net(x))
    torch.testing.assert_close(anew(x), net(x))
    assert not any("freeze_weight" in module.__dict__ for module in net.modules())
