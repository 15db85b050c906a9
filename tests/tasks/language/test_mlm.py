"""The evaluator: losses, schedule, resume, and what NNI hears of it."""

import math
import types
from functools import partial

import nni
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import RawFormatModelSpace
from nni.nas.strategy import Random, RandomOneShot
from torch import nn
from torch.nn import functional as F

from nni_magic.tasks.language.mlm import (
    MaskedLanguageModel,
    mlm_evaluator,
    mlm_search_evaluator,
    warmup_then_decay,
)
from nni_magic.tasks.language.mlm_data import prepare

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "log", "and", "home"]
QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "accelerator": "cpu",
}
IDS = {"vocab_size": 30, "pad_id": 1, "mask_id": 4, "special_ids": (0, 1, 2, 3, 4)}


def logits_of(model, token_ids, attention_mask, positions):
    """Mean over the sequence beside the token itself: enough to learn a few words."""
    hidden = model.embedding(token_ids)
    weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
    return model.head(model.norm(model.layer(hidden + mean))[positions])


class Tiny(nn.Module):
    """Stand-in for a search space's child."""

    def __init__(self, vocab_size, width=16):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.layer = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, token_ids, attention_mask=None, positions=None):
        return logits_of(self, token_ids, attention_mask, positions)


class TinySpace(ModelSpace):
    """Stand-in for a search space."""

    def __init__(self, vocab_size, width=16):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.layer = LayerChoice([nn.Linear(width, width), nn.Identity()], label="layer")
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, token_ids, attention_mask=None, positions=None):
        return logits_of(self, token_ids, attention_mask, positions)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlm")
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 150)) for _ in range(30)]
    for n, text in enumerate(texts):
        (folder / f"{n}.txt").write_text(text)
    return prepare(folder, folder / "cache", 300, 32, held_out=0.2)


def module_with(model=None, **settings):
    module = MaskedLanguageModel(**{**IDS, "total_steps": 10, **settings})
    module.set_model(model or Tiny(30))
    module.log = lambda name, value, **kwargs: module.__dict__.setdefault("logged", {}).update(
        {name: (value.item(), kwargs["batch_size"])}
    )
    return module


def masked_batch(rows=6, seq=12, seed=0):
    random = torch.Generator().manual_seed(seed)
    targets = torch.randint(5, 30, (rows, seq), generator=random)
    targets[:, 0], targets[:, -2], targets[:, -1] = 0, 2, 1
    selected = torch.rand(rows, seq, generator=random) < 0.3
    selected[:, [0, -2, -1]] = False
    return torch.where(selected, 4, targets), targets, selected


def evaluator(data, steps, callbacks=(), seed=0, limit=None, **kwargs):
    trainer = {**QUIET, "callbacks": list(callbacks), **(limit or {})}
    return mlm_evaluator(
        data,
        total_steps=steps,
        batch_size=16,
        seed=seed,
        learning_rate=2e-2,
        trainer_kwargs=trainer,
        **kwargs,
    )


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.25), (3, 1.0), (4, 1.0), (7, 0.5), (9, 1 / 6), (10, 0.0), (99, 0.0)],
)
def test_schedule_values(step, expected):
    assert warmup_then_decay(step, 4, 10) == pytest.approx(expected)


def test_schedule_without_warmup_and_with_nothing_else():
    assert [warmup_then_decay(s, 0, 2) for s in range(3)] == [1.0, 0.5, 0.0]
    assert [warmup_then_decay(s, 2, 2) for s in range(3)] == [0.5, 1.0, 0.0]


def test_learning_rate_follows_every_optimizer_step():
    module = module_with(total_steps=8, warmup_steps=4, learning_rate=0.1)
    configuration = module.configure_optimizers()
    optimizer, schedule = configuration["optimizer"], configuration["lr_scheduler"]
    assert schedule["interval"] == "step"
    rates = []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule["scheduler"].step()
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.075, 0.05, 0.025])


@pytest.mark.parametrize(
    ("name", "expected"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_biases_and_norms_do_not_decay(name, expected):
    module = module_with(optimizer=name, weight_decay=0.3, betas=(0.8, 0.9), eps=1e-5)
    optimizer = module.configure_optimizers()["optimizer"]
    assert type(optimizer) is expected
    assert (optimizer.defaults["betas"], optimizer.defaults["eps"]) == ((0.8, 0.9), 1e-5)
    decays = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    for name, parameter in module.model.named_parameters():
        no_decay = name.endswith("bias") or name.startswith("norm")
        assert decays.pop(id(parameter)) == (0.0 if no_decay else 0.3), name
    assert not decays


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "sgd"}, "optimizer is 'sgd'; accepted are 'adam', 'adamw'"),
        ({"total_steps": 0}, "total_steps is 0; accepted are whole numbers of at least 1"),
        ({"warmup_steps": 11}, "warmup_steps is 11; accepted are 0 to total_steps, which is 10"),
        ({"warmup_steps": -1}, "warmup_steps is -1; accepted are whole numbers of at least 0"),
        (
            {"mask_probability": 0},
            "mask_probability is 0; accepted are finite numbers above 0 and of",
        ),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        module_with(**settings)


def test_validation_loss_is_cross_entropy_by_hand():
    module = module_with()
    inputs, targets, selected = masked_batch()
    loss = module.validation_step((inputs, targets, selected), 0)
    logits = module.model(inputs, inputs != 1, torch.ones_like(selected)).detach()
    logits = logits.view(6, 12, 30).double()
    terms, hits = [], []
    for row, column in selected.nonzero().tolist():
        scores = logits[row, column]
        terms.append(math.log(scores.exp().sum()) - scores[targets[row, column]].item())
        hits.append(scores.argmax().item() == targets[row, column].item())
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-5)
    n = len(terms)
    assert module.logged["val_loss"] == (pytest.approx(np.mean(terms), rel=1e-5), n)
    assert module.logged["val_accuracy"] == (pytest.approx(np.mean(hits)), n)


def test_training_step_masks_ordinary_tokens_from_the_global_generator():
    calls = []

    class Spy(Tiny):
        def forward(self, token_ids, attention_mask=None, positions=None):
            calls.append((token_ids, attention_mask, positions))
            return super().forward(token_ids, attention_mask, positions)

    module = module_with(Spy(30), mask_probability=0.5)
    _, batch, _ = masked_batch(50)
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(module.training_step(batch, 0).item())
    assert losses[0] == losses[1] != losses[2]
    inputs, attention_mask, selected = calls[0]
    assert torch.equal(attention_mask, batch != 1)
    assert selected.float().mean().item() == pytest.approx(0.5 * 9 / 12, abs=0.06)
    assert not selected[batch < 5].any()
    assert torch.equal(inputs[~selected], batch[~selected])
    logits = module.model(inputs, attention_mask, selected)
    expected = F.cross_entropy(logits, batch[selected]).item()
    assert losses[0] == pytest.approx(expected)
    assert module.logged["train_loss"][1] == calls[2][2].sum()


def test_training_step_takes_rows_that_are_masked_as_they_are():
    module, batch = module_with(), masked_batch()
    generator = torch.get_rng_state()
    loss = module.training_step(batch, 0)
    assert torch.equal(torch.get_rng_state(), generator)
    assert loss.item() == module.validation_step(batch, 0).item()
    assert module.logged["train_loss"] == module.logged["val_loss"]


def test_batch_without_selected_positions_gives_zero_and_not_nan():
    module = module_with()
    _, targets, selected = masked_batch()
    loss = module.validation_step((targets, targets, torch.zeros_like(selected)), 0)
    loss.backward()
    assert loss.item() == 0
    assert module.logged["val_loss"] == (0, 0)
    assert all(torch.isfinite(p.grad).all() for p in module.model.parameters())


def test_training_learns(data):
    torch.manual_seed(0)
    run = evaluator(data, steps=60, warmup_steps=10)
    assert isinstance(run, Lightning)
    model = Tiny(data.vocab_size)
    before = validation_by_hand(data, model)
    run.evaluate(model)
    metrics = run.trainer.callback_metrics
    assert run.trainer.global_step == 60
    assert set(metrics) == {"train_loss", "val_loss", "val_accuracy"}
    assert metrics["val_loss"] < before - 1
    assert validation_by_hand(data, model) <= before - 1


def validation_by_hand(data, model):
    """Mean over all masked tokens, whatever batches they come in."""
    inputs, targets, selected = (torch.stack(p) for p in zip(*data.validation, strict=True))
    with torch.no_grad():
        logits = model(inputs, inputs != data.special.pad, selected)
    return F.cross_entropy(logits, targets[selected]).item()


def test_validation_mean_weighs_tokens_and_not_batches(data):
    torch.manual_seed(0)
    model = Tiny(data.vocab_size)
    for batch_size in (7, 16, 1000):
        run = mlm_search_evaluator(data, batch_size=batch_size, trainer_kwargs=QUIET)
        run.evaluate(model)
        result = run.trainer.callback_metrics["val_loss"].item()
        assert result == pytest.approx(validation_by_hand(data, model), rel=1e-5)


def test_order_follows_the_seed(data):
    first, again, other = (evaluator(data, 5, seed=s).train_dataloaders for s in (0, 0, 1))
    assert list(first.sampler) == list(again.sampler) != list(other.sampler)


def test_batch_larger_than_the_training_set(data):
    with pytest.raises(ValueError, match=f"1 to the number of training rows, {len(data.train)}"):
        mlm_evaluator(data, total_steps=1, batch_size=len(data.train) + 1)


@pytest.mark.parametrize("make", [partial(mlm_evaluator, total_steps=1), mlm_search_evaluator])
@pytest.mark.parametrize("value", [0, "16", True])
def test_batch_size_refused(data, make, value):
    with pytest.raises(ValueError, match=f"batch_size is {value!r}; accepted are whole numbers of"):
        make(data, batch_size=value)


def test_search_evaluator_reports_to_nni_in_a_trial_only(data, monkeypatch):
    reports = []
    monkeypatch.setattr(nni, "report_final_result", reports.append)
    monkeypatch.setattr(nni, "report_intermediate_result", reports.append)
    monkeypatch.setattr(nni, "get_current_parameter", lambda: None)
    model = Tiny(data.vocab_size)
    mlm_search_evaluator(data, trainer_kwargs=QUIET).evaluate(model)
    assert reports == []
    monkeypatch.setattr(nni, "get_current_parameter", lambda: {"layer": 0})
    mlm_search_evaluator(data, trainer_kwargs=QUIET).evaluate(model)
    assert reports == [pytest.approx(-validation_by_hand(data, model), rel=1e-5)]
    evaluator(data, 2).evaluate(model)
    assert len(reports) == 1  # training reports nothing


def test_supernet_validation_is_not_a_result(monkeypatch):
    reports = []
    monkeypatch.setattr(nni, "report_final_result", reports.append)
    monkeypatch.setattr(nni, "get_current_parameter", lambda: {"layer": 0})
    module = module_with()
    module.trainer = types.SimpleNamespace(
        state=types.SimpleNamespace(fn=pl.trainer.states.TrainerFn.VALIDATING),
        lightning_module=object(),
    )
    module.on_validation_end()
    assert reports == []


def test_multi_trial_strategy_gets_the_metric(data):
    torch.manual_seed(0)
    space = TinySpace(data.vocab_size)
    run = mlm_search_evaluator(data, trainer_kwargs=QUIET)
    strategy = Random()
    strategy(RawFormatModelSpace(space, run), SequentialExecutionEngine(max_model_count=2))
    best = next(iter(strategy.list_models(limit=1)))
    assert -6.5 < best.metric < -4.5  # log(300) = 5.7 before training


def test_one_shot_strategy_trains_on_it(data):
    torch.manual_seed(0)
    run = evaluator(data, steps=20)
    space = RawFormatModelSpace(TinySpace(data.vocab_size), run)
    strategy = RandomOneShot()
    strategy(space, SequentialExecutionEngine())
    trainer = run.trainer
    assert trainer.global_step == 20
    assert trainer.callback_metrics["val_loss"] < 5.5


@pytest.mark.parametrize("wrong", [-100, 30])
def test_token_id_outside_of_the_vocabulary_is_named(wrong):
    ids, selected = torch.tensor([[5, wrong]]), torch.tensor([[True, False]])
    for batch in (ids, (ids.clamp(0, 29), ids, selected)):
        with pytest.raises(ValueError, match=f"token ids hold {wrong}; accepted are 0 to 29"):
            module_with().on_before_batch_transfer(batch, 0)
