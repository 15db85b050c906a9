"""Text: from a corpus to BERT supernets trained by masked language modelling."""
