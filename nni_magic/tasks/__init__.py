"""What is trained on what: search spaces with their data and evaluators.

The settings and the rows of :mod:`nni_magic.tasks.registry` need neither torch nor NNI.
"""
