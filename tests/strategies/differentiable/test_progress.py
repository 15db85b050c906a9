"""What a checkpoint of a mixture holds, and what a damaged one says."""

import pytest
import torch
from mixtures import run

torch.set_num_threads(1)


def test_state_without_its_architecture_is_refused(tmp_path):
    path, damaged = tmp_path / "stopped.ckpt", tmp_path / "damaged.ckpt"
    run("gaea", stop_after=2, path=path)
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["nni_magic"]["architecture"]["step"] == 1
    assert checkpoint["nni_magic"]["method"] == "GAEA"
    del checkpoint["nni_magic"]["architecture"]
    torch.save(checkpoint, damaged)
    with pytest.raises(ValueError, match=r"ckpt_path .*damaged.*malformed: KeyError\('archit"):
        run("gaea", checkpoint=damaged)
