"""Search spaces of the MAGIC paper as plain NNI model spaces, usable by any NNI strategy."""

from search_spaces.bert import BertSpace

__all__ = ["BertSpace"]
