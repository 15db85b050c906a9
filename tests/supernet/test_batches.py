"""Copies of batches of any kind, and whether inputs were written to."""

from collections import UserDict, defaultdict, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from nni_magic.supernet.batches import changes_of, copy_of

Pair = namedtuple("Pair", "x labels")


@dataclass
class Batch:
    x: torch.Tensor
    labels: list


@dataclass(frozen=True)
class Frozen:
    x: torch.Tensor
    labels: list


@dataclass(slots=True)
class Slots:
    x: torch.Tensor
    labels: list


class Encoding(UserDict):
    """A mapping with attributes of its own, as that of Hugging Face's tokenizers."""

    def __init__(self, x, labels):
        super().__init__(x=x, labels=labels)
        self.words = ["a", "b"]

    def __getattr__(self, name):
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(name) from None


class Movable:
    """Nothing but a way to another device is known of it."""

    def __init__(self, x, labels):
        self.x, self.labels = x, labels

    def to(self, device, non_blocking=False):
        return Movable(self.x.to(device), self.labels)


class Named(dict):
    """A dict that also has an attribute."""

    def __init__(self, **items):
        super().__init__(items)
        self.source = "a.txt"


def get(batch, name):
    return batch[name] if hasattr(batch, "keys") else getattr(batch, name)


@pytest.mark.parametrize("kind", [Pair, Batch, Frozen, Slots, Encoding, Movable, dict, Named])
def test_copy_has_containers_and_tensors_of_its_own(kind):
    batch = kind(x=torch.arange(3.0), labels=[torch.ones(2), ("name", torch.zeros(()))])
    own = copy_of(batch)
    assert type(own) is kind
    get(own, "x").mul_(3)
    get(own, "labels")[0].zero_()
    get(own, "labels").pop()
    assert get(batch, "x").tolist() == [0, 1, 2]
    assert [get(batch, "labels")[0].tolist(), len(get(batch, "labels"))] == [[1, 1], 2]
    assert get(own, "x").tolist() == [0, 3, 6]


def test_copy_keeps_what_a_mapping_has_beside_its_items():
    own = copy_of(Encoding(torch.ones(1), []))
    own.words.pop()
    assert own.words == ["a"] and own["x"].tolist() == [1]
    assert copy_of(Named(x=1)).source == "a.txt"
    counts = copy_of(defaultdict(list, a=[1]))
    assert counts["b"] == []


def test_copy_takes_arrays_and_packed_sequences():
    packed = pack_sequence([torch.ones(3), torch.ones(2)])
    own = copy_of([np.ones(2), packed])
    own[0][:] = 0
    own[1].data.zero_()
    assert packed.data.tolist() == [1] * 5 and own[1].data.tolist() == [0] * 5


def test_what_is_one_object_in_the_batch_is_one_in_the_copy():
    x = torch.ones(2)
    own = copy_of({"a": x, "b": x})
    assert own["a"] is own["b"] is not x


def test_a_list_that_is_twice_there_or_holds_itself_is_copied_as_it_is():
    rows = [torch.ones(1)]
    own = copy_of((rows, {"rows": rows}))
    assert own[0] is own[1]["rows"] is not rows
    rows.append(rows)
    own = copy_of(rows)
    assert own[1] is own is not rows


def test_copy_of_a_slice_takes_no_more_memory_than_the_slice():
    own = copy_of([torch.ones(1000)[:2]])
    assert own[0].untyped_storage().nbytes() == 8


def test_gradients_go_through_a_copy():
    weight = torch.ones(2, requires_grad=True)
    copy_of([3 * weight])[0].sum().backward()
    assert weight.grad.tolist() == [3, 3]


def test_what_cannot_be_copied_is_shared_and_the_rest_is_not():
    numbers = (n for n in range(3))
    batch = {"x": torch.ones(2), "more": [numbers, Frozen(torch.ones(1), [])]}
    own = copy_of(batch)
    own["x"].zero_()
    own["more"].pop()
    assert batch["x"].tolist() == [1, 1] and len(batch["more"]) == 2
    assert own["more"] == [numbers]


def test_changes_are_counted_in_any_nesting():
    x = torch.ones(2)
    before = changes_of([{"x": x}, (torch.zeros(1), "name")])
    x[0] = 2
    with torch.no_grad():
        x.mul_(3)
    assert changes_of([{"x": x}]) == before + 2
    with torch.inference_mode():
        assert changes_of([torch.ones(1)]) == 0
