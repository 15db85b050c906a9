"""The BERT space as a whole: presets, children, supernets, padding, and its errors."""

import math
import random

import pytest
import torch
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from nni.nas.space import model_context

from search_spaces import BertSpace
from search_spaces.bert import PRESETS

CANDIDATES = ("mha4", "mha2x8", "ffn", "conv3", "sepconv5")
SETTINGS = {
    "n_layers": 5,
    "hidden": 16,
    "vocab_size": 50,
    "max_length": 12,
    "embedding_size": 12,
    "candidates": CANDIDATES,
}
EVERY_CANDIDATE = {f"layer_{n}": name for n, name in enumerate(CANDIDATES, start=1)}
IDS = torch.randint(50, (3, 10), generator=torch.Generator().manual_seed(0))
MASK = torch.arange(10) < torch.tensor([[10], [6], [3]])


def stand_alone(sample, **overrides):
    with model_context(sample):
        return BertSpace(**{**SETTINGS, **overrides})


def supernet():
    return RandomOneShot().mutate_model(BertSpace(**SETTINGS))


def set_path(net, sample):
    for module in net.modules():
        if isinstance(module, BaseSuperNetModule):
            module.resample(memo=sample)


def preset_child_size(preset, operators):
    sample = {f"layer_{n}": name for n, name in enumerate(operators, start=1)}
    with torch.device("meta"), model_context(sample):
        child = BertSpace.preset(preset)
    return sum(p.numel() for p in child.parameters())


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_builds_labelled_choices(preset):
    with torch.device("meta"):
        choices = BertSpace.preset(preset).simplify()
    names = PRESETS[preset]["candidates"]
    assert list(choices) == [f"layer_{n}" for n in range(1, PRESETS[preset]["n_layers"] + 1)]
    assert all(tuple(choice.values) == names for choice in choices.values())


def test_preset_base_has_as_many_children_as_the_paper():
    with torch.device("meta"):
        choices = BertSpace.preset("base").simplify()
    n_children = math.prod(len(choice.values) for choice in choices.values())
    assert n_children == 4**26
    assert f"{n_children:.1e}" == "4.5e+15"


def test_preset_base_holds_children_of_113m_parameters():
    operators = ["mha12", "ffn"] * 10 + ["ffn"] * 2 + ["conv3", "conv5"] * 2
    assert preset_child_size("base", operators) == pytest.approx(113e6, rel=0.02)


def test_preset_compression_holds_children_of_60m_parameters():
    operators = ["mha8", "ffn"] * 8 + ["mha8"] * 2 + ["conv3", "conv5"] * 4
    assert preset_child_size("compression", operators) == pytest.approx(60e6, rel=0.02)


def test_preset_base_child_matches_hand_count():
    stem = 50265 * 512 + 128 * 512 + 2 * 512 + (512 * 768 + 768)
    layer = 4 * (768 * 768 + 768) + 2 * 768
    head = (768 * 768 + 768) + 2 * 768 + (768 * 512 + 512) + 50265
    assert preset_child_size("base", ["mha12"] * 26) == stem + 26 * layer + head


def test_preset_overrides_replace_arguments():
    space = BertSpace.preset("tiny", n_layers=3, candidates=("ffn", "conv3"))
    assert len(space.hidden_layers()) == 3
    assert space.simplify()["layer_1"].values == ["ffn", "conv3"]


def test_preset_unknown_raises():
    message = "preset is 'huge'; accepted are 'base', 'compression', 'analysis', 'tiny'"
    with pytest.raises(ValueError, match=message):
        BertSpace.preset("huge")


def test_forward_works_on_the_plain_space():
    space = BertSpace(**SETTINGS).eval()
    assert space(IDS).shape == (3, 10, 50)
    assert space(IDS, MASK).shape == (3, 10, 50)
    assert space(IDS, MASK, MASK).shape == (int(MASK.sum()), 50)


def test_forward_equals_stem_layers_head():
    child = stand_alone(EVERY_CANDIDATE).eval()
    hidden = child.stem(IDS)
    for layer in child.layers:
        hidden = layer(hidden, MASK)
    assert torch.equal(child.head(hidden, MASK), child(IDS, MASK, positions=MASK))


@pytest.mark.parametrize("seed", range(3))
def test_frozen_and_stand_alone_child_agree(seed):
    rng = random.Random(seed)
    sample = {label: rng.choice(CANDIDATES) for label in EVERY_CANDIDATE}
    net = supernet().eval()
    set_path(net, sample)
    frozen = net.freeze(sample).eval()
    alone = stand_alone(sample).eval()
    assert list(alone.state_dict()) == list(frozen.state_dict())
    alone.load_state_dict(frozen.state_dict(), strict=True)
    expected = net(IDS, MASK)
    assert torch.equal(frozen(IDS, MASK), expected)
    assert torch.equal(alone(IDS, MASK), expected)


def test_frozen_child_keeps_the_decoder_tied():
    child = supernet().freeze(EVERY_CANDIDATE)
    child.stem.token.weight.data.zero_()
    child.mlm_head.bias.data.fill_(3.0)
    assert torch.equal(child.eval()(IDS), torch.full((3, 10, 50), 3.0))


@pytest.mark.parametrize("name", CANDIDATES)
def test_padding_does_not_change_real_tokens(name):
    child = stand_alone(dict.fromkeys(EVERY_CANDIDATE, name)).eval()
    for parameter in child.parameters():  # a larger spread than the initial 0.02 shows leaks
        torch.nn.init.normal_(parameter, std=0.3)
    logits = child(IDS, MASK.long())
    for row, length in enumerate(MASK.sum(1)):
        alone = child(IDS[row : row + 1, :length])
        torch.testing.assert_close(logits[row, :length], alone[0], rtol=1e-4, atol=1e-4)
    other_padding = torch.where(MASK, IDS, 49 - IDS)
    torch.testing.assert_close(child(other_padding, MASK)[MASK], logits[MASK])


def test_positions_select_the_same_logits():
    child = stand_alone(EVERY_CANDIDATE).eval()
    positions = torch.rand(3, 10, generator=torch.Generator().manual_seed(1)) < 0.3
    selected = child(IDS, MASK, positions)
    torch.testing.assert_close(selected, child(IDS, MASK)[positions])


@pytest.mark.parametrize("kind", ["space", "supernet", "frozen", "stand-alone"])
def test_hidden_layers_output_the_hidden_states(kind):
    net = {
        "space": lambda: BertSpace(**SETTINGS),
        "supernet": supernet,
        "frozen": lambda: supernet().freeze(EVERY_CANDIDATE),
        "stand-alone": lambda: stand_alone(EVERY_CANDIDATE),
    }[kind]().eval()
    set_path(net, EVERY_CANDIDATE)
    states = []
    for layer in net.hidden_layers():
        layer.register_forward_hook(lambda module, args, output: states.append(output))
    logits = net(IDS, MASK)
    assert [tuple(state.shape) for state in states] == [(3, 10, 16)] * 5
    # Residual and norm are in: rows are normalised, and the head continues from the last one.
    torch.testing.assert_close(states[0].mean(-1), torch.zeros(3, 10), rtol=0, atol=1e-5)
    assert torch.equal(net.head(states[-1]), logits)


def test_embedding_is_factorised_only_below_hidden():
    names = [name for name, _ in stand_alone(EVERY_CANDIDATE).named_parameters()]
    assert "stem.project.weight" in names and "mlm_head.project.weight" in names
    whole = stand_alone(EVERY_CANDIDATE, embedding_size=None)
    assert whole.stem.token.weight.shape == (50, 16)
    assert not [name for name, _ in whole.named_parameters() if ".project." in name]


def test_backward_reaches_every_parameter_of_a_child():
    child = stand_alone(EVERY_CANDIDATE)
    child(IDS, MASK, MASK).logsumexp(-1).sum().backward()
    for name, parameter in child.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


@pytest.mark.parametrize("name", ["mha4", "ffn", "conv3"])
def test_initial_loss_is_that_of_a_uniform_guess(name):
    torch.manual_seed(0)
    with model_context({f"layer_{n}": name for n in range(1, 13)}):
        child = BertSpace.preset("tiny", vocab_size=1000).eval()
    ids = torch.randint(1000, (8, 64))
    loss = torch.nn.functional.cross_entropy(child(ids).flatten(0, 1), ids.flatten())
    assert loss.item() == pytest.approx(math.log(1000), abs=0.1)


def test_initial_weights_are_those_of_bert_and_of_operators_by_fan_in():
    space = BertSpace(**{**SETTINGS, "hidden": 128, "embedding_size": 64, "vocab_size": 500})
    for name, module in space.named_modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Embedding)):
            fan_in = module.weight[0].numel()
            std = fan_in**-0.5 if ".operator." in name else 0.02
            assert module.weight.std().item() == pytest.approx(std, rel=0.1)
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv1d)) and module.bias is not None:
            assert not module.bias.any()


@pytest.mark.parametrize("name", ["n_layers", "hidden", "vocab_size", "max_length"])
def test_size_out_of_range_raises(name):
    for size in (0, 2.0, True, "12"):
        message = f"{name} is {size!r}; accepted are whole numbers of at least 1"
        with pytest.raises(ValueError, match=message):
            BertSpace(**{**SETTINGS, name: size})


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        ({"embedding_size": 17}, ValueError, "embedding_size is 17; accepted .* hidden, .* 16"),
        ({"dropout": 1.0}, ValueError, "dropout is 1.0; accepted are numbers from 0 to below 1"),
        ({"candidates": "ffn"}, TypeError, "candidates is 'ffn'; accepted are sequences of names"),
        ({"candidates": ()}, ValueError, r"candidates is \(\); accepted are one or more names"),
        ({"candidates": ("ffn", "ffn")}, ValueError, "candidates is .'ffn', .*names that differ"),
        (
            {"candidates": ("conv4",)},
            ValueError,
            "candidate 'conv4': kernel is 4; accepted",
        ),
    ],
)
def test_option_out_of_range_raises(overrides, error, message):
    with pytest.raises(error, match=message):
        BertSpace(**{**SETTINGS, **overrides})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"positions": MASK.long()},
            TypeError,
            "positions .* torch.int64; accepted are torch.bool",
        ),
        ({"positions": MASK[:2]}, ValueError, r"positions has shape \(2, 10\); .* \(3, 10\)"),
        ({"attention_mask": MASK[0]}, ValueError, r"attention_mask has shape \(10,\); .*\(3, 10\)"),
    ],
)
def test_forward_inputs_out_of_range_raise(arguments, error, message):
    with pytest.raises(error, match=message):
        stand_alone(EVERY_CANDIDATE)(IDS, **arguments)


def test_forward_too_long_sequence_raises():
    with pytest.raises(ValueError, match=r"token_ids has 13 columns; accepted are at most .* 12"):
        stand_alone(EVERY_CANDIDATE)(torch.zeros(1, 13, dtype=torch.long))
