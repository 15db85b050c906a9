"""All methods by name: rows, a row more, and what reading them loads."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nni_magic.strategies
from nni_magic.strategies.registry import METHODS, Method, method, register
from nni_magic.strategies.seeded import Seeded
from nni_magic.strategies.settings import SupernetSettings

ROOT = Path(__file__).parents[2]
EXPECTED = {
    "spos": "SPOS", "magic_t": "MagicT", "magic_a": "MagicA", "magic_at": "MagicAT",
    "fairnas": "FairNAS", "sandwich": "Sandwich", "alphanet": "AlphaNet",
    "attentive_nas": "AttentiveNAS", "multi_architecture": "MultiArchitecture",
    "delayed_shrinking": "DelayedShrinking", "shiftnas": "ShiftNAS", "prenas": "PreNAS",
    "pada": "PADA", "few_shot": "FewShot", "enas": "ENAS",
    "gaea": "GAEA", "darts": "Darts", "pc_darts": "PCDarts", "darts_pt": "DartsPT",
    "drop_nas": "DropNAS", "proxyless_nas": "Proxyless", "gumbel_darts": "GumbelDarts",
    "average_alignment": "AverageAlignment", "percentile_anchor": "PercentileAnchor",
}  # fmt: skip


@pytest.fixture
def methods():
    """Puts the rows back afterwards."""
    before = dict(METHODS)
    yield METHODS
    METHODS.clear()
    METHODS.update(before)


def test_rows_are_the_methods_in_order():
    assert {name: row.strategy.split(":")[1] for name, row in METHODS.items()} == EXPECTED
    assert all(row.name == name for name, row in METHODS.items())
    analysis = [name for name, row in METHODS.items() if row.for_analysis]
    assert analysis == ["average_alignment", "percentile_anchor"]


@pytest.mark.parametrize("name", EXPECTED)
def test_row_loads_the_strategy_that_takes_its_settings(name):
    row = method(name)
    strategy = row.load()
    assert issubclass(strategy, Seeded)
    assert strategy is getattr(nni_magic.strategies, EXPECTED[name])
    assert strategy.settings_class is row.settings
    own = strategy(seed=1).settings
    assert type(own) is row.settings
    assert row.options == tuple(dataclasses.asdict(own))
    assert row.source and row.summary and not row.summary.endswith(".")


def test_options_are_all_settings():
    assert method("spos").options == (
        "seed", "metric", "mode", "validation_batches", "calibration_batches",
        "not_finite", "validation_children",
    )  # fmt: skip
    assert set(method("magic_t").options) - set(method("spos").options) == {"k", "lazy", "walks"}
    both = {*method("magic_t").options, *method("magic_a").options}
    assert set(method("magic_at").options) == both


def test_package_offers_the_rows_classes_and_nothing_else():
    assert set(nni_magic.strategies.__all__) == set(EXPECTED.values())
    with pytest.raises(AttributeError, match="strategies' has no attribute 'Random'"):
        nni_magic.strategies.Random  # noqa: B018


def test_method_of_another_project_is_known_by_its_name(methods):
    row = Method("twins", "twins:Twins", SupernetSettings, "of the tests", "two children a step")
    register(row)
    register(row)  # a module may be imported twice
    assert list(methods) == [*EXPECTED, "twins"]
    assert method("twins").load().__name__ == "Twins"


def test_name_that_is_taken_is_refused(methods):
    row = dataclasses.replace(method("spos"), summary="another one")
    with pytest.raises(ValueError, match=r"method 'spos' is nni_magic.strategies.spos:SPOS; names"):
        register(row)
    assert methods["spos"].summary != "another one"


def test_unknown_method_is_named_with_those_there_are():
    accepted = ", ".join(map(repr, EXPECTED))
    with pytest.raises(ValueError, match=f"^strategy is 'random'; accepted are {accepted}$"):
        method("random")


@pytest.mark.parametrize(
    "module", ["nni_magic", "nni_magic.strategies.registry", "nni_magic.strategies.settings"]
)
def test_reading_loads_neither_torch_nor_nni(module):
    heavy = "{'torch', 'nni', 'pytorch_lightning'}"
    code = f"import sys, {module}; print({heavy} & {{*sys.modules}})"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "set()"
