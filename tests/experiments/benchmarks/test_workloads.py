"""What the benchmarks train: spaces on data, alike for every side."""

from types import SimpleNamespace

import pytest
import torch

from experiments.benchmarks.workloads import WORKLOADS, DigitsSpace


@pytest.fixture
def settings(tmp_path):
    words = "the cat sat on the mat and the dog ran home under the log "
    (tmp_path / "corpus.txt").write_text("\n\n".join(words * 40 for _ in range(60)))
    return SimpleNamespace(
        preset="tiny", corpus=[str(tmp_path / "corpus.txt")], cache=tmp_path / "cache",
        batch_size=4, device="cpu", precision="32-true",
    )  # fmt: skip


def test_digits_space_maps_images_to_logits():
    space = DigitsSpace(n_blocks=2, channels=4)
    assert len(space.simplify()) == 2
    child = space.freeze({"block_1": "conv5", "block_2": "separable3"})
    assert child(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


def first_rows(evaluator):
    batch = next(iter(evaluator.train_dataloaders))
    return batch if isinstance(batch, torch.Tensor) else batch[0]


@pytest.mark.parametrize("name", ["bert", "cnn"])
def test_the_seed_gives_the_order_of_the_data(name, settings):
    workload = WORKLOADS[name](settings)
    evaluators = [workload.make_evaluator(seed, 3, []) for seed in (1, 1, 2)]
    rows = [first_rows(evaluator) for evaluator in evaluators]
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])
    assert len(rows[0]) == 4
    assert evaluators[0].trainer.max_steps == 3


@pytest.mark.parametrize("name", ["bert", "cnn"])
def test_the_space_is_of_torchs_seed(name, settings):
    workload, made = WORKLOADS[name](settings), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(torch.cat([p.flatten() for p in workload.make_space().parameters()]))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
