"""Children of all spaces of NNI's hub are written, in all formats, and compute what they did."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from nni.nas.hub.pytorch import (
    DARTS,
    ENAS,
    PNAS,
    AmoebaNet,
    AutoFormer,
    NasBench101,
    NasBench201,
    NASNet,
    ProxylessNAS,
    ShuffleNetSpace,
)
from nni.nas.space import model_context
from scores import trained
from spaces import small_mobilenet

from nni_magic.children.json_samples import in_space
from nni_magic.children.samples import candidates, random_sample
from nni_magic.export import FORMATS, export_child
from nni_magic.supernet.conversion import to_supernet
from nni_magic.support.compat import freeze

CELLS = {"width": (8, 16), "num_cells": (3, 6), "dataset": "cifar"}
HUB = {
    "ProxylessNAS": (lambda: ProxylessNAS(10, width_mult=0.25), 32),
    "MobileNetV3Space": (small_mobilenet, 32),
    "ShuffleNetSpace": (lambda: ShuffleNetSpace(10, channel_search=True), 32),
    "NasBench101": (lambda: NasBench101(8, 2, 1, 5, 7), 16),
    "NasBench201": (lambda: NasBench201(8, 1), 16),
    "AutoFormer": (
        lambda: AutoFormer((24, 36), (1.0, 2.0), (3, 4), (2, 3), img_size=32, num_labels=10), 32,
    ),
    "DARTS": (lambda: DARTS(**CELLS), 16),
    "ENAS": (lambda: ENAS(**CELLS), 16),
    "PNAS": (lambda: PNAS(**CELLS), 16),
    "NASNet": (lambda: NASNet(**CELLS), 16),
    "AmoebaNet": (lambda: AmoebaNet(**CELLS), 16),
}  # fmt: skip

BUILT_OTHERWISE = {"ENAS", "PNAS", "NASNet", "AmoebaNet"}
"""Of some children NNI joins loose ends alone, or forgets a module of a stage of depth one."""


def drawn(space):
    """A random child that meets the space's constraints."""
    rng, choices = np.random.default_rng(1), candidates(space)
    samples = (random_sample(choices, rng) for _ in range(1000))
    return next(sample for sample in samples if space.contains(dict(sample)))


def child_of(make):
    """A space or supernet, a sample of it, and the child."""
    if make is HUB["NasBench101"][0]:  # of which NNI makes no supernet
        space = make()
        sample = drawn(space)
        with model_context(dict(sample)):  # to which NNI adds what it finds on the way
            return space, sample, make().eval()
    net = trained(make, to_supernet)
    sample = drawn(net)
    return net, sample, freeze(net, sample).eval()


@pytest.mark.parametrize(
    ("name", "formats"),
    [
        *((name, ["picture"]) for name in ("ProxylessNAS", "MobileNetV3Space", "ShuffleNetSpace")),
        *(pytest.param(name, list(FORMATS), marks=pytest.mark.slow) for name in HUB),
    ],
)
def test_a_child_is_written_and_computes_what_it_did(name, formats, tmp_path):
    make, size = HUB[name]
    space, sample, child = child_of(make)
    x = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    folder = export_child(
        child, sample, 1.0, tmp_path, space=space, metric="val_loss", provenance={}, args=[x],
        formats=formats,
    )  # fmt: skip
    with torch.no_grad():
        expected = child(x)
    record = json.loads((folder / "child.json").read_text())
    weights = torch.load(folder / "weights.pt", weights_only=True)
    close = {"rtol": 1e-4, "atol": 1e-5}
    if record["rebuild_problem"]:  # NNI builds it without what its supernet adds to cells
        assert name in BUILT_OTHERWISE
        torch.testing.assert_close(weights, dict(child.state_dict()), rtol=0, atol=0)
    else:
        with model_context(in_space(record["sample"], candidates(make()))):
            anew = make().eval()
        anew.load_state_dict(weights)
        torch.testing.assert_close(anew(x), expected, **close)
    assert (folder / "architecture.png").read_bytes().startswith(b"\x89PNG")
    if "program" in formats:
        program = torch.export.load(folder / "child.pt2").module()
        torch.testing.assert_close(program(x), expected, **close)
    if "onnx" in formats:
        session = onnxruntime.InferenceSession(folder / "child.onnx")
        [output] = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        np.testing.assert_allclose(output, expected, **close)
