"""The body of a child as a model of ``transformers``, made of the search space's own modules.

Parameters have the names of the child that NNI builds, so that weights go from one to the other
as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import nni_bootstrap  # noqa: F401
from torch import Tensor, nn
from transformers import PreTrainedModel, initialization
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils.generic import can_return_tuple

from search_spaces.bert_candidates import build_candidate
from search_spaces.bert_modules import MaskedLanguageHead, Residual, Stem
from search_spaces.bert_operators import TokenStates

from .configuration import MagicBertConfig

__all__ = ["MagicBertModel", "MagicBertPreTrainedModel", "check_options"]

OPTIONS = {"num_items_in_batch", "output_hidden_states", "return_dict"}
"""What models take besides their inputs and labels."""


def check_options(given: Mapping[str, Any]) -> None:
    """Refuse what has no effect here, such as segments of texts, or attention probabilities.

    Raises
    ------
    TypeError
        Naming the first one that is neither ``None`` nor ``False``.
    """
    for name, value in given.items():
        if name not in OPTIONS and value is not None and value is not False:
            raise TypeError(
                f"{name} is given; accepted are input_ids, attention_mask, labels, "
                f"{', '.join(sorted(OPTIONS))}"
            )


class MagicBertLayer(GradientCheckpointingLayer):
    """One operator with its residual connection; its output is the hidden state H_n."""

    def __init__(self, name: str, config: MagicBertConfig) -> None:
        super().__init__()
        self.operator = build_candidate(name, config.hidden_size, config.hidden_dropout_prob)
        self.residual = Residual(config.hidden_size, config.hidden_dropout_prob)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Compute H_n from H_{n-1}, both ``(batch, seq, hidden)``; mask ``(batch, seq)``."""
        return self.residual(hidden, self.operator(TokenStates(hidden, attention_mask)))


class MagicBertPreTrainedModel(PreTrainedModel):
    """What all models share: how they are saved, loaded and initialised."""

    config_class = MagicBertConfig
    base_model_prefix = "bert"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise heads as the search space does; what was loaded keeps its values."""
        super()._init_weights(module)
        if isinstance(module, MaskedLanguageHead):
            initialization.zeros_(module.bias)

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Embedding:
        """Resize the vocabulary, which is then no longer the one of the configuration's digest."""
        embedding: nn.Embedding = super().resize_token_embeddings(*args, **kwargs)
        self.config.vocab_digest = None
        return embedding


class MagicBertModel(MagicBertPreTrainedModel):
    """Embeddings and layers of a child, without a head.

    Parameters
    ----------
    config
        Sizes and operators.
    """

    def __init__(self, config: MagicBertConfig) -> None:
        super().__init__(config)
        self.stem = Stem(
            config.hidden_size, config.vocab_size, config.max_position_embeddings,
            cast(int, config.embedding_size), config.hidden_dropout_prob,
        )  # fmt: skip
        self.layers = nn.ModuleList(MagicBertLayer(name, config) for name in config.operators)
        self.gradient_checkpointing = False
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise operators by their fan-in, as the search space does; the rest as heads."""
        super()._init_weights(module)
        if isinstance(module, (nn.Linear, nn.Conv1d)) and module is not self.stem.project:
            initialization.normal_(module.weight, std=module.weight[0].numel() ** -0.5)

    def get_input_embeddings(self) -> nn.Module:
        """Give the token embeddings."""
        return self.stem.token

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the token embeddings."""
        self.stem.token = value

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **more: Any,
    ) -> BaseModelOutput:
        """Compute the hidden states.

        Parameters
        ----------
        input_ids
            Integers, ``(batch, seq)``, of at most ``max_position_embeddings`` columns.
        attention_mask
            ``(batch, seq)``, non-zero at real tokens, zero at padding, which is on the right.
            Default: no padding.
        output_hidden_states
            Whether to give those of all layers, the embeddings first; by default as the
            configuration says.

        Returns
        -------
        BaseModelOutput
            ``last_hidden_state``, ``(batch, seq, hidden)``, and ``hidden_states`` if wanted.

        Raises
        ------
        ValueError
            If there are more columns than that.
        TypeError
            If another option is given, such as ``token_type_ids``.
        """
        check_options(more)
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        hidden = self.stem(input_ids)
        every: tuple[Tensor, ...] = (hidden,)
        for layer in self.layers:
            hidden = layer(hidden, attention_mask)
            every = (*every, hidden)
        return BaseModelOutput(hidden, every if output_hidden_states else None)
