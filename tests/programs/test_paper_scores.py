"""The paper's scores, and its metrics."""

from statistics import fmean

import pytest

from nni_magic.programs.paper_scores import PAPER, as_in_paper
from nni_magic.tasks.language.glue import GLUE


def test_averages_are_those_that_the_paper_gives():
    eight = [name for name in GLUE if name != "WNLI"]
    averages = [fmean(model.scores[name] for name in eight) for model in PAPER.values()]
    assert averages == pytest.approx([84.6, 84.5, 85.7], abs=0.05)  # 84.4 is printed of SPOS


def test_metric_is_that_of_the_paper():
    metrics = {"dev": {"pearson": 0.5, "spearman": 0.25}}
    rated = {"dataset": "STS-B", "score": 0.375, "metrics": metrics}
    assert as_in_paper(rated) == {**rated, "score": 0.25}
    one = {"dataset": "RTE", "score": 0.5}
    assert as_in_paper(one) == one
