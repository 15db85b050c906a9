import logging

import pytest
import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.profiler.pytorch.flops import FlopsProfiler
from torch import nn

from nni_magic.support.flops import count_flops, count_params
from search_spaces import BertSpace
from tests.spaces import ConvSpace, FlatSpace, supernet

IDS = torch.ones(2, 16, dtype=torch.long)
BERT = dict(zip([f"layer_{n}" for n in range(1, 9)], ["mha4", "ffn", "conv3", "conv5"] * 2,
                strict=True))  # fmt: skip


@pytest.mark.parametrize(
    ("space", "sample", "inputs"),
    [
        (lambda: BertSpace.preset("tiny"), BERT, ((IDS,), {})),
        (lambda: BertSpace.preset("tiny"), BERT, ((IDS,), {"attention_mask": IDS})),
        (
            ConvSpace,
            {"block_1": "conv3", "block_2": "conv1", "block_3": "skip", "block_4": "drop"},
            ((torch.ones(2, 1, 8, 8),), {}),
        ),
    ],
)
def test_flops_of_a_frozen_child_are_what_nni_counts_on_the_space(space, sample, inputs):
    args, kwargs = inputs
    expected = FlopsProfiler(space(), (*args, kwargs)).profile(sample)
    assert count_flops(supernet(space()).freeze(sample).eval(), args, kwargs) == expected


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return x * self.scale

    def _shape_forward(self, x):
        return x.real_shape


class UncountedSpace(ModelSpace):
    def __init__(self):
        super().__init__()
        self.block = LayerChoice({"linear": nn.Linear(4, 4), "scale": Scale()}, label="op")

    def forward(self, x):
        return self.block(x)


def test_where_nni_stops_torch_counts_and_the_module_is_named(caplog):
    child, x = supernet(FlatSpace(1)).freeze({"block_1": 0}), torch.ones(2, 4)
    logger = logging.getLogger("nni.nas.profiler")
    level = logger.level
    assert count_flops(child, [x]) == 4 * 4
    [warning] = caplog.messages
    assert warning == (
        "FLOPs are counted by torch.utils.flop_counter, which leaves out biases and norms, because "
        "NNI's profiler fails at 'head', of type Identity"
    )
    assert logger.level == level
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in child.modules())
    child(x)


def test_attention_is_counted_in_evaluation_though_torch_has_fused_it(caplog):
    length, width, hidden = 3, 4, 16
    layer = nn.TransformerEncoderLayer(width, 2, hidden).eval().requires_grad_(False)
    projections, products = 4 * width * width, 2 * length * width
    per_token = projections + products + 2 * width * hidden
    child = nn.Sequential(layer)
    assert count_flops(child, [torch.ones(length, 2, width)]) * length == 2 * length * per_token
    assert "fails at '0', of type TransformerEncoderLayer" in caplog.text


@pytest.mark.parametrize(
    ("child", "message"),
    [
        (supernet(UncountedSpace()).freeze({"op": "scale"}), "finds 0 of the child's 4 parameters"),
        (nn.Sequential(nn.LSTM(4, 4)), "'0', of type LSTM, and torch's counter sees none of 0"),
    ],
)
def test_flops_that_nobody_can_count_are_left_out_with_one_warning(child, message, caplog):
    assert count_flops(child, [torch.ones(2, 4)]) is None
    [warning] = caplog.messages
    assert warning.startswith("FLOPs are not counted, because NNI's profiler ")
    assert message in warning


class OptionalOutputs(nn.Module):
    """A part whose second output may be missing, inside of a model with such an output."""

    def __init__(self, inner=None):
        super().__init__()
        self.inner = inner
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        x, missing = (x, None) if self.inner is None else self.inner(x)
        return self.linear(x), missing


def test_outputs_that_are_none_are_no_hindrance_to_flops():
    x = torch.ones(2, 3, 4)
    expected = count_flops(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), [x])
    assert count_flops(OptionalOutputs(OptionalOutputs()), [x]) == expected == 2 * 3 * (16 + 4)


def test_shared_parameters_count_once():
    layer = nn.Linear(3, 2, bias=False)
    assert count_params(nn.Sequential(layer, nn.Identity(), layer)) == 6
