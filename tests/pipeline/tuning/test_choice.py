"""What a user may choose of a study."""

import pytest

from features.context import LONG_S
from features.errors import ConfigError
from pipeline.tuning.choice import GAP_S, FoldChoice, TuneChoice


@pytest.mark.parametrize(
    ("values", "word"), [({"most": 2}, "--folds"), ({"by": "row"}, "--by"), ({"gap_s": -1.0}, "--gap-s")]
)
def test_folds_that_cannot_be(values: dict[str, object], word: str) -> None:
    """Two folds, folds of rows and a negative gap are refused by the option's name."""
    with pytest.raises(ConfigError, match=word):
        FoldChoice(**values)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"trials": 0}, "--trials"),
        ({"workers": 0}, "--workers"),
        ({"searched": ()}, r"loss\.lambda_"),
        ({"searched": ("loss.gamma",)}, r"(?s)loss\.lambda_.*loss\.gamma"),
    ],
)
def test_studies_that_cannot_be(values: dict[str, object], word: str) -> None:
    """No trials, no workers, nothing to search and an unknown key are refused; keys that can be searched are named."""
    with pytest.raises(ConfigError, match=word):
        TuneChoice(**values)  # type: ignore[arg-type]  # wrong on purpose


def test_the_gap_is_as_long_as_context_looks() -> None:
    """The default gap is the reach of the longest window, which is declared elsewhere."""
    assert GAP_S == LONG_S
