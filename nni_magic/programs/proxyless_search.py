"""The whole pipeline on the ProxylessNAS space, as the trials of one ``nnictl`` experiment.

``nnictl create --config experiments/proxyless_imagenet.yml`` trains a supernet, searches its
children under a budget of multiply-adds by evolution on inherited weights, and trains the best
ones from scratch beside a hand-made baseline; see :mod:`nni_magic.programs.search_pipeline`.

The baseline ``mobilenet_v2`` has the operator of MobileNetV2, kernel 3 and expansion 6, in every
block. It is trained whether it is within the budget or not.
"""

from __future__ import annotations

import argparse

from nni.mutable import Sample

from ..tasks.vision.proxyless import Proxyless, add_options, check_settings
from .options import Parser
from .search_pipeline import SearchPipeline, add_pipeline_options, run_trial

__all__ = ["ProxylessPipeline", "parse_args"]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the settings; they are the same for all trials of an experiment."""
    parser = Parser(__doc__)
    add_options(parser)
    add_pipeline_options(parser)
    settings = parser.parse_args(arguments)
    check_settings(settings)
    return settings


class ProxylessPipeline(SearchPipeline):
    """What the stages of the pipeline do on the ProxylessNAS space."""

    baseline_name = "mobilenet_v2"

    def baseline(self) -> Sample:
        """Kernel 3 and expansion 6 in every block."""
        return dict.fromkeys(self.domain.make_space().simplify(), "mb6_3x3")


def main() -> None:
    """Run one trial."""
    run_trial(parse_args, Proxyless, ProxylessPipeline)


if __name__ == "__main__":
    main()
