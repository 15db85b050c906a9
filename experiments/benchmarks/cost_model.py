r"""What a supernet costs: formulas against what is counted at three sizes.

::

    python -m experiments.benchmarks.cost_model

For the BERT space with N layers, hidden size h, vocabulary V, sequences of T tokens and candidates
whose weights are :math:`a_c h^2` numbers each (self-attention 4, feed-forward 8, convolution 3):

- parameters of the supernet: :math:`N h^2 \sum_c a_c + V h`;
- multiply-adds of a child's forward pass, by the token:
  :math:`h^2 \sum_n a_{c_n} + 2 T h \cdot` layers of attention :math:`+ V h + h^2` of the head;
- checkpoint, with Adam's two moments: 12 bytes a parameter;
- memory of weights and Adam: the same 12 bytes, and of gradients 4 bytes for each parameter of the
  child of the step.

What is counted are the parameters, NNI's profiler, the bytes of tensors, and the file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace, model_context
from torch import Tensor

from experiments.benchmarks.reporting import report_parser, run_benchmark, table
from nni_magic.strategies import SPOS
from nni_magic.support.flops import count_flops, count_params
from nni_magic.tasks.language.mlm import mlm_evaluator
from nni_magic.tasks.language.mlm_data import MlmData, prepare
from search_spaces import BertSpace

WEIGHTS = {"mha": 4, "ffn": 8, "conv": 3}
"""Numbers of a candidate's weights, in units of the squared hidden size."""
SIZES = ((8, 64), (12, 128), (16, 256))
CANDIDATES = ("mha4", "ffn", "conv3", "conv5")
VOCABULARY, LENGTH = 1024, 64


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the settings."""
    parser = report_parser(__doc__)
    parser.set_defaults(threads=1)
    add = parser.add_argument
    add("--corpus", default="sotu")
    add("--cache", type=Path, default=Path("experiments/runs/cache"))
    add("--sizes", nargs="+", default=[f"{n}x{h}" for n, h in SIZES], help="layers x hidden")
    add("--steps", type=int, default=48, help="until every candidate has been trained")
    return parser.parse_args(arguments)


def weights_of(candidate: str) -> int:
    """Squares of the hidden size in a candidate.

    >>> weights_of("mha4"), weights_of("conv5")
    (4, 3)
    """
    return WEIGHTS[candidate.rstrip("0123456789")]


def predicted(n_layers: int, hidden: int, vocabulary: int, length: int) -> dict[str, float]:
    """What the formulas give; the child takes the candidates in turn.

    >>> round(predicted(26, 768, 50265, 128)["parameters"] / 1e6)
    315
    """
    square = hidden**2
    child = [CANDIDATES[n % len(CANDIDATES)] for n in range(n_layers)]
    in_child = sum(map(weights_of, child)) * square
    parameters = n_layers * square * sum(map(weights_of, CANDIDATES)) + vocabulary * hidden
    attention = 2 * length * hidden * sum(name.startswith("mha") for name in child)
    return {
        "parameters": parameters,
        "multiply-adds of a token": in_child + attention + vocabulary * hidden + square,
        "bytes of the checkpoint": 12 * parameters,
        "bytes of weights and Adam": 12 * parameters,
        "bytes of gradients": 4 * (in_child + vocabulary * hidden),
    }


class Counted(pl.Callback):
    """Counts bytes behind a step's backward pass, and writes the checkpoint at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.gradients: list[int] = []
        self.state = 0

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.gradients.append(bytes_of(p.grad for p in pl_module.parameters()))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        states: Any = [state.values() for state in trainer.optimizers[0].state.values()]
        moments = bytes_of(tensor for state in states for tensor in state)
        self.state = moments + bytes_of(pl_module.parameters())
        trainer.save_checkpoint(self.path)


def bytes_of(tensors: Any) -> int:
    """Bytes of those that are tensors."""
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, Tensor))


def counted(
    n_layers: int, hidden: int, data: MlmData, settings: argparse.Namespace
) -> dict[str, float]:
    """Train a supernet for a few steps, and count."""
    shape: dict[str, Any] = {
        "n_layers": n_layers, "hidden": hidden, "vocab_size": data.vocab_size,
        "max_length": LENGTH, "candidates": CANDIDATES, "dropout": 0.0,
    }  # fmt: skip
    torch.manual_seed(settings.seed)
    with tempfile.TemporaryDirectory() as folder:
        watch = Counted(Path(folder, "supernet.ckpt"))
        strategy = SPOS(seed=settings.seed, validation_children=1)
        evaluator = _evaluator(data, settings, watch)
        space = BertSpace(**shape)
        strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())
        size = watch.path.stat().st_size
    supernet = strategy.supernet
    child = {f"layer_{n + 1}": CANDIDATES[n % len(CANDIDATES)] for n in range(n_layers)}
    with model_context(child):
        alone = BertSpace(**shape).eval()
    tokens = torch.zeros(1, LENGTH, dtype=torch.long)
    flops = count_flops(alone, (tokens,))
    assert flops is not None
    return {
        "parameters": count_params(supernet),
        "multiply-adds of a token": flops / LENGTH,
        "bytes of the checkpoint": size,
        "bytes of weights and Adam": watch.state,
        "bytes of gradients": sum(watch.gradients) / len(watch.gradients),
    }


def _evaluator(data: MlmData, settings: argparse.Namespace, watch: pl.Callback) -> Lightning:
    return mlm_evaluator(
        data, batch_size=4, total_steps=settings.steps, warmup_steps=1, seed=settings.seed,
        trainer_kwargs={
            "max_steps": settings.steps, "max_epochs": -1, "devices": 1, "accelerator": "cpu",
            "callbacks": [watch], "logger": False, "enable_checkpointing": False,
            "enable_progress_bar": False, "enable_model_summary": False,
            "num_sanity_val_steps": 0, "limit_val_batches": 1,
            "check_val_every_n_epoch": 1_000_000,
        },
    )  # fmt: skip


def measure(settings: argparse.Namespace) -> dict[str, Any]:
    """Compare formulas and counts at all sizes."""
    data = prepare(settings.corpus, settings.cache, VOCABULARY, LENGTH)
    sizes: dict[str, Any] = {}
    for size in settings.sizes:
        n_layers, hidden = map(int, size.split("x"))
        sizes[size] = {
            "predicted": predicted(n_layers, hidden, data.vocab_size, LENGTH),
            "counted": counted(n_layers, hidden, data, settings),
        }
    return {"sizes": sizes}


def report(settings: argparse.Namespace, results: dict[str, Any]) -> str:
    """Write the table."""
    rows = []
    for size, found in results["sizes"].items():
        rows += [_row(size, name, found) for name in found["predicted"]]
    header = ["layers x hidden", "", "formula", "counted", "formula / counted"]
    return (
        f"BERT space of candidates {', '.join(CANDIDATES)}, sequences of {LENGTH} tokens, "
        f"{settings.steps} steps of SPOS with Adam. Gradients are the mean of the steps; their "
        f"formula is for a child that takes the candidates in turn.\n\n{table(header, rows)}"
    )


def _row(size: str, name: str, found: Mapping[str, Mapping[str, float]]) -> Sequence[str]:
    formula, count = found["predicted"][name], found["counted"][name]
    return [size, name, f"{formula:,.0f}", f"{count:,.0f}", f"{formula / count:.3f}"]


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure and write the report."""
    settings = parse_args(arguments)
    return run_benchmark("cost_model", settings, arguments, measure, report)


if __name__ == "__main__":
    main(sys.argv[1:])
