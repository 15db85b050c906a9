"""The files of a study: where they lie, and what they hold if they are of its plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nni.mutable import Sample

from experiments.studies.plan import Plan
from experiments.studies.records import child_settings, supernet_settings, zero_cost_settings
from nni_magic.support.made_with import read_result

__all__ = ["Results"]


class Results:
    """The results that a study has so far, a file for each.

    Parameters
    ----------
    plan
        What is trained.
    output
        Folder of the results: ``children/<number>_seed<seed>.json``,
        ``zero_cost/seed<seed>.json``, ``supernets/<name>_seed<seed>.json`` and their checkpoints.
    cache
        Folder of prepared data.
    data
        File or folder of data to take in place of the plan's. Results tell which by a digest.

    Raises
    ------
    ValueError
        If the space has too few children.
    """

    def __init__(self, plan: Plan, output: Path, cache: Path, data: Path | None = None) -> None:
        self.plan = plan
        self.output = output
        self.domain = plan.make_domain(cache, data)
        self.other_data = {} if data is None else {"data": self.domain.data_settings()}
        # This also loads the data, which seeds the process: not to be left until a training.
        self.children = plan.children.draw(self.domain.make_space())

    def child_file(self, child: int, seed: int) -> Path:
        """Where the ground truth of a child lies."""
        return self.output / "children" / f"{child:03}_seed{seed}.json"

    def zero_cost_file(self, seed: int) -> Path:
        """Where the scores of all children before their training lie."""
        return self.output / "zero_cost" / f"seed{seed}.json"

    def supernet_file(self, name: str, seed: int) -> Path:
        """Where the scores of a supernet lie."""
        return self.output / "supernets" / f"{name}_seed{seed}.json"

    def checkpoint(self, name: str, seed: int) -> Path:
        """Where the weights of a supernet lie, once they are complete."""
        return self.supernet_file(name, seed).with_suffix(".ckpt")

    def read_child(self, child: int, seed: int) -> dict[str, Any] | None:
        """Read the ground truth of a child; ``None`` if it is not trained yet.

        Raises
        ------
        ValueError
            If the result is of another plan, or lacks the loss.
        """
        sample = self.children[child]
        if not self.domain.trains_children:
            return self.domain.published(sample, seed)
        return read_result(self.child_file(child, seed), self.made_child(sample), val_loss=float)

    def read_zero_cost(self, seed: int) -> dict[str, Any] | None:
        """Read scores of children before their training; the plan may have more children by now.

        Raises
        ------
        ValueError
            If the result is of another plan, or lacks the scores.
        """
        return read_result(self.zero_cost_file(seed), self.made_zero_cost(), scores=list)

    def read_supernet(self, name: str, seed: int) -> dict[str, Any] | None:
        """Read the scores of a supernet, if it is trained; the plan may have more children by now.

        Raises
        ------
        ValueError
            If the result is of another plan, or lacks the scores.
        """
        return read_result(
            self.supernet_file(name, seed), self.made_supernet(name), scores=list[float]
        )

    def made_child(self, sample: Sample) -> dict[str, Any]:
        """What the ground truth of a child depends on, besides the seed."""
        return child_settings(self.plan, sample) | self.other_data

    def made_zero_cost(self) -> dict[str, Any]:
        """What the scores of all children before their training depend on, besides the seed."""
        return zero_cost_settings(self.plan) | self.other_data

    def made_supernet(self, name: str) -> dict[str, Any]:
        """What supernets and their scores depend on, besides the seed."""
        return supernet_settings(self.plan, name) | self.other_data

    def trained(self, name: str, seed: int) -> dict[str, Any]:
        """Read the scores of a supernet that has to be there.

        Raises
        ------
        ValueError
            If it is not trained yet, or the result is of another plan.
        """
        if (found := self.read_supernet(name, seed)) is None:
            raise ValueError(f"supernet {name!r} of seed {seed} is not trained yet")
        return found

    def weights(self, name: str, seed: int) -> Path:
        """Where the weights of a supernet lie that has to be there.

        Raises
        ------
        ValueError
            If it is not trained yet, the result is of another plan, or came without weights.
        """
        self.trained(name, seed)
        if not (checkpoint := self.checkpoint(name, seed)).exists():
            raise ValueError(
                f"supernet {name!r} of seed {seed} came without its weights, {checkpoint}; "
                f"remove {self.supernet_file(name, seed)} to train it again"
            )
        return checkpoint
