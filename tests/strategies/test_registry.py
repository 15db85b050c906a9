"""The registry: every row is true of its class, and names are unique."""

import inspect
from dataclasses import fields, replace

import pytest

import nni_magic.strategies
from nni_magic.strategies.base import SupernetStrategy
from nni_magic.strategies.registry import METHODS, method, register


@pytest.mark.parametrize("row", METHODS.values(), ids=METHODS)
def test_a_row_is_true_of_its_class(row):
    strategy = row.load()
    assert issubclass(strategy, SupernetStrategy)
    assert strategy.__name__ in nni_magic.strategies.__all__
    assert getattr(nni_magic.strategies, strategy.__name__) is strategy
    assert strategy(seed=3).settings == row.settings(seed=3)
    assert row.options == tuple(field.name for field in fields(row.settings))
    assert row.source.split(",")[0].split()[0] in inspect.getmodule(strategy).__doc__
    assert row.summary and row.summary[-1] != "."


def test_methods_are_found_by_name():
    assert method("magic_t") is METHODS["magic_t"]
    with pytest.raises(ValueError, match="strategy is 'darts'; accepted are 'spos', 'magic_t', "):
        method("darts")


def test_a_name_is_given_once():
    row = METHODS["spos"]
    register(row)
    with pytest.raises(ValueError, match=r"method 'spos' is nni_magic\.strategies\.spos:SPOS; .*"):
        register(replace(row, summary="another one"))
    assert METHODS["spos"] is row


def test_a_new_row_is_known(monkeypatch):
    monkeypatch.delitem(METHODS, "percentile_anchor")
    with pytest.raises(ValueError, match="strategy is 'percentile_anchor'"):
        method("percentile_anchor")
    row = replace(METHODS["spos"], name="mine")
    register(row)
    assert method("mine").load() is METHODS["spos"].load()
    del METHODS["mine"]


def test_an_unknown_strategy_is_no_attribute():
    with pytest.raises(AttributeError, match="has no attribute 'Darts'"):
        nni_magic.strategies.Darts  # noqa: B018
