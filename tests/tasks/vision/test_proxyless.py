"""The ProxylessNAS task: its budget, its baseline, the digest of its images."""

import pytest
from counting import n_multiply_adds

from nni_magic.search import Population
from nni_magic.tasks.vision.proxyless import Proxyless
from nni_magic.tasks.vision.settings import ProxylessSettings


@pytest.fixture(scope="module")
def domain():
    return Proxyless(ProxylessSettings())


def test_search_stays_within_a_budget_between_the_smallest_and_largest_child(domain):
    space = domain.make_space()
    names = list(space.simplify())
    labels = {name: space.simplify()[name].values for name in names}
    smallest = {n: "zero" if "zero" in labels[n] else "mb3_3x3" for n in names}
    low = n_multiply_adds(space, smallest)
    high = n_multiply_adds(space, dict.fromkeys(names, "mb6_7x7"))
    assert domain.filter["max"] == pytest.approx(low + 0.6 * (high - low))
    children = Population(space, size=20, seed=0, filter=domain.filter).ask()
    counted = [domain.costs(child)["flops"] for child in children]
    assert counted[:2] == [n_multiply_adds(space, child) for child in children[:2]]
    assert max(counted) <= domain.filter["max"] < high


def test_baseline_has_the_same_operator_everywhere(domain):
    assert domain.baseline_name == "mobilenet_v2"
    assert domain.baseline() == {f"block_{n}": "mb6_3x3" for n in range(1, 9)}


def test_data_sets_in_memory_have_a_digest_of_their_pixels():
    digests = [
        Proxyless(ProxylessSettings(seed=seed)).describe()["images_digest"] for seed in (0, 1)
    ]
    assert digests[0] == digests[1]
    assert digests[0] != Proxyless(ProxylessSettings(resolution=16)).describe()["images_digest"]
