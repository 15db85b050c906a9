"""Rooms and the way imports point, sizes, and tests beside their sources."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = ("nni_magic", "search_spaces", "experiments", "nni_bootstrap")
MAX_LINES = 300

# A module may import from its own room and from those in lower layers. Rooms in the same layer do
# not know each other.
LAYERS = [
    {"support"}, {"children"}, {"supernet"}, {"samplers", "scoring"}, {"losses"},
    {"strategies", "search", "analysis", "export"}, {"tasks", "manager"}, {"programs"},
]  # fmt: skip
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
USERS_OF_SPACES = {"programs", "tasks"}


def modules(root=ROOT):
    """All modules of the project by dotted name."""
    found = {}
    for top in PROJECT:
        for path in [*sorted((root / top).rglob("*.py")), root / f"{top}.py"]:
            if path.exists():
                parts = path.relative_to(root).with_suffix("").parts
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name, path, known):
    """Modules that a module imports, at any place in its code, relative ones resolved."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
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


def room(name):
    """Room of a module of nni_magic; the package itself, with its version, is in none."""
    return name.partition(".")[2].partition(".")[0]


def allowed(importer, imported):
    """Whether the house rules let one module import another."""
    top, target = importer.split(".")[0], imported.split(".")[0]
    if target == "tests":
        return False
    if target not in PROJECT or top == "experiments" or target == "nni_bootstrap":
        return True
    if top != target:
        return target == "search_spaces" and room(importer) in USERS_OF_SPACES
    if top != "nni_magic" or room(imported) in {"", room(importer)}:
        return True
    return LAYER[room(imported)] < LAYER.get(room(importer), 0)


def violations(root):
    known = modules(root)
    return [
        f"{name} imports {imported}"
        for name, path in known.items()
        for imported in sorted(imports(name, path, known))
        if not allowed(name, imported)
    ]


def test_every_room_has_its_layer():
    rooms = {path.parent.name for path in (ROOT / "nni_magic").glob("*/__init__.py")}
    assert rooms == set(LAYER)
    assert list((ROOT / "nni_magic").glob("*.py")) == [ROOT / "nni_magic/__init__.py"]


def test_imports_point_one_way():
    assert {"nni_magic.children.samples", "search_spaces.bert", "nni_bootstrap"} <= set(modules())
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("importer", "line", "imported"),
    [
        ("search_spaces.bert", "from nni_magic.children.a import x", "nni_magic.children.a"),
        ("search_spaces.bert", "import experiments.a", "experiments.a"),
        ("nni_magic.scoring.a", "import search_spaces", "search_spaces"),
        ("nni_magic.manager.a", "from search_spaces.bert import x", "search_spaces.bert"),
        ("nni_magic.programs.a", "def f():\n    from experiments import a", "experiments.a"),
        ("nni_magic.programs.a", "from tests import spaces", "tests"),
        ("nni_magic.support.a", "from ..children import a", "nni_magic.children.a"),
        ("nni_magic.children.a", "from ..scoring.a import x", "nni_magic.scoring.a"),
        ("nni_magic.supernet.a", "from ..samplers.a import x", "nni_magic.samplers.a"),
        ("nni_magic.scoring.a", "from ..samplers.a import x", "nni_magic.samplers.a"),
        ("nni_magic.scoring.a", "from ..losses.a import x", "nni_magic.losses.a"),
        ("nni_magic.losses.a", "from .. import strategies", "nni_magic.strategies"),
        ("nni_magic.search.a", "from ..strategies import a", "nni_magic.strategies.a"),
        ("nni_magic.analysis.a", "from nni_magic import search", "nni_magic.search"),
        ("nni_magic.strategies.a", "from ..manager.a import x", "nni_magic.manager.a"),
        ("nni_magic.tasks.a", "from ..programs.a import x", "nni_magic.programs.a"),
        ("nni_magic.tasks.a", "from ..manager.a import x", "nni_magic.manager.a"),
        ("nni_magic", "from .support import a", "nni_magic.support.a"),
        ("nni_bootstrap", "import nni_magic", "nni_magic"),
    ],
)
def test_import_in_the_wrong_direction_is_found(importer, line, imported, tmp_path):
    for name in ["nni_magic", *(f"nni_magic.{part}" for part in LAYER), "experiments"]:
        folder = tmp_path / name.replace(".", "/")
        folder.mkdir()
        for file in ("__init__.py", "a.py"):
            (folder / file).write_text("import nni_bootstrap, torch, nni_magic" * (file == "a.py"))
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces/__init__.py").write_text("from .bert import BertSpace")
    for part in USERS_OF_SPACES:
        (tmp_path / f"nni_magic/{part}/b.py").write_text("import search_spaces.bert")
    (tmp_path / "experiments/b.py").write_text("import search_spaces, nni_magic.programs.a")
    path = tmp_path / importer.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    path.write_text(line)
    assert violations(tmp_path) == [f"{importer} imports {imported}"]


def circles(root):
    """Modules in circles: what is left without those that import, or are imported by, no other."""
    known = modules(root)
    graph = {
        name: imports(name, path, known) & known.keys()
        for name, path in known.items()
    }
    while True:
        imported = set().union(*graph.values())
        left = {
            name: needed & graph.keys()
            for name, needed in graph.items()
            if name in imported and needed & graph.keys()
        }
        if left == graph:
            return sorted(graph)
        graph = left


def test_no_modules_import_each_other_in_a_circle():
    assert circles(ROOT) == []


def test_a_circle_is_found(tmp_path):
    folder = tmp_path / "nni_magic/search"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text("from .b import x")
    (folder / "b.py").write_text("def f():\n    from . import c")
    (folder / "c.py").write_text("import nni_magic.search.a")
    (folder / "d.py").write_text("import nni_bootstrap")
    (folder / "e.py").write_text("from . import a")
    (folder / "f.py").write_text("if TYPE_CHECKING:\n    from . import g")
    (folder / "g.py").write_text("from . import f")
    assert circles(tmp_path) == [f"nni_magic.search.{name}" for name in "abcfg"]


def test_sources_are_short():
    sizes = {name: path.read_text(encoding="utf-8").count("\n") for name, path in modules().items()}
    assert {name for name, n in sizes.items() if n > MAX_LINES} == set()


def mirror(name):
    """Where the tests of a module are."""
    *folders, module = name.removeprefix("nni_magic.").split(".")
    return ROOT.joinpath("tests", *folders, f"test_{module.strip('_')}.py")


def does_something(path):
    """Whether there is something to test: a function or a class."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in tree.body)


def test_tests_mirror_sources():
    known = modules().items()
    sources = [n for n, path in known if path.name != "__init__.py" and does_something(path)]
    assert {name for name in sources if not mirror(name).exists()} == set()
    folders = {mirror(name).parent for name in sources}
    tests = (ROOT / "tests").rglob("test_*.py")
    whole = {ROOT / "tests", ROOT / "tests/foreign"}  # of the package as a whole
    assert {path.parent for path in tests} - folders - whole == set()


def test_children_are_arithmetic_without_torch():
    known = modules()
    rooms = [name for name in known if name.startswith("nni_magic.children")]
    needed = {i.split(".")[0] for name in rooms for i in imports(name, known[name], known)}
    assert needed <= {*sys.stdlib_module_names, "numpy", "nni", "nni_bootstrap", "nni_magic"}
    needed = imports("nni_magic.children.samples", known["nni_magic.children.samples"], known)
    assert not any(name.startswith(("nni.nas", "nni.retiarii", "nni_magic")) for name in needed)


LIGHT = ["nni_magic", "nni_magic.programs.main", "nni_magic.tasks.registry",
         "nni_magic.strategies.registry", "nni_magic.strategies.settings",
         "nni_magic.support.errors", "nni_magic.support.private_names"]  # fmt: skip


@pytest.mark.parametrize("name", LIGHT)
def test_what_is_light_loads_neither_torch_nor_nni(name):
    loaded = "{'torch', 'nni', 'torchvision', 'pytorch_lightning'} & sys.modules.keys()"
    program = f"import sys, {name}; print({loaded})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert (done.stdout.strip(), done.stderr) == ("set()", "")
