"""The matrix of NNI's hub, and the page that shows it."""

import re
import time
from pathlib import Path

import pytest
from foreign.rows import row_lines

from experiments import compatibility
from experiments.compatibility import attempt, lines, matrix, verdict, written
from experiments.hub_cells import COLUMNS, SPACES

PAGE = Path(__file__).parents[2] / "docs/compatibility.md"


def works(make):
    make()


def waits(make):
    time.sleep(60)


def breaks(make):
    raise ValueError("no way\nat all")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(compatibility, "SPACES", {"A": dict, "B": dict})
    columns = {"works": works, "waits": waits, "breaks": breaks}
    monkeypatch.setattr(compatibility, "COLUMNS", columns)


def test_cell_is_run_within_its_time(small):
    assert attempt("A", "works") == ""
    assert attempt("A", "breaks") == "ValueError: no way\nat all"
    assert attempt("A", "waits", limit=0.2) == "took more than 0 s"


def test_only_what_is_meant_to_be_is_a_refusal(monkeypatch):
    monkeypatch.setattr(compatibility, "REFUSED", {("A", "*"): ("no way", "it has no meaning")})
    assert verdict("A", "works", "") == "works"
    assert verdict("A", "breaks", "ValueError: no way\nat all") == "refused: it has no meaning"
    assert verdict("A", "breaks", "ValueError: why") == "fails: ValueError: why"
    other = "NotRebuiltError: built anew it has other weights"
    assert verdict("DARTS, one width", "export", other).startswith("partly: ")
    assert verdict("ProxylessNAS", "export", other) == f"fails: {other}"
    assert verdict("B", "breaks", "ValueError: no way\nat all") == "fails: ValueError: no way"
    assert verdict("A", compatibility.STOCK, "ValueError: no way") == "fails: ValueError: no way"


def test_matrix_is_laid_out_with_notes_and_put_in_its_place(small):
    cells = {(a, b): found for a, b, found in matrix(["A", "B"], ["works", "breaks"])}
    text = lines(cells)
    assert text.splitlines() == [
        "|  | works | breaks |", "| --- | --- | --- |", "| `A` | works | fails [1] |",
        "| `B` | works | fails [1] |", "", "1. ValueError: no way",
    ]  # fmt: skip
    page = written(f"before\n{compatibility.BEGIN}\nold\n{compatibility.END}\nbehind\n", text)
    assert written(page, text) == page
    assert page.startswith("before\n") and page.endswith("\nbehind\n") and "old" not in page


def on_the_page():
    """Space and column of the page's matrix -> the cell, without the number of its note."""
    text = PAGE.read_text().partition(compatibility.BEGIN)[2].partition(compatibility.END)[0]
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:2] == "| "]
    header, *rows = [row for row in table if row[0] != "---"]
    return {
        (space.strip("`"), column.strip("`")): re.sub(r" \[\d+\]", "", cell)
        for space, *cells in rows
        for column, cell in zip(header, cells, strict=True)
    }


def test_page_has_every_space_and_column_and_nothing_fails():
    found = on_the_page()
    assert found.keys() == {(space, column) for space in SPACES for column in COLUMNS}
    ours = {cell for (_, column), cell in found.items() if column in list(COLUMNS)[1:]}
    assert ours <= {"works", "refused", "partly"}
    partly = {place for place, cell in found.items() if cell == "partly"}
    assert {column for _, column in partly} == {"export"}


def test_page_has_every_row_of_the_table_of_projects():
    assert set(row_lines()) <= set(PAGE.read_text().splitlines())


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("space", SPACES)
def test_page_says_what_the_program_finds(space):
    found = {(a, b): cell.split(":")[0] for a, b, cell in matrix([space], list(COLUMNS))}
    assert found == {place: cell for place, cell in on_the_page().items() if place[0] == space}
