"""The benchmark of steps against their passes, at its smallest."""

import pytest

from experiments.benchmarks import passes
from nni_magic.strategies.registry import METHODS

NAMES = ["sandwich", "multi_architecture", passes.PARTS]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return passes.main([
        "--workloads", "cnn", "--methods", *NAMES, "--repetitions", "1", "--steps", "2",
        "--warmup", "1", "--turn", "1", "--batch-size", "8", "--threads", "1", "--device", "cpu",
        "--hardware", "here", "--cache", str(folder / "cache"), "--output", str(folder),
    ])  # fmt: skip


@pytest.mark.slow
def test_step_is_compared_with_its_passes(results):
    entries = results["measurements"]["cnn"]["methods"]
    assert list(entries) == NAMES
    assert [(each["children"], each["passes"]) for each in entries.values()] == [
        (4, 4),
        (4, 1),
        (4, 4),
    ]
    for entry in entries.values():
        [step], [one] = entry["step"], entry["pass"]
        ratio = entry["summary"]["ratio"]["median"]
        assert ratio == pytest.approx(step / (one * entry["passes"]))
        assert one > 0


def test_every_method_of_other_papers_is_timed_whose_steps_are_alike():
    others = {name for name, row in METHODS.items() if not (row.for_analysis or row.differentiable)}
    ours = {"magic_t", "magic_a", "magic_at"}
    assert others - {*passes.METHODS} == ours | {"delayed_shrinking", "enas"}
