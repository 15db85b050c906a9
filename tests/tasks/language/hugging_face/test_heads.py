"""Heads: their losses, their labels, a vocabulary that grows, Trainer and LoRA."""

import hugging
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional as F
from transformers import (
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from nni_magic.tasks.language.hugging_face import (
    MagicBertForMaskedLM,
    MagicBertForPreTraining,
    MagicBertForQuestionAnswering,
    MagicBertForSequenceClassification,
    from_child,
    wrapped_tokenizer,
)


@pytest.fixture(scope="module")
def masked():
    return from_child(hugging.child(), hugging.SAMPLE)


def with_head(kind, masked, **settings):
    """A model with a new head on the child's body."""
    torch.manual_seed(1)
    config = type(masked.config)(**{**masked.config.to_dict(), "architectures": None, **settings})
    model = kind(config)
    model.bert.load_state_dict(masked.bert.state_dict())
    return model.eval()


def test_masked_tokens_have_the_cross_entropy_of_what_is_predicted(masked):
    ids, mask = hugging.batch()
    labels = torch.where(mask.bool() & (ids % 2 == 0), ids, -100)
    found = masked(ids, mask, labels=labels)
    chosen = labels != -100
    expected = F.cross_entropy(hugging.child()(ids, mask)[chosen], ids[chosen])
    torch.testing.assert_close(found.loss, expected)


def test_a_vocabulary_that_grows_keeps_what_was_there(masked):
    model = with_head(MagicBertForMaskedLM, masked)
    model.mlm_head.load_state_dict(masked.mlm_head.state_dict())
    ids, mask = hugging.batch()
    before = model(ids, mask).logits
    n = before.shape[-1]
    embedding = model.resize_token_embeddings(n + 7, mean_resizing=False)
    assert (embedding.num_embeddings, model.config.vocab_size) == (n + 7, n + 7)
    after = model(ids, mask).logits
    assert after.shape[-1] == n + 7
    assert torch.equal(after[..., :n], before)
    model.resize_token_embeddings(n)
    assert torch.equal(model(ids, mask).logits, before)


def test_replaced_tokens_are_told_apart_where_there_is_no_padding(masked):
    model = with_head(MagicBertForPreTraining, masked)
    ids, mask = hugging.batch()
    labels = (ids % 3 == 0).long()
    found = model(ids, mask, labels=labels)
    real = mask.bool()
    expected = F.binary_cross_entropy(found.logits[real].sigmoid(), labels[real].float())
    torch.testing.assert_close(found.loss, expected)
    assert not torch.isclose(model(ids, labels=labels).loss, found.loss)


@pytest.mark.parametrize(("n", "labels"), [(3, [0, 2, 1]), (1, [0.5, 2.0, -1.0])])
def test_texts_are_classified_or_rated(n, labels, masked):
    model = with_head(MagicBertForSequenceClassification, masked, num_labels=n)
    ids, mask = hugging.batch()
    found = model(ids, mask, labels=torch.tensor(labels))
    assert found.logits.shape == (3, n)
    expected = (
        F.cross_entropy(found.logits, torch.tensor(labels)) if n > 1
        else F.mse_loss(found.logits[:, 0], torch.tensor(labels))
    )  # fmt: skip
    torch.testing.assert_close(found.loss, expected)
    cut = model(ids[1:2, :6], mask[1:2, :6]).logits  # without its padding
    torch.testing.assert_close(found.logits[1:2], cut)


def test_answers_outside_the_text_have_no_part_in_the_loss(masked):
    model = with_head(MagicBertForQuestionAnswering, masked)
    ids, mask = hugging.batch()
    start, end = torch.tensor([0, 2, 99]), torch.tensor([1, 3, 99])
    found = model(ids, mask, start_positions=start, end_positions=end)
    expected = (F.cross_entropy(found.start_logits[:2], start[:2])
                + F.cross_entropy(found.end_logits[:2], end[:2])) / 2  # fmt: skip
    torch.testing.assert_close(found.loss, expected)


def test_trainer_fine_tunes_a_classifier_and_goes_on_from_its_checkpoint(masked, tmp_path):
    tokenizer = wrapped_tokenizer(hugging.tokenizer(), hugging.LENGTH)
    texts = ["the cat sat", "a dog ran"] * 8
    rows = [{**tokenizer(text), "labels": i % 2} for i, text in enumerate(texts)]

    def train(epochs, **more):
        arguments = TrainingArguments(
            tmp_path, num_train_epochs=epochs, per_device_train_batch_size=4, learning_rate=2e-2,
            lr_scheduler_type="constant", report_to=[], save_strategy="epoch", use_cpu=True,
            disable_tqdm=True, gradient_accumulation_steps=2, seed=0,
        )  # fmt: skip
        model = with_head(MagicBertForSequenceClassification, masked, num_labels=2)
        trainer = Trainer(
            model, arguments, train_dataset=rows, data_collator=DataCollatorWithPadding(tokenizer)
        )
        trainer.train(**more)
        return trainer

    whole = train(4)
    logits = whole.predict(rows).predictions
    assert (logits.argmax(-1) == [0, 1] * 8).all()
    train(2)
    resumed = train(4, resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    torch.testing.assert_close(torch.tensor(resumed.predict(rows).predictions),
                               torch.tensor(logits))  # fmt: skip


def test_lora_trains_every_linear_map_of_the_operators(masked):
    model = with_head(MagicBertForSequenceClassification, masked, num_labels=2)
    settings = LoraConfig(task_type="SEQ_CLS", target_modules="all-linear", r=2)
    adapted = get_peft_model(model, settings)
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    for part in ("stem.project", "layers.0.operator.qkv", "layers.0.operator.output",
                 "layers.1.operator.expand", "layers.2.operator.gate",
                 "layers.3.operator.pointwise_2"):  # fmt: skip
        assert any(f"bert.{part}.lora_A" in name for name in trained), part
    assert all("lora" in name or "classifier" in name for name in trained)
    ids, mask = hugging.batch()
    before = adapted.eval()(ids, mask).logits
    adapted.train()(ids, mask, labels=torch.tensor([0, 1, 0])).loss.backward()
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
    after = adapted.eval()(ids, mask).logits
    assert not torch.allclose(before, after)
    torch.testing.assert_close(adapted.merge_and_unload()(ids, mask).logits, after)


def accumulated(kind, masked, rows, n, folder, **settings):
    """Weights after a step of SGD on eight rows, in batches of ``8 / n``."""
    arguments = TrainingArguments(
        folder, max_steps=1, per_device_train_batch_size=8 // n, gradient_accumulation_steps=n,
        learning_rate=1.0, lr_scheduler_type="constant", optim="sgd", max_grad_norm=0.0,
        report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    model = with_head(kind, masked, hidden_dropout_prob=0.0, **settings)
    Trainer(model, arguments, train_dataset=rows).train()
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize(("kind", "settings", "labels"), [
    (MagicBertForMaskedLM, {}, lambda i, ids: {"labels": [-100] * (11 - i) + ids[11 - i :]}),
    (MagicBertForPreTraining, {}, lambda i, ids: {"labels": [id % 2 for id in ids]}),
    (MagicBertForSequenceClassification, {"num_labels": 3}, lambda i, ids: {"labels": i % 3}),
    (MagicBertForSequenceClassification, {"num_labels": 1}, lambda i, ids: {"labels": i / 2}),
    (MagicBertForQuestionAnswering, {}, lambda i, ids: {"start_positions": i,
                                                        "end_positions": i + 1}),
])  # fmt: skip
def test_a_step_of_several_batches_is_that_of_their_rows(kind, settings, labels, masked, tmp_path):
    ids = torch.randint(5, 281, (8, 12), generator=torch.Generator().manual_seed(0)).tolist()
    rows = [{"input_ids": row, "attention_mask": [1] * 12, **labels(i, row)}
            for i, row in enumerate(ids)]  # fmt: skip
    one, four = (accumulated(kind, masked, rows, n, tmp_path, **settings) for n in (1, 4))
    before = with_head(kind, masked, **settings)
    start = torch.cat([parameter.detach().flatten() for parameter in before.parameters()])
    assert (one - start).abs().max() > 0.01
    torch.testing.assert_close(four, one, rtol=1e-4, atol=1e-5)


def test_what_has_no_effect_is_refused(masked):
    ids, mask = hugging.batch()
    masked(ids, mask, token_type_ids=None, output_attentions=False)
    for name, value in {"token_type_ids": ids, "output_attentions": True}.items():
        with pytest.raises(TypeError, match=f"{name} is given; accepted are input_ids, attention_"):
            masked(ids, mask, **{name: value})
        with pytest.raises(TypeError, match=f"{name} is given"):
            masked.bert(ids, mask, **{name: value})
