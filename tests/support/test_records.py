import hashlib
import logging
import platform
from importlib.metadata import version

import pytest
import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.profiler.pytorch.flops import FlopsProfiler
from torch import nn

import nni_magic
from nni_magic.support.records import count_flops, count_params, provenance
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


@pytest.mark.parametrize(
    ("space", "sample", "message"),
    [
        (lambda: FlatSpace(1), {"block_1": 0}, "because NNI's profiler fails: "),
        (UncountedSpace, {"op": "scale"}, "finds 0 of the child's 4 parameters"),
    ],
)
def test_flops_that_nni_cannot_count_are_left_out_with_one_warning(space, sample, message, caplog):
    child, x = supernet(space()).freeze(sample), torch.ones(2, 4)
    logger = logging.getLogger("nni.nas.profiler")
    level = logger.level
    assert count_flops(child, [x]) is None
    assert [message in record.getMessage() for record in caplog.records] == [True]
    assert logger.level == level
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in child.modules())
    child(x)


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


def test_provenance_tells_seed_versions_and_checkpoint(tmp_path):
    path = tmp_path / "supernet.ckpt"
    path.write_bytes(b"weights" * 1000)
    record = provenance(seed=3, checkpoint=path, corpus="sotu")
    assert record == {
        "seed": 3,
        "versions": {
            "nni-magic": nni_magic.__version__, "nni": version("nni"),
            "torch": torch.__version__, "python": platform.python_version(),
        },
        "checkpoint": {
            "name": "supernet.ckpt", "sha256": hashlib.sha256(b"weights" * 1000).hexdigest(),
        },
        "corpus": "sotu",
    }  # fmt: skip
    assert type(record["versions"]["torch"]) is str
    assert record == provenance(seed=3, checkpoint=str(path), corpus="sotu")


def test_provenance_without_checkpoint_has_none():
    assert "checkpoint" not in provenance(seed=3)
