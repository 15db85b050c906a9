"""Score children with the weights that they inherit, and keep the best."""

import nni_bootstrap  # noqa: F401
