"""What is trained on what: search spaces with their data and evaluators."""

import nni_bootstrap  # noqa: F401
