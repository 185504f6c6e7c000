"""The wheel holds the four packages and nothing else, and what it installs answers quickly."""

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("features", "models", "pipeline", "flows")
HEAVY = ("tensorflow", "keras", "mlflow", "prefect", "sklearn", "numba", "pyarrow", "pandas", "numpy")


def run(*command: str, cwd: Path, installed: Path | None = None) -> str:
    environment = {**os.environ, **({"PYTHONPATH": str(installed)} if installed else {})}
    done = subprocess.run(  # noqa: S603 (our own commands)
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), cwd=ROOT)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    run("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(wheel), cwd=folder)
    return folder


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: Path) -> None:
    """Every source file of the packages is in the wheel; beside them there is only the wheel's own metadata."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == sources


def test_the_installed_command_prints_its_help(installed: Path, tmp_path: Path) -> None:
    """What was installed, not this folder, answers --help and names the exit codes."""
    assert "Exit codes" in run("-m", "flows.cli", "--help", cwd=tmp_path, installed=installed)
    where = run("-c", "import flows; print(flows.__file__)", cwd=tmp_path, installed=installed)
    assert Path(where.strip()).is_relative_to(installed)


def test_help_imports_nothing_heavy(installed: Path, tmp_path: Path) -> None:
    """The command can be imported without any of the large libraries, and answers within a second."""
    code = f"import sys, flows.cli; print(sorted(set(sys.modules) & set({HEAVY})))"
    assert run("-c", code, cwd=tmp_path, installed=installed).strip() == "[]"
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        run("-m", "flows.cli", "--help", cwd=tmp_path, installed=installed)
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 1.0
