"""NNI's profilers on the BERT space, against counts by hand, torch's counter and stand-alones."""

import logging
import random

import pytest
import torch
from nni.nas.profiler.pytorch.flops import FlopsProfiler, NumParamsProfiler
from nni.nas.space import model_context
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import BertSpace

CANDIDATES = ("mha4", "mha2x8", "ffn", "ffn24", "conv3", "sepconv5")
SETTINGS = {
    "n_layers": 6,
    "hidden": 16,
    "vocab_size": 50,
    "max_length": 8,
    "embedding_size": 12,
    "candidates": CANDIDATES,
}
IDS = torch.zeros(2, 8, dtype=torch.long)
PRODUCTS_ONLY = {"count_bias": False, "count_normalization": False, "count_activation": False}
EVERY_CANDIDATE = {f"layer_{n}": name for n, name in enumerate(CANDIDATES, start=1)}


def random_sample(seed, n_layers=6):
    rng = random.Random(seed)
    return {f"layer_{n}": rng.choice(CANDIDATES) for n in range(1, n_layers + 1)}


def stand_alone(sample, **overrides):
    with model_context(sample):
        return BertSpace(**{**SETTINGS, **overrides})


@pytest.mark.parametrize("embedding_size", [12, 16])
def test_num_params_equals_stand_alone_child(embedding_size):
    space = BertSpace(**{**SETTINGS, "embedding_size": embedding_size})
    profiler = NumParamsProfiler(space, IDS)
    for seed in range(5):
        sample = random_sample(seed)
        child = stand_alone(sample, embedding_size=embedding_size)
        assert profiler.profile(sample) == sum(p.numel() for p in child.parameters())


def test_num_params_on_a_child_equals_its_parameters():
    child = stand_alone(EVERY_CANDIDATE)
    count = NumParamsProfiler(child, IDS).profile({})
    assert count == sum(p.numel() for p in child.parameters())


def test_flops_equals_hand_count():
    # One sequence of 8 tokens; hidden 16, embedding 12, vocabulary 50.
    space = BertSpace(**{**SETTINGS, "n_layers": 3})
    sample = {"layer_1": "mha4", "layer_2": "ffn24", "layer_3": "conv3"}
    norm = 4 * 8 * 16
    stem = 4 * 8 * 12 + 8 * (12 * 16 + 16)
    attention = 8 * (16 * 48 + 48 + 16 * 16 + 16) + 2 * 8 * 8 * 16 + 4 * 8 * 8
    feed_forward = 8 * (16 * 24 + 24 + 24 * 16 + 16) + 8 * 24
    convolution = 8 * (16 * 32 + 32) + 8 * 16 + 8 * (16 * 3 + 16) + 8 * (16 * 16 + 16)
    head = 8 * (16 * 16 + 16) + 8 * 16 + norm + 8 * (16 * 12 + 12) + 8 * (12 * 50 + 50)
    expected = stem + attention + feed_forward + convolution + 3 * norm + head
    assert FlopsProfiler(space, IDS).profile(sample) == expected


@pytest.mark.parametrize("seed", range(3))
def test_flops_is_half_of_what_torch_counts(seed):
    # torch counts a multiply-add as two and every sequence of the batch, but no bias,
    # normalisation or activation. On a CPU it knows attention only as the plain products of the
    # MATH backend; the fused kernel would count as nothing.
    sample = random_sample(seed) if seed else EVERY_CANDIDATE
    profiler = FlopsProfiler(BertSpace(**SETTINGS), IDS, **PRODUCTS_ONLY)
    child = stand_alone(sample).eval()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        child(IDS)
    assert profiler.profile(sample) == counter.get_total_flops() / 2 / len(IDS)


def test_flops_at_positions_is_half_of_what_torch_counts():
    positions = torch.zeros(2, 8, dtype=torch.bool)
    positions[0, :3] = positions[1, 2] = True
    arguments = {"attention_mask": torch.ones(2, 8), "positions": positions}
    profiler = FlopsProfiler(BertSpace(**SETTINGS), (IDS, arguments), **PRODUCTS_ONLY)
    child = stand_alone(EVERY_CANDIDATE).eval()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        child(IDS, **arguments)
    assert profiler.profile(EVERY_CANDIDATE) == counter.get_total_flops() / 2 / len(IDS)


def test_flops_does_not_depend_on_batch_size():
    space = BertSpace(**SETTINGS)
    one, many = FlopsProfiler(space, IDS[:1]), FlopsProfiler(space, IDS.repeat(3, 1))
    assert one.profile(EVERY_CANDIDATE) == many.profile(EVERY_CANDIDATE)


def test_normalisation_switch_drops_parameters_as_in_nni():
    space = BertSpace(**SETTINGS)
    whole = NumParamsProfiler(space, IDS)
    without = NumParamsProfiler(space, IDS, count_normalization=False)
    norms = 2 * (12 + 6 * 16 + 16)  # stem, layers, head
    assert whole.profile(EVERY_CANDIDATE) - without.profile(EVERY_CANDIDATE) == norms


def test_profiling_with_a_mask_leaves_nothing_uncounted(caplog):
    # NNI only warns where it cannot count a module or follow a shape.
    logger = logging.getLogger("nni")
    logger.addHandler(caplog.handler)
    try:
        FlopsProfiler(BertSpace(**SETTINGS), (IDS, torch.ones(2, 8)))
    finally:
        logger.removeHandler(caplog.handler)
    assert caplog.messages == []
