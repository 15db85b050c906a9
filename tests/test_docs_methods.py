"""The tables of docs/methods.md are those of the results that it links."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "methods.md").read_text()
LINK = re.compile(r"\(\.\./(experiments/results/rank_correlation_methods_\w+)\.md\)")


def sections():
    """Every section with a link to a comparison of methods, with its results."""
    for section in re.split(r"^###? ", PAGE, flags=re.MULTILINE):
        if link := LINK.search(section):
            results = json.loads((ROOT / f"{link[1]}.json").read_text())
            yield pytest.param(section, results, id=section.splitlines()[0])


def rows(section):
    """The rows of methods of the first table, each by the names of the columns."""
    [lines, *_] = (part.splitlines() for part in section.split("\n\n") if part.startswith("|"))
    header, *body = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    for cells in body:
        if cells[0].startswith("`"):
            yield cells[0].strip("`"), dict(zip(header[1:], cells[1:], strict=True))


def interval(values, digits):
    mean, n = np.mean(values), len(values)
    reach = scipy.stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5
    return [f"{one:.{digits}f}" for one in (mean, mean - reach, mean + reach)]


def expected(results, name):
    """What the columns should say."""
    times = results.get("times", {}).get(name, {}).values()
    found = results["statistics"]["halves"]["all"]["supernets"][name]
    ranked = found["seeds"].values()
    best = min(np.mean(list(child["truth"].values())) for child in results["children"])
    memory = [one["peak_memory"] for one in results["memory"].get(name, {}).values()]
    cosines = [np.mean(one["cosines"]) for one in results["cosines"].get(name, {}).values()]
    regrets = [one["regret"] for one in ranked]
    if "searched" in results:
        regrets = [one["truth"] - best for one in results["searched"].get(name, {}).values()]
    return {
        "steps": [str(results["plan"]["supernets"][name]["steps"])],
        "time": [f"{one['ratio']:.2f}" for one in times],
        "memory (MiB)": [f"{one / 2**20:.1f}" for one in memory],
        "τ": interval([one["kendall_tau"] for one in ranked], 2),
        "precision@10": [f"{np.mean([one['precision_at']['10'] for one in ranked]):.2f}"],
        "mean loss (nats)": [f"{np.mean(list(found['mean_loss'].values())):.3f}"],
        "cosine of gradients": [f"{np.mean(cosines):.3f}"] if cosines else [],
        "regret": interval(regrets, 3) if regrets else [],
    }


@pytest.mark.parametrize(("section", "results"), list(sections()))
def test_table_is_that_of_the_results(section, results):
    table = dict(rows(section))
    assert list(table) == [
        name
        for name, planned in results["plan"]["supernets"].items()
        if len(results["supernets"].get(name, [])) == len(planned["seeds"])
        and ("steps" in table["spos"] or not name.endswith("_time"))
    ]
    for name, cells in table.items():
        right = expected(results, name)
        said = {column: re.findall(r"-?[\d.]+", cell) for column, cell in cells.items()}
        assert said == {column: right[column] for column in cells}, name


def test_what_is_said_of_nasbench_macro_is_in_the_results():
    """Figures of the text that are in no table of the report."""
    [section] = [one for one in re.split(r"^### ", PAGE, flags=re.M) if "_nasbench_macro_" in one]
    text = " ".join(section.split())
    results = json.loads((ROOT / f"{LINK.search(section)[1]}.json").read_text())
    learn = [
        f"{name}_time" for name in ("alphanet", "delayed_shrinking", "sandwich", "attentive_nas")
    ]
    found = [one["found"] for name in learn for one in results["searched"][name].values()]
    largest = sum(set(child.values()) == {"mb6_5x5"} for child in found)
    assert f"the largest child that they find, {largest} times of {len(found)}" in text
    left_out = [list(child.values()).count("identity") for child in found]
    assert sorted(left_out) == [0] * largest + [1] * (len(found) - largest)
    for name in ("enas", "enas_time"):
        for one in results["searched"][name].values():
            assert set(one["found"].values()) != {"mb6_5x5"}
    trainings = [list(child["truth"].values()) for child in results["children"]]
    error = np.sqrt(np.mean(np.var(trainings, axis=1, ddof=1)) / 3)
    assert f"a standard error of {error:.2f} points" in text
    ranked = results["statistics"]["halves"]["all"]["supernets"]
    pairs = []
    for name, _ in rows(section):
        taus = [one["kendall_tau"] for one in ranked[name]["seeds"].values()]
        cosines = [one["cosines"] for one in results["cosines"][name].values()]
        pairs.append((np.mean(cosines), np.mean(taus)))
    rho, p = scipy.stats.spearmanr(*zip(*pairs, strict=True))
    assert f"over the {len(pairs)} rows the cosine and τ have a Spearman's ρ of {rho:.2f}" in text
    assert f"(p = {p:.2f})" in text
