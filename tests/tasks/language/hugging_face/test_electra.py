"""ELECTRA: widths, what both share, both losses, what is drawn."""

import hugging
import pytest
import torch
from torch.nn import functional as F

from nni_magic.tasks.language.hugging_face import MagicBertConfig, MagicBertForElectra
from nni_magic.tasks.language.hugging_face.electra import generator_width


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MagicBertForElectra(MagicBertConfig(
        operators=hugging.CANDIDATES, vocab_size=hugging.tokenizer().get_vocab_size(),
        hidden_size=16, embedding_size=8, max_position_embeddings=hugging.LENGTH,
    )).eval()  # fmt: skip


def masked():
    ids, mask = hugging.batch()
    labels = torch.where((ids % 2 == 0) & mask.bool(), ids, -100)
    return torch.where(labels == -100, ids, 4), mask, labels


@pytest.mark.parametrize(("operators", "hidden", "width"), [
    (["mha12", "ffn"], 768, 252),
    (["mha2", "mha3"], 48, 18),
    (["ffn", "conv3"], 16, 5),
    (["mha4"], 4, 4),
])  # fmt: skip
def test_generator_is_a_third_as_wide_where_heads_allow(operators, hidden, width):
    assert generator_width(MagicBertConfig(operators=operators, hidden_size=hidden)) == width


def test_loss_is_that_of_the_generator_and_fifty_times_that_of_replaced_tokens(model):
    inputs, mask, labels = masked()
    logits = model.generate(inputs, mask)
    chosen = labels != -100
    generator = F.cross_entropy(logits[chosen], labels[chosen])
    filled = torch.where(chosen, logits.argmax(-1), inputs)
    original = torch.where(chosen, labels, inputs)
    scores = model.discriminator(filled, mask).logits
    real = mask.bool()
    replaced = F.binary_cross_entropy_with_logits(
        scores[real], (filled != original)[real].float()
    )
    found = model(inputs, mask, labels)
    torch.testing.assert_close(found.loss, generator + 50 * replaced)


def test_nothing_masked_is_no_loss_of_the_generator(model):
    ids, mask = hugging.batch()
    loss = model(ids, mask, torch.full_like(ids, -100)).loss
    found = model.discriminator(ids, mask, labels=torch.zeros_like(ids)).loss
    torch.testing.assert_close(loss, 50 * found)


def test_both_train_the_embeddings_that_they_share(model):
    inputs, mask, labels = masked()
    names = [name for name, _ in model.named_parameters() if "stem.token" in name]
    assert names == ["discriminator.bert.stem.token.weight"]
    loss = F.cross_entropy(model.generate(inputs, mask).flatten(0, 1), labels.flatten())
    loss.backward()
    stem = model.discriminator.bert.stem
    assert stem.token.weight.grad.abs().sum() > 0
    assert stem.position.weight.grad.abs().sum() > 0


def test_no_gradient_of_replaced_tokens_reaches_the_generator(model):
    inputs, mask, labels = masked()
    model(inputs, mask, labels).loss.backward()
    both = model.project.weight.grad.clone()
    model.zero_grad()
    F.cross_entropy(model.generate(inputs, mask).flatten(0, 1), labels.flatten()).backward()
    torch.testing.assert_close(model.project.weight.grad, both)


def test_tokens_are_drawn_by_the_generator_s_probabilities_in_training_alone(model):
    logits = torch.tensor([0.7, 0.2, 0.1]).log().expand(20000, 3)
    assert model._filled(logits).unique().tolist() == [0]
    model.train()
    shares = model._filled(logits).bincount(minlength=3) / len(logits)
    torch.testing.assert_close(shares, torch.tensor([0.7, 0.2, 0.1]), atol=0.02, rtol=0)


def test_without_labels_there_is_nothing_to_learn(model):
    with pytest.raises(TypeError, match="labels is None; accepted are the tokens at the masked"):
        model(*hugging.batch())


def test_operators_begin_with_the_scale_of_their_fan_in(model):
    inner = model.layers[1].operator
    [first, *_] = [m.weight.detach() for m in inner.modules() if isinstance(m, torch.nn.Linear)]
    assert first.std() == pytest.approx(first.shape[1] ** -0.5, rel=0.25)
