"""The child that a training leaves exported, with inherited weights and with its own."""

import json
from pathlib import Path

import pytest
import torch
from reading import domain_of, settings_of

import nni_magic
from nni_magic.programs import train

SMALL = (
    "--strategy spos --epochs 1 --epoch-steps 4 --batch-size 4 --search-children 4 --population 2 "
    "--validation-batches 1 --export"
)


@pytest.mark.parametrize("more", ["", pytest.param("--retrain-epochs 1", marks=pytest.mark.slow)])
def test_best_child_is_exported_when_that_is_asked_for(more, corpus, trial, tmp_path):
    words = f"{SMALL} {more} --corpus {corpus} --cache {corpus / 'cache'} --output {tmp_path}"
    chosen = settings_of("train", "bert", words)
    results = train.run(domain_of(chosen), chosen, trial)
    folder = Path(results["exported"])
    best = results["best_child"]
    assert folder == tmp_path / "children" / f"1_{best['digest']}"
    record = json.loads((folder / "child.json").read_text())
    assert record["provenance"]["settings"]["strategy"] == "spos"
    score = results["retrained"]["loss"] if more else best["val_loss"]
    metric = "test_loss" if more else "val_loss"
    assert (record["metric"], record["score"]) == (metric, score)
    child = torch.export.load(folder / "child.pt2").module()
    ids = torch.ones(3, 7, dtype=torch.long)
    ours = nni_magic.load(folder).model
    expected = ours(ids, attention_mask=ids)
    torch.testing.assert_close(child(token_ids=ids, attention_mask=ids), expected)
