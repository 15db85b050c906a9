"""PC-DARTS: its mixture against the formula, and its supernet of partial children."""

import pytest
import torch
from mixtures import SPACES, make, run
from nni.nas.space import model_context
from spaces import ConvSpace, FlatSpace

from nni_magic.supernet.checkpoint import load_supernet

torch.set_num_threads(1)


def test_block_is_the_mixture_on_a_part_of_the_channels():
    torch.manual_seed(0)
    strategy = make("pc_darts")
    strategy.mutate_model(ConvSpace(1, dropout=0.0))
    block = strategy.mixture.blocks[0].eval()
    [alpha] = strategy.architecture.parameters
    alpha.data.copy_(torch.randn(4))
    x = torch.randn(2, 4, 5, 5)
    with torch.no_grad():
        found = block(x)
        theta = [float(a.exp() / alpha.exp().sum()) for a in alpha]
        mixed = sum(
            t * block.operator[name](x[:, :2])
            for t, name in zip(theta, ConvSpace.CANDIDATES, strict=True)
        )
    # Two groups of two channels, shuffled: what passed and what went by take turns.
    expected = torch.stack([mixed[:, 0], x[:, 2], mixed[:, 1], x[:, 3]], 1)
    torch.testing.assert_close(found, expected)


def test_checkpoint_gives_a_supernet_of_partial_children(tmp_path):
    path = tmp_path / "stopped.ckpt"
    strategy, _ = run("pc_darts", "cnn", 2, path)
    loaded = load_supernet(path, ConvSpace())
    own = strategy.supernet.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in loaded.state_dict().items())
    again = load_supernet(path, loaded)
    assert again.state_dict().keys() == own.keys()


def test_child_that_is_built_by_its_sample_has_all_channels():
    strategy, _ = run("pc_darts", trainer={"epochs": 1})
    [model] = strategy.list_models()
    inherited = model.executable_model().eval()
    assert inherited(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    with model_context({**model.sample, "block_1": "conv3"}):
        assert ConvSpace().blocks[0][0].in_channels == 4


@pytest.mark.parametrize("variant", ["pc_darts", "gaea_pc_darts"])
@pytest.mark.parametrize(
    ("space", "k", "message"),
    [
        (ConvSpace, 3, "the channels of 'blocks.0.conv1.0' is 4; accepted are multiples of partia"),
        (FlatSpace, 2, "'blocks.0.0' is a Linear; accepted with partial channels"),
    ],
)
def test_space_without_such_channels_is_refused(variant, space, k, message):
    with pytest.raises(ValueError, match=message):
        make(variant, partial_channels=k).mutate_model(space())


def test_cells_without_factories_are_mixed_too():
    strategy = make("pc_darts")
    strategy.mutate_model(SPACES["cell"](False))
    assert strategy.mixture(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert strategy.architecture.by_label.keys() == SPACES["cell"](False).simplify().keys()
