"""The table counts faults by kind, and says the most that was lost."""

from experiments.faults.tried import Tried, table_of


def test_faults_are_counted_by_part_and_kind():
    found = {
        "kills": [
            Tried("a step", lost={"steps": 3, "scores": 0}),
            Tried("a step", "diverged", lost={"steps": 5}),
            Tried("a write"),
        ],
        "disk": [Tried("a write")],
    }
    rows = [line.split(" | ") for line in table_of(found).splitlines()[2:]]
    assert rows == [
        ["| `kills`", "a step", "2", "1", "5 steps, 0 scores |"],
        ["| `kills`", "a write", "1", "0", " |"],
        ["| `disk`", "a write", "1", "0", " |"],
    ]
