import struct
import sys
from collections import OrderedDict

import numpy as np
import pytest
from matplotlib.figure import Figure
from nni.nas.hub.pytorch import ProxylessNAS
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.nn.pytorch.base import MutableModule
from nni.nas.space import model_context
from torch import nn

from nni_magic.children.samples import candidates, digest, random_sample
from nni_magic.export.drawing import COLOURS
from nni_magic.export.pictures import draw_architecture
from nni_magic.support.flops import count_params
from tests.spaces import FlatSpace, MixedSpace, NestedSpace, SizedSpace, supernet

MIXED = {"depth": 2, "op_1": "conv3", "op_2": "skip", "op_3": "conv1", "kernel": 5, "inputs": [0]}


@pytest.fixture
def drawn(monkeypatch):
    """Figures in the order in which they were saved."""
    figures, save = [], Figure.savefig

    def savefig(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def boxes(figure):
    """Texts and look of every box, by label."""
    figure.draw_without_rendering()
    axes, found = figure.axes[0], {}
    for patch in axes.patches:
        if type(patch).__name__ != "FancyBboxPatch":
            continue
        x, y, w, h = *patch.get_bbox().p0, patch.get_width(), patch.get_height()
        inside = [
            t.get_text()
            for t in axes.texts
            if x < t.get_position()[0] < x + w and y < t.get_position()[1] < y + h
        ]
        [label] = [
            t.get_text()
            for t in axes.texts
            if x < t.get_position()[0] < x + w and 0 < y - t.get_position()[1] < 0.2
        ]
        found[label] = ([text for text in inside if text], patch)
    return found  # fmt: skip


def colours(figure):
    return {label: patch.get_facecolor() for label, (_, patch) in boxes(figure).items()}


def test_blocks_tell_their_candidate_and_its_parameters(drawn, tmp_path):
    sample = {"block_1": "skip", "block_2": "linear", "block_3": "skip", "block_4": "linear"}
    draw_architecture(supernet(SizedSpace()), sample, tmp_path / "child.png")
    assert (tmp_path / "child.png").read_bytes().startswith(b"\x89PNG")
    found = boxes(drawn[0])
    assert {label: inside for label, (inside, _) in found.items()} == {
        "block_1": ["skip", "0 params"], "block_2": ["linear", "20 params"],
        "block_3": ["skip", "0 params"], "block_4": ["linear", "20 params"],
    }  # fmt: skip
    assert texts(drawn[0])[0] == f"SizedSpace, child {digest(sample)}"
    assert texts(drawn[0])[-2:] == ["linear", "skip"]


class Shared(ModelSpace):
    """Two choice blocks of one label, as all cells of NNI's NasBench201 have them."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            LayerChoice([nn.Linear(4, width), nn.Identity()], label="op") for width in (4, 5)
        )


def test_blocks_of_one_label_count_together(drawn, tmp_path):
    draw_architecture(Shared(), {"op": 0}, tmp_path / "child.png")
    assert boxes(drawn[0])["op"][0] == ["0", "45 params"]


def test_convolutions_of_variable_shape_without_bias_are_counted(drawn, tmp_path):
    net = supernet(ProxylessNAS(10, width_mult=0.25))
    sample = {label: choices[-1] for label, choices in candidates(net).items()}
    draw_architecture(net, sample, tmp_path / "child.png")
    with model_context(sample):
        block = ProxylessNAS(10, width_mult=0.25).blocks[1][0]
    text, note = boxes(drawn[0])["s2_i0"][0]
    assert (text, note) == ("k7e6", f"{count_params(block) / 1e3:.3g}k params")


class Unfreezable(nn.Linear, MutableModule):
    """A candidate that only its model can freeze."""

    def freeze(self, sample):
        raise NotImplementedError


class Odd(ModelSpace):
    def __init__(self):
        super().__init__()
        self.block = LayerChoice({"odd": Unfreezable(4, 4), "skip": nn.Identity()}, label="op")


def test_a_block_that_cannot_be_frozen_by_itself_is_drawn_without_its_parameters(drawn, tmp_path):
    draw_architecture(Odd(), {"op": "odd"}, tmp_path / "child.png")
    assert boxes(drawn[0])["op"][0] == ["odd"]


def test_plain_space_and_supernet_give_the_same_picture(tmp_path):
    for name, space in (("plain", MixedSpace()), ("supernet", supernet(MixedSpace()))):
        draw_architecture(space, MIXED, tmp_path / f"{name}.png")
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "supernet.png").read_bytes()


def test_a_candidate_has_one_colour_in_all_blocks_and_children(drawn, tmp_path):
    seen = {}
    for seed in range(4):
        space = FlatSpace(5, 4)
        sample = random_sample(candidates(space), np.random.default_rng(seed))
        draw_architecture(space, sample, tmp_path / "child.png")
        for label, colour in colours(drawn[-1]).items():
            seen.setdefault(sample[label], set()).add(colour)
    assert all(len(found) == 1 for found in seen.values())
    assert len(seen) == 4 == len(set.union(*seen.values()))


def test_more_candidates_than_colours_still_look_different(drawn, tmp_path):
    looks = set()
    for choice in range(2 * len(COLOURS)):
        space = FlatSpace(1, 2 * len(COLOURS))
        draw_architecture(space, {"block_1": choice}, tmp_path / "child.png")
        [(_, patch)] = boxes(drawn[-1]).values()
        looks.add((patch.get_facecolor(), patch.get_linestyle()))
    assert len(looks) == 2 * len(COLOURS)


def test_other_labels_follow_the_chain_and_inactive_ones_are_pale(drawn, tmp_path):
    draw_architecture(MixedSpace(), MIXED, tmp_path / "child.png")
    found = boxes(drawn[0])
    conv = 9 * 16 + 8
    assert {label: inside for label, (inside, _) in found.items()} == {
        "op_1": ["conv3", f"{conv} params"], "op_2": ["skip", "0 params"],
        "op_3": ["conv1", "inactive"], "depth": ["2"], "kernel": ["5"], "inputs": ["0"],
    }  # fmt: skip
    styles = {label: patch.get_linestyle() for label, (_, patch) in found.items()}
    assert [label for label, style in styles.items() if style != "None"] == ["op_3"]
    tops = {label: patch.get_bbox().y0 for label, (_, patch) in found.items()}
    assert tops["op_1"] == tops["op_2"] == tops["op_3"] < tops["depth"] == tops["inputs"]


def test_parameters_of_a_nested_candidate_are_those_of_the_child(drawn, tmp_path):
    draw_architecture(NestedSpace(), {"outer": "nested", "inner": 1, "tail": 1}, tmp_path / "a.png")
    found = {label: inside for label, (inside, _) in boxes(drawn[0]).items()}
    assert found["outer"] == ["nested", "20 params"] and found["inner"] == ["1", "20 params"]


@pytest.mark.parametrize(("n", "rows"), [(1, [1]), (8, [8]), (9, [9]), (10, [5, 5]),
                                         (26, [9, 9, 8])])  # fmt: skip
def test_chain_is_wrapped_into_even_rows_in_order(n, rows, drawn, tmp_path):
    space = FlatSpace(n, 2)
    draw_architecture(space, {f"block_{i + 1}": i % 2 for i in range(n)}, tmp_path / "child.png")
    places = [patch.get_bbox().p0[::-1].tolist() for _, patch in boxes(drawn[0]).values()]
    assert list(boxes(drawn[0])) == [f"block_{i + 1}" for i in range(n)]
    assert places == sorted(places)  # by row, then along it
    tops = [round(y, 3) for y, _ in places]
    assert [tops.count(top) for top in dict.fromkeys(tops)] == rows
    heads = [text for text in drawn[0].axes[0].texts if hasattr(text, "arrow_patch")]
    assert len(heads) == n - 1


class LongNames(ModelSpace):
    def __init__(self, name):
        super().__init__()
        self.blocks = nn.ModuleList(
            LayerChoice(OrderedDict({name: nn.Identity(), "b" * 70: nn.Identity()}),
                        label=f"stage_{n}_" + "x" * 40) for n in range(9)
        )  # fmt: skip


@pytest.mark.parametrize("space", [lambda: LongNames("mobile_inverted_bottleneck_5x5_e3"),
                                   lambda: FlatSpace(26, 12), MixedSpace])  # fmt: skip
def test_texts_stay_inside_the_picture_and_do_not_overlap(space, drawn, tmp_path):
    space = space()
    sample = random_sample(candidates(space), np.random.default_rng(0))
    draw_architecture(space, sample, tmp_path / "child.png")
    [figure] = drawn
    figure.draw_without_rendering()
    extents = [t.get_window_extent() for t in figure.axes[0].texts if t.get_text()]
    canvas = figure.bbox
    for i, box in enumerate(extents):
        assert canvas.x0 <= box.x0 and box.x1 <= canvas.x1
        assert canvas.y0 <= box.y0 and box.y1 <= canvas.y1
        assert not any(box.overlaps(other) for other in extents[:i])
    for inside, patch in boxes(figure).values():
        assert 1 <= len(inside) <= 2 and patch.get_width() > 1


def test_dollars_in_names_are_no_formula(drawn, tmp_path):
    draw_architecture(LongNames("$_$"), {f"stage_{n}_" + "x" * 40: "$_$" for n in range(9)},
                      tmp_path / "child.png")  # fmt: skip
    assert "$_$" in texts(drawn[0])


def test_picture_can_be_of_another_format(tmp_path):
    draw_architecture(FlatSpace(2), {"block_1": 0, "block_2": 1}, tmp_path / "child.svg")
    assert "<svg" in (tmp_path / "child.svg").read_text()


def test_size_of_the_picture_is_readable(tmp_path):
    draw_architecture(FlatSpace(26), {f"block_{n}": 0 for n in range(1, 27)}, tmp_path / "a.png")
    width, height = struct.unpack(">II", (tmp_path / "a.png").read_bytes()[16:24])
    assert 1000 < width < 2500 and 400 < height < 1000


def test_sample_of_another_space_is_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"it lacks \['block_2'\]"):
        draw_architecture(FlatSpace(2), {"block_1": 0}, tmp_path / "child.png")


def test_missing_matplotlib_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install nni-magic\[plots\]"):
        draw_architecture(FlatSpace(1), {"block_1": 0}, tmp_path / "child.png")
