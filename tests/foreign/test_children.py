"""Children of projects that are not ours, outside of training."""

import functools

import pytest
import pytorch_lightning as pl
import torch
from foreign.plain import (
    Paths,
    Watch,
    evaluator,
    new_space,
    on_path,
    plain_fit,
    plain_score,
    seed_all,
    trainer_options,
)
from foreign.rows import ROWS, refusing, rows
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.oneshot.pytorch.supermodule.sampling import PathSamplingLayer
from nni.nas.space import RawFormatModelSpace, model_context
from pytorch_lightning.utilities.combined_loader import CombinedLoader
from spaces import supernet
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from nni_magic.analysis.gradients import SharedGradients
from nni_magic.analysis.interference import interference_study
from nni_magic.export import export_children
from nni_magic.samplers import UniformSampler
from nni_magic.search import ChildEvaluator, Evolution

torch.set_num_threads(1)
RELATIVE = 1e-6


def children(row, n):
    sampler = UniformSampler(new_space(row), seed=1)
    return [sampler.next() for _ in range(n)]


@functools.cache
def trained(row):
    """A module with a supernet that plain Lightning has trained, a random path a batch."""
    return plain_fit(row, children(row, 20), Watch())


def user_evaluator(row):
    """The user's evaluator, with what the module has learned besides the model."""
    made = evaluator(row)
    made.module.configure_model()
    own = {k: v for k, v in trained(row).state_dict().items() if not k.startswith("_model.")}
    made.module.load_state_dict(own, strict=False)
    return made


def child_evaluator(row, **options):
    return ChildEvaluator(
        trained(row).model, user_evaluator(row), metric=row.metric, mode=row.mode, n_batches=10,
        **options,
    )  # fmt: skip


@rows()
def test_scores_are_those_of_plain_lightning(row):
    samples = children(row, 3)
    with refusing(row, "evaluate"):
        scores = child_evaluator(row, calibration_batches=0)([*samples, samples[0]])
    model = trained(row).model
    expected = [plain_score(row, on_path(model, s), trained(row)) for s in samples]
    assert scores == pytest.approx([*expected, expected[0]], rel=RELATIVE)


@rows()
def test_child_built_anew_with_the_weights_of_the_scored_one_has_its_score(row):
    [sample] = children(row, 1)
    with refusing(row, "evaluate"):
        evaluate = child_evaluator(row, calibration_batches=2)
        [score] = evaluate([sample])
    with model_context(sample):
        child = row.space()
    child.load_state_dict(evaluate.child(sample).state_dict())
    expected = plain_score(row, child, trained(row))
    assert score == pytest.approx(expected, rel=RELATIVE)


@rows(2)
def test_search_lists_children_with_the_scores_of_plain_lightning(row):
    search = Evolution(
        seed=0, generations=2, population=3, tournament=2, metric=row.metric, mode=row.mode,
        n_batches=10,
    )  # fmt: skip
    given = RawFormatModelSpace.from_model(trained(row).model, user_evaluator(row))
    with refusing(row, "evaluate"):
        search(given, SequentialExecutionEngine())
    for model in search.list_models(limit=2):
        expected = plain_score(row, model.executable_model(), trained(row))
        assert model.metric == pytest.approx(expected, rel=RELATIVE)


# Gradients


class Catch(pl.Callback):
    """Takes the gradient of the first backward pass, with dropout off, and ends the training."""

    def __init__(self, weights):
        self.weights = weights

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        for part in module.train().modules():
            part.training = part.training and isinstance(part, _BatchNorm)
        seed_all(0)

    def on_after_backward(self, trainer, module):
        if not hasattr(self, "gradient"):
            self.gradient = torch.cat([weight.grad.flatten() for weight in self.weights]).clone()


def first_batch(row):
    given = row.data()
    loaders = given.get("train_dataloaders")
    if "datamodule" in given:
        given["datamodule"].prepare_data()
        given["datamodule"].setup("fit")
        loaders = given["datamodule"].train_dataloader()
    if loaders is None and "datamodule" not in given:
        loaders = row.module().train_dataloader()
    seed_all(3)
    if not isinstance(loaders, CombinedLoader):
        loaders = CombinedLoader(loaders, "max_size_cycle")
    return next(iter(loaders))[0]


class Once(torch.utils.data.IterableDataset):
    def __init__(self, batch):
        self.batch = batch

    def __iter__(self):
        yield self.batch


def plain_gradient(row, sample, batch):
    module = plain_module(row)
    on_path(module.model, sample)
    label, candidate = row.space.shared
    blocks = [m for m in module.model.modules() if isinstance(m, PathSamplingLayer)]
    found = {id(p): p for m in blocks if m.label == label for p in m[candidate].parameters()}
    catch = Catch([weight for weight in found.values() if weight.requires_grad])
    options = {**trainer_options(row, Paths([sample]), catch), "max_steps": 1}
    options.update(limit_train_batches=1, accumulate_grad_batches=1)
    loader, given = DataLoader(Once(batch), batch_size=None), row.data()
    if "datamodule" in given:
        given["datamodule"].train_dataloader = lambda: loader
    else:
        given["train_dataloaders"] = loader
    pl.Trainer(**options).fit(module, **given)
    return catch.gradient.double()


def plain_module(row):
    module = row.module()
    module.configure_model()
    module.set_model(supernet(new_space(row)))
    module.load_state_dict(trained(row).state_dict())
    return module


@rows(2, 1)
def test_cosine_of_gradients_is_that_of_plain_lightning(row):
    if getattr(row.space, "shared", None) is None:
        pytest.skip("no candidate of a choice block to be shared")
    label, candidate = row.space.shared
    samples = [{**sample, label: candidate} for sample in children(row, 2)]
    if "depth" in samples[0]:
        samples = [
            {**sample, "depth": depth} for sample, depth in zip(samples, (1, 2), strict=True)
        ]
    with refusing(row, "gradients"):
        shared = SharedGradients(trained(row).model, user_evaluator(row), [first_batch(row)])
    if row.draws_before:
        assert shared(label, samples).isfinite().all()
        return
    expected = torch.stack([plain_gradient(row, s, first_batch(row)) for s in samples])
    expected = expected / expected.norm(dim=1, keepdim=True)
    found = shared.similarity(label, samples)
    assert found == pytest.approx((expected @ expected.T).numpy(), rel=1e-5, abs=1e-6)


chains = [row for row in ROWS if issubclass(row.space, ROWS[0].space)]


@pytest.mark.parametrize("row", chains, ids=str)
@pytest.mark.slow
def test_interference_is_studied(row):
    with refusing(row, "gradients"):
        study = interference_study(
            trained(row).model, user_evaluator(row), [first_batch(row)], shared_layers=[1],
            differences=[1], repetitions=2, seed=0,
        )  # fmt: skip
    assert all((abs(matrices) <= 1 + 1e-9).all() for matrices in study.matrices.values())


@pytest.mark.parametrize(
    "formats", [["program"], pytest.param(["onnx", "picture"], marks=pytest.mark.slow)], ids=str
)
@pytest.mark.parametrize(
    "row", [r for n, r in enumerate(ROWS) if r.space not in {s.space for s in ROWS[:n]}], ids=str
)
def test_exports_compute_what_the_child_does(row, formats, tmp_path):
    evaluate, [sample] = child_evaluator(row), children(row, 1)
    args, kwargs = row.example()
    [score] = evaluate([sample])
    [folder] = export_children(
        trained(row).model, [(sample, score)], tmp_path, child=evaluate.child, metric=row.metric,
        provenance={}, args=args, kwargs=kwargs, formats=formats,
    )  # fmt: skip
    with model_context(sample):
        child = row.space().eval()
    child.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    assert plain_score(row, child, trained(row)) == pytest.approx(score, rel=RELATIVE)
    if "program" in formats:
        program = torch.export.load(folder / "child.pt2").module()
        torch.testing.assert_close(program(*args, **kwargs), child(*args, **kwargs))
