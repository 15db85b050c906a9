"""The whole pipeline on the BERT space, as the trials of one ``nnictl`` experiment.

``nnictl create --config experiments/bert_search.yml`` trains a supernet, searches its children by
evolution on inherited weights, and trains the best ones from scratch beside a hand-made baseline;
see :mod:`nni_magic.programs.search_pipeline`.

The baseline ``bert`` alternates attention and feed-forward layers, as BERT does. Children are
searched among those that have no more parameters than the baseline.
"""

from __future__ import annotations

import argparse
from typing import Any

from nni.mutable import Sample
from nni.nas.profiler.pytorch.flops import NumParamsProfiler

from ..tasks.language.bert import Bert, add_options, check_settings
from .options import Parser
from .search_pipeline import SearchPipeline, add_pipeline_options, run_trial

__all__ = ["BertPipeline", "parse_args"]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the settings; they are the same for all trials of an experiment."""
    parser = Parser(__doc__)
    add_options(parser)
    add_pipeline_options(parser)
    settings = parser.parse_args(arguments)
    check_settings(settings)
    return settings


class BertPipeline(SearchPipeline):
    """What the stages of the pipeline do on the BERT space."""

    baseline_name = "bert"

    def baseline(self) -> Sample:
        """Attention and feed-forward layers in turns."""
        space = self.domain.make_space().simplify()
        names = list(next(iter(space.values())).values)
        attention = next(name for name in names if name.startswith("mha"))
        feed_forward = next(name for name in names if name.startswith("ffn"))
        return {label: (attention, feed_forward)[i % 2] for i, label in enumerate(space)}

    def filter(self) -> Any:
        """No more parameters than the baseline."""
        params = NumParamsProfiler(self.domain.make_space(), (self.domain.example(),))
        return {"profiler": params, "max": params.profile(self.baseline())}


def main() -> None:
    """Run one trial."""
    run_trial(parse_args, Bert, BertPipeline)


if __name__ == "__main__":
    main()
