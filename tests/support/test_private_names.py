"""Private names of other libraries: each one is there, and no other one is used."""

import ast
import functools
import importlib
import inspect
import pkgutil
import re
import types
from importlib.metadata import version
from pathlib import Path

import pytest
import pytorch_lightning as pl
from nni.nas.evaluator.pytorch import LightningModule
from nni.nas.oneshot.pytorch.strategy import DARTS
from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedLayer
from nni.nas.oneshot.pytorch.supermodule.operation import MixedOperation
from nni.nas.oneshot.pytorch.supermodule.sampling import PathSamplingLayer
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities import CombinedLoader
from scores import lightning
from spaces import FlatSpace, MixedSpace, supernet
from torch import nn
from torchmetrics import MeanMetric, Metric

import nni_magic
import search_spaces
from nni_magic.support.private_names import PRIVATE_NAMES

ROOT = Path(__file__).parents[2]
NAMES = {row.name for row in PRIVATE_NAMES}
NO_SECRET = {
    "_replace", "_fields", "_asdict", "_make",  # documented, of namedtuple
    "_initialize", "_run", "_do", "_evaluate",  # NNI's Strategy and pymoo ask to override them
    "_init_weights",  # and transformers this
    "_abc_impl", "_is_protocol", "_is_runtime_protocol",  # Python puts them into classes,
    "_init_wrapped",  # and NNI into model spaces,
    "_backward_cls",  # and torch into functions of autograd
}  # fmt: skip


def part_of_supernet(kind):
    return next(module for module in supernet(MixedSpace()).modules() if isinstance(module, kind))


def mixed_layer():
    mixture = DARTS().mutate_model(FlatSpace())
    return next(m for m in mixture.modules() if isinstance(m, DifferentiableMixedLayer))


def training_module():
    module = LightningModule()
    module.set_model(nn.Linear(1, 1))
    return module


# Instances of the classes, where the names are on them and not on the class.
MADE = {
    nn.Module: nn.Module,
    pl.LightningModule: pl.LightningModule,
    pl.Trainer: lambda: lightning().trainer,
    DDPStrategy: DDPStrategy,
    CombinedLoader: lambda: CombinedLoader([]),
    Metric: MeanMetric,
    LightningModule: training_module,
    PathSamplingLayer: lambda: part_of_supernet(PathSamplingLayer),
    MixedOperation: lambda: part_of_supernet(MixedOperation),
    DifferentiableMixedLayer: mixed_layer,
}


def find(path):
    """What a path names: modules are imported, and of a class in ``MADE`` an instance is made."""
    found = importlib.import_module(path.split(".")[0])
    for name in path.split(".")[1:]:
        if isinstance(found, types.ModuleType) and not hasattr(found, name):
            importlib.import_module(f"{found.__name__}.{name}")
        found = getattr(found, name)
        found = MADE[found]() if inspect.isclass(found) and found in MADE else found
    return found


@pytest.mark.parametrize("row", PRIVATE_NAMES, ids=lambda row: f"{row.owner}.{row.name}")
def test_the_name_is_there(row):
    library = row.owner.partition(".")[0]
    pytest.importorskip(library)
    try:
        there = hasattr(find(row.owner), row.name)
    except (AttributeError, ImportError):
        there = False
    assert there, (
        f"{library.replace('_', '-')} {version(library)} has no {row.owner}.{row.name}, "
        f"which {' and '.join(row.rooms)} use: {row.why}"
    )


def test_a_name_that_is_gone_would_be_found():
    assert not hasattr(find("pytorch_lightning.Trainer.fit_loop"), "_loader_combined")
    with pytest.raises(AttributeError, match="_data_connectors"):
        find("pytorch_lightning.Trainer._data_connectors")


def is_private(name):
    return name.startswith("_") and not name.startswith("__") and not name.endswith("_")


def defined(tree):
    """Names that a module gives to something of its own."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and of_self(node):
            yield node.attr


def of_self(node):
    owner = node.value
    call = isinstance(owner, ast.Call) and owner.func
    name = call if isinstance(call, ast.Name) else owner
    return isinstance(name, ast.Name) and name.id in {"self", "cls", "super"}


def docstrings(tree):
    """Texts that stand alone, which only explain."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def used(tree, ours):
    """Names of others that a module uses; ``ours`` are defined somewhere in the project."""
    own, explained = set(defined(tree)), docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            known = ours if of_self(node) else own - NAMES
            if node.attr not in known | NO_SECRET:
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and not node.level:
            inside = any(map(is_private, node.module.split(".")))
            yield from (a.name for a in node.names if inside or is_private(a.name))
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if any(map(is_private, a.name.split("."))))
        elif isinstance(node, ast.Constant) and id(node) not in explained:
            parts = set(re.split(r"\W", str(node.value)))  # getattr(x, "_name"), a key, a prefix
            yield from (name for name in NAMES & parts if is_private(name))


@functools.cache
def uses(root=ROOT):
    """Private names of others, each with the rooms that use it."""
    trees = {}
    for top in ("nni_magic", "search_spaces", "experiments"):
        for path in sorted((root / top).rglob("*.py")):
            if path.stem != "private_names":
                trees[path.relative_to(root)] = ast.parse(path.read_text(encoding="utf-8"))
    ours = {name for tree in trees.values() for name in defined(tree)}
    found = {}
    for path, tree in trees.items():
        room = path.parts[1] if path.parts[0] == "nni_magic" else path.parts[0]
        for name in used(tree, ours):
            found.setdefault(name, set()).add(room)
    return found


def test_no_other_private_name_is_used():
    assert {name: rooms for name, rooms in uses().items() if name not in NAMES} == {}


def test_names_are_used_where_the_list_says():
    listed = {row.name: set(row.rooms) for row in PRIVATE_NAMES if is_private(row.name)}
    assert {name: rooms for name, rooms in uses().items() if is_private(name)} == listed
    files = {room: sorted((ROOT / "nni_magic" / room).rglob("*.py"))
             for row in PRIVATE_NAMES for room in row.rooms}  # fmt: skip
    texts = {room: "".join(path.read_text() for path in paths) for room, paths in files.items()}
    for row in PRIVATE_NAMES:
        assert [room for room in row.rooms if not re.search(rf"\b{row.name}\b", texts[room])] == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("trainer._results", {"_results"}),
        ("super()._setup()", {"_setup"}),
        ("self._fabric = 1", set()),
        ("self._fabric", {"_fabric"}),
        ("def _own(): pass\nx._own", set()),
        ("from torch._dynamo import disable", {"disable"}),
        ("from torch.nn import _reduction", {"_reduction"}),
        ("import torch._inductor.config", {"torch._inductor.config"}),
        ("getattr(model, '_buffers')", {"_buffers"}),
        ("PREFIX = 'weights._model.x'", {"_model"}),
        ("def f():\n    'Of _model.'", set()),
        ("self._model = 1\nmodule._model", {"_model"}),
        ("named._replace(a=1).__dict__", set()),
    ],
)
def test_a_use_is_found(line, found):
    tree = ast.parse(line)
    assert set(used(tree, set(defined(tree)))) == found


def overridden(package):
    """Private names of others that our classes define anew."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == module.__name__:
                yield from _overridden_by(kind)


def _overridden_by(kind):
    theirs = [b for b in kind.__mro__ if b.__module__.split(".")[0] not in OURS]
    for name in vars(kind):
        if is_private(name) and name not in NO_SECRET and any(name in vars(b) for b in theirs):
            yield f"{kind.__module__}.{kind.__name__}.{name}"


OURS = ("nni_magic", "search_spaces", __name__)


def test_no_private_name_is_overridden():
    assert [*overridden(nni_magic), *overridden(search_spaces)] == []


def test_an_override_is_found():
    class Fast(pl.LightningModule):
        def _on_before_batch_transfer(self, batch, dataloader_idx=0):
            return batch

    assert len(list(_overridden_by(Fast))) == 1
