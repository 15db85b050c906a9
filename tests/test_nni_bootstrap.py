"""The bootstrap: NNI imports in any order, silently, and nothing of another library changes."""

from pathlib import Path

import pytest
from fresh import python

ROOT = Path(__file__).parents[1]


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
        try:
            import torchvision
        except (ImportError, RuntimeError):
            for operator in ("nms", "qnms"):
                schema = "(Tensor a, Tensor b, float c) -> Tensor"
                torch.library.define(f"torchvision::{operator}", schema)
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


# Torchmetrics asks for the metadata of what is installed.
ABSENT = """
    import sys
    from importlib.metadata import Distribution, PackageNotFoundError
    find = Distribution.from_name

    def from_name(name):
        if name == "torchvision":
            raise PackageNotFoundError(name)
        return find(name)

    Distribution.from_name = from_name
    sys.modules["torchvision"] = None  # not found by any import
    import nni_bootstrap
    print("passed")
"""


def test_torchvision_may_be_absent():
    assert python(ABSENT)[0] == "passed"


def test_other_errors_of_torchvision_come_through():
    with pytest.raises(AssertionError, match="RuntimeError: another one"):
        python(BROKEN.format(error="RuntimeError('another one')"))


FIRST = ["nni_magic.strategies.spos", "search_spaces.bert", "search_spaces, nni_magic.strategies"]
OTHERS = [
    "nni_magic.supernet.hidden_states", "nni_magic.children.costs", "nni_magic.support.records",
    "nni_magic.manager.trial", "search_spaces", "nni_magic, search_spaces",
]  # fmt: skip


@pytest.mark.parametrize(
    "first", [*FIRST, *(pytest.param(each, marks=pytest.mark.slow) for each in OTHERS)]
)
def test_any_import_may_come_first(first):
    code = f"""
        import {first}
        from nni.nas.strategy import DARTS, RandomOneShot
        from nni_magic.strategies import MagicAT
        from search_spaces import BertSpace
        made = DARTS(), RandomOneShot(), MagicAT(seed=0)
        print(*(type(strategy).__name__ for strategy in made))
    """
    assert python(code)[0] == "DARTS RandomOneShot MagicAT"


WATCHED = """
import importlib, sys, warnings
from types import ModuleType

def watched(names):
    # Every attribute of modules and classes of other libraries, by identity.
    found = {}
    for name in names:
        module, _, type_name = name.partition(":")
        owner = importlib.import_module(module)
        owner = getattr(owner, type_name) if type_name else owner
        found[name] = {key: value for key, value in vars(owner).items()
                       if not isinstance(value, ModuleType)}
    return found

def changed(before, after):
    return [f"{name}.{key}" for name, values in before.items() for key, value in values.items()
            if not key.startswith("__") and after[name].get(key) is not value]

def ours(value):
    # Where the code is, because functools.wraps gives a wrapper the names of what it wraps.
    code = getattr(value, "__code__", None)
    origin = getattr(code, "co_filename", ""), str(getattr(value, "__module__", ""))
    packages = "nni_magic", "search_spaces", "nni_bootstrap"
    return any(package in name for name in origin for package in packages)
"""
FIRST = [
    "torch", "torch.serialization", "torch.nn.functional", "torch.nn:Module",
    "torch.utils.data:DataLoader", "torch.optim:Optimizer", "nni", "nni.trial", "nni.mutable",
    "nni.runtime.trial_command_channel", "numpy", "numpy.random", "random", "warnings", "pickle",
]  # fmt: skip
LATER = [
    "nni.nas.oneshot.pytorch.strategy:RandomOneShot",
    "nni.nas.oneshot.pytorch.strategy:OneShotStrategy",
    "nni.nas.oneshot.pytorch.sampling:RandomSamplingLightningModule",
    "nni.nas.oneshot.pytorch.base_lightning:BaseOneShotLightningModule",
    "nni.nas.oneshot.pytorch.supermodule.base:BaseSuperNetModule",
    "nni.nas.nn.pytorch:LayerChoice", "nni.nas.nn.pytorch:ModelSpace",
    "nni.nas.evaluator.pytorch:Lightning", "nni.nas.execution:SequentialExecutionEngine",
    "nni.nas.strategy:RegularizedEvolution", "nni.nas.utils.serializer",
    "pytorch_lightning:Trainer", "pytorch_lightning:LightningModule", "torchmetrics:Metric",
    *FIRST,
]  # fmt: skip
IMPORT_ALL = """
import pkgutil, nni_magic, search_spaces
for package in (nni_magic, search_spaces):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
assert "nni_magic.strategies.magic_at" in sys.modules
assert "nni_magic.manager.trial" in sys.modules
"""


def test_importing_puts_nothing_of_ours_into_torch_or_nni():
    # By origin: Lightning and torch themselves replace a few functions when they are imported.
    out, _ = python(f"""{WATCHED}
import nni_magic
assert "torch" not in sys.modules and "nni" not in sys.modules
import nni_bootstrap, nni_magic.strategies
print([f"{{name}}.{{key}}" for name, values in watched({LATER}).items()
       for key, value in values.items() if ours(value)])
""")
    assert out == "[]"


def test_importing_everything_leaves_nni_lightning_and_warnings_as_they_were():
    out, _ = python(f"""{WATCHED}
import nni_bootstrap
import transformers.modeling_utils  # sets a filter of its own
before, filters = watched({LATER}), list(warnings.filters)
{IMPORT_ALL}
print(changed(before, watched({LATER})), warnings.filters == filters)
""")
    assert out == "[] True"


def test_a_patched_function_would_be_found():
    out, _ = python(f"""{WATCHED}
before = watched({FIRST})
import functools, nni, torch
patch = compile("torch.load = wraps(torch.load)(lambda: 0)", "nni_magic/support/compat.py", "exec")
exec(patch, dict(wraps=functools.wraps, torch=torch))
nni.report_final_result = torch.nn.Module.eval = print
print(changed(before, watched({FIRST})), ours(torch.load), ours(torch.save))
""")
    names = ["torch.load", "torch.nn:Module.eval", "nni.report_final_result"]
    assert out == f"{names} True False"
