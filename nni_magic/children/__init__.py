"""Arithmetic on the samples that describe children: constraints, costs, draws inside a budget."""
