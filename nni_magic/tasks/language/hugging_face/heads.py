"""Models with a head: masked tokens, replaced tokens, classes of texts, answers in texts.

Heads and losses are those of ``transformers`` where it has them: RoBERTa's for classification
[Liu2019]_ and ELECTRA's for replaced tokens [Clark2020]_. Losses are means over a batch, of which
``Trainer`` takes the mean where a step has several (``accepts_loss_kwargs``); only that of masked
tokens, of which batches hold different numbers, is a mean over the step.

References
----------
.. [Liu2019] Y. Liu et al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach", 2019.
.. [Clark2020] K. Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than
   Generators", ICLR 2020.
"""

from __future__ import annotations

from typing import Any, cast

import nni_bootstrap  # noqa: F401
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
)
from transformers.models.electra.modeling_electra import (
    ElectraDiscriminatorPredictions,
    ElectraForPreTrainingOutput,
)
from transformers.models.roberta.modeling_roberta import RobertaClassificationHead
from transformers.utils.generic import can_return_tuple

from search_spaces.bert_modules import MaskedLanguageHead

from .configuration import MagicBertConfig
from .modeling import MagicBertModel, MagicBertPreTrainedModel, check_options

__all__ = [
    "MagicBertForMaskedLM", "MagicBertForPreTraining", "MagicBertForQuestionAnswering",
    "MagicBertForSequenceClassification",
]  # fmt: skip


class MagicBertForMaskedLM(MagicBertPreTrainedModel):
    """A child with the head that it was searched with; the decoder's weight is the embedding."""

    def __init__(self, config: MagicBertConfig) -> None:
        super().__init__(config)
        self.bert = MagicBertModel(config)
        self.mlm_head = MaskedLanguageHead(
            config.hidden_size, config.vocab_size, cast(int, config.embedding_size)
        )
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **more: Any,
    ) -> MaskedLMOutput:
        """Predict tokens; see :meth:`MagicBertModel.forward`.

        Parameters
        ----------
        labels
            ``(batch, seq)``, the tokens that belong there, and -100 where nothing is predicted.
        """
        body = _body(self, input_ids, attention_mask, more)
        logits = self.mlm_head(body.last_hidden_state, self.bert.stem.token.weight)
        loss = None
        if labels is not None:
            # Of a step of several batches Trainer wants the mean over the tokens of all.
            n_items = more.get("num_items_in_batch")
            loss = self.loss_function(
                logits, labels, vocab_size=logits.shape[-1], num_items_in_batch=n_items
            )
        return MaskedLMOutput(loss=loss, logits=logits, hidden_states=body.hidden_states)

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Embedding:
        """Resize the vocabulary, the head's bias included: new tokens have none."""
        embedding: nn.Embedding = super().resize_token_embeddings(*args, **kwargs)
        bias = self.mlm_head.bias.data
        n_new = embedding.num_embeddings - len(bias)
        self.mlm_head.bias = nn.Parameter(F.pad(bias, (0, n_new)))
        return embedding


class MagicBertForPreTraining(MagicBertPreTrainedModel):
    """A child that tells replaced tokens from original ones, as ELECTRA's discriminator."""

    accepts_loss_kwargs = False

    def __init__(self, config: MagicBertConfig) -> None:
        super().__init__(config)
        self.bert = MagicBertModel(config)
        self.discriminator_predictions = ElectraDiscriminatorPredictions(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **more: Any,
    ) -> ElectraForPreTrainingOutput:
        """Score every token, the higher the more likely replaced.

        Parameters
        ----------
        labels
            ``(batch, seq)``, 1 at replaced tokens, 0 at others. Padding has no part in the loss.
        """
        body = _body(self, input_ids, attention_mask, more)
        logits = self.discriminator_predictions(body.last_hidden_state)
        loss = None
        if labels is not None:
            real = slice(None) if attention_mask is None else attention_mask != 0
            loss = F.binary_cross_entropy_with_logits(logits[real], labels[real].to(logits.dtype))
        return ElectraForPreTrainingOutput(
            loss=loss, logits=logits, hidden_states=body.hidden_states
        )


class MagicBertForSequenceClassification(MagicBertPreTrainedModel):
    """A child that classifies texts, or rates them, from its first hidden state."""

    accepts_loss_kwargs = False

    def __init__(self, config: MagicBertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = MagicBertModel(config)
        self.classifier = RobertaClassificationHead(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **more: Any,
    ) -> SequenceClassifierOutput:
        """Classify.

        Parameters
        ----------
        labels
            ``(batch,)``: classes, or numbers where ``config.num_labels`` is 1.
        """
        body = _body(self, input_ids, attention_mask, more)
        logits = self.classifier(body.last_hidden_state)
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=body.hidden_states
        )


class MagicBertForQuestionAnswering(MagicBertPreTrainedModel):
    """A child that finds where in a text the answer to a question begins and ends."""

    accepts_loss_kwargs = False

    def __init__(self, config: MagicBertConfig) -> None:
        super().__init__(config)
        self.bert = MagicBertModel(config)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **more: Any,
    ) -> QuestionAnsweringModelOutput:
        """Score every token as the first and the last one of the answer.

        Parameters
        ----------
        start_positions, end_positions
            ``(batch,)``; those outside the sequence have no part in the loss.
        """
        body = _body(self, input_ids, attention_mask, more)
        start, end = self.qa_outputs(body.last_hidden_state).unbind(-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = self.loss_function(start, end, start_positions, end_positions)
        return QuestionAnsweringModelOutput(
            loss=loss, start_logits=start, end_logits=end, hidden_states=body.hidden_states
        )


def _body(
    model: MagicBertPreTrainedModel, input_ids: Tensor, mask: Tensor | None, more: dict[str, Any]
) -> BaseModelOutput:
    check_options(more)
    wanted = more.get("output_hidden_states")
    return model.bert(input_ids, mask, output_hidden_states=wanted, return_dict=True)

