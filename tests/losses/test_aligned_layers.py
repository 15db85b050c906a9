"""Which layers a run aligns by default, when asked to, and when it goes on."""

import pytest
import torch
from spaces import FlatSpace, WidthSpace, supernet
from states import IMAGES
from training import bert

from nni_magic.losses.aligned_layers import AlignedLayers, every_nth
from nni_magic.samplers import UniformSampler
from nni_magic.supernet.hidden_states import Call
from nni_magic.supernet.routing import Router
from search_spaces import BertSpace

ROWS = torch.zeros(2, 4)


def chosen(space, *args, align_every=None, wanted=None, names=()):
    torch.manual_seed(0)
    net = supernet(space)
    sampler, router = UniformSampler(net, seed=0), Router.of(net)
    children = [sampler.next() for _ in range(8)]
    router.set(children[0])
    layers = AlignedLayers(align_every, wanted)
    layers.load_state_dict({"names": list(names)})
    found = layers.choose(net, Call(args, {}), children, router)
    assert layers.state_dict() == {"names": list(found)}
    assert all(net.get_submodule(name) is layer for name, layer in found.items())
    return [name.rpartition(".")[2] for name in found]


@pytest.mark.parametrize(("n_blocks", "numbers"), [
    (2, [0]), (3, [1]), (4, [2]), (5, [3]), (8, [3]), (9, [3, 7]), (13, [3, 7, 11]),
])  # fmt: skip
def test_every_fourth_that_can_be_is_aligned_or_the_last_one_of_fewer(n_blocks, numbers):
    assert chosen(FlatSpace(n_blocks), ROWS) == [str(number) for number in numbers]


@pytest.mark.parametrize(("n_layers", "layers"), [(4, [3]), (8, [4]), (12, [4, 8]),
                                                  (26, [4, 8, 12, 16, 20, 24])])  # fmt: skip
def test_layers_of_bert(n_layers, layers):
    space = BertSpace(n_layers, 16, 50, 12, candidates=("mha2", "ffn"))
    ids = torch.ones(2, 12, dtype=torch.long)
    assert chosen(space, ids) == [str(layer - 1) for layer in layers]


@pytest.mark.parametrize(("every", "numbers"), [(1, [0, 1, 2]), (2, [1]), (3, [2])])
def test_every_so_many_are_counted_without_the_last(every, numbers):
    assert chosen(FlatSpace(4), ROWS, align_every=every) == [str(number) for number in numbers]


def test_last_layer_is_aligned_where_it_is_asked_for():
    assert chosen(FlatSpace(4), ROWS, wanted=[4, "blocks.0"]) == ["3", "0"]
    assert chosen(bert(), torch.ones(2, 12, dtype=torch.long), wanted=[4]) == ["3"]


def test_too_few_for_what_is_asked_are_refused():
    message = (
        r"^align_every is 4; accepted are 1 to 3, the number of layers that can be aligned by "
        r"themselves \(blocks.0, blocks.1, blocks.2\), so that one is; or pass aligned_layers. Not "
        r"counted are blocks.3$"
    )
    with pytest.raises(ValueError, match=message):
        chosen(FlatSpace(4), ROWS, align_every=4)


@pytest.mark.parametrize("every", [None, 1])
def test_space_of_one_block_is_refused(every):
    message = (
        r"^no layer can be aligned by itself, as outputs are read by no other layer, but by the "
        r"head alone \(blocks.0\). Pass aligned_layers, numbers or names of modules whose output "
        r"has one shape in all children, or take a space with more choice blocks, or a strategy "
        r"that does not align$"
    )
    with pytest.raises(ValueError, match=message):
        chosen(FlatSpace(1), ROWS, align_every=every)


def test_space_of_widths_is_refused_with_all_that_is_in_the_way():
    message = (
        r"as outputs are of different shapes in different children \(conv, norm\); read by no other"
        r" layer, but by the head alone \(head\). Pass"
    )
    with pytest.raises(ValueError, match=message):
        chosen(WidthSpace(), IMAGES)


def test_model_without_choice_blocks_that_run_is_refused():
    class Unused(FlatSpace):
        def forward(self, x):
            return x

    with pytest.raises(ValueError, match="no layer can be aligned by itself, as there is no ch"):
        chosen(Unused(2), ROWS)


def test_run_that_goes_on_has_the_layers_that_it_began_with():
    assert chosen(FlatSpace(9), ROWS, names=["blocks.5"]) == ["5"]
    assert chosen(FlatSpace(9), ROWS, wanted=[6], names=["blocks.5"]) == ["5"]
    message = r"aligned_layers is \[2\]; accepted are \['blocks.5'\], which the run that is resumed"
    with pytest.raises(ValueError, match=message):
        chosen(FlatSpace(9), ROWS, wanted=[2], names=["blocks.5"])


def test_every_nth_counts_from_one():
    assert every_nth("abcdefghi", 1) == "abcdefghi"
    assert every_nth("abcdefghi", 9) == "i"
    assert every_nth("abcdefghi", 10) == ""
    assert every_nth("", None) == ""
