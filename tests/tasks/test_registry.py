"""The rows of tasks."""

import subprocess
import sys

import pytest

from nni_magic.tasks.registry import TASKS, task


@pytest.mark.parametrize("name", TASKS)
def test_row_has_the_domain_and_its_settings(name):
    domain = task(name).load()
    assert domain.settings_type is task(name).settings
    assert domain(task(name).settings()).baseline_name


def test_unknown_task_is_named():
    with pytest.raises(ValueError, match="task is 'go'; accepted are 'bert', 'proxyless'"):
        task("go")


def test_reading_the_rows_loads_neither_torch_nor_nni():
    program = (
        "import sys, nni_magic.tasks.registry\n"
        "print({'torch', 'nni', 'numpy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
