"""One supernet of a rank-correlation study as a trial of nnictl: its metric is Kendall's tau.

The parameter ``supernets`` names what to train, as in the plan. The first trial also trains the
ground truth's children, and those that follow find them in the folder of ``--runs``. After every
epoch the trial reports tau with the weights so far, on a few validation batches; at the end, on
all rows that score.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import pytorch_lightning as pl
from nni.mutable import Sample
from pytorch_lightning.trainer.states import TrainerFn

from experiments.studies.command_line import add_study_options, check_supernets, open_study
from experiments.studies.gathered import gather
from experiments.studies.study import Study
from nni_magic.analysis.ranking import rank
from nni_magic.manager.trial import ManagedTrial
from nni_magic.support.errors import one_clear_message
from nni_magic.support.files import write_json


class ReportTau(pl.Callback):
    """Reports tau after every epoch.

    Parameters
    ----------
    trial
        The line to the manager.
    children
        Those of the ground truth.
    truth
        Their ground truth, ``(n,)``.
    """

    def __init__(self, trial: ManagedTrial, children: Sequence[Sample], truth: np.ndarray) -> None:
        self.trial = trial
        self.children = children
        self.truth = truth

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        scores = [pl_module.scorer(child) for child in self.children]  # type: ignore[operator]
        tau = rank(self.truth, scores, top_k=()).kendall_tau
        self.trial.report_intermediate(default=tau, mean_loss=sum(scores) / len(scores))


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_study_options(parser)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: its choice")
    return parser.parse_args(arguments)


def run(study: Study, trial: ManagedTrial) -> None:
    """Train the ground truth where it is missing, then the supernet, and report.

    Raises
    ------
    ValueError
        If the plan has no such supernets, a result is of another plan, or another trial still
        trains the ground truth.
    """
    name = str(trial.parameters.get("supernets"))
    check_supernets(study.plan, [name])
    seed = study.plan.supernets[name].seeds[0]
    study.work(study.missing_children)
    ranked = gather(study).ranked()
    if missing := len(study.children) - len(ranked.children):
        raise ValueError(
            f"{missing} children are being trained by another trial; "
            "trialConcurrency must be 1 until the first trial has ended"
        )
    found = study.train_supernet(name, seed, [ReportTau(trial, study.children, ranked.truth)])
    write_json(study.supernet_file(name, seed), found)
    ranking = rank(ranked.truth, found["scores"], top_k=())
    trial.report_final(
        ranking.kendall_tau,
        low=ranking.tau_interval[0], high=ranking.tau_interval[1], regret=ranking.regret,
        mean_loss=sum(found["scores"]) / len(found["scores"]),
    )  # fmt: skip


def main() -> None:
    """Run one trial."""
    with one_clear_message():
        settings = parse_args()
        trial = ManagedTrial()
        run(open_study(settings), trial)


if __name__ == "__main__":
    main()
