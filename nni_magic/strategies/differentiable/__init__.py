"""Strategies that train a mixture of all candidates, and with it which of them is chosen."""
