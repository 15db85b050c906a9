"""Projects that are not ours under every strategy, as in plain Lightning."""

import functools
import math

import pytest
import torch
from foreign.plain import Watch, ours, plain_fit, plain_score
from foreign.rows import ALL, ROWS, TERMS, refusing, spread

from nni_magic.search import ChildEvaluator

torch.set_num_threads(1)
RELATIVE = 1e-6
cases = pytest.mark.parametrize(("row", "name"), spread())


@functools.cache
def run(row, name):
    watch = Watch()
    return *ours(row, name, watch), watch


@functools.cache
def plain(row, name):
    """The same children in plain Lightning."""
    watch = Watch()
    module = plain_fit(row, run(row, name)[2].children, watch)
    return module, watch


def exact(row, name, watch):
    """How many batches of training are as in plain Lightning: with terms those of the warm-up."""
    epochs = min(row.exact_epochs, 1 if name in TERMS else 2)
    return len(watch.losses) * epochs // 2


def check_refused(row, name):
    """Check that a strategy is refused before the first step, where it is to be; then skip."""
    if name in row.refused:
        watch = Watch()
        with refusing(row, name):
            try:
                ours(row, name, watch)
            finally:
                assert watch.losses == []


@cases
def test_trains_as_plain_lightning_does(row, name):
    check_refused(row, name)
    _, evaluator, watch = run(row, name)
    module, expected = plain(row, name)
    assert len(watch.losses) == len(expected.losses) > 0
    n = exact(row, name, watch)
    assert watch.losses[:n] == pytest.approx(expected.losses[:n], rel=RELATIVE, nan_ok=True)
    own = {k for k in expected.logged[n - 1] if k.startswith("train")}
    assert {k: watch.logged[n - 1][k] for k in own} == pytest.approx(
        {k: expected.logged[n - 1][k] for k in own}, rel=RELATIVE, nan_ok=True
    )
    if n == len(watch.losses):
        theirs = module.state_dict()
        for key, value in evaluator.module.state_dict().items():
            torch.testing.assert_close(value, theirs[key], rtol=RELATIVE, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize(("row", "name"), [case for case in spread() if case.values[1] in TERMS])
def test_aligns_after_the_warm_up_on_the_childs_own_loss(row, name):
    check_refused(row, name)
    watch, n = run(row, name)[2], exact(row, name, run(row, name)[2])
    expected = plain(row, name)[1].losses[n] * row.trainer.get("accumulate_grad_batches", 1)
    if not math.isnan(expected) and row.exact_epochs == 2 and row.steps_at_once == 1:
        assert watch.logged[n]["supernet/prediction_loss"] == pytest.approx(expected, rel=RELATIVE)
    aligned = [logged.get("supernet/alignment_loss") for logged in watch.logged[n:]]
    assert any(aligned) and all(math.isfinite(loss) for loss in aligned if loss is not None)


@cases
def test_lists_children_with_the_scores_of_plain_lightning(row, name):
    check_refused(row, name)
    strategy, evaluator, _ = run(row, name)
    models = list(strategy.list_models(limit=2))
    assert len(models) == 2
    for model in models:
        expected = plain_score(row, model.executable_model(), evaluator.module)
        assert model.metric == pytest.approx(expected, rel=RELATIVE)
    evaluate = ChildEvaluator(
        strategy.supernet, evaluator, metric=row.metric, mode=row.mode, n_batches=10,
        calibration_batches=1,
    )  # fmt: skip
    scores = evaluate([model.sample for model in models])
    assert scores == pytest.approx([model.metric for model in models], rel=RELATIVE)


@cases
def test_validation_is_the_mean_over_its_children(row, name):
    check_refused(row, name)
    if not row.alike:
        pytest.skip("metrics of several children are not the mean of theirs")
    strategy, evaluator, watch = run(row, name)
    module = strategy.oneshot_module
    children = [module.scorer.child(sample) for sample in module.validation.children]
    scores = [plain_score(row, child, evaluator.module) for child in children]
    expected = sum(scores) / len(scores)
    assert watch.validations[-1][row.metric] == pytest.approx(expected, rel=RELATIVE)


@pytest.mark.parametrize(
    ("row", "name"),
    [
        pytest.param(row, name, id=f"{row}-{name}", marks=pytest.mark.slow)
        for row in ROWS
        for name in ALL
    ],
)
def test_stopped_run_goes_on_as_if_it_had_not_stopped(row, name, tmp_path):
    check_refused(row, name)
    if not row.resumes:
        pytest.skip("Lightning passes over the schedule at the end of an epoch that was resumed")
    strategy, evaluator, whole = run(row, name)
    # Not within an accumulation: Lightning's checkpoints do not hold gradients.
    together = row.trainer.get("accumulate_grad_batches", 1)
    for stop in (together, len(whole.losses) // 2 + together):
        before, after = Watch(stop, path := tmp_path / f"{stop}.ckpt"), Watch()
        ours(row, name, before)
        resumed, module = ours(row, name, after, path)
        losses = before.losses + after.losses
        assert losses == pytest.approx(whole.losses, rel=0, abs=0, nan_ok=True)
        assert before.children + after.children == whole.children
        found, expected = (
            {name: value for name, value in watch.validations[-1].items() if "train" not in name}
            for watch in (after, whole)
        )
        # Means over an epoch's training are of the batches since the checkpoint, as in Lightning.
        assert found.items() <= expected.items()
        theirs = evaluator.module.state_dict()
        for key, value in module.module.state_dict().items():
            torch.testing.assert_close(value, theirs[key], rtol=0, atol=0, equal_nan=True)
        ranked = resumed.oneshot_module.best_children()
        assert ranked == strategy.oneshot_module.best_children()
