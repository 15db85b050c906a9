"""Children frozen for an export: compared with their path, or weights of their space."""

import numpy as np
import pytest
import torch
from scores import trained
from spaces import CellSpace, FlatSpace, MixedSpace, set_path

from nni_magic.children.samples import candidates, random_sample
from nni_magic.export import export_children
from nni_magic.export.inherited import inherited_child

X = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Anew(FlatSpace):
    """Builds its children anew."""

    def freeze(self, sample):
        return FlatSpace().freeze(sample)


def drawn(net):
    return random_sample(candidates(net), np.random.default_rng(0))


def test_child_of_a_cell_is_exported_with_the_weights_of_its_path(tmp_path):
    net = trained(CellSpace)
    sample = drawn(net)
    [folder] = export_children(
        net, [(sample, 1.0)], tmp_path, args=[X], metric="val_loss", provenance={},
        formats=["program"],
    )  # fmt: skip
    program = torch.export.load(folder / "child.pt2").module()
    set_path(net, sample)
    torch.testing.assert_close(program(X), net.eval()(X))


def test_child_built_anew_is_not_exported(tmp_path):
    net = trained(Anew)
    with pytest.raises(ValueError, match=r"freeze of Anew gives a child .* other outputs than its"):
        export_children(
            net, [(drawn(net), 1.0)], tmp_path / "new", args=[torch.ones(2, 4)],
            metric="val_loss", provenance={},
        )  # fmt: skip
    assert not (tmp_path / "new").exists()


def test_supernet_keeps_its_modes():
    net = trained(FlatSpace).train()
    net.blocks[0].eval()
    before = [module.training for module in net.modules()]
    inherited_child(net, drawn(net), [torch.ones(2, 4)], {})
    assert before == [module.training for module in net.modules()]


def test_inputs_that_do_not_fit_are_left_to_the_export():
    net = trained(FlatSpace)
    assert inherited_child(net, drawn(net), ["no tensor"], {}).blocks[0].weight.shape == (4, 4)


def test_space_that_is_no_supernet():
    plain = FlatSpace()
    child = inherited_child(plain, drawn(plain), [], {})
    assert torch.equal(child.blocks[0].weight, plain.blocks[0][drawn(plain)["block_1"]].weight)
    mixed = MixedSpace()  # NNI makes its convolution of variable shape anew
    with pytest.raises(ValueError, match=r"MixedSpace is no supernet, and gives .* new random"):
        inherited_child(mixed, drawn(mixed), [X], {})
