import json
import math
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from nni.nas.space import model_context
from torch import nn

from nni_magic.children.json_samples import in_space
from nni_magic.children.samples import candidates, digest
from nni_magic.export import children, export_child, export_children
from nni_magic.scoring.scored import ScoredChild
from search_spaces import BertSpace
from tests.spaces import (
    ConstrainedSpace,
    ConvSpace,
    FlatSpace,
    MixedSpace,
    TupleSpace,
    set_path,
    supernet,
)

CONV = {"block_1": "conv3", "block_2": "drop", "block_3": "skip", "block_4": "conv1"}
CONV_2 = {**CONV, "block_1": "skip"}
BERT = {"layer_1": "mha2", "layer_2": "ffn", "layer_3": "conv3"}
FLAT = {"block_1": 0, "block_2": 2}
ORIGIN = {"metric": "val_loss", "provenance": {"seed": 3}}


def bert_space():
    return BertSpace(3, 16, 50, 12, dropout=0.1, candidates=("mha2", "ffn", "conv3"))


def images(batch=3):
    return torch.randn(batch, 1, 8, 8, generator=torch.Generator().manual_seed(batch))


def tokens(batch=3):
    ids = torch.randint(50, (batch, 12), generator=torch.Generator().manual_seed(batch))
    return {"token_ids": ids, "attention_mask": (torch.arange(12) < 7).expand(batch, 12)}


def trained(space):
    """A supernet whose weights and BatchNorm statistics are not the initial ones."""
    torch.manual_seed(7)
    net = supernet(space)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for name, buffer in net.named_buffers():
            if "running" in name:
                buffer.add_(torch.rand_like(buffer))
    return net


def outputs(net, sample, *args, **kwargs):
    """What the supernet gives on a child's path."""
    set_path(net, sample)
    with torch.no_grad():
        return net.eval()(*args, **kwargs)


@pytest.fixture(scope="module")
def conv(tmp_path_factory):
    """A supernet, and the folders of two of its children in all formats."""
    folder, net = tmp_path_factory.mktemp("conv"), trained(ConvSpace())
    ranked = [ScoredChild(CONV, 0.25), ScoredChild(CONV_2, 0.5)]
    return net, export_children(net, ranked, folder, child=net.freeze, args=(images(),), **ORIGIN)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder, net = tmp_path_factory.mktemp("bert"), trained(bert_space())
    [child] = export_children(net, [(BERT, 1.5)], folder, kwargs=tokens(), **ORIGIN)
    return net, child


@pytest.fixture
def flat():
    return trained(FlatSpace(2))


def export_flat(net, folder, ranked=((FLAT, 0.5),), formats=(), **options):
    options = {"args": [torch.ones(2, 4)], **ORIGIN, **options}
    return export_children(net, ranked, folder, formats=formats, **options)


def test_children_are_written_best_first_with_all_files(conv):
    _, folders = conv
    assert [folder.name for folder in folders] == [f"1_{digest(CONV)}", f"2_{digest(CONV_2)}"]
    assert sorted(folders[0].parent.iterdir()) == sorted(folders)
    for folder in folders:
        assert {path.name for path in folder.iterdir()} == {
            "child.json", "weights.pt", "child.pt2", "child.onnx", "architecture.png",
        }  # fmt: skip


def test_record_tells_the_child_its_cost_and_origin(conv):
    _, folders = conv
    # 8 x 8 pixels. The stem, a convolution of 3, the same with dropout, one of 1, and the head.
    params = (9 * 4 + 4) + 2 * (9 * 16 + 8) + (16 + 8) + (4 * 10 + 10)
    with model_context(CONV):
        assert sum(p.numel() for p in ConvSpace().parameters()) == params
    record = json.loads((folders[0] / "child.json").read_text())
    assert record.pop("flops") > 64 * (9 * 4 + 2 * 9 * 16 + 16)
    assert record == {
        "sample": CONV, "space": {"class": "tests.spaces:ConvSpace", "args": [], "kwargs": {}},
        "digest": digest(CONV), "rank": 1, "metric": "val_loss", "score": 0.25,
        "params": params, "inputs": {"args": [[3, 1, 8, 8]], "kwargs": {}},
        "provenance": {"seed": 3}, "rebuild_problem": None,
    }  # fmt: skip


PROGRAM = """
import sys
for name in ("nni", "nni_magic", "search_spaces", "pytorch_lightning", "tests"):
    sys.modules[name] = None
import torch
args, kwargs, outputs = torch.load(sys.argv[2], weights_only=True)
child = torch.export.load(sys.argv[1]).module()
for i, output in enumerate(outputs):
    actual = child(*(a[i] for a in args), **{name: a[i] for name, a in kwargs.items()})
    torch.testing.assert_close(actual, output)
print(len(outputs))
"""


def run_without_nni(folder, batches, expected, tmp_path):
    args, kwargs = ([batches], {}) if isinstance(batches, list) else ([], batches)
    torch.save((args, kwargs, expected), tmp_path / "batches.pt")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, folder / "child.pt2", tmp_path / "batches.pt"],
        capture_output=True, text=True, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_program_runs_without_nni_on_batches_of_any_size(conv, tmp_path):
    net, folders = conv
    batches = [images(n) for n in (1, 2, 7)]
    expected = [outputs(net, CONV, batch) for batch in batches]
    assert run_without_nni(folders[0], batches, expected, tmp_path) == 3


def test_program_of_a_transformer_runs_without_nni(bert, tmp_path):
    net, folder = bert
    batches = [tokens(n) for n in (1, 5)]
    expected = [outputs(net, BERT, **batch) for batch in batches]
    kwargs = {name: [batch[name] for batch in batches] for name in batches[0]}
    assert run_without_nni(folder, kwargs, expected, tmp_path) == 2


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_onnx_computes_the_child_on_batches_of_any_size(batch, conv, bert):
    for (net, folders), sample, inputs in (
        (conv, CONV, {"x": images(batch)}), (bert, BERT, tokens(batch)),
    ):  # fmt: skip
        folder = folders[0] if isinstance(folders, list) else folders
        session = onnxruntime.InferenceSession(folder / "child.onnx")
        [actual] = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        expected = outputs(net, sample, *inputs.values())
        np.testing.assert_allclose(actual, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_weights_load_into_the_child_that_nni_builds_anew(conv, bert):
    for (net, folders), sample, build, inputs in (
        (conv, CONV, ConvSpace, {"x": images()}), (bert, BERT, bert_space, tokens()),
    ):  # fmt: skip
        folder = folders[0] if isinstance(folders, list) else folders
        with model_context(sample):
            child = build()
        weights = torch.load(folder / "weights.pt", weights_only=True)
        child.load_state_dict(weights)
        with torch.no_grad():
            actual = child.eval()(**inputs)
        torch.testing.assert_close(actual, outputs(net, sample, *inputs.values()))
        held = {w.untyped_storage().data_ptr(): w.untyped_storage() for w in weights.values()}
        assert sum(storage.nbytes() for storage in held.values()) == sum(
            w.nbytes for w in weights.values()
        )


def test_weights_of_a_mixed_space_load_into_the_child_that_nni_builds_anew(tmp_path):
    sample = {"depth": 2, "op_1": "conv3", "op_2": "skip", "op_3": "conv1", "kernel": 3,
              "inputs": [2]}  # fmt: skip
    net = trained(MixedSpace())
    [folder] = export_children(
        net, [(sample, 1.0)], tmp_path, child=net.freeze, args=(images(),), formats=["program"],
        **ORIGIN,
    )  # fmt: skip
    with model_context(sample):
        child = MixedSpace()
    child.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    expected = outputs(net, sample, images())
    torch.testing.assert_close(child.eval()(images()), expected)
    program = torch.export.load(folder / "child.pt2").module()
    torch.testing.assert_close(program(images()), expected)


def everything(net):
    """All that an export must leave alone."""
    return (
        {name: value.clone() for name, value in net.state_dict().items()},
        [(m.training, getattr(m, "_sampled", None)) for m in net.modules()],
        [(id(p), p.requires_grad, p.device) for p in net.parameters()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()],
        torch.get_rng_state(),
    )


def test_supernet_and_random_state_stay_as_they_were(tmp_path):
    net = trained(ConvSpace()).train()
    net.blocks[0].eval()
    net.head.bias.requires_grad_(False)
    set_path(net, CONV_2)
    assert any(isinstance(m, BaseSuperNetModule) for m in net.modules())
    before = everything(net)
    export_children(net, [(CONV, 1.0)], tmp_path, child=net.freeze, args=[images()], **ORIGIN)
    after = everything(net)
    torch.testing.assert_close(after[0], before[0], rtol=0, atol=0)
    assert after[1:4] == before[1:4] and torch.equal(after[4], before[4])


def test_a_calibrated_child_is_exported_as_it_is(tmp_path):
    net = trained(ConvSpace())
    child = net.freeze(CONV)
    child.blocks[0] = child.blocks[0].requires_grad_(False).train()
    child.blocks[0][1].running_mean = torch.full((4,), 9.0)
    folder = export_child(
        child, CONV, 0.5, tmp_path, space=net, args=[images()], rank=4, formats=[], **ORIGIN
    )
    assert folder == tmp_path / f"4_{digest(CONV)}"
    weights = torch.load(folder / "weights.pt", weights_only=True)
    assert weights["blocks.0.1.running_mean"].tolist() == [9.0] * 4
    assert child.training and child.blocks[0].training


def test_exporting_again_replaces_the_children(flat, tmp_path):
    other = {**FLAT, "block_2": 0}
    (tmp_path / "notes_of_mine").mkdir()
    export_flat(flat, tmp_path, [(FLAT, 0.5), (other, 0.7)], formats=["picture"])
    first, second = export_flat(flat, tmp_path, [(other, 0.4), (FLAT, 0.5)])
    assert {p.name for p in tmp_path.iterdir()} == {first.name, second.name, "notes_of_mine"}
    [only] = export_flat(flat, tmp_path, [(other, 0.3)])
    assert only == first and json.loads((only / "child.json").read_text())["score"] == 0.3
    assert {p.name for p in tmp_path.iterdir()} == {only.name, "notes_of_mine"}
    assert {p.name for p in only.iterdir()} == {"child.json", "weights.pt"}


def test_same_input_gives_the_same_record_and_picture(flat, tmp_path):
    [once] = export_flat(flat, tmp_path / "once", formats=["picture"])
    [again] = export_flat(flat, tmp_path / "again", formats=["picture"])
    for name in ("child.json", "architecture.png"):
        assert (once / name).read_bytes() == (again / name).read_bytes()


def test_numbers_of_numpy_become_plain(flat, tmp_path):
    sample = {label: np.int64(choice) for label, choice in FLAT.items()}
    [folder] = export_flat(
        flat, tmp_path, [(sample, np.float32(0.5))],
        provenance={"seed": np.int64(3), "data": tmp_path.relative_to(tmp_path)},
    )  # fmt: skip
    record = json.loads((folder / "child.json").read_text())
    assert record["sample"] == FLAT and record["digest"] == digest(FLAT)
    assert record["score"] == 0.5 and record["provenance"] == {"seed": 3, "data": "."}


def test_an_interrupted_export_leaves_the_child_as_it_was(flat, tmp_path, monkeypatch):
    [folder] = export_flat(flat, tmp_path)
    written = (folder / "child.json").read_bytes()

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(children, "draw_architecture", interrupt)
    other = {**FLAT, "block_1": 1}
    for sample in (FLAT, other):
        with pytest.raises(KeyboardInterrupt):
            export_flat(flat, tmp_path, [(sample, 9.0)], formats=["picture"])
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "child.json").read_bytes() == written


def test_leftovers_of_a_killed_export_are_cleared(flat, tmp_path):
    [folder] = export_flat(flat, tmp_path)
    for part in ("new", "old"):
        shutil.copytree(folder, tmp_path / f".{folder.name}.{part}")
        (tmp_path / f".{folder.name}.{part}" / "half").touch()
    export_flat(flat, tmp_path)
    assert list(tmp_path.iterdir()) == [folder]
    assert not (folder / "half").exists()


def test_nothing_is_printed(flat, tmp_path, capfd, recwarn):
    export_flat(flat, tmp_path, formats=["program", "onnx", "picture"])
    assert capfd.readouterr().out == "" and list(recwarn) == []


class Decides(ModelSpace):
    """torch.export cannot follow a branch that depends on the data."""

    def __init__(self):
        super().__init__()
        self.block = LayerChoice([nn.Linear(4, 4), nn.Identity()], label="op")

    def forward(self, x):
        return self.block(x) if x.sum() > 0 else x


def test_child_that_torch_cannot_export_is_rejected_by_name(tmp_path):
    net, ranked = trained(Decides()), [({"op": 0}, 1.0)]
    with pytest.raises(RuntimeError, match=f"{digest({'op': 0})}: torch.export cannot export it"):
        export_flat(net, tmp_path, ranked, formats=["onnx"])
    assert list(tmp_path.iterdir()) == []
    [folder] = export_flat(net, tmp_path, ranked)
    assert (folder / "weights.pt").exists()


def test_nothing_to_export_is_rejected(flat, tmp_path):
    with pytest.raises(ValueError, match="ranked is empty; accepted are lists of at least one"):
        export_flat(flat, tmp_path, [])


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"block_1": 0, "block_2": 3}, r"'block_2' is 3; accepted are \[0, 1, 2\]"),
        ({"block_1": 0}, r"it lacks \['block_2'\]"),
        ({**FLAT, "block_9": 0}, r"it has unknown labels \['block_9'\]"),
    ],
)
def test_a_sample_of_another_space_is_rejected_before_anything_is_written(
    sample, message, flat, tmp_path
):
    with pytest.raises(ValueError, match=message):
        export_flat(flat, tmp_path, [(FLAT, 0.1), (sample, 0.2)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_rejected(score, flat, tmp_path):
    with pytest.raises(ValueError, match=f"{digest(FLAT)} is {score}; accepted are finite"):
        export_flat(flat, tmp_path, [(FLAT, score)])


def test_a_file_as_folder_is_rejected(flat, tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(ValueError, match="taken', a file; accepted are folders"):
        export_flat(flat, tmp_path / "taken")


@pytest.mark.parametrize("formats", ["onnx", ["onnx", "tflite"]])
def test_unknown_formats_are_rejected(formats, flat, tmp_path):
    with pytest.raises(
        ValueError, match=r"formats is .*; accepted are lists of some of 'pro"
    ):
        export_flat(flat, tmp_path, formats=formats)


@pytest.mark.parametrize(
    ("module", "form", "extra"),
    [("onnxscript", "onnx", "onnx"), ("matplotlib", "picture", "plots")],
)
def test_a_missing_package_is_named(module, form, extra, flat, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ModuleNotFoundError, match=rf"{form}' needs {module}: pip install nni-magic\[{extra}\]"
    ):
        export_flat(flat, tmp_path, formats=[form])
    assert export_flat(flat, tmp_path)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"args": [torch.ones(2, 5)]}, rf"{digest(FLAT)} does not accept .*'args': \[\[2, 5\]\]"),
        ({"args": [], "kwargs": {"y": torch.ones(2, 4)}}, r"'y': \[2, 4\].*unexpected keyword"),
        ({"args": [torch.ones(1, 4)]}, r"have the shapes \[\[1, 4\]\]; accepted .* at least 2"),
    ],
)
def test_inputs_that_do_not_fit_are_rejected(inputs, message, flat, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_flat(flat, tmp_path, **inputs)
    assert list(tmp_path.iterdir()) == []


def test_a_sample_against_a_constraint_is_rejected(tmp_path):
    net, sample = trained(ConstrainedSpace()), {"block_1": 1, "block_2": 2, "block_3": 0}
    assert export_flat(net, tmp_path, [(sample, 0.1)], formats=["picture"])
    with pytest.raises(ValueError, match="block_1 != block_2 is not satisfied"):
        export_flat(net, tmp_path, [({**sample, "block_2": 1}, 0.1)])


def test_a_child_of_a_sample_from_json_is_the_same_child(tmp_path):
    net = trained(TupleSpace())
    sample = {"kernel": (1, 3), "block_1": 0, "block_2": 1, "block_3": 0}
    given = json.loads(json.dumps(sample))
    options = {"args": [images()], "formats": ["picture"], **ORIGIN}
    [own] = export_children(net, [(sample, 0.5)], tmp_path / "own", **options)
    [other] = export_children(net, [(given, 0.5)], tmp_path / "other", **options)
    for name in ("child.json", "architecture.png"):
        assert (own / name).read_bytes() == (other / name).read_bytes()
    read = json.loads((other / "child.json").read_text())["sample"]
    assert in_space(read, candidates(TupleSpace())) == sample
