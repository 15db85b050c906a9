"""Which children validation scores, and that it leaves training alone."""

import pytest
import torch
from spaces import ConvSpace, set_path
from training import DictModule, Watch, bert, classification, dict_evaluator, make, train

from nni_magic.samplers import UniformSampler
from nni_magic.samplers.streams import Stream
from nni_magic.supernet.resume import RandomState


def run(name="spos", evaluator=None, space=ConvSpace, watch=None, **settings):
    torch.manual_seed(11)
    evaluator = evaluator or classification(watch or Watch())
    return train(make(name, **settings), space(), evaluator).oneshot_module


@pytest.fixture(scope="module")
def module():
    return run()


def test_panel_is_drawn_by_the_seed_and_drawn_once(module):
    panel = module.validation.panel
    sampler, expected = UniformSampler(ConvSpace(), seed=[3, Stream.PANEL]), []
    while len(expected) < 3:
        if (child := sampler.next()) not in expected:
            expected.append(child)
    assert panel == expected
    assert module.validation.panel is panel
    assert module.validation.children is panel


def test_panel_of_a_small_space_is_all_its_children():
    module = run(space=lambda: ConvSpace(1), validation_children=9)
    assert sorted(child["block_1"] for child in module.validation.panel) == [
        "conv1", "conv3", "drop", "skip",
    ]  # fmt: skip


def test_reset_takes_a_panel_or_draws_another(module):
    drawn = module.validation.panel
    given = [dict.fromkeys(drawn[0], "skip")]
    module.validation.reset(given)
    assert module.validation.panel == given
    assert module.validation.panel is not given
    module.validation.reset()
    assert module.validation.panel == drawn
    module.sampler.restrict({"block_1": ["conv1"]})
    module.validation.reset()
    assert {child["block_1"] for child in module.validation.panel} == {"conv1"}
    module.sampler.candidates["block_1"] = list(ConvSpace.CANDIDATES)
    module.validation.reset()


def test_metrics_are_the_mean_over_the_panel():
    evaluator = dict_evaluator(Watch(), epochs=1)
    module = run(evaluator=evaluator, space=bert)
    net, losses = module.model.eval(), []
    for child in module.validation.panel:
        set_path(net, child)
        loss, weight = 0.0, 0
        for batch in evaluator.val_dataloaders:
            with torch.no_grad():
                loss += DictModule._loss(module.training_module, batch).item() * 8
            weight += 8
        losses.append(loss / weight)
    logged = evaluator.trainer.callback_metrics
    assert logged["val_loss"] == pytest.approx(sum(losses) / 3, rel=1e-5)
    assert logged["supernet/validated_children"] == 3


def test_generators_are_those_from_before_while_it_runs(module):
    validation = module.validation
    before = torch.get_rng_state()
    validation.begin()
    try:
        torch.rand(5)
        assert torch.equal(validation.generators.state["torch"], before)
    finally:
        validation.end()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)  # now it is the present ones
    now = RandomState.capture().state["torch"]
    assert torch.equal(validation.generators.state["torch"], now)


def test_check_before_training_takes_no_statistics():
    """Lightning's first batches of validation come before there are data to calibrate on."""
    watch = Watch()
    module = run(watch=watch, evaluator=classification(watch, num_sanity_val_steps=2))
    assert len(watch.validations) == 4  # the check and three epochs
    assert len(watch.steps) == 18
    assert module.validation.panel


def test_panel_is_drawn_anew_when_the_children_that_are_trained_are_chosen():
    module = run()
    drawn = module.validation.panel
    pool = module.sampler.children = [module.sampler.next() for _ in range(4)]
    panel = module.validation.panel
    assert panel != drawn
    assert all(child in pool for child in panel)
    assert module.validation.panel is panel
