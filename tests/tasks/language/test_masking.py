"""Masking statistics and the data sets."""

import pickle

import numpy as np
import pytest
import torch

from nni_magic.tasks.language.masking import MaskedDataset, TokenDataset, mask_tokens
from nni_magic.tasks.language.tokenization import SpecialIds

SPECIAL = SpecialIds(start=0, end=7, pad=1, mask=19, every=(0, 1, 7, 19))
SETTINGS = {"vocab_size": 20, "mask_id": SPECIAL.mask, "special_ids": SPECIAL.every}


def ordinary(shape, seed=0):
    ids = [i for i in range(20) if i not in SPECIAL.every]
    return torch.from_numpy(np.random.default_rng(seed).choice(ids, shape))


def write(path, rows):
    np.save(path, np.asarray(rows, dtype=np.uint16))
    return path


@pytest.mark.parametrize("probability", [0.15, 0.4])
def test_shares_are_80_10_10(probability):
    ids = ordinary((2000, 100))
    generator = torch.Generator().manual_seed(1)
    inputs, selected = mask_tokens(
        ids,
        torch.ones_like(ids, dtype=torch.bool),
        **SETTINGS,
        probability=probability,
        generator=generator,
    )
    n = selected.sum().item()
    assert n / ids.numel() == pytest.approx(probability, abs=0.005)
    masked = (inputs == SPECIAL.mask) & selected
    same = (inputs == ids) & selected
    other = selected & ~masked & ~same
    # One random replacement in 16 happens to be the true token.
    assert masked.sum().item() / n == pytest.approx(0.8, abs=0.01)
    assert same.sum().item() / n == pytest.approx(0.1 + 0.1 / 16, abs=0.01)
    assert other.sum().item() / n == pytest.approx(0.1 - 0.1 / 16, abs=0.01)
    assert torch.equal(inputs[~selected], ids[~selected])


def test_replacements_are_uniform_over_ordinary_ids():
    ids = torch.full((1000, 400), 5)
    inputs, selected = mask_tokens(
        ids, ids > 0, **SETTINGS, probability=1.0, generator=torch.Generator().manual_seed(2)
    )
    counts = torch.bincount(inputs.flatten(), minlength=20)
    assert counts[[0, 1, 7]].sum() == 0
    others = [i for i in range(20) if i not in (*SPECIAL.every, 5)]
    shares = counts[others] / ids.numel()
    torch.testing.assert_close(shares, torch.full((15,), 0.1 / 16), atol=6e-4, rtol=0)
    assert selected.all()


def test_only_maskable_positions_change():
    ids = ordinary((50, 40))
    maskable = torch.zeros_like(ids, dtype=torch.bool)
    maskable[:, ::2] = True
    inputs, selected = mask_tokens(ids, maskable, **SETTINGS, probability=1.0)
    assert torch.equal(selected, maskable)
    assert torch.equal(inputs[~maskable], ids[~maskable])


def test_draws_follow_the_global_generator_or_the_one_given():
    ids = ordinary((8, 64))
    maskable = torch.ones_like(ids, dtype=torch.bool)
    torch.manual_seed(3)
    first = mask_tokens(ids, maskable, **SETTINGS)
    torch.manual_seed(3)
    again = mask_tokens(ids, maskable, **SETTINGS)
    given = mask_tokens(ids, maskable, **SETTINGS, generator=torch.Generator().manual_seed(3))
    for other in (again, given):
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    state = torch.get_rng_state()
    mask_tokens(ids, maskable, **SETTINGS, generator=torch.Generator())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("probability", [0, -0.1, 1.01])
def test_probability_out_of_range(probability):
    ids = ordinary((2, 8))
    with pytest.raises(
        ValueError, match=r"probability is .*; accepted are finite numbers above 0 and of at most 1"
    ):
        mask_tokens(ids, ids > 0, **SETTINGS, probability=probability)


def test_token_dataset_gives_rows_and_pickles_small(tmp_path):
    rows = ordinary((300, 16)).numpy()
    dataset = TokenDataset(write(tmp_path / "rows.npy", rows))
    assert len(dataset) == 300
    assert dataset[7].dtype == torch.int64
    np.testing.assert_array_equal(dataset[7], rows[7])
    assert isinstance(dataset.rows, np.memmap)
    blob = pickle.dumps(dataset)
    assert len(blob) < 500
    np.testing.assert_array_equal(pickle.loads(blob)[299], rows[299])


def test_masked_dataset_is_fixed_and_never_masks_special_ids(tmp_path):
    rows = ordinary((200, 32)).numpy()
    rows[:, 0], rows[:, 20], rows[:, 21:] = SPECIAL.start, SPECIAL.end, SPECIAL.pad
    path = write(tmp_path / "rows.npy", rows)
    dataset = MaskedDataset(path, SPECIAL, 20, seed=5)
    again = pickle.loads(pickle.dumps(dataset))
    other = MaskedDataset(path, SPECIAL, 20, seed=6)
    state = torch.get_rng_state()
    items = [torch.stack(part) for part in zip(*dataset, strict=True)]
    assert torch.equal(torch.get_rng_state(), state)
    inputs, targets, selected = items
    np.testing.assert_array_equal(targets, rows)
    assert not selected[:, [0, *range(20, 32)]].any()
    assert selected[:, 1:20].float().mean() == pytest.approx(0.15, abs=0.02)
    assert torch.equal(inputs[~selected], targets[~selected])
    for n in (0, 9, 199):
        assert all(torch.equal(a, b) for a, b in zip(again[n], dataset[n], strict=True))
    assert any(not torch.equal(other[n][2], dataset[n][2]) for n in range(10))


def test_masked_dataset_does_not_depend_on_the_order_of_access(tmp_path):
    path = write(tmp_path / "rows.npy", ordinary((20, 16)))
    forward = [item[0] for item in MaskedDataset(path, SPECIAL, 20)]
    dataset = MaskedDataset(path, SPECIAL, 20)
    backward = [dataset[n][0] for n in reversed(range(20))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forward, backward, strict=True))


def test_dataset_ends(tmp_path):
    dataset = TokenDataset(write(tmp_path / "rows.npy", ordinary((3, 16))))
    with pytest.raises(IndexError, match="out of bounds"):
        dataset[3]
