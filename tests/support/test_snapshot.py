"""What objects hold is as it was, at any depth, and machinery is left alone."""

import random
import threading
from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import nni_magic.support.snapshot
from nni_magic.support.snapshot import Snapshot


class Holder:
    def __init__(self, **attributes):
        vars(self).update(attributes)


class Meter:
    """A running average as in many projects."""

    def __init__(self):
        self.values, self.total = [], torch.zeros(1)

    def update(self, value):
        self.values.append(value)
        self.total += value
        self.last = value


@dataclass(slots=True)
class Slots:
    n: int = 0
    rows: list = field(default_factory=list)


class Named(dict):
    pass


def test_containers_come_back_as_the_same_objects_with_what_they_held():
    held = {
        "list": [1, [2]], "dict": {"a": {"b": 1}}, "set": {1}, "deque": deque([1], maxlen=2),
        "counts": Counter(a=2), "lists": defaultdict(list, a=[1]), "user": UserDict(a=1),
        "ordered": OrderedDict(a=1, b=2), "tuple": ([1], 2),
    }  # fmt: skip
    holder = Holder(**held)
    snapshot = Snapshot(holder)
    held["list"][1].append(3)
    held["list"].clear()
    held["dict"]["a"]["b"] = 2
    del held["dict"]["a"]
    held["set"].add(2)
    held["deque"].extend([2, 3])
    held["counts"].update("aab")
    held["lists"]["a"].append(2)
    held["lists"]["b"].append(2)
    held["user"]["b"] = 2
    held["ordered"].move_to_end("a")
    held["tuple"][0].append(2)
    holder.new, holder.list = 1, []
    snapshot.restore()
    assert vars(holder).keys() == held.keys()
    assert all(getattr(holder, name) is value for name, value in held.items())
    assert held["list"] == [1, [2]] and held["dict"] == {"a": {"b": 1}} and held["set"] == {1}
    assert held["deque"] == deque([1]) and held["counts"] == Counter(a=2)
    assert held["lists"] == {"a": [1]} and dict(held["user"]) == {"a": 1}
    assert list(held["ordered"]) == ["a", "b"] and held["tuple"] == ([1], 2)


def test_objects_of_a_users_classes_come_back():
    named = Named(a=1)
    named.source = "a"
    holder = Holder(meters={"loss": Meter()}, slots=Slots(), named=named)
    holder.itself = holder
    snapshot = Snapshot(holder)
    holder.meters["loss"].update(2.0)
    holder.slots.n = 3
    holder.slots.rows.append(1)
    named.source = "b"
    snapshot.restore()
    meter = holder.meters["loss"]
    assert (meter.values, meter.total.tolist(), hasattr(meter, "last")) == ([], [0], False)
    assert holder.slots == Slots() and named.source == "a"


def test_tensors_arrays_and_generators_come_back():
    x, matrix = torch.ones(2), np.zeros((2, 2))
    generators = [random.Random(0), np.random.default_rng(0), torch.Generator().manual_seed(0)]
    holder = Holder(x=[x], matrix=matrix, generators=generators)

    def draw():
        found = torch.rand(1, generator=generators[2]).item()
        return [generators[0].random(), generators[1].random(), found]

    snapshot, version = Snapshot(holder), x._version
    drawn = draw()
    x.data.mul_(3)
    matrix[0, 0] = 7
    snapshot.restore()
    assert (x.tolist(), matrix.sum(), draw()) == ([1, 1], 0, drawn)
    assert x._version == version


def test_modules_come_back_with_buffers_and_attributes_of_all_inside():
    net = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
    weight = net[1].weight.detach().clone()
    net.n, net[1].calls = 0, []
    snapshot = Snapshot(Holder(net=net))
    net(torch.randn(4, 2))
    net.n += 1
    net[1].calls.append(1)
    with torch.no_grad():
        net[1].weight.add_(1)
    snapshot.restore()
    assert (net.n, net[1].calls, net[0].running_mean.tolist()) == (0, [], [0, 0])
    assert torch.equal(net[1].weight, weight + 1)  # parameters are not ours to put back


def test_machinery_and_what_is_to_be_left_alone_stay_as_they_are():
    data, left = TensorDataset(torch.ones(2)), Holder(rows=[])
    holder = Holder(data=data, thread=threading.Thread(), left=left, numbers=iter([1, 2]))
    snapshot = Snapshot(holder, leave=[left])
    data.seen = True
    left.rows.append(1)
    next(holder.numbers)
    snapshot.restore()
    assert data.seen and left.rows == [1] and list(holder.numbers) == [2]


def test_found_gives_objects_of_a_class():
    first, second, left = Meter(), Meter(), Meter()
    snapshot = Snapshot(Holder(a=[first, {"b": second}, first], left=left), leave=[left])
    assert sorted(map(id, snapshot.found(Meter))) == sorted([id(first), id(second)])


def test_a_large_tensor_is_not_copied_but_a_write_to_it_is_seen(monkeypatch):
    monkeypatch.setattr(nni_magic.support.snapshot, "ROOM", 8)
    x, large = torch.zeros(2), torch.zeros(3)
    snapshot = Snapshot([x, large])
    snapshot.restore()
    large[0] = 1
    with pytest.raises(RuntimeError, match=r"shape \(3,\) was written to .* accepted are 8 bytes"):
        snapshot.restore()


@pytest.mark.parametrize("fails", [False, True])
def test_all_else_is_put_back_where_a_large_tensor_is_written(monkeypatch, fails):
    monkeypatch.setattr(nni_magic.support.snapshot, "ROOM", 8)
    large, x, values = torch.zeros(3), torch.zeros(2), [1]
    kind, message = (KeyError, "own") if fails else (RuntimeError, "was written to")
    with pytest.raises(kind, match=message), Snapshot([large, x, values]):
        large[0] = x[0] = values[0] = 2
        if fails:
            raise KeyError("own")
    assert x.tolist() == [0, 0] and values == [1]
