"""Imports point one way, and importing patches nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = ("nni_magic", "search_spaces", "experiments")

# A module may import from lower layers, and from its own package.
LAYERS = {"samples": 0, "strategies": 2, "search": 2, "analysis": 2, "manager": 3}
CORE = 1


def modules(root=ROOT):
    """All modules of the project by dotted name."""
    found = {}
    for package in PROJECT:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name, path, known):
    """Project modules that a module imports, at any place in its code, relative ones resolved."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level]
            source = ".".join([*base, node.module or ""] if node.level else [node.module])
            source = source.rstrip(".")
            for alias in node.names:  # `from . import x` names a module or something inside one
                inner = f"{source}.{alias.name}"
                found.add(inner if inner in known else source)
    return found


def layer(name):
    """Layer of a module of nni_magic; its bare package belongs to everyone."""
    part = name.split(".")[1]
    return LAYERS.get(part, CORE)


def allowed(importer, imported):
    """Whether the house rules let one module of the project import another."""
    top, target = importer.split(".")[0], imported.split(".")[0]
    if target not in PROJECT or top == "experiments":
        return True
    if top != target:
        return False
    if top == "search_spaces" or "." not in imported or "." not in importer:
        return True
    same_package = importer.split(".")[1] == imported.split(".")[1]
    both_core = layer(importer) == layer(imported) == CORE
    return same_package or both_core or layer(imported) < layer(importer)


def violations(root):
    known = modules(root)
    return [
        f"{name} imports {imported}"
        for name, path in known.items()
        for imported in sorted(imports(name, path, known))
        if not allowed(name, imported)
    ]


def test_imports_point_one_way():
    assert {"nni_magic.children.samples", "nni_magic.strategies.spos", "search_spaces.bert"} <= set(
        modules()
    )
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("module", "line", "imported"),
    [
        ("search_spaces/bert.py", "from nni_magic.children.samples import digest", "nni_magic.children.samples"),
        ("search_spaces/bert.py", "import nni_magic.tasks.language.mlm", "nni_magic.tasks.language.mlm"),
        ("nni_magic/scoring/anchor.py", "import search_spaces", "search_spaces"),
        ("nni_magic/scoring/anchor.py", "def f():\n    from experiments import mlm", "nni_magic.tasks.language.mlm"),
        ("nni_magic/children/samples.py", "from .anchor import Anchor", "nni_magic.scoring.anchor"),
        ("nni_magic/scoring/anchor.py", "from .strategies import spos", "nni_magic.strategies.spos"),
        ("nni_magic/search/evolution.py", "from ..strategies import spos",
         "nni_magic.strategies.spos"),
        ("nni_magic/strategies/spos.py", "from .. import search", "nni_magic.search"),
        ("nni_magic/analysis/ranking.py", "from nni_magic import search", "nni_magic.search"),
        ("nni_magic/strategies/spos.py", "from ..manager.trial import ManagedTrial",
         "nni_magic.manager.trial"),
    ],
)  # fmt: skip
def test_import_in_the_wrong_direction_is_found(module, line, imported, tmp_path):
    for path in modules().values():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("")
    for package in ("search", "analysis"):
        (tmp_path / "nni_magic" / package).mkdir(exist_ok=True)
        (tmp_path / "nni_magic" / package / "__init__.py").write_text("")
    (tmp_path / module).write_text(line)
    name = module.removesuffix(".py").replace("/", ".")
    assert violations(tmp_path) == [f"{name} imports {imported}"]


def test_core_modules_do_not_import_each_other_in_a_circle():
    known = modules()
    graph = {
        name: {i for i in imports(name, path, known) if i in known and i != name}
        for name, path in known.items()
        if path.name != "__init__.py"
    }
    while leaves := [name for name, needed in graph.items() if not needed & graph.keys()]:
        for name in leaves:
            del graph[name]
    assert graph == {}


def test_samples_need_no_torch():
    known = modules()
    needed = imports("nni_magic.children.samples", known["nni_magic.children.samples"], known)
    assert {name.split(".")[0] for name in needed} <= {*sys.stdlib_module_names, "numpy", "nni"}
    assert not any(name.startswith(("nni.nas", "nni.retiarii")) for name in needed)


def run_python(program):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
    return any(package in name for name in origin for package in ("nni_magic", "search_spaces"))
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
    out = run_python(f"""{WATCHED}
import nni_magic
assert "torch" not in sys.modules and "nni" not in sys.modules
import nni_magic.strategies
print([f"{{name}}.{{key}}" for name, values in watched({LATER}).items()
       for key, value in values.items() if ours(value)])
""")
    assert out.strip() == "[]"


def test_importing_everything_leaves_nni_lightning_and_warnings_as_they_were():
    out = run_python(f"""{WATCHED}
before, filters = watched({LATER}), list(warnings.filters)
{IMPORT_ALL}
print(changed(before, watched({LATER})), warnings.filters == filters)
""")
    assert out.strip() == "[] True"


def test_a_patched_function_would_be_found():
    out = run_python(f"""{WATCHED}
before = watched({FIRST})
import functools, nni, torch
patch = compile("torch.load = wraps(torch.load)(lambda: 0)", "nni_magic/support/compat.py", "exec")
exec(patch, dict(wraps=functools.wraps, torch=torch))
nni.report_final_result = torch.nn.Module.eval = print
print(changed(before, watched({FIRST})), ours(torch.load), ours(torch.save))
""")
    names = ["torch.load", "torch.nn:Module.eval", "nni.report_final_result"]
    assert out.strip() == f"{names} True False"
