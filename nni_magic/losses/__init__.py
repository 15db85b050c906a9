"""Terms that a method adds to the loss of the evaluator."""

import nni_bootstrap  # noqa: F401
