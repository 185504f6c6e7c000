"""Jobs on a real Prefect API: what is recorded, and what is tried again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.states import Failed
from prefect.testing.utilities import prefect_test_harness

from features.errors import CaptureError, FlowtagError, InputError, ServiceError
from flows import jobs
from flows.tasks import may_help, register_detector
from pipeline.config import load
from pipeline.settings import Settings


@pytest.fixture(scope="module", autouse=True)
def prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    overrides = [f"state.folder={tmp_path / 'state'}", "mlflow.tracking_uri=postgresql://me:secret@host/db"]
    return load(overrides=overrides, environment={}).settings


def test_a_job_is_recorded(small: Path, settings: Settings) -> None:
    """The run, its tasks by readable names, their states and the table of counts are in Prefect; no password is."""
    made = jobs.ingest([small / "demo-score.pcap"], settings)
    assert [result.path.parent.name for result in made] == ["features", "labelled"]
    with get_client(sync_client=True) as client:
        (run,) = [one for one in client.read_flow_runs() if one.name == "ingest demo-score.pcap"]
        assert run.state_name == "Completed"
        assert "secret" not in run.model_dump_json()
        (shown,) = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["counts"])))
        assert shown.type == "table"
        assert all(name in str(shown.data) for name in ("features", "labelled", "packets_read", "tag.dos"))


def test_an_error_of_ours_comes_out_as_it_was(tmp_path: Path, settings: Settings) -> None:
    """What a stage raises leaves the job unchanged, and the run is a failed one."""
    with pytest.raises(CaptureError, match="cannot be opened"):
        jobs.ingest([tmp_path / "none.pcap"], settings)
    with get_client(sync_client=True) as client:
        (run,) = [one for one in client.read_flow_runs() if one.name == "ingest none.pcap"]
    assert run.state_name == "Failed"


@pytest.mark.parametrize(("error", "tries"), [(ServiceError("gone"), 3), (InputError("wrong"), 1)])
def test_only_a_service_is_tried_again(error: FlowtagError, tries: int) -> None:
    """A task that registers tries again when a service failed, and at once gives up on a wrong input."""
    asked: list[int] = []

    @task(retries=2, retry_condition_fn=may_help, cache_policy=NO_CACHE)
    def fail() -> None:
        asked.append(1)
        raise error

    with pytest.raises(type(error)):
        flow(fail)()
    assert len(asked) == tries


def test_the_condition_alone() -> None:
    """May help: yes for a service, no for anything else; and the registering task asks it."""
    errors = (ServiceError("gone"), InputError("wrong"), ValueError("bug"))
    assert [may_help(None, None, Failed(data=error)) for error in errors] == [True, False, False]  # type: ignore[arg-type]  # unused
    assert register_detector.retry_condition_fn is may_help
    assert register_detector.retries == 3
