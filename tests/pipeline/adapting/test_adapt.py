"""A detector adapted to a network: what the new version is, what it costs, and what cannot be adapted to."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from features.errors import InputError, ModelError, ModelMismatch, NoChampion, SchemaError
from features.schema import COLUMNS
from features.table import GIVEN
from models.dataset import feature_matrix
from models.detector import VALIDATION_FILE, Detector, weights_digest
from models.registry import resolve
from pipeline.adapting.adapt import adapt
from pipeline.adapting.adapted import Adapted, Sources, as_text
from pipeline.config import load
from pipeline.manifest import StageResult, digest
from pipeline.rechoose import rechoose
from pipeline.register import champion, register, store
from pipeline.registered import Budget
from pipeline.settings import Settings
from pipeline.train import Tables
from tests.pipeline.conftest import World

VERSION_1 = "models:/flowtag/1"
SLOWER = 300


@dataclass(frozen=True)
class Away:
    """A registry whose version 1 is the world's detector, and another network's traffic without and with attacks."""

    settings: Settings
    clean: Path
    mixed: Path

    def folder(self, version: int) -> Path:
        """Return where the files of a version lie."""
        return resolve(store(self.settings), f"models:/flowtag/{version}").directory


@pytest.fixture(scope="module")
def away(world: World, tmp_path_factory: pytest.TempPathFactory) -> Away:
    folder = tmp_path_factory.mktemp("away")
    chosen = [f"state.folder={folder / 'state'}", "verdict.silent_rate=0.9", "thresholds.false_alarm_budget=0.005"]
    settings = load(overrides=chosen, environment={}).settings
    copy = shutil.copytree(world.trained.path, folder / "state" / "detectors" / "flowtag")
    trained = StageResult(copy, world.trained.rows, world.trained.counts, world.trained.digest, reused=True)
    register(trained, Tables([world.labelled["demo-train"].path], [world.labelled["demo-valid"].path]), settings)
    return Away(settings, strange(world, folder / "clean.parquet", 0.0), strange(world, folder / "mixed.parquet", 0.05))


def strange(world: World, path: Path, attacks: float) -> Path:
    """Write benign flows, slow ones and with the neighbours of attack flows, and among them a share of true attacks.

    So look flows of a network that is larger and busier than the detector knows: it takes them for attacks.
    """
    schema = pq.read_schema(world.flows["demo-score"].path)
    table = pq.read_table(world.labelled["demo-score"].path)
    tagged = pa.compute.greater(pa.compute.list_value_length(table["tags"]), 0)
    attack = table.filter(tagged).select(schema.names)
    benign = table.filter(pa.compute.invert(tagged)).select(schema.names)
    random = np.random.default_rng(3)
    neighbours = attack.take(pa.array(random.integers(0, len(attack), len(benign))))
    for column in COLUMNS:
        if column.group == "context":
            benign = benign.set_column(benign.column_names.index(column.name), column.name, neighbours[column.name])
        elif column.role == "feature" and column.unit == "s":
            slower = pa.compute.multiply(benign[column.name], pa.scalar(SLOWER, schema.field(column.name).type))
            benign = benign.set_column(benign.column_names.index(column.name), column.name, slower)
    real = attack.take(pa.array(random.permutation(len(attack))[: int(attacks * len(benign))]))
    starts = benign["start"].take(pa.array(random.integers(0, len(benign), len(real))))
    real = real.set_column(real.column_names.index("start"), "start", starts)
    pq.write_table(pa.concat_tables([benign, real]).cast(schema), path)
    return path


@pytest.fixture(scope="module")
def lifted(away: Away) -> Adapted:
    """Adapted by clean traffic alone, and not asked to be put in use."""
    return adapt(Sources((away.clean,)), VERSION_1, False, away.settings)


def test_thresholds_rise_until_the_budget_is_kept(away: Away, lifted: Adapted) -> None:
    """A new version with the same weights keeps the budget on traffic where its parent floods; nobody uses it yet."""
    before, after = (Detector.load(away.folder(n)) for n in (1, lifted.registered.version))
    assert weights_digest(after.network) == weights_digest(before.network)
    assert lifted.before.fired > 0.02
    assert lifted.after.fired < lifted.before.fired / 4
    assert (np.asarray(after.card.thresholds.detecting) >= np.asarray(before.card.thresholds.detecting)).all()
    assert lifted.truth == "stored validation flows"
    assert lifted.before.silent_rate == before.card.thresholds.silent_rate
    assert lifted.after.silent_rate == after.card.thresholds.silent_rate
    assert (lifted.after.silent_rate or 0) >= (lifted.before.silent_rate or 0)
    assert (lifted.registered.in_use, lifted.accepted) == (False, True)
    assert champion(away.settings).version != lifted.registered.version


def test_the_guard_knows_the_network(lifted: Adapted) -> None:
    """What was unlike all that the parent knows is no stranger to the adapted version."""
    assert (lifted.before.far or 0) > 0.3
    assert lifted.after.far is not None
    assert lifted.after.far < lifted.limit


def test_unknown_is_what_is_unlike_the_network(away: Away, lifted: Adapted) -> None:
    """Local flows that its parent calls unknown are not to the adapted version; no cut is left from other flows."""
    before, after = (Detector.load(away.folder(n)) for n in (1, lifted.registered.version))
    assert after.card.unknown
    assert after.card.unknown.silent_rate is None
    assert after.validation
    assert after.validation.anomalies is None
    flows = feature_matrix(pq.read_table(away.clean).combine_chunks().to_batches()[0], after.card.feature_names)
    anomalies = [one.answers(flows).anomalies for one in (before, after)]
    assert np.median(anomalies[1]) < np.median(anomalies[0])
    assert after.unknown(after.answers(flows)).mean() < 0.02


def test_attacks_in_the_traffic_are_set_aside(away: Away, lifted: Adapted) -> None:
    """With 5 % attacks mixed in silence costs hardly more than without; believing all traffic benign costs more."""
    trusting = away.settings.model_copy(update={"adapt": away.settings.adapt.model_copy(update={"attack_share": 0.0})})
    aside, trusted = (adapt(Sources((away.mixed,)), VERSION_1, False, one) for one in (away.settings, trusting))
    assert aside.set_aside > 0
    assert aside.set_aside == sum(one.flows for one in aside.suspects)
    assert all(2 * one.fired >= one.flows for one in aside.suspects)
    assert (aside.after.silent_rate or 0) <= (lifted.after.silent_rate or 0) + 0.05
    assert (trusted.after.silent_rate or 0) > (aside.after.silent_rate or 0) + 0.05
    assert "look like attacks" in as_text(aside)


def test_replayed_flows_teach_what_is_benign_here(world: World, away: Away, lifted: Adapted) -> None:
    """With the old flows replayed the network learns the local traffic; asked for and accepted, it is in use."""
    tuned = adapt(Sources((away.clean,), (), (world.labelled["demo-train"].path,)), VERSION_1, True, away.settings)
    assert tuned.learned > tuned.used
    assert tuned.truth == "held-out labelled flows"
    assert tuned.after.fired <= lifted.before.fired / 4
    assert (tuned.after.silent_rate or 0) <= (tuned.before.silent_rate or 0) + 0.1
    assert tuned.registered.in_use
    assert champion(away.settings).version == tuned.registered.version
    after = Detector.load(champion(away.settings).folder)
    before = Detector.load(away.folder(1))
    assert weights_digest(after.network) != weights_digest(before.network)
    assert before.card.calibration is not None
    assert after.validation
    assert after.card.calibration is not None
    assert after.card.calibration.slopes != before.card.calibration.slopes
    assert tuned.calibrated
    assert as_text(tuned).splitlines()[1].endswith(f"fine-tuned on {tuned.learned:,} flows")


def test_some_labelled_flows_without_the_old_ones(world: World, away: Away) -> None:
    """Labelled flows alone move the weights a little, and their last fifth is what silence is measured on."""
    few = world.labelled["demo-score"]
    found = adapt(Sources((away.clean,), (few.path,)), VERSION_1, False, away.settings)
    assert found.learned == few.rows - int(0.2 * few.rows)
    assert found.truth == "held-out labelled flows"


def test_labels_say_what_of_the_traffic_is_an_attack(world: World, away: Away, tmp_path: Path) -> None:
    """Of one address nobody can be set aside: attacks, 5 % here, lift thresholds above themselves; not with labels."""
    mixed, truth = pq.read_table(away.mixed), pq.read_table(world.labelled["demo-score"].path)
    at = mixed.column_names.index("src_ip")
    local, few = tmp_path / "one-address.parquet", tmp_path / "few.parquet"
    pq.write_table(mixed.set_column(at, mixed.schema.field(at), pa.repeat(mixed["src_ip"][0], len(mixed))), local)
    pq.write_table(truth.take(pa.array(range(0, len(truth), 5))), few)
    replayed = (world.labelled["demo-train"].path,)
    unaware, aware = (
        adapt(Sources((local,), labels, replayed), VERSION_1, False, away.settings) for labels in ((), (few,))
    )
    assert unaware.set_aside == aware.set_aside == 0
    assert 2 * unaware.after.fired < aware.after.fired <= 0.06
    assert (aware.after.false_alarm_rate or 0) <= 0.01


def test_lineage_is_in_the_registry(away: Away, lifted: Adapted) -> None:
    """The version says of which version and run it was made, by which tables, and with how many flows."""
    client = MlflowClient(away.settings.tracking_uri, away.settings.tracking_uri)
    version = client.get_model_version("flowtag", str(lifted.registered.version))
    assert version.tags["flowtag.parent"] == lifted.parent == "flowtag version 1"
    assert version.tags["flowtag.parent_run"] == resolve(store(away.settings), VERSION_1).run_id
    assert version.tags["flowtag.local_0"] == digest(away.clean)
    assert int(version.tags["flowtag.flows_used"]) == lifted.used
    assert lifted.used + lifted.set_aside + lifted.held_out == pq.read_metadata(away.clean).num_rows
    logged = client.get_run(lifted.registered.run_id).data
    assert logged.metrics["adapt.after.fired"] == lifted.after.fired
    assert logged.params["adapt.attack_share"] == "0.05"


def test_a_run_that_was_broken_off_goes_on(away: Away, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the registry has it: the second run registers what the first one made; the third does nothing."""
    sources = Sources((Path(shutil.copy(away.clean, tmp_path / "again.parquet")),))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.adapting.adapt.enter", killed)
        with pytest.raises(KeyboardInterrupt):
            adapt(sources, VERSION_1, False, away.settings)
    made = away.settings.state.root / "adapted" / "flowtag-1-again" / "detector"
    content = digest(made)
    second, third = (adapt(sources, VERSION_1, False, away.settings) for _ in range(2))
    assert digest(made) == content
    assert asdict(second) == asdict(third)
    assert json.loads(json.dumps(asdict(second)))["after"]["fired"] == second.after.fired


def test_a_detector_without_stored_scores(away: Away, lifted: Adapted) -> None:
    """What it costs in silence is unknown, so that the verdict refuses it, and being asked for changes nothing."""
    (away.folder(lifted.registered.version) / VALIDATION_FILE).unlink()
    parent = f"models:/flowtag/{lifted.registered.version}"
    found = adapt(Sources((away.clean,)), parent, True, away.settings)
    assert (found.accepted, found.registered.in_use, found.truth, found.after.silent_rate) == (False, False, "", None)
    assert "unknown" in found.registered.verdict


def test_too_little_traffic(away: Away, tmp_path: Path) -> None:
    """A hundred flows say nothing of a budget of one in two hundred."""
    few = tmp_path / "few.parquet"
    pq.write_table(pq.read_table(away.clean).slice(0, 100), few)
    with pytest.raises(InputError, match="too little local traffic"):
        adapt(Sources((few,)), VERSION_1, False, away.settings)


def test_traffic_of_another_view(away: Away, tmp_path: Path) -> None:
    """A table that gives few columns: what is missing is named, for the detector asked for and for those in use."""
    table, narrow = pq.read_table(away.clean), tmp_path / "narrow.parquet"
    given = json.dumps(["fwd_packets", "bwd_packets"]).encode()
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, GIVEN: given}), narrow)
    with pytest.raises(ModelMismatch, match="lack columns"):
        adapt(Sources((narrow,)), VERSION_1, False, away.settings)
    with pytest.raises(ModelMismatch, match="every detector in use"):
        adapt(Sources((narrow,)), "", False, away.settings)


def test_no_such_detector_or_table(away: Away, tmp_path: Path) -> None:
    """A version that is not there, a table of another schema, one without labels where they are needed."""
    with pytest.raises(NoChampion):
        adapt(Sources((away.clean,)), "models:/flowtag/99", False, away.settings)
    table, other = pq.read_table(away.clean), tmp_path / "other.parquet"
    pq.write_table(table.drop_columns([table.column_names[-1]]), other)
    with pytest.raises(SchemaError, match="another schema version"):
        adapt(Sources((other,)), VERSION_1, False, away.settings)
    with pytest.raises(SchemaError, match="no labels"):
        adapt(Sources((away.clean,), (away.mixed,)), VERSION_1, False, away.settings)


def test_other_thresholds_of_an_adapted_detector(away: Away, lifted: Adapted) -> None:
    """Choosing them on the training's validation flows would undo the adaptation: it is refused, with what to do."""
    with pytest.raises(ModelError, match="flowtag adapt"):
        rechoose(Budget(share=0.01), f"models:/flowtag/{lifted.registered.version}", away.settings)
