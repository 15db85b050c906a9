"""The shims: what they mend is really broken without them, and they change nothing else."""

import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from nni.nas.hub.pytorch import ProxylessNAS
from nni.nas.space import model_context
from scores import trained
from spaces import set_path

from nni_magic import compat
from nni_magic.samples import candidates, random_sample

ROOT = Path(__file__).parents[1]


def python(code, **environment):
    """Run code in a fresh interpreter; give what it prints last and its errors."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", **environment},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return (done.stdout.strip().splitlines() or [""])[-1], done.stderr


def test_import_of_the_package_patches_nothing():
    code = """
        import inspect, warnings
        from nni_magic import compat
        compat.load_torchvision()  # NNI's strategies import torchmetrics, and so torchvision
        import torch, numpy, nni, nni.nas.nn.pytorch, nni.nas.oneshot.pytorch.strategy
        import nni.nas.utils.serializer, nni.nas.strategy, pytorch_lightning, torchmetrics
        import torch.serialization

        def content(module):
            found = {(module.__name__, name): id(value) for name, value in vars(module).items()
                     if callable(value)}
            for cls in list(vars(module).values()):
                if inspect.isclass(cls) and cls.__module__.startswith(module.__name__):
                    found |= {(cls.__qualname__, name): id(v) for name, v in vars(cls).items()
                              if callable(v)}
            return found

        modules = [torch, torch.nn, torch.serialization, numpy, nni, nni.mutable,
                   nni.nas.nn.pytorch, nni.nas.oneshot.pytorch.strategy, nni.nas.strategy,
                   nni.nas.oneshot.pytorch.sampling, nni.nas.utils.serializer,
                   pytorch_lightning, torchmetrics]
        before = [content(module) for module in modules]
        filters = list(warnings.filters)
        allowed = set(torch.serialization.get_safe_globals())
        import nni_magic, nni_magic.strategies, nni_magic.leaderboard
        after = [content(module) for module in modules]
        assert len(before[0]) > 500
        for old, new in zip(before, after):
            assert {key: new.get(key) for key in old} == old
        assert set(torch.serialization.get_safe_globals()) == allowed
        assert warnings.filters == filters
        print("same")
    """
    assert python(code)[0] == "same"


def test_import_of_the_package_alone_loads_nothing():
    code = "import sys, nni_magic; print({'torch', 'nni', 'torchvision'} & set(sys.modules))"
    assert python(code)[0] == "set()"


def test_import_nni_quietly_is_silent_and_leaves_the_filters_alone():
    code = """
        import warnings
        warnings.simplefilter("always")
        from nni_magic import compat
        compat.load_torchvision()
        filters = list(warnings.filters)
        compat.import_nni_quietly()
        assert warnings.filters == filters
        import nni.nas.nn.pytorch
        print(nni.nas.nn.pytorch.LayerChoice.__name__)
    """
    last, errors = python(code)
    assert last == "LayerChoice"
    assert "is found to be not a nn.Module" not in errors


def test_import_nni_warns_without_the_shim():
    """If this fails, NNI or torch has mended it and the shim can go."""
    code = """
        from nni_magic import compat
        compat.load_torchvision()
        import nni.nas.nn.pytorch
        print("imported")
    """
    _, errors = python(code)
    assert "is found to be not a nn.Module" in errors


def test_load_torchvision_makes_it_work_and_leaves_the_filters_alone():
    code = """
        import warnings, sympy, torch  # importing sympy, as torchvision does, adds a filter
        filters = list(warnings.filters)
        from nni_magic import compat
        compat.load_torchvision()
        compat.load_torchvision()  # twice is fine
        assert warnings.filters == filters
        import torchvision, torchmetrics
        model = torchvision.models.resnet18().eval()
        print(model(torch.zeros(1, 3, 32, 32)).shape)
    """
    pytest.importorskip("torchvision")
    assert python(code)[0] == "torch.Size([1, 1000])"


BROKEN = """
    import sys, types

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "torchvision":
                raise {error}

    sys.meta_path.insert(0, Finder())
    from nni_magic import compat
    compat.load_torchvision()
    print("passed")
"""


def test_load_torchvision_where_it_is_absent_does_nothing():
    assert python(BROKEN.format(error="ModuleNotFoundError('torchvision')"))[0] == "passed"


def test_load_torchvision_lets_other_errors_through():
    with pytest.raises(AssertionError, match="RuntimeError: another one"):
        python(BROKEN.format(error="RuntimeError('another one')"))


def test_nni_checkpoint_types_let_a_stopped_experiment_be_resumed(tmp_path):
    code = f"""
        import pathlib, pickle, torch
        from nni_magic import compat
        compat.load_torchvision()
        compat.import_nni_quietly()
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


@pytest.mark.parametrize("first", ["nni_magic.strategies", "nni_magic.hidden_states"])
def test_nnis_own_strategies_work_after_ours_are_imported(first):
    code = f"""
from nni_magic import compat
compat.load_torchvision()
import {first}
from nni.nas.strategy import DARTS, RandomOneShot
DARTS(), RandomOneShot()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


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
