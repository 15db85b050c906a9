"""The programs that users run, ``nni-magic`` or ``python -m nni_magic.programs``.

Reading settings and ``--help`` need neither torch nor NNI; a program loads what it runs.
"""
