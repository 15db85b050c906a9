"""What the programs on the BERT space share: which rows score children, and which test them."""

import pytest
from torch.utils.data import DistributedSampler

from nni_magic.tasks.language.bert import Bert
from nni_magic.tasks.language.preprocessing import TextPreprocessing
from nni_magic.tasks.language.settings import BertSettings
from nni_magic.tasks.language.tokenization import tokenizer_digest


@pytest.fixture
def domain(corpus):
    where = {"corpus": (str(corpus),), "cache": corpus / "cache"}
    return Bert(BertSettings(**where, batch_size=2, validation_batches=3))


def rows(dataset, indices=None):
    """The inputs, as hashable."""
    chosen = range(len(dataset)) if indices is None else indices
    return [tuple(dataset[i][0].tolist()) for i in chosen]


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_children_are_tested_on_rows_that_score_none_on_any_rank(domain, n_ranks):
    trainer = {"devices": 1, "accelerator": "cpu", "logger": False}
    training = domain.evaluator(total_steps=4, batch_size=2, trainer_kwargs=trainer, seed=0)
    search = domain.search_evaluator(batch_size=2)
    held_out = rows(domain.data.validation)
    tested = rows(domain.test_data().dataset)
    for evaluator in (training, search):
        validation = evaluator.val_dataloaders.dataset
        scored = []
        for rank in range(n_ranks):
            shard = DistributedSampler(validation, n_ranks, rank, shuffle=False)
            scored += rows(validation, list(shard)[: 3 * 2])  # the batches of one rank
        assert sorted(scored) == sorted(held_out[:6])
        assert scored and sorted([*scored, *tested]) == sorted(held_out)


def test_exports_take_a_mask_and_any_length_and_carry_the_tokenizer(domain, tmp_path):
    options = domain.export_options()
    ids, mask = options["kwargs"]["token_ids"], options["kwargs"]["attention_mask"]
    assert ids.shape == mask.shape == (2, 64)
    assert len(set(ids[0].tolist())) == 64
    assert mask.sum(1).tolist() == [64, 16]
    assert (options["any_size"], options["onnx_names"]) == ((1,), ("input_ids", "attention_mask"))
    options["beside"](tmp_path)
    read = TextPreprocessing.read(tmp_path, max_length=64)
    assert tokenizer_digest(read.tokenizer) == domain.data.tokenizer_digest
    assert read.max_length == 64
