import hashlib
import platform
from importlib.metadata import version

import torch

import nni_magic
from nni_magic.support.records import provenance


def test_provenance_tells_seed_versions_and_checkpoint(tmp_path):
    path = tmp_path / "supernet.ckpt"
    path.write_bytes(b"weights" * 1000)
    record = provenance(seed=3, checkpoint=path, corpus="sotu")
    assert record == {
        "seed": 3,
        "versions": {
            "nni-magic": nni_magic.__version__, "nni": version("nni"),
            "torch": torch.__version__, "python": platform.python_version(),
        },
        "checkpoint": {
            "name": "supernet.ckpt", "sha256": hashlib.sha256(b"weights" * 1000).hexdigest(),
        },
        "corpus": "sotu",
    }  # fmt: skip
    assert type(record["versions"]["torch"]) is str
    assert record == provenance(seed=3, checkpoint=str(path), corpus="sotu")


def test_provenance_without_checkpoint_has_none():
    assert "checkpoint" not in provenance(seed=3)
