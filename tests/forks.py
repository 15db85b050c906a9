"""What processes a test has left behind."""

import psutil
import pytest

_before = set()


@pytest.fixture(autouse=True)
def processes_before():
    """Remember what other tests of this process have started, such as a fork server."""
    _before.clear()
    _before.update(psutil.Process().children())


def no_process_is_left():
    return set(psutil.Process().children()) <= _before
