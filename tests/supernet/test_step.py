"""Turns of a step, their state, and the rows of a batch."""

from collections import namedtuple
from dataclasses import FrozenInstanceError, dataclass

import numpy as np
import pytest
import torch

from nni_magic.supernet.step import Step, Turn, count_rows, parted, rows_of

CHILD = {"block_1": "conv", "depth": 2, "inputs": [0, 2]}


@pytest.mark.parametrize(
    "turn",
    [
        Turn(CHILD),
        Turn(CHILD, weight=0.25),
        Turn(CHILD, rows=slice(2, 4)),
        Turn(CHILD, 0.0, slice(None, 3)),
        Turn(CHILD, 1.0, slice(1, None, 2)),
        Turn(CHILD, part=(1, 3)),
    ],
)
def test_turn_comes_back_from_a_file_of_plain_types(turn, tmp_path):
    torch.save(turn.state_dict(), tmp_path / "turn.pt")
    found = Turn.of(torch.load(tmp_path / "turn.pt", weights_only=True))
    assert found == turn
    assert found.rows == turn.rows


def test_turn_trains_on_the_whole_batch_with_full_weight():
    turn = Turn(CHILD)
    assert (turn.weight, turn.rows) == (1.0, None)
    with pytest.raises(FrozenInstanceError):
        turn.weight = 2.0


def test_steps_share_no_lists():
    first, second = Step([Turn(CHILD)]), Step([Turn(CHILD)])
    first.losses.append(torch.zeros(()))
    first.calls.append([])
    assert (second.losses, second.calls, second.gradient_norm) == ([], [], None)


Pair = namedtuple("Pair", "images labels")


@dataclass
class Batch:
    ids: torch.Tensor
    name: str


def test_rows_of_cuts_tensors_in_any_nesting():
    ids = torch.arange(12).reshape(6, 2)
    batch = {"ids": ids, "more": [ids[:, 0], (ids,)], "pair": Pair(ids, ids + 1), "n": 6}
    found = rows_of(batch, slice(1, 3))
    expected = torch.tensor([[2, 3], [4, 5]])
    assert torch.equal(found["ids"], expected)
    assert torch.equal(found["more"][0], expected[:, 0])
    assert isinstance(found["more"][1], tuple) and torch.equal(found["more"][1][0], expected)
    assert isinstance(found["pair"], Pair) and torch.equal(found["pair"].labels, expected + 1)
    assert found["n"] == 6


def test_rows_of_cuts_dataclasses():
    found = rows_of(Batch(torch.arange(4), "rows"), slice(2, None))
    assert isinstance(found, Batch)
    assert (found.ids.tolist(), found.name) == ([2, 3], "rows")


def test_rows_of_leaves_scalars_and_the_batch_itself():
    scale = torch.tensor(2.0)
    batch = [torch.arange(4), scale]
    assert rows_of(batch, None) is batch
    first, second = rows_of(batch, slice(0, 2))
    assert first.tolist() == [0, 1]
    assert torch.equal(second, scale)
    assert len(batch[0]) == 4


@pytest.mark.parametrize("n_rows", range(1, 12))
@pytest.mark.parametrize("n_parts", [1, 2, 3, 4])
def test_parts_are_even_cover_the_batch_and_weigh_by_their_rows(n_rows, n_parts):
    batch = {"ids": torch.arange(2 * n_rows).reshape(n_rows, 2), "scale": torch.tensor(1.0)}
    turns = [Turn({"n": n}, weight=2.0, part=(n, n_parts)) for n in range(n_parts)]
    found = parted(turns, batch)
    assert len(found) == min(n_rows, n_parts)  # no part is empty
    rows = [rows_of(batch, turn.rows)["ids"][:, 0].tolist() for turn in found]
    assert sum(rows, []) == batch["ids"][:, 0].tolist()  # noqa: RUF017
    assert max(map(len, rows)) - min(map(len, rows)) <= 1
    assert [turn.weight for turn in found] == [2.0 * len(each) / n_rows for each in rows]


def test_turns_without_parts_are_left_as_they_are():
    turns = [Turn(CHILD), Turn(CHILD, rows=slice(0, 1))]
    assert parted(turns, batch=None) is turns
    assert parted([*turns, Turn(CHILD, part=(0, 1))], torch.zeros(4))[:2] == turns


@pytest.mark.parametrize(
    ("batch", "sizes"), [([torch.zeros(4), torch.zeros(3, 2)], r"\[3, 4\]"), ("text", r"\[\]")]
)
def test_batch_whose_rows_cannot_be_counted_is_refused(batch, sizes):
    message = f"first dimensions of the batch's tensors are {sizes}; accepted is one, of its rows"
    with pytest.raises(ValueError, match=message):
        count_rows(batch)


@pytest.mark.parametrize(
    ("by_row", "kind"),
    [(list("abcd"), "list"), ((1, 2, 3, 4), "tuple"), (np.arange(4), "ndarray")],
)
def test_values_of_rows_that_are_no_tensor_are_refused_as_they_would_stay_whole(by_row, kind):
    batch = {"ids": torch.zeros(4, 2), "more": [by_row]}
    with pytest.raises(ValueError, match=f"the batch has a {kind} of 4 values, as many as its "):
        count_rows(batch)
    assert count_rows({**batch, "ids": torch.zeros(3, 2)}) == 3
