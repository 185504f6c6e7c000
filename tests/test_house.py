"""The house rules, checked by their tools: lint, format, types, layers, docs made from code."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 (our own tools)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("command", ["check", "format --check"])
def test_lint(command: str) -> None:
    """Ruff finds nothing."""
    run(sys.executable, "-m", "ruff", *command.split(), ".")


def test_types() -> None:
    """Mypy in strict mode finds nothing in the four packages."""
    run(sys.executable, "-m", "mypy")


def test_layers() -> None:
    """Flows import pipeline, pipeline imports models, models import features, and nothing looks back."""
    run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")


def test_feature_reference_is_up_to_date() -> None:
    """docs/features.md is what docs/make_features.py prints."""
    made = run(sys.executable, "docs/make_features.py")
    assert made == (ROOT / "docs/features.md").read_text("utf-8"), "python docs/make_features.py > docs/features.md"


def test_no_tests_package() -> None:
    """No __init__.py below tests/: otherwise `import features` finds the tests."""
    assert not list((ROOT / "tests").rglob("__init__.py"))
