"""What is committed of measurements can be repeated anywhere."""

import re
from pathlib import Path

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
READ = {".json", ".md", ".yml"}
FOLDER = re.compile(r"(?<![\w.])/(home|media|mnt|opt|root|tmp|work)/")


def test_no_folder_of_a_machine_is_named():
    files = [path for name in ("plans", "records", "results")
             for path in (EXPERIMENTS / name).rglob("*") if path.suffix in READ]  # fmt: skip
    assert len(files) > 100
    assert [path.name for path in files if FOLDER.search(path.read_text())] == []
