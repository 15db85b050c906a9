"""Gradients of a shared candidate: every child whole, and what ``SharedGradients`` does.

::

    python -m experiments.benchmarks.interference

Children that share layer j, and all layers below it, each give a gradient to its candidate. Both
sides compute the cosines between these gradients, for one repetition of an interference study:

- *naive*: for every child set the supernet's path, run forward and backward for all weights, and
  take the candidate's gradient;
- *ours*: :class:`nni_magic.analysis.gradients.SharedGradients`, which runs the common layers once
  and makes gradients for the candidate only.

The *limit* is the best possible ratio if only layers took time, and a layer's forward pass, the
gradient of its input and the gradient of its weights took one unit each. The text is random: random
words take the same time as others.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from nni.mutable import Sample
from nni.nas.evaluator.pytorch import Lightning, Trainer
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule

from experiments.benchmarks.pairs import alternate, ratios, summarise, text
from experiments.benchmarks.reporting import report_parser, run_benchmark, table
from nni_magic.analysis.gradients import SharedGradients
from nni_magic.analysis.interference import differing_children
from nni_magic.children import samples
from nni_magic.scoring.evaluator_state import logged_to
from nni_magic.supernet.resume import seed_generators
from nni_magic.support.errors import check_number
from nni_magic.tasks.language.mlm import MaskedLanguageModel
from search_spaces import BertSpace

VOCABULARY = 1024


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the settings.

    Raises
    ------
    ValueError
        If a setting is out of range.
    """
    parser = report_parser(__doc__)
    add = parser.add_argument
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--layers", type=int, default=12)
    add("--hidden", type=int, default=96, help="width, a multiple of 48")
    add("--shared-layers", type=int, nargs="+", default=[1, 3, 5, 7, 9, 11], help="j, from 1")
    add("--batch-size", type=int, default=32, help="sequences")
    add("--length", type=int, default=64, help="tokens in a sequence")
    add("--repetitions", type=int, default=5, help="pairs")
    settings = parser.parse_args(arguments)
    if settings.hidden % 48:
        raise ValueError(f"hidden is {settings.hidden}; accepted are multiples of 48")
    for layer in settings.shared_layers:
        check_number("shared_layers", layer, at_least=1, at_most=settings.layers - 1)
    return settings


def candidates(hidden: int) -> tuple[str, ...]:
    """Names of the six candidates of the ``analysis`` preset at another width.

    Examples
    --------
    >>> candidates(768)
    ('mha6x384', 'mha8x384', 'ffn768', 'ffn832', 'sepconv3', 'sepconv5')
    """
    width, wider = hidden // 2, hidden * 13 // 12
    heads = (f"mha{heads}x{width}" for heads in (6, 8))
    return (*heads, f"ffn{hidden}", f"ffn{wider}", "sepconv3", "sepconv5")


class Setting:
    """A supernet, an evaluator, a batch, and the two sides."""

    def __init__(self, settings: argparse.Namespace) -> None:
        torch.manual_seed(settings.seed)
        self.device, self.names = settings.device, candidates(settings.hidden)
        space = BertSpace(
            settings.layers, settings.hidden, VOCABULARY, settings.length,
            dropout=0.0, candidates=self.names,
        )  # fmt: skip
        self.supernet: BertSpace = RandomOneShot().mutate_model(space).to(self.device)
        module = MaskedLanguageModel(
            vocab_size=VOCABULARY, pad_id=0, mask_id=1, special_ids=(0, 1), total_steps=1
        )
        self.evaluator = Lightning(module, Trainer(**_trainer(self.device)))
        module.set_model(self.supernet)
        shape = settings.batch_size, settings.length
        self.batch = torch.randint(2, VOCABULARY, shape, device=self.device)
        modules = [m for m in self.supernet.modules() if isinstance(m, BaseSuperNetModule)]
        self._choose = [module.resample for module in modules]
        self._gradients = SharedGradients(self.supernet, self.evaluator, [self.batch])

    def ours(self, layer: int, children: list[Sample]) -> np.ndarray:
        """``SharedGradients``, which has been used on this layer before."""
        return self._gradients.similarity(f"layer_{layer}", children)

    def naive(self, layer: int, children: list[Sample]) -> np.ndarray:
        """Run all children whole, and do nothing else."""
        found = []
        layers: Any = self.supernet.layers
        candidate = layers[layer - 1].operator[children[0][f"layer_{layer}"]]
        weights = list(candidate.parameters())
        with logged_to(self.evaluator.module, lambda *args, **options: None):
            for child in children:
                for choose in self._choose:
                    choose(memo=child)
                self.supernet.zero_grad()
                seed_generators(0)  # the same masks for all
                self.evaluator.module.training_step(self.batch, 0).backward()
                found.append(torch.cat([weight.grad.flatten() for weight in weights]).double())
        self.supernet.zero_grad()
        gradients = torch.nn.functional.normalize(torch.stack(found), dim=1)
        return (gradients @ gradients.T).cpu().numpy()


def _trainer(device: str) -> dict[str, Any]:
    return {
        "accelerator": "gpu" if device == "cuda" else "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }


def compare(setting: Setting, layer: int, settings: argparse.Namespace) -> dict[str, Any]:
    """Time ours and the naive loop in turns, by the child."""
    rng = np.random.default_rng([settings.seed, layer])
    path = samples.random_sample(samples.candidates(setting.supernet), rng)
    children = differing_children(path, [f"layer_{layer + 1}"], setting.names, rng)
    seconds: dict[str, list[float]] = {"ours": [], "naive": []}
    difference = 0.0
    for turn in range(-1, settings.repetitions):  # turn -1 warms up
        (ours, a), (naive, b) = alternate(
            lambda: _timed(lambda: setting.ours(layer, children), setting.device),
            lambda: _timed(lambda: setting.naive(layer, children), setting.device),
            turn,
        )
        if turn >= 0:
            seconds["ours"].append(ours / len(children))
            seconds["naive"].append(naive / len(children))
        difference = max(difference, float(np.abs(a - b).max()))
    return {
        "shared_layer": layer,
        "children": len(children),
        "seconds_a_child": seconds,
        "naive_to_ours": ratios(seconds["naive"], seconds["ours"]),
        "largest_difference_of_cosines": difference,
        "limit": limit(settings.layers, layer, len(children)),
    }


def limit(n_layers: int, shared_layer: int, n_children: int) -> float:
    """Ratio of the units that the naive loop computes to those of ours.

    Examples
    --------
    >>> limit(12, 12, 6)  # only the last layer is run backwards, and nothing above it
    9.0
    """
    naive = 3 * n_children * n_layers
    ours = shared_layer + 2 * n_children * (n_layers - shared_layer) + 2 * n_children
    return naive / ours


def _timed(side: Callable[[], np.ndarray], device: str) -> tuple[float, np.ndarray]:
    began = time.perf_counter()
    found = side()  # ends on the CPU, so that a GPU has finished
    return time.perf_counter() - began, found


def measure(settings: argparse.Namespace) -> dict[str, Any]:
    """Compare at every shared layer."""
    setting = Setting(settings)
    results = {}
    for layer in settings.shared_layers:
        results[str(layer)] = compare(setting, layer, settings)
        print(f"layer {layer}: naive / ours", *results[str(layer)]["naive_to_ours"], flush=True)
    return {"shared_layers": results}


def report(settings: argparse.Namespace, results: dict[str, Any]) -> str:
    """The results as Markdown."""
    compared = results["shared_layers"].values()
    rows = [
        [
            result["shared_layer"],
            *(
                text(summarise(1000 * seconds for seconds in result["seconds_a_child"][side]))
                for side in ("ours", "naive")
            ),
            text(summarise(result["naive_to_ours"])),
            f"{result['limit']:.2f}",
        ]
        for result in compared
    ]
    worst = max(result["largest_difference_of_cosines"] for result in compared)
    n_children = next(iter(compared))["children"]
    return "\n\n".join(
        [
            f"BERT space of {settings.layers} layers, hidden {settings.hidden}, candidates "
            f"{', '.join(candidates(settings.hidden))}; one batch of {settings.batch_size} "
            f"sequences of {settings.length} tokens; {n_children} children, which differ in the "
            f"layer behind the shared one; {settings.repetitions} pairs in turns. Largest "
            f"difference between the sides' cosines: {worst:.1e}.",
            table(
                ["shared layer", "ours, ms/child", "naive, ms/child", "naive / ours", "limit"], rows
            ),
        ]
    )


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print and write the report; gives the results."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    return run_benchmark("interference", settings, arguments, measure, report)


if __name__ == "__main__":
    main()
