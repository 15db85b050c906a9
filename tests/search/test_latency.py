"""Latency tables, measured on a clock that only chosen modules move, and what they say."""

import itertools
import json

import pytest
import torch
from nni.mutable import Categorical
from nni.nas.hub.pytorch import ProxylessNAS
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from scipy.stats import kendalltau
from spaces import ChainSpace, supernet
from torch import nn
from training import bert

from nni_magic.children.samples import candidates
from nni_magic.samplers import GradualSampler, UniformSampler
from nni_magic.search import Evolution, Population, pareto_search, timing
from nni_magic.search.latency import LatencyTable, StepLatency, TableError, table_error
from search_spaces import ProxylessNASSpace

ROWS = torch.arange(6.0).reshape(2, 3)
TIMES = {"slow": 8.0, "fast": 2.0, "none": 0.0}


class Clock:
    """Seconds that pass only when a module lets them."""

    now = 0.0


class Takes(nn.Module):
    """Takes its time, in ms: much more when it is run first, and once in between."""

    runs: list = []  # of all: their milliseconds, whether gradients or training are on, and inputs

    def __init__(self, milliseconds):
        super().__init__()
        self.milliseconds = milliseconds
        self.weight = nn.Parameter(torch.ones(3))
        self.n_runs = 0

    def forward(self, x):
        self.n_runs += 1
        Clock.now += (1000 if self.n_runs in (1, 6) else 1) * self.milliseconds / 1000
        grad = torch.is_grad_enabled() or not torch.is_inference_mode_enabled()
        Takes.runs.append((self.milliseconds, grad or self.training, x.clone()))
        return x.add_(1)  # in place: the next run must not see it


class TimedSpace(ModelSpace):
    """Stem 1 ms, two blocks and a head; ``forward`` itself takes ``overhead`` ms more."""

    def __init__(self, overhead=0.0, head=4.0, blocks=2):
        super().__init__()
        self.stem = Takes(1.0)
        self.layers = nn.ModuleList(
            LayerChoice({name: Takes(time * n) for name, time in TIMES.items()}, label=f"block_{n}")
            for n in range(1, blocks + 1)
        )
        self.last = Takes(head)
        self.overhead = overhead

    def forward(self, x):
        Clock.now += self.overhead / 1000
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)

    def head(self, x):
        return self.last(x)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(timing, "perf_counter", lambda: Clock.now)
    monkeypatch.setattr(Takes, "runs", [])


def sample(first, second):
    return {"block_1": first, "block_2": second}


@pytest.fixture
def table():
    return LatencyTable.measure(TimedSpace(), ROWS, batch_size=5, repeats=5)


def test_table_holds_the_median_time_of_every_candidate(table):
    assert [step.candidates for step in table.steps] == [
        {}, {"block_1": ["slow", "fast", "none"]}, {"block_2": ["slow", "fast", "none"]}, {},
    ]  # fmt: skip
    found = [step.milliseconds for step in table.steps]
    for own, expected in zip(found, [[1], [8, 2, 0], [16, 4, 0], [4]], strict=True):
        assert own == pytest.approx(expected)
    assert table.extremes() == pytest.approx((5, 29))


@pytest.mark.parametrize(("child", "expected"), [
    (sample("slow", "slow"), 29), (sample("fast", "none"), 7), (sample("none", "fast"), 9),
])  # fmt: skip
def test_prediction_is_the_sum(table, child, expected):
    assert table(child) == table.profile(child) == pytest.approx(expected)


def test_every_candidate_gets_the_hidden_states_it_gets_in_a_child(table):
    batch = torch.stack([ROWS[n % 2] for n in range(5)])
    n_before = {1.0: 0, 8.0: 1, 2.0: 1, 16.0: 2, 4.0: None, 0.0: None}  # modules before it
    assert len(Takes.runs) > 8 * 5 * 2
    for milliseconds, wrong_mode, x in Takes.runs:
        assert not wrong_mode
        if (n := n_before[milliseconds]) is not None:
            torch.testing.assert_close(x, batch + n)


def test_conditions_are_recorded(table):
    assert table.conditions.pop("versions").keys() == {"nni-magic", "torch"}
    assert table.conditions.pop("hardware")
    assert table.conditions == {
        "batch_size": 5, "repeats": 5, "device": "cpu", "threads": torch.get_num_threads(),
        "inputs": [[5, 3]],
    }  # fmt: skip


def test_table_survives_json(table):
    again = LatencyTable.from_json(json.loads(json.dumps(table.to_json())))
    assert again.conditions == table.conditions and again.steps == table.steps
    assert again(sample("fast", "slow")) == table(sample("fast", "slow"))


def test_measuring_leaves_the_space_as_it_is():
    space = TimedSpace()
    space.layers.eval()
    LatencyTable.measure(space, ROWS, repeats=1)
    assert space.training and space.stem.training and not space.layers.training
    assert all(module.n_runs == 0 for module in space.modules() if isinstance(module, Takes))


def test_arguments_by_name_reach_the_steps_that_name_them():
    ids, mask = torch.ones(1, 12, dtype=torch.long), torch.ones(1, 12)
    table = LatencyTable.measure(bert(), (ids, {"attention_mask": mask}), batch_size=3, repeats=1)
    assert table.conditions["inputs"] == [[3, 12], [3, 12]]
    assert [len(step.milliseconds) for step in table.steps] == [1, 3, 3, 3, 3, 1]


def test_proxylessnas_has_a_table_on_the_real_clock(monkeypatch):
    monkeypatch.undo()
    candidates_of_a_block = ("mb3_3x3", "mb6_7x7", "zero")
    space = ProxylessNASSpace.preset("tiny", resolution=8, candidates=candidates_of_a_block)
    table = LatencyTable.measure(space, torch.zeros(1, 1, 8, 8), repeats=3)
    assert table.candidates == candidates(space)
    low, high = table.extremes()
    assert 0 < low < table(dict.fromkeys(table.candidates, "mb3_3x3")) <= high
    blocks = [step for step in table.steps if "zero" in step.candidates.get("block_2", ())]
    [times] = [dict(zip(s.candidates["block_2"], s.milliseconds, strict=True)) for s in blocks]
    assert times["zero"] < min(time for name, time in times.items() if name != "zero")


@pytest.mark.gpu
def test_table_is_measured_on_a_gpu():  # on the CPU: the test before
    space = ProxylessNASSpace.preset("tiny", resolution=8)
    table = LatencyTable.measure(space, torch.zeros(1, 1, 8, 8), repeats=3, device="cuda")
    assert table.conditions["hardware"] == torch.cuda.get_device_name()


@pytest.mark.slow
def test_blocks_that_a_depth_leaves_out_take_no_time(monkeypatch):
    monkeypatch.undo()
    space, images = ProxylessNAS(10, width_mult=0.25), torch.zeros(1, 3, 32, 32)
    table = LatencyTable.measure(space, images, repeats=1)
    assert table.candidates == candidates(space)
    child = {label: choices[0] for label, choices in table.candidates.items()}
    deep = {**child, "s3_depth": 4}
    times = {}
    for step in table.steps:
        if "s3_depth" in step.candidates:
            [label] = step.candidates.keys() - {"s3_depth"}
            ways = itertools.product(step.candidates["s3_depth"], step.candidates[label])
            times[label] = dict(zip(ways, step.milliseconds, strict=True))
    assert len(times) == 4
    for position in range(4):
        for (depth, _), time in times[f"s3_i{position}"].items():
            assert (time > 0) == (depth > position)
    added = sum(times[f"s3_i{n}"][4, child[f"s3_i{n}"]] for n in range(1, 4))
    change = times["s3_i0"][4, child["s3_i0"]] - times["s3_i0"][1, child["s3_i0"]]
    assert table(deep) - table(child) == pytest.approx(added + change)
    assert len(table_error(table, space, images, n_children=2, seed=0).measured) == 2


# As constraint and as cost


def test_table_bounds_children(table):
    budget = {"profiler": table, "max": 10}
    walk = GradualSampler(TimedSpace(), seed=0, filter=budget)
    seen = {tuple(walk.next().values()) for _ in range(100)}
    assert seen == {("none", "none"), ("none", "fast"), ("fast", "none")}
    asked = Population(TimedSpace(), seed=0, size=9, filter=budget).ask()
    assert {tuple(child.values()) for child in asked} == seen
    assert len(Evolution(seed=0, generations=2, population=3, filter=budget).search(
        TimedSpace(), lambda children: [0.0 for _ in children])) == 3  # fmt: skip


def test_budget_outside_of_the_table_is_told_with_both_figures(table):
    message = "max is 4.5, but the smallest child has 5 and the largest 29 by LatencyTable"
    with pytest.raises(ValueError, match=message):
        GradualSampler(TimedSpace(), seed=0, filter={"profiler": table, "max": 4.5})


def test_table_is_a_cost_of_a_pareto_search(table):
    front = pareto_search(
        TimedSpace(), lambda children: [-table(child) for child in children], {"ms": table},
        seed=0, generations=3, population=9,
    )  # fmt: skip
    assert len(front.children) == 9  # each is slower and better than the one before
    assert [child.costs[0] for child in front.children] == sorted(
        table(sample(a, b)) for a in TIMES for b in TIMES
    )


# Against whole children


def test_error_is_none_where_a_child_is_the_sum_of_its_steps(table):
    error = table_error(table, TimedSpace(), ROWS, n_children=6, seed=0)
    assert len(error.measured) == 6 and len({round(m, 6) for m in error.measured}) > 2
    assert error.predicted == pytest.approx(error.measured)
    assert error.mean_absolute_percentage_error == pytest.approx(0, abs=1e-6)
    assert error.kendall_tau == pytest.approx(1)


def test_error_of_what_no_step_has(table):
    error = table_error(table, TimedSpace(overhead=2.0), ROWS, n_children=6, seed=0)
    assert error.measured == pytest.approx([predicted + 2 for predicted in error.predicted])
    expected = sum(200 / measured for measured in error.measured) / 6
    assert error.mean_absolute_percentage_error == pytest.approx(expected)
    assert table_error(table, TimedSpace(overhead=2.0), ROWS, n_children=6, seed=0) == error


def test_error_s_figures_match_their_definitions():
    error = TableError([1.0, 2.0, 4.0, 3.0], [2.0, 2.5, 3.2, 4.0])
    assert error.mean_absolute_percentage_error == pytest.approx((50 + 20 + 25 + 25) / 4)
    assert error.kendall_tau == pytest.approx(kendalltau(error.predicted, error.measured)[0])
    assert error.kendall_tau == pytest.approx(4 / 6)


# Bad input


@pytest.mark.parametrize(("child", "message"), [
    ({"block_1": "fast"}, r"does not know this child: .*another space: it lacks \['block_2'\]"),
    ({**sample("fast", "fast"), "block_3": "fast"}, r"unknown labels \['block_3'\]"),
    (sample("fast", "odd"), r"does not know this child: .*'block_2' is 'odd'; accepted are"),
])  # fmt: skip
def test_child_of_another_space_is_refused(table, child, message):
    with pytest.raises(ValueError, match=message):
        table(child)


@pytest.mark.parametrize(("other", "message"), [
    ({"block_2": None}, r"it depends on labels \['block_2'\], which the space does not have"),
    ({"block_3": ["fast"]}, r"it has no time for \['fast'\] of label 'block_3', only \[\]"),
    ({"block_2": ["fast", "odd"]}, r"it has no time for \['odd'\] of label 'block_2', only \['slo"),
])  # fmt: skip
def test_budget_by_the_table_of_another_space_is_refused(table, other, message):
    choices = {**table.candidates, **other}
    space = {name: Categorical(each, label=name) for name, each in choices.items() if each}
    for make in (UniformSampler, GradualSampler):
        with pytest.raises(ValueError, match=f"'s LatencyTable is of another space: {message}"):
            make(space, seed=0, filter={"profiler": table, "max": 10})


def test_budget_by_a_table_that_knows_more_choices_than_the_space_is_kept(table):
    choices = {**table.candidates, "block_2": ["fast"]}
    space = {name: Categorical(each, label=name) for name, each in choices.items()}
    sampler = UniformSampler(space, seed=0, filter={"profiler": table, "max": 10})
    assert {sampler.next()["block_1"] for _ in range(30)} == {"none"}


@pytest.mark.parametrize(("settings", "message"), [
    ({"batch_size": 0}, "batch_size is 0; accepted are whole numbers of at least 1"),
    ({"batch_size": 2.5}, "batch_size is 2.5; accepted are whole numbers"),
    ({"repeats": 0}, "repeats is 0; accepted are whole numbers of at least 1"),
    ({"device": "tpv"}, "device is 'tpv'; accepted are those on which torch can compute here: "),
    ({"device": "cuda:99"}, "device is 'cuda:99'; accepted are those on which torch can compute"),
    ({"device": "meta"}, "device is 'meta'; accepted are those on which torch can compute here: "),
])  # fmt: skip
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        LatencyTable.measure(**{"space": TimedSpace(), "args": ROWS, **settings})


def test_supernet_is_refused(table):
    net = supernet(TimedSpace())
    for measure in (LatencyTable.measure, lambda s, x: table_error(table, s, x, seed=0)):
        with pytest.raises(ValueError, match="TimedSpace is a supernet already"):
            measure(net, ROWS)


def test_error_of_a_table_that_does_not_fit_is_refused(table):
    with pytest.raises(
        ValueError, match="n_children is 1; accepted are whole numbers of at least 2"
    ):
        table_error(table, TimedSpace(), ROWS, n_children=1, seed=0)
    with pytest.raises(ValueError, match="the latency table is of another space"):
        table_error(table, ChainSpace(), ROWS, seed=0)
    other = LatencyTable(table.steps, {**table.conditions, "threads": 99})
    with pytest.raises(ValueError, match=r"measured with 99 threads; torch has \d+"):
        table_error(other, TimedSpace(), ROWS, seed=0)
    elsewhere = LatencyTable(table.steps, {**table.conditions, "device": "cuda:99"})
    with pytest.raises(ValueError, match="device is 'cuda:99'; accepted are those on which"):
        table_error(elsewhere, TimedSpace(), ROWS, seed=0)


def test_step_latency_needs_a_time_for_every_way():
    with pytest.raises(ValueError, match="shorter"):
        LatencyTable([StepLatency({"block": ["a", "b"]}, [1.0])], {})
