"""Numbers of docs/limits.md are those of the records."""

from itertools import combinations
from pathlib import Path

from scipy.stats import kendalltau

from nni_magic.support.files import read_json

ROOT = Path(__file__).parents[1]


def test_the_same_seed_on_another_processor_ranks_as_the_page_says():
    records = ROOT / "experiments" / "records"
    first = [
        read_json(records / "nasbench_macro" / "supernets" / f"spos_seed{seed}.json")
        for seed in range(5)
    ]
    again = read_json(records / "methods_nasbench_macro" / "supernets" / "spos_seed0.json")
    assert again["made_with"] == first[0]["made_with"]
    among = [
        kendalltau(one["scores"], other["scores"]).statistic
        for one, other in combinations(first, 2)
    ]
    same = kendalltau(again["scores"], first[0]["scores"]).statistic
    page = " ".join((ROOT / "docs" / "limits.md").read_text().split())
    assert f"orders the children as before with a Kendall's τ of {same:.2f};" in page
    assert f"of the first one τ is {min(among):.2f} to {max(among):.2f} (" in page
