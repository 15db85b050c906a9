"""Checkpoints of supernets: what is read, and what is refused."""

import tempfile

import pytest
import torch
from spaces import ConvSpace, FlatSpace, n_children, set_path, supernet
from training import Watch, classification, make, train

from nni_magic.search import ProgressiveShrinking
from nni_magic.supernet.checkpoint import (
    AtomicCheckpointIO,
    check_space,
    load_supernet,
    read_checkpoint,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint after some steps, and the supernet as it was then."""
    path = tmp_path_factory.mktemp("trained") / "supernet.ckpt"
    strategy = train(make("magic_t"), ConvSpace(), classification(Watch(8, path)))
    return path, strategy.supernet.eval()


def test_loaded_supernet_computes_what_the_trained_one_did(trained):
    path, net = trained
    loaded = load_supernet(path, ConvSpace()).eval()
    images = torch.randn(2, 1, 8, 8)
    for choice in ConvSpace.CANDIDATES:
        sample = {f"block_{n}": choice for n in range(1, 5)}
        set_path(net, sample)
        set_path(loaded, sample)
        assert torch.equal(loaded(images), net(images))


def test_weights_go_into_a_space_that_is_a_supernet_already(trained):
    path, net = trained
    space = supernet(ConvSpace())
    assert load_supernet(path, space) is space
    assert all(torch.equal(a, b) for a, b in zip(space.parameters(), net.parameters(), strict=True))


def test_checkpoint_of_a_shrunk_space_fits_the_whole_space(tmp_path):
    shrinking = ProgressiveShrinking(n_drop=3, evaluations=10)
    path = tmp_path / "shrunk.ckpt"
    train(make("spos", shrinking=shrinking), ConvSpace(), classification(Watch(9, path), epochs=4))
    check_space(read_checkpoint(path), ConvSpace())
    assert n_children(ConvSpace()) == 256


def test_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint is '\S*none.ckpt', which is not a fi"):
        read_checkpoint(tmp_path / "none.ckpt")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_truncated_checkpoint_is_named(share, trained, tmp_path):
    whole = trained[0].read_bytes()
    path = tmp_path / "cut.ckpt"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"checkpoint '\S*cut.ckpt' cannot be read: it is cut off"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"hello", b"\x80\x04\x95"])
def test_file_that_is_no_checkpoint_is_named(content, tmp_path):
    path = tmp_path / "other.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="it is cut off or damaged, or no checkpoint at all"):
        read_checkpoint(path)


def test_checkpoint_of_another_program_is_refused(tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ValueError, match=r"other.ckpt' holds no state of nni_magic: it was not"):
        read_checkpoint(path)


def test_checkpoint_of_a_space_with_other_labels_is_refused(trained):
    with pytest.raises(ValueError, match=r"another space; labels that differ: \['block_4'\]"):
        load_supernet(trained[0], ConvSpace(n_blocks=3))


def test_checkpoint_of_a_space_with_other_candidates_is_refused(trained):
    with pytest.raises(ValueError, match=r"'block_1' has a choice 'conv1', the space's only \[0"):
        load_supernet(trained[0], FlatSpace(n_blocks=4))


def test_checkpoint_of_a_space_with_other_shapes_is_refused(trained):
    wide = ConvSpace()
    wide.head = torch.nn.Linear(4, 11)
    with pytest.raises(ValueError, match=r"'head.weight' is \(10, 4\) in the checkpoint and \(11,"):
        load_supernet(trained[0], wide)


# Writing


LEAST = {"pytorch-lightning_version": "2.0", "state_dict": {}}


class Unpicklable:
    def __reduce__(self):
        raise RuntimeError("killed")


def test_checkpoint_that_is_not_finished_leaves_the_one_before(tmp_path):
    path = tmp_path / "supernet.ckpt"
    plugin = AtomicCheckpointIO()
    plugin.save_checkpoint({**LEAST, "step": 1}, path)
    with pytest.raises(RuntimeError, match="killed"):
        plugin.save_checkpoint({"step": 2, "end": Unpicklable()}, path)
    assert plugin.load_checkpoint(path, weights_only=True) == {**LEAST, "step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_checkpoint_is_written_beside_its_path_and_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    path = tmp_path / "more" / "supernet.ckpt"
    evaluator = classification(Watch(2, path), plugins=[AtomicCheckpointIO()])
    train(make("spos"), ConvSpace(), evaluator)
    assert read_checkpoint(path)["global_step"] == 2


def test_storage_options_are_refused(tmp_path):
    with pytest.raises(TypeError, match="storage_options is 'zip'; local paths have none"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "a.ckpt", "zip")


def test_remote_path_is_left_to_lightning():
    plugin = AtomicCheckpointIO()
    plugin.save_checkpoint({"step": 1}, path := "memory://runs/supernet.ckpt")
    assert plugin.load_checkpoint(path, weights_only=True) == {"step": 1}
