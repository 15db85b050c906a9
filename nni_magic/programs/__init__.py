"""The programs that users run, and the trials of ``nnictl`` experiments."""

import nni_bootstrap  # noqa: F401
