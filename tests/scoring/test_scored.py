"""A child with its score is a tuple, and goes through files as one."""

import torch

from nni_magic.scoring.scored import ScoredChild


def test_is_the_pair_of_its_sample_and_score(tmp_path):
    scored = ScoredChild({"op": "conv", "depth": 2}, 0.25)
    sample, score = scored
    assert (sample, score) == (scored.sample, scored.score) == ({"op": "conv", "depth": 2}, 0.25)
    assert scored == (sample, score)
    torch.save([tuple(scored)], path := tmp_path / "best.pt")
    [plain] = torch.load(path, weights_only=True)
    assert ScoredChild(*plain) == scored
