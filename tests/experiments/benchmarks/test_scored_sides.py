"""The three sides of the benchmark of child evaluation, and the children that they score."""

from argparse import Namespace

import pytest
import torch

from experiments.benchmarks.scored_sides import bert_setting, digits_setting, populations
from nni_magic.children.samples import digest, distance


@pytest.fixture(scope="module")
def settings(corpus):
    return Namespace(
        preset="tiny", corpus=str(corpus), cache=corpus / "cache", seed=0, device="cpu",
        random_children=6, generation=4, batch_size=4,
    )  # fmt: skip


@pytest.fixture(scope="module")
def setting(settings):
    return bert_setting(settings, layers=3, batch_size=4)


def test_all_sides_score_alike(setting, settings):
    children = populations(setting, settings)["random"][:3]
    ours = setting.ours(children)
    assert len(set(ours)) == 3
    assert setting.loop(children) == pytest.approx(ours, rel=1e-5)
    assert setting.nni(children) == pytest.approx(ours, rel=1e-5)


def test_all_sides_score_digits_alike(settings):
    setting = digits_setting(settings)
    children = populations(setting, settings)["random"][:3]
    ours = setting.ours(children)
    assert len(set(ours)) == 3
    assert setting.loop(children) == pytest.approx(ours, rel=1e-5)


def test_no_score_is_remembered(setting, settings):
    children = populations(setting, settings)["random"][:1]
    setting.ours(children)
    before = setting.evaluate.calls
    weight = next(setting.supernet.parameters()).clone()
    setting.ours(children)
    assert setting.evaluate.calls == before + 5  # stem, three layers, head
    assert torch.equal(next(setting.supernet.parameters()), weight)


def test_populations_are_what_their_names_say(setting, settings):
    found = populations(setting, settings)
    assert list(found) == ["random", "few", "generation", "neighbours"]
    assert len(found["few"]) == 6
    assert len({digest(child) for child in found["random"]}) == len(found["random"]) <= 6
    assert len(found["generation"]) == 4
    # 3 layers with 3 other candidates each, all one step from a random child.
    neighbours = found["neighbours"]
    assert len({digest(child) for child in neighbours}) == 9
    assert {distance(found["random"][0], child) for child in neighbours} == {1}


def test_without_layers_the_depth_is_that_of_the_preset(settings):
    assert len(bert_setting(settings, None, batch_size=1).supernet.layers) == 8
