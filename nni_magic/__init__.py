"""MAGIC [Xu2022] as one-shot strategies for NNI 3.0.

``nni_magic.strategies`` holds what most users need: ``SPOS``, ``MagicT``, ``MagicA`` and
``MagicAT``. Importing this package patches nothing.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search, ICML 2022.
"""

__version__ = "0.4.0.dev0"
