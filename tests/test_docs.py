"""What the docs show runs, and does what they say."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from spaces import ConvSpace, set_path
from torch import nn
from training import Watch, classification, train

from nni_magic.programs import fields
from nni_magic.samplers import UniformSampler
from nni_magic.strategies.registry import METHODS
from nni_magic.strategies.settings import SupernetSettings

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def several(monkeypatch):
    """The method that docs/architecture.md shows, as a module of its own."""
    [code] = re.findall(r"```python\n(.*?)```", (DOCS / "architecture.md").read_text(), re.S)
    module = ModuleType("several")
    monkeypatch.setitem(sys.modules, "several", module)
    fields.strategy_options.cache_clear()
    exec(compile(code, "docs/architecture.md", "exec"), module.__dict__)
    yield module
    del METHODS["several"]
    fields.strategy_options.cache_clear()


def test_new_method_trains_resumes_and_is_an_option_of_the_programs(several, tmp_path):
    assert METHODS["several"].load() is several.Several
    assert "children" in fields.strategy_options()
    settings = {"children": 3, "seed": 3, "validation_children": 3, "validation_batches": 2}

    def run(watch, checkpoint=None):
        torch.manual_seed(11)
        return train(several.Several(**settings), ConvSpace(), classification(watch), checkpoint)

    run(whole := Watch())
    run(before := Watch(7, tmp_path / "stopped.ckpt"))
    strategy = run(after := Watch(), tmp_path / "stopped.ckpt")
    assert before.steps + after.steps == whole.steps
    [best] = strategy.list_models()
    assert ConvSpace().contains(best.sample)


def test_new_methods_loss_is_the_mean_over_its_children(several):
    torch.manual_seed(11)
    strategy = several.Several(children=3, seed=3, calibration_batches=0)
    watch = Watch(1, "/dev/null")
    evaluator = classification(watch)
    seen = []
    evaluator.trainer.callbacks[0].on_train_batch_start = lambda t, m, batch, i: seen.append(batch)
    train(strategy, ConvSpace(dropout=0.0), evaluator)
    torch.manual_seed(11)
    several.Several(children=3, seed=3)
    net = strategy.mutate_model(ConvSpace(dropout=0.0))
    sampler, losses = UniformSampler(ConvSpace(), seed=3), []
    for _ in range(3):
        set_path(net, sampler.next())
        losses.append(nn.functional.cross_entropy(net(seen[0][0]), seen[0][1]))
    assert watch.steps[0][1] == pytest.approx((sum(losses) / 3).item(), rel=1e-5)


def test_readme_has_the_table_of_the_registry():
    common = SupernetSettings.__dataclass_fields__
    for row in METHODS.values():
        own = ", ".join(f"`{option}`" for option in row.options if option not in common)
        what = row.summary + (", for analysis" if row.for_analysis else "")
        name = row.strategy.partition(":")[2]
        line = f"| `{row.name}` | `{name}` | {what} | {row.source} | {own} |"
        assert line in (DOCS.parent / "README.md").read_text().splitlines()
