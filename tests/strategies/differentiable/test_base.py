"""What every differentiable strategy promises: its contract."""

import itertools

import pytest
import torch
from mixtures import SPACES, VARIANTS, Losses, make, run
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import RawFormatModelSpace, model_context
from pytorch_lightning.callbacks import ModelCheckpoint
from spaces import ConstrainedSpace, ConvSpace
from training import classification, train

from nni_magic.search import ChildEvaluator
from nni_magic.supernet.checkpoint import load_supernet

torch.set_num_threads(1)
# All pairs take long: of each variant and space one pair always, the others where slow is wanted.
ALWAYS = {
    ("gaea", "cell"), ("gaea_gdas", "mixed"), ("gaea_single", "cnn"), ("pc_darts", "cell"),
    ("drop_nas", "two"), ("proxyless_nas", "two"),
}  # fmt: skip
# What the others refuse.
REFUSED = {("darts_pt", "cell"), ("darts_pt", "cnn"), ("darts_pt", "mixed"),
           ("proxyless_nas", "mixed"), ("proxyless_nas", "cell")}  # fmt: skip
CASES = [
    pytest.param(*case, marks=[] if case in ALWAYS else [pytest.mark.slow])
    for case in itertools.product(VARIANTS, SPACES) if case not in REFUSED
]  # fmt: skip


@pytest.mark.parametrize(("variant", "kind"), CASES)
def test_stopped_run_goes_on_as_if_it_had_not_stopped(variant, kind, tmp_path):
    path = tmp_path / "stopped.ckpt"
    whole_strategy, whole = run(variant, kind)
    _, before = run(variant, kind, 4, path)
    strategy, after = run(variant, kind, checkpoint=path)
    assert len(before.losses) == 4
    assert before.losses + after.losses == whole.losses
    for a, b in zip(
        strategy.mixture.state_dict().values(),
        whole_strategy.mixture.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(a, b)
    [found], [expected] = strategy.list_models(), whole_strategy.list_models()
    assert (found.sample, found.metric) == (expected.sample, expected.metric)
    assert strategy.supernet.contains(found.sample)
    assert found.sample.keys() == strategy.supernet.simplify().keys()


def test_same_seed_gives_the_same_run_and_another_one_another():
    short = {"epochs": 1}
    first, second, other = (
        run("gaea_gdas", trainer=short, seed=seed)[1].losses for seed in (3, 3, 4)
    )
    assert first == second
    assert first != other


@pytest.mark.parametrize("variant", ["gaea", "darts"])
def test_exported_child_has_the_largest_weights(variant):
    strategy, _ = run(variant, trainer={"epochs": 1})
    child = strategy.oneshot_module.export()
    for label, theta in strategy.architecture.theta().items():
        assert child[label] == ConvSpace.CANDIDATES[int(theta.argmax())]


def test_supernet_is_the_space_and_holds_the_mixtures_weights():
    torch.manual_seed(11)
    space, strategy = ConvSpace(), make("gaea")
    train(strategy, space, classification(Losses()))
    assert strategy.supernet is space
    mixture = dict(strategy.mixture.named_parameters())
    shared = dict(space.named_parameters())
    assert all(shared[name] is mixture[name] for name in shared)
    assert set(mixture) - set(shared) == set(strategy.architecture.names)
    buffers = dict(strategy.mixture.named_buffers())
    assert all(held is buffers[name] for name, held in space.named_buffers())


def test_listed_child_runs_stand_alone_and_scores_as_the_evaluator_says():
    torch.manual_seed(11)
    space, strategy, evaluator = ConvSpace(), make("gaea"), classification(Losses())
    train(strategy, space, evaluator)
    [model] = strategy.list_models()
    inherited = model.executable_model().eval()
    with model_context(model.sample):
        child = ConvSpace().eval()
    child.load_state_dict(inherited.state_dict())
    x = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(child(x), inherited(x))
    evaluate = ChildEvaluator(space, evaluator, n_batches=2, calibration_batches=1)
    assert evaluate([model.sample]) == pytest.approx([model.metric])


def test_checkpoint_gives_a_supernet_of_children(tmp_path):
    path = tmp_path / "stopped.ckpt"
    strategy, _ = run("gaea", "mixed", 18, path)
    loaded = load_supernet(path, SPACES["mixed"]())
    own = strategy.supernet.state_dict()
    assert loaded.state_dict().keys() == own.keys()
    assert all(torch.equal(value, own[name]) for name, value in loaded.state_dict().items())


def test_checkpoint_of_another_method_is_refused(tmp_path):
    path = tmp_path / "stopped.ckpt"
    run("darts", stop_after=2, path=path)
    with pytest.raises(ValueError, match="was written by Darts, and GAEA cannot continue it"):
        run("gaea", checkpoint=path)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (ConstrainedSpace, "'differ' of ConstrainedSpace is a ExpressionConstraint; accepted are"),
        (type("Fixed", (ModelSpace,), {}), "Fixed has no choice"),
    ],
)
def test_space_without_differentiable_choices_is_refused(space, message):
    with pytest.raises(ValueError, match=message):
        make("gaea").mutate_model(space())


def test_shrinking_has_no_place():
    with pytest.raises(ValueError, match="shrinking is 'any'; accepted is None, as GAEA trains al"):
        make("gaea", shrinking="any")


def test_filter_holds_for_the_child_that_is_chosen():
    def allowed(sample):
        return sample["block_1"] == sample["block_2"] == "skip"

    free, _ = run("gaea", trainer={"epochs": 1})
    strategy, _ = run("gaea", trainer={"epochs": 1}, filter=allowed)
    [model], [other] = strategy.list_models(), free.list_models()
    assert allowed(model.sample) and not allowed(other.sample)
    assert all(model.sample[label] == other.sample[label] for label in ("block_3", "block_4"))


def test_filter_in_a_cell_is_refused():
    with pytest.raises(ValueError, match="filter is given, and 'cell/op_1_0' has no weight for ea"):
        make("gaea", filter=bool).mutate_model(SPACES["cell"]())


def test_models_before_a_run_are_refused():
    strategy = make("gaea")
    space = RawFormatModelSpace.from_model(ConvSpace(), classification(Losses()))
    strategy.initialize(space, SequentialExecutionEngine())
    with pytest.raises(RuntimeError, match="the strategy has not been run"):
        next(strategy.list_models())


def test_more_models_than_one_gives_one_and_a_warning(caplog):
    strategy, _ = run("gaea", trainer={"epochs": 1})
    assert len(list(strategy.list_models(limit=3))) == 1
    assert "3 models are requested, but 1 is known" in caplog.text
    with pytest.raises(ValueError, match="sort is False; accepted is True"):
        next(strategy.list_models(sort=False))


def test_run_that_was_over_when_it_was_stopped_lists_the_same(tmp_path):
    path = tmp_path / "over.ckpt"
    torch.manual_seed(11)
    first, evaluator = make("gaea"), classification(Losses())
    evaluator.trainer.callbacks.append(ModelCheckpoint(tmp_path, "over"))
    train(first, ConvSpace(), evaluator)
    again, after = run("gaea", checkpoint=path)
    assert after.losses == []
    [expected], [found] = first.list_models(), again.list_models()
    assert (found.sample, found.metric) == (expected.sample, expected.metric)
