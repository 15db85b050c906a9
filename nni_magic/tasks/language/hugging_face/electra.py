"""ELECTRA [Clark2020]_: a small generator fills masked tokens, a child finds what it replaced.

::

    loss = loss of the generator + 50 * loss of the discriminator

The generator has the child's operators at a third of the width, and the child's embeddings of
tokens and positions. Operators that name a width of their own, such as ``ffn832``, keep it.

References
----------
.. [Clark2020] K. Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than
   Generators", ICLR 2020.
"""

from __future__ import annotations

import math
import re
from typing import cast

import nni_bootstrap  # noqa: F401
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization
from transformers.modeling_outputs import MaskedLMOutput

from search_spaces.bert_modules import MaskedLanguageHead

from .configuration import MagicBertConfig
from .heads import MagicBertForPreTraining
from .modeling import MagicBertLayer, MagicBertPreTrainedModel

__all__ = ["DISCRIMINATOR_WEIGHT", "MagicBertForElectra", "generator_width"]

DISCRIMINATOR_WEIGHT = 50.0
"""Weight of the loss of replaced tokens, the paper's."""


def generator_width(config: MagicBertConfig) -> int:
    """A third of the hidden width, rounded to what the heads of all layers divide.

    >>> generator_width(MagicBertConfig(operators=["mha12", "ffn"], hidden_size=768))
    252
    """
    found = [re.fullmatch(r"mha(\d+)", name) for name in config.operators]
    heads = math.lcm(*(int(match[1]) for match in found if match))
    return heads * max(1, round(config.hidden_size / 3 / heads))


class MagicBertForElectra(MagicBertPreTrainedModel):
    """A child with a generator beside it, for its pre-training alone.

    Parameters
    ----------
    config
        Of the child.

    Attributes
    ----------
    discriminator : MagicBertForPreTraining
        What is kept of the training.
    """

    accepts_loss_kwargs = False

    def __init__(self, config: MagicBertConfig) -> None:
        super().__init__(config)
        self.discriminator = MagicBertForPreTraining(config)
        embedding, width = cast(int, config.embedding_size), generator_width(config)
        sizes = {**config.to_dict(), "hidden_size": width, "embedding_size": None}
        narrow = MagicBertConfig(**sizes)
        self.project = nn.Linear(embedding, width)
        self.layers = nn.ModuleList(MagicBertLayer(name, narrow) for name in config.operators)
        self.mlm_head = MaskedLanguageHead(width, config.vocab_size, embedding)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise the generator's operators by their fan-in, as the child's are."""
        super()._init_weights(module)
        if isinstance(module, (nn.Linear, nn.Conv1d)) and module in set(self.layers.modules()):
            initialization.normal_(module.weight, std=module.weight[0].numel() ** -0.5)

    def generate(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Predict every token, ``(batch, seq, vocabulary)``."""
        stem = self.discriminator.bert.stem
        hidden = self.project(stem.embed(input_ids))
        for layer in self.layers:
            hidden = layer(hidden, attention_mask)
        logits: Tensor = self.mlm_head(hidden, stem.token.weight)
        return logits

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> MaskedLMOutput:
        """Compute both losses.

        In training the generator's tokens are drawn; in evaluation they are the likeliest ones, so
        that losses can be compared.

        Parameters
        ----------
        input_ids, attention_mask
            As for masked-language modelling, ``(batch, seq)``.
        labels
            The tokens that belong to the masked places, and -100 elsewhere.

        Returns
        -------
        MaskedLMOutput
            The weighted sum of the losses, and the generator's logits.
        """
        if labels is None:
            raise TypeError("labels is None; accepted are the tokens at the masked places")
        logits = self.generate(input_ids, attention_mask)
        masked = labels != -100
        loss = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="sum")
        loss = loss / masked.sum().clamp(min=1)  # a small batch may have none
        original = torch.where(masked, labels, input_ids)
        drawn = torch.where(masked, self._filled(logits.detach()), input_ids)
        found = self.discriminator(drawn, attention_mask, labels=(drawn != original).long())
        return MaskedLMOutput(loss=loss + DISCRIMINATOR_WEIGHT * found.loss, logits=logits)

    def _filled(self, logits: Tensor) -> Tensor:
        if self.training:
            noise = -torch.empty_like(logits, dtype=torch.float32).exponential_().log()
            return (logits.float() + noise).argmax(-1)  # a draw from the softmax
        return logits.argmax(-1)

    def get_input_embeddings(self) -> nn.Module:
        """Give the token embeddings that both share."""
        return self.discriminator.get_input_embeddings()

