"""The protocol of the interference study, and its matrices against plain autograd."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from scores import Rows, images, lightning, rows, trained
from spaces import (
    ChainSpace,
    ConstrainedSpace,
    ConvSpace,
    FlatSpace,
    MixedSpace,
    NestedSpace,
    SizedSpace,
)
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import default_collate

from nni_magic.analysis import interference
from nni_magic.analysis.interference import (
    InterferenceStudy,
    differing_children,
    gradient_similarity,
    interference_study,
)

IMAGES = default_collate([images()[i] for i in range(8)])
ROWS = default_collate([rows()[i] for i in range(8)])
SETTINGS = {"shared_layers": [1, 2], "differences": [1, 2], "repetitions": 2, "seed": 4}


def flat():
    return trained(lambda: FlatSpace(n_blocks=4))


def study_of(net, **settings):
    return interference_study(net, lightning(Rows()), [ROWS], **{**SETTINGS, **settings})


def asked(monkeypatch, **settings):
    """What a study asks for: label and children by setting."""
    found = []

    def similarity(self, label, children):
        found.append((label, children))
        return np.eye(len(children))

    monkeypatch.setattr(interference.SharedGradients, "similarity", similarity)
    study_of(flat(), **settings)
    keys = itertools.product(
        settings.get("shared_layers", SETTINGS["shared_layers"]),
        settings.get("differences", SETTINGS["differences"]),
        range(settings.get("repetitions", SETTINGS["repetitions"])),
    )
    return dict(zip(keys, found, strict=True))


def test_children_follow_the_protocol(monkeypatch):
    for (j, m, _), (label, children) in asked(monkeypatch, repetitions=8).items():
        assert label == f"block_{j}"
        assert len(children) == 3
        for n in range(1, 5):
            choices = [child[f"block_{n}"] for child in children]
            if n == j + 1:
                assert choices == [0, 1, 2]
            elif j < n <= j + m:
                assert sorted(choices) == [0, 1, 2]
            else:
                assert len(set(choices)) == 1


def test_all_that_is_random_varies(monkeypatch):
    drawn = [children for _, children in asked(monkeypatch, repetitions=40).values()]
    assert {children[0]["block_1"] for children in drawn} == {0, 1, 2}  # a shared candidate
    assert {children[0]["block_4"] for children in drawn} == {0, 1, 2}  # the rest of the path
    orders = [tuple(c["block_3"] for c in children) for children in drawn[40:80]]  # j = 1, m = 2
    assert len(set(orders)) == 6


def test_children_depend_on_the_seed_and_the_setting_only(monkeypatch):
    many = asked(monkeypatch)
    alone = asked(monkeypatch, shared_layers=[2], differences=[2], repetitions=5)
    assert all(alone[2, 2, r] == many[2, 2, r] for r in range(2))
    other = asked(monkeypatch, seed=5)
    assert sum(other[key] == many[key] for key in many) < len(many) / 2


def test_matrices_are_those_of_children_alone():
    net = flat()
    study = study_of(net)
    assert study.labels == tuple(f"block_{n}" for n in range(1, 5))
    assert study.candidates == (0, 1, 2)
    assert set(study.matrices) == {(1, 1), (1, 2), (2, 1), (2, 2)}
    for (j, m), matrices in study.matrices.items():
        assert matrices.shape == (2, 3, 3)
        for r, matrix in enumerate(matrices):
            _, children = drawn(net, j, m, r)
            vectors = [gradient(net, child, j) for child in children]
            for a, b in itertools.product(range(3), repeat=2):
                cosine = torch.cosine_similarity(vectors[a], vectors[b], dim=0).item()
                assert matrix[a, b] == pytest.approx(cosine, abs=1e-5)


def drawn(net, j, m, r):
    """The children of a repetition, as a study asks for them."""
    with pytest.MonkeyPatch.context() as patch:
        return asked(patch, shared_layers=[j], differences=[m])[j, m, r]


def gradient(net, sample, j):
    child = copy.deepcopy(net.freeze(sample))
    x, y = ROWS
    cross_entropy(child(x), y).backward()
    return torch.cat([p.grad.flatten() for p in child.blocks[j - 1].parameters()])


def test_shared_candidates_have_weights():
    study = interference_study(
        trained(ChainSpace), lightning(), [IMAGES],
        shared_layers=[1], differences=[1], repetitions=6, seed=0,
    )  # fmt: skip
    assert study.candidates == ConvSpace.CANDIDATES
    assert np.isfinite(study.matrices[1, 1]).all()


# Piece by piece


def test_pieces_make_the_whole():
    net = flat()
    whole = study_of(net)
    piece = None
    for j, m in itertools.product((1, 2), (1, 2)):
        piece = study_of(net, shared_layers=[j], differences=[m], done=piece)
        piece = InterferenceStudy.from_json(piece.to_json())
    assert list(piece.matrices) == list(whole.matrices)
    for key, matrices in whole.matrices.items():
        assert np.array_equal(piece.matrices[key], matrices)


def test_what_is_done_is_not_measured_again(monkeypatch):
    net = flat()
    done = study_of(net, shared_layers=iter([1]), differences=iter([1, 2]))
    before = dict(done.matrices)
    monkeypatch.setattr(interference.SharedGradients, "similarity", None)
    again = study_of(net, shared_layers=[1], done=done)
    assert all(again.matrices[key] is matrices for key, matrices in before.items())
    assert done.matrices.keys() == before.keys()


@pytest.mark.parametrize("change", [
    {"labels": ("a",)}, {"candidates": ("x", "y", "z")}, {"seed": 5}, {"repetitions": 3},
])  # fmt: skip
def test_another_study_is_not_continued(change):
    net = flat()
    done = study_of(net, shared_layers=[1], differences=[1])
    [name] = change
    with pytest.raises(ValueError, match=f"done is of another study: its {name} is "):
        study_of(net, done=replace(done, **change))


# Refusals


@pytest.mark.parametrize(("settings", "message"), [
    ({"repetitions": 1}, "repetitions is 1; accepted are whole numbers of at least 2"),
    ({"repetitions": 2.5}, "repetitions is 2.5; accepted are whole numbers"),
    ({"repetitions": True}, "repetitions is True; accepted are whole numbers"),
    ({"seed": -1}, "seed is -1; accepted are whole numbers of at least 0"),
    ({"seed": False}, "seed is False; accepted are whole numbers"),
    ({"shared_layers": [0]}, "shared layer is 0 and differences is 1; accepted are at least 1"),
    ({"differences": [0]}, "shared layer is 1 and differences is 0; accepted are at least 1"),
    ({"differences": [2, 3]}, "shared layer is 2 and differences is 3; .* at most 4, the num"),
])  # fmt: skip
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        study_of(flat(), **settings)


class Unequal(ModelSpace):
    def __init__(self, labels=("a", "b"), sizes=(2, 3)):
        super().__init__()
        self.blocks = nn.ModuleList(
            LayerChoice([nn.Linear(4, 4) for _ in range(size)], label=label)
            for label, size in zip(labels, sizes, strict=True)
        )

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


@pytest.mark.parametrize(("space", "message"), [
    (Unequal, r"Unequal have different candidates: 'a' has \[0, 1\], and 'b' has \[0, 1, 2\]"),
    (lambda: Unequal(("a", "a"), (2, 2)), "Unequal has several choice blocks of one label"),
    (NestedSpace, r"NestedSpace is no chain .* besides \['outer', 'tail'\] .* \['inner'\]"),
    (ConstrainedSpace, r"ConstrainedSpace is no chain .* to choose \['differ'\]"),
])  # fmt: skip
def test_spaces_that_are_no_chain_of_blocks(space, message):
    with pytest.raises(ValueError, match=message):
        study_of(trained(space))


def test_a_conditional_space_is_no_chain_of_blocks():
    with pytest.raises(ValueError, match=r"MixedSpace is no chain .*gradient_similarity works on"):
        interference_study(trained(MixedSpace), lightning(), [IMAGES], **SETTINGS)


def test_blocks_without_weights():
    class Weightless(SizedSpace):
        def __init__(self):
            super().__init__()
            for block in self.blocks:
                block["linear"] = nn.Tanh()

    with pytest.raises(ValueError, match=r"candidate '(linear|skip)' of 'block_1' has no weights"):
        study_of(trained(Weightless))


# The parts


def test_differing_children_need_no_more_than_a_path():
    children = differing_children(
        {"a": 0, "b": 0, "c": 0}, ["b", "c"], [5, 6, 7, 8], np.random.default_rng(1)
    )
    assert [child["a"] for child in children] == [0] * 4
    assert [child["b"] for child in children] == [5, 6, 7, 8]
    assert sorted(child["c"] for child in children) == [5, 6, 7, 8]


def test_gradient_similarity_is_that_of_two_children():
    net = flat()
    children = [{f"block_{n}": i if n == 3 else 0 for n in range(1, 5)} for i in range(2)]
    found = gradient_similarity(net, lightning(Rows()), [ROWS], "block_1", children)
    a, b = (gradient(net, child, 1) for child in children)
    cosine = torch.cosine_similarity(a, b, dim=0).item()
    assert found == pytest.approx(np.array([[1, cosine], [cosine, 1]]), abs=1e-6)
