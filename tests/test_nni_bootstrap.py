"""The bootstrap: NNI imports in any order, silently, and nothing of another library changes."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

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
        import nni_bootstrap
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
        import nni_magic, nni_magic.strategies, nni_magic.scoring.leaderboard
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


def test_import_is_silent_and_leaves_the_filters_alone():
    code = """
        import warnings, sympy, torch  # importing sympy, as torchvision does, adds a filter
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        import nni_bootstrap
        assert warnings.filters == filters
        import nni.nas.nn.pytorch, torchvision, torchmetrics
        model = torchvision.models.resnet18().eval()
        print(nni.nas.nn.pytorch.LayerChoice.__name__, *model(torch.zeros(1, 3, 32, 32)).shape)
    """
    pytest.importorskip("torchvision")
    last, errors = python(code)
    assert last == "LayerChoice 1 1000"
    assert "is found to be not a nn.Module" not in errors


def test_nni_warns_without_it():
    """If this fails, NNI or torch has mended it and the bootstrap needs no filter."""
    code = """
        import torch
        for operator in ("nms", "qnms"):
            torch.library.define(f"torchvision::{operator}", "(Tensor a, Tensor b, float c) -> Tensor")
        import nni.nas.nn.pytorch
    """
    assert "is found to be not a nn.Module" in python(code)[1]


BROKEN = """
    import sys

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "torchvision":
                raise {error}

    sys.meta_path.insert(0, Finder())
    import nni_bootstrap
    print("passed")
"""


def test_torchvision_may_be_absent():
    assert python(BROKEN.format(error="ModuleNotFoundError('torchvision')"))[0] == "passed"


def test_other_errors_of_torchvision_come_through():
    with pytest.raises(AssertionError, match="RuntimeError: another one"):
        python(BROKEN.format(error="RuntimeError('another one')"))


FIRST = [
    "nni_magic.strategies.spos", "nni_magic.supernet.hidden_states", "nni_magic.children.costs",
    "nni_magic.support.records", "nni_magic.manager.trial", "search_spaces", "search_spaces.bert",
    "nni_magic, search_spaces", "search_spaces, nni_magic.strategies",
]  # fmt: skip


@pytest.mark.parametrize("first", FIRST)
def test_any_import_may_come_first(first):
    code = f"""
        import {first}
        from nni.nas.strategy import DARTS, RandomOneShot
        from nni_magic.strategies import MagicAT
        from search_spaces import BertSpace
        print(type(DARTS()).__name__, type(RandomOneShot()).__name__, type(MagicAT(seed=0)).__name__)
    """
    assert python(code)[0] == "DARTS RandomOneShot MagicAT"
