"""Loss settings refuse what they cannot mean."""

import pytest

from features.errors import ConfigError
from models.losses import LossSettings


def test_default_is_bounded_with_lambda_3() -> None:
    """Without any choice the loss is the one that cannot collapse."""
    assert (LossSettings().base, LossSettings().penalty, LossSettings().lambda_) == ("bce", "bounded", 3.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("base", "mse"),
        ("penalty", "loud"),
        ("reduction", "max"),
        ("lambda_", -0.1),
        ("lambda_", float("nan")),
        ("lambda_", float("inf")),
        ("focal_gamma", -1.0),
        ("focal_alpha", 0.0),
        ("positive_gamma", -1.0),
        ("negative_gamma", -1.0),
        ("margin", 1.0),
        ("label_smoothing", 1.0),
        ("literal_eps", 0.0),
    ],
)
def test_values_out_of_range_are_refused_by_name(field: str, value: object) -> None:
    """An unknown name or a number out of range is a configuration error that names the setting."""
    with pytest.raises(ConfigError, match=f"loss.{field}"):
        LossSettings(**{field: value})  # type: ignore[arg-type]  # wrong on purpose


def test_plain_values_rebuild_the_settings() -> None:
    """to_dict holds everything there is to know."""
    settings = LossSettings("focal", "hit", 1.5, "sum", 1.0, 0.5)
    assert LossSettings(**settings.to_dict()) == settings  # type: ignore[arg-type]  # plain values of all types
