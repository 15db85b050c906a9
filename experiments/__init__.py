"""Experiments of nni-magic: data, evaluators and scripts."""
