"""The most that tensors take at once in a training step."""

import torch
from studies import plan_of
from torch._subclasses.fake_tensor import FakeTensorMode

from experiments.studies.ranking.memory import Memory, StepMemory
from experiments.studies.study import Study


def test_memory_is_measured_of_every_method_though_nothing_is_trained(corpus, tmp_path):
    plan = plan_of(tmp_path, corpus, children={"n": 0, "steps": 4}, supernets={
        "spos": {"strategy": "spos", "steps": 8, "seeds": [1, 0]},
        "few_shot": {"strategy": "few_shot", "steps": 8, "seeds": [0]},
    })  # fmt: skip
    study = Study(plan, tmp_path / "runs", corpus / "cache")
    memory = Memory(study)
    memory.work()
    assert not list(memory.missing())
    found = memory.found()
    assert {name: list(seeds) for name, seeds in found.items()} == {"spos": [1], "few_shot": [0]}
    weights = sum(weight.nbytes for weight in study.domain.make_space().parameters())
    assert weights < found["spos"][1]["peak_memory"] < 20 * weights
    assert 2 * weights < found["few_shot"][0]["peak_memory"]  # those of two parts


def test_peak_counts_what_is_there_at_once_in_a_step():
    older, memory, kept = torch.zeros(10_000), StepMemory(), []
    with memory:
        weights = torch.zeros(2000)
        memory.on_train_batch_start()
        for _ in range(3):
            torch.zeros(1000)  # gone before the next one is there
        kept.append(torch.zeros(500, dtype=torch.float64))
        kept.append(torch.zeros(250))
        memory.on_train_batch_end()
        torch.zeros(50_000)  # not in a step
    assert memory.peak == 4 * (2000 + 1000 + 250)
    assert len(older) + len(weights) + len(kept) == 12_002


def test_what_happens_between_steps_is_not_recorded():
    """It may be long: a method may score hundreds of children there."""
    memory = StepMemory()
    with memory:
        for n in (100, 300, 200):
            memory.on_train_batch_start()
            torch.zeros(n)
            memory.on_train_batch_end()
            for _ in range(500):
                torch.zeros(10_000)
        names = [event.name for event in memory._profile.events()]
    assert memory.peak == 4 * 300
    assert 0 < len(names) < 20


def test_tensors_of_a_traced_program_have_no_memory():
    with FakeTensorMode():
        fake = [torch.zeros(1000), torch.nn.Parameter(torch.zeros(1000))]
    memory = StepMemory()
    with memory:
        memory.on_train_batch_start()
        torch.zeros(100)
        memory.on_train_batch_end()
    assert memory.peak == 4 * 100
    assert len(fake) == 2


def test_gradients_and_views_are_counted_once():
    memory = StepMemory()
    with memory:
        weight = torch.ones(1000, requires_grad=True)
        weight.sum().backward()
        view = weight.detach()[:10]
        memory.on_train_batch_start()
        memory.on_train_batch_end()
    assert memory.peak == 4 * 2000
    assert len(view) == 10


def test_what_was_measured_before_is_not_counted():
    def measured(n):
        memory = StepMemory()
        with memory:
            weights = torch.zeros(n)
            memory.on_train_batch_start()
            states = weights.clone()
            memory.on_train_batch_end()
        return memory.peak, weights, states

    peak, *kept = measured(3000)
    assert peak == 4 * 6000
    assert measured(2000)[0] == 4 * 4000  # all of these are freed after the profile's end
    freed = StepMemory()
    with freed:
        kept.clear()  # of another measurement
        freed.on_train_batch_start()
        torch.zeros(1000)
        freed.on_train_batch_end()
    assert freed.peak == 4 * 1000
