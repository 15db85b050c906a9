"""Values that Hypothesis makes up: such as files hold, and any others."""

from hypothesis import strategies as st

from experiments.faults.nonsense import VALUES
from experiments.faults.words import WORDS

__all__ = ["ANYTHING", "NESTED", "PLAIN"]

PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-3, 50), st.floats(), st.text(max_size=9),
    st.sampled_from([word for word in WORDS if word != "--"]),
)  # fmt: skip
"""What JSON and YAML know, without containers."""

NESTED = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner,
                                                               max_size=2),
    max_leaves=4,
)  # fmt: skip
ANYTHING = st.one_of(NESTED, st.sampled_from(VALUES), st.binary(max_size=4), st.complex_numbers())
