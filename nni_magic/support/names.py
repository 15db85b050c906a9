"""Names that users' models are likely to have."""

__all__ = ["MASK_ARGUMENT"]

MASK_ARGUMENT = "attention_mask"
"""Padding mask of a model's ``forward`` unless another is named; it need not have this one."""
