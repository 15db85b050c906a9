"""The state of a training: in plain types, whole, and refused where it is of another version."""

import copy
import random

import pytest
import torch
from spaces import ConvSpace, FlatSpace
from training import Watch, classification, make, train

from nni_magic import __version__
from nni_magic.search import ProgressiveShrinking
from nni_magic.strategies.progress import load_state, state_of
from nni_magic.supernet.checkpoint import CHECKPOINT_KEY, FORMAT, load_supernet, read_checkpoint

KEYS = {
    "format", "version", "method", "seed", "sampler", "turns", "child_step", "skipped_steps",
    "panel", "leaderboard", "replay", "shrinking", "terms",
}  # fmt: skip


def run(name, watch, checkpoint=None, space=ConvSpace, **settings):
    torch.manual_seed(11)
    return train(make(name, **settings), space(), classification(watch), checkpoint)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A training stopped after 8 of 18 steps: its checkpoint and its module."""
    path = tmp_path_factory.mktemp("stopped") / "now.ckpt"
    return path, run("magic_at", Watch(8, path)).oneshot_module


def test_checkpoint_holds_the_whole_state_in_plain_types(stopped):
    path, module = stopped
    state = read_checkpoint(path)[CHECKPOINT_KEY]  # with weights_only
    assert state.keys() == {*KEYS, "metrics"}  # without metrics it goes on as well
    assert state["metrics"]["val_loss"] > 0
    assert (state["format"], state["version"]) == (FORMAT, __version__)
    assert state["method"] == "MagicAT with InterleavedSampler"
    assert (state["seed"], state["child_step"], state["shrinking"]) == (3, 7, None)
    assert state["turns"] == [{"child": module.child, "weight": 1.0, "rows": None, "part": None}]
    assert state["panel"] == module.validation.panel and len(state["panel"]) == 3
    assert state["terms"].keys() == {"alignment_loss"}
    term = state["terms"]["alignment_loss"]
    assert term["target"]["anchor"]["sample"] is not None
    assert (term["layers"], term["warmup_epochs"]) == ({"names": ["blocks.1"]}, 1)
    assert state["sampler"]["current"] == module.child


def test_state_comes_back_the_same(stopped):
    path, _ = stopped
    state = read_checkpoint(path)[CHECKPOINT_KEY]
    given = copy.deepcopy(state)
    module = run("magic_at", Watch(1, path.with_name("other.ckpt"))).oneshot_module
    assert state_of(module)["turns"] != state["turns"]
    load_state(module, state)
    found = state_of(module)
    for key in KEYS - {"replay", "terms"}:  # these two are taken over when the fit begins
        assert found[key] == given[key], key
    assert module.resumes


def test_state_of_shrinking_is_kept_where_there_is_one(tmp_path):
    settings = {"n_drop": 4, "evaluations": 8}
    path = tmp_path / "shrunk.ckpt"
    run("spos", Watch(8, path), shrinking=(first := ProgressiveShrinking(**settings)))
    assert len(first.history) == 1
    state = read_checkpoint(path)[CHECKPOINT_KEY]
    module = run("spos", Watch(1, tmp_path / "other.ckpt"),
                 shrinking=(other := ProgressiveShrinking(**settings))).oneshot_module  # fmt: skip
    load_state(module, state)
    assert repr(other.history) == repr(first.history)  # nan is not nan


def test_state_of_another_space_is_refused(stopped):
    path, _ = stopped
    with pytest.raises(ValueError, match=r"another model space; labels .*\['block_4'\]"):
        run("magic_at", Watch(), path, space=lambda: ConvSpace(3))


# Checkpoints of version 0.3 and before, whose state had another form and no number


@pytest.fixture(params=["magic_at", "magic_t"])
def old(request, tmp_path):
    """A checkpoint as version 0.3 wrote it."""
    path = tmp_path / "old.ckpt"
    strategy = run(request.param, Watch(8, path))
    checkpoint = torch.load(path, weights_only=True)
    state = checkpoint[CHECKPOINT_KEY]
    [turn] = state["turns"]
    anchor = state["terms"].get("alignment_loss", {})
    kept = ("method", "seed", "sampler", "child_step", "panel", "leaderboard", "replay")
    checkpoint[CHECKPOINT_KEY] = {
        **{key: state[key] for key in kept}, "child": turn["child"], "shrinking": None, **anchor,
    }  # fmt: skip
    torch.save(checkpoint, path)
    return request.param, path, strategy.supernet


def test_old_checkpoint_is_not_resumed(old):
    name, path, _ = old
    watch = Watch()
    message = (
        f"written by nni-magic 0.3 or before, and {__version__} with format 2 "
        "cannot continue its training, only search and export it; go on with that version"
    )
    with pytest.raises(ValueError, match=message):
        run(name, watch, path)
    assert watch.steps == []


def test_old_checkpoint_is_searched(old):
    _, path, net = old
    loaded = load_supernet(path, ConvSpace())
    assert loaded.state_dict().keys() == net.state_dict().keys()
    for key, weights in net.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], weights), key
    with pytest.raises(ValueError, match="another space"):
        load_supernet(path, FlatSpace(4))


@pytest.mark.parametrize("form", [0, FORMAT + 1])
def test_checkpoint_of_another_form_is_named_with_its_version(stopped, form, tmp_path):
    checkpoint = torch.load(stopped[0], weights_only=True)
    checkpoint[CHECKPOINT_KEY].update(format=form, version="9.9")
    torch.save(checkpoint, path := tmp_path / "other.ckpt")
    message = rf"written by nni-magic 9.9 in format {form}, and .* cannot continue"
    with pytest.raises(ValueError, match=message):
        run("magic_at", Watch(), path)


@pytest.mark.parametrize("key", sorted(KEYS - {"format", "version"}))
def test_state_that_lacks_a_key_is_named_with_its_file(stopped, key, tmp_path):
    checkpoint = torch.load(stopped[0], weights_only=True)
    del checkpoint[CHECKPOINT_KEY][key]
    torch.save(checkpoint, path := tmp_path / "less.ckpt")
    with pytest.raises(ValueError, match=rf"less.ckpt': .*state of nni_magic lacks '{key}'"):
        run("magic_at", Watch(), path)


def test_malformed_state_is_named_with_its_file(stopped, tmp_path):
    checkpoint = torch.load(stopped[0], weights_only=True)
    checkpoint[CHECKPOINT_KEY]["sampler"] = None
    torch.save(checkpoint, path := tmp_path / "bad.ckpt")
    with pytest.raises(ValueError, match=r"bad.ckpt': .*state of nni_magic is malformed: TypeErr"):
        run("magic_at", Watch(), path)


@pytest.mark.parametrize("content", [b"", b"hello"])
def test_file_that_is_no_checkpoint_is_named_by_resuming(content, tmp_path):
    (path := tmp_path / "supernet.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=r"\S+supernet.ckpt' cannot be read: it is cut"):
        run("spos", Watch(), path)


def test_folder_and_foreign_file_are_named_by_resuming(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint is '\S+', which is not a file"):
        run("spos", Watch(), tmp_path)
    torch.save({"weights": 1}, path := tmp_path / "foreign.ckpt")
    with pytest.raises(ValueError, match=r"foreign.ckpt' was not written by Lightning: it lacks"):
        run("spos", Watch(), path)


def test_object_of_a_callback_is_refused_when_it_is_written(tmp_path):
    class Keeps(Watch):
        def state_dict(self):
            return {"clock": ProgressiveShrinking()}

    with pytest.raises(ValueError, match=r"x.ckpt'\['callbacks'\]\['\S+Keeps'\]\['clock'\] is a "):
        run("spos", Keeps(2, tmp_path / "x.ckpt"))


# What Lightning keeps


@pytest.fixture
def changed(stopped, tmp_path):
    """Gives the path of a checkpoint that was changed."""

    def change(how):
        checkpoint = torch.load(stopped[0], weights_only=True)
        how(checkpoint)
        torch.save(checkpoint, path := tmp_path / "changed.ckpt")
        return path

    return change


@pytest.mark.parametrize("key", ["optimizer_states", "lr_schedulers", "loops"])
def test_checkpoint_of_weights_only_is_named_by_resuming(changed, key):
    message = rf"changed.ckpt': the checkpoint lacks '{key}', so that its training cannot"
    with pytest.raises(ValueError, match=message):
        run("magic_at", Watch(), changed(lambda checkpoint: checkpoint.pop(key)))


def test_state_of_lightning_of_another_type_is_named_by_resuming(changed):
    path = changed(lambda checkpoint: checkpoint.update(loops=[1]))
    with pytest.raises(ValueError, match=r"d.ckpt': the checkpoint's 'loops' is \[1\]; accepted"):
        run("magic_at", Watch(), path)


def test_loop_that_lacks_a_part_is_named_by_resuming(changed):
    path = changed(lambda checkpoint: checkpoint["loops"]["fit_loop"].pop("epoch_progress"))
    message = r"changed.ckpt': the checkpoint's state of the fit loop lacks 'epoch_progress'"
    with pytest.raises(ValueError, match=message):
        run("magic_at", Watch(), path)


def test_weights_that_do_not_fit_are_named_by_resuming(changed):
    name = "training_module._model.head.weight"
    path = changed(lambda checkpoint: checkpoint["state_dict"].pop(name))
    with pytest.raises(ValueError, match=rf"changed.ckpt': (?s:.)*Missing key.*\"{name}\""):
        run("magic_at", Watch(), path)


# Damage


@pytest.mark.parametrize("name", ["spos", "magic_at"])
def test_every_damage_is_named_however_the_checkpoint_is_read(name, tmp_path):
    run(name, Watch(8, path := tmp_path / "whole.ckpt"))
    whole = path.read_bytes()
    draw = random.Random(0)
    damaged = tmp_path / "damaged.ckpt"
    for attempt in range(40):
        content = bytearray(whole)
        if attempt % 5:
            content[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        else:
            del content[draw.randrange(len(whole)) :]
        damaged.write_bytes(content)
        ways = [read_checkpoint, lambda path: load_supernet(path, ConvSpace())]
        for way in [*ways, *([lambda path: run(name, Watch(), path)] if attempt < 5 else [])]:
            with pytest.raises(ValueError, match=r"checkpoint '\S+damaged.ckpt' cannot be read"):
                way(damaged)


@pytest.mark.parametrize("name", ["spos", "magic_at"])
def test_resumed_run_in_double_precision_is_exact(name, tmp_path):
    def start(watch, checkpoint=None):
        torch.manual_seed(11)
        evaluator = classification(watch, precision="64-true")
        train(make(name), ConvSpace(), evaluator, checkpoint)
        return watch.steps

    whole = start(Watch())
    before = start(Watch(8, path := tmp_path / "now.ckpt"))
    assert before + start(Watch(), path) == whole
