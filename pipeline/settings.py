"""Every setting there is: section by section, with default, unit and meaning.

A section repeats the names and defaults of the frozen dataclass of the layer below that it becomes; the tests hold the
two together, so that reading the configuration imports neither Keras nor numba.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_serializer,
    field_validator,
    model_validator,
)

from features.errors import ConfigError, masked


def setting(default: object, meaning: str, unit: str = "") -> Any:  # noqa: ANN401 (pydantic's field has any type)
    """Return a field that knows what it means and in which unit it is counted."""
    return Field(default, description=meaning, json_schema_extra={"unit": unit})


def _parted(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


Share = Annotated[float, Field(ge=0, lt=1)]
Portion = Annotated[float, Field(ge=0, le=1)]
Numbers = Annotated[tuple[PositiveInt, ...], BeforeValidator(_parted)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_parted)]
Paces = Annotated[tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat], BeforeValidator(_parted)]


class Section(BaseModel):
    """Values that belong together; frozen, and no others than those named."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StateSection(Section):
    """Where everything is written."""

    folder: Path = setting(Path(".flowtag"), "the one folder that is written to")
    keep: bool = setting(False, "captures: go on where the last run stopped, and keep live flows for the next")

    @field_validator("folder")
    @classmethod
    def _fits_into_a_url(cls, folder: Path) -> Path:
        if set("?#%") & set(str(folder.expanduser().absolute())):
            raise ValueError("a path without ?, # and %, which mean something else in the addresses that MLflow reads")
        return folder

    @property
    def root(self) -> Path:
        """The folder as an absolute path."""
        return self.folder.expanduser().absolute()


class MeterSection(Section):
    """What a flow is, when it begins and ends (becomes features.metering.meter.MeterSettings)."""

    idle_timeout_s: PositiveFloat = setting(60.0, "silence that ends a flow", "s")
    active_timeout_s: PositiveFloat = setting(300.0, "longest life of a flow before it is cut", "s")
    tcp_grace_s: NonNegativeFloat = setting(1.0, "how long stragglers still belong to a closed TCP flow", "s")
    activity_gap_s: PositiveFloat = setting(1.0, "silence that parts two runs of activity within a flow", "s")
    max_flows: PositiveInt = setting(1_000_000, "flows held in memory at once; the oldest is cut beyond", "flows")
    layer: Literal["outer", "inner"] = setting("outer", "which packet is metered where one lies in another (tunnels)")
    vlan_in_key: bool = setting(False, "equal ends in two VLANs, or two VXLAN networks, are two flows")

    @model_validator(mode="after")
    def _grace_within_idle(self) -> Self:
        if self.tcp_grace_s > self.idle_timeout_s:
            raise ValueError("the TCP grace is longer than the idle timeout")
        return self


class IngestSection(Section):
    """How sources are ingested."""

    context: bool = setting(True, "the columns of a flow's neighbours; without, they are null and it is faster")
    processes: NonNegativeInt = setting(
        0, "sources ingested at once, each in a process; 0: as many as pay, with the cores and memory there are"
    )
    recorded: bool = setting(True, "flowtag ingest is recorded by Prefect, whose start takes seconds")


class RecordsSection(Section):
    """How flow records of other tools are read (becomes features.records.settings.RecordSettings)."""

    max_reject_share: Portion = setting(0.05, "share of malformed rows above which a file is refused", "share")
    time_zone: str = setting("UTC", "zone of times that name none, such as Europe/Prague")
    mapping: Path | None = setting(None, "mapping file for a source of your own (docs/flow-records.md)")
    run_rows: PositiveInt = setting(500_000, "rows sorted in memory at once", "rows")
    joined_rows: PositiveInt = setting(1_000_000, "rows of Zeek's other logs that are held to be joined", "rows")
    rejects_kept: PositiveInt = setting(1000, "malformed rows kept with line and reason; all are counted", "rows")


class DetectorSection(Section):
    """What detectors are trained for."""

    view: Literal["auto", "packets", "biflow", "counters", "netflow", "own"] = setting(
        "auto", "columns that are learned from; auto: the largest view that all tables give"
    )


class LabelsSection(Section):
    """How truth is read and joined to flows (becomes features.labels.settings.LabelSettings)."""

    vocabulary: Path | None = setting(None, "vocabulary of your own, merged over the built-in one (docs/labels.md)")
    time_zone: str = setting("", "zone of truth's times that name none; empty: as the file says, else refused")
    clock_offset_s: float | None = setting(None, "added to truth's times; none: as the file says, else 0", "s")
    allow_unmatched: bool = setting(False, "let rules match no flow")
    allow_unmapped: bool = setting(False, "let words come up that the vocabulary does not map")
    near_s: NonNegativeFloat = setting(1.0, "flows so near outside a rule's time are counted", "s")
    merge_equal: bool = setting(False, "give flows with equal features the union of their tags")
    speaks_of: str = setting("", "tags the truth can speak of, with semicolons; empty: as the file or its kind says")


class NetworkSection(Section):
    """The network's shape (becomes models.network.NetworkSettings)."""

    transform: Literal["robust", "quantile", "log"] = setting("log", "how columns become inputs")
    clip: PositiveFloat = setting(6.0, "bound on every input")
    ramps: NonNegativeInt = setting(1024, "ramps in all that show the numbers once more, at most; 0 for none")
    widths: Numbers = setting((128,), "units of each hidden layer that all members share", "units")
    members: PositiveInt = setting(4, "perceptrons on the trunk, trained side by side and averaged")
    member_width: PositiveInt = setting(64, "hidden units of a member", "units")
    activation: Literal["relu", "gelu", "silu", "tanh"] = setting("relu", "of the hidden layers")
    dropout: Share = setting(0.1, "share of hidden units dropped in training")
    input_dropout: Share = setting(0.1, "share of inputs set to their centre in training")
    input_noise: NonNegativeFloat = setting(0.1, "standard deviation of noise added to inputs in training")
    pace_jitter: Paces = setting(
        (0.7, 1.5, 0.3),
        "spread of log factors on times, neighbours' pace and volumes of training flows; 0,0,0 for none",
    )


class LossSection(Section):
    """What training minimises (becomes models.losses.LossSettings)."""

    base: Literal["bce", "focal", "asymmetric", "zlpr"] = setting("bce", "loss of the tags")
    penalty: Literal["none", "bounded", "hit", "event", "event_nll", "hurdle", "literal"] = setting(
        "bounded", "what an attack flow pays for firing nothing"
    )
    lambda_: NonNegativeFloat = setting(3.0, "weight of the penalty", "tags")
    reduction: Literal["mean", "sum"] = setting("mean", "whether the base is averaged or summed over tags")
    focal_gamma: NonNegativeFloat = setting(2.0, "exponent of the focal base")
    focal_alpha: PositiveFloat = setting(0.25, "weight of the focal base")
    positive_gamma: NonNegativeFloat = setting(1.0, "exponent of the asymmetric base where the tag is true")
    negative_gamma: NonNegativeFloat = setting(4.0, "exponent of the asymmetric base where it is absent")
    margin: Share = setting(0.05, "probability below which an absent tag costs nothing in the asymmetric base")
    label_smoothing: Share = setting(0.0, "how far the base's targets are drawn towards 1/2")
    literal_eps: PositiveFloat = setting(1e-7, "the epsilon inside the published logarithm")
    allow_unsafe: bool = setting(False, "build a loss whose optimum is to fire on everything")


class TrainingSection(Section):
    """How the network is trained (becomes models.training.TrainingSettings)."""

    epochs: PositiveInt = setting(15, "passes over the training flows, at most", "epochs")
    batch_size: PositiveInt = setting(256, "flows a step", "flows")
    learning_rate: PositiveFloat = setting(2e-3, "its highest value")
    weight_decay: NonNegativeFloat = setting(1e-2, "of AdamW, on kernels alone")
    clip_norm: PositiveFloat = setting(1.0, "bound on the gradient's norm")
    monitor: Literal["last", "silence", "loss", "mean_average_precision"] = setting("last", "which epoch is kept")
    patience: PositiveInt = setting(8, "epochs without a better one before training stops", "epochs")
    rare_flows: NonNegativeInt = setting(20, "training flows below which those of a tag are repeated", "flows")
    taught: Annotated[float, Field(ge=0, lt=0.5)] = setting(
        0.45, "how far targets are drawn towards boosted trees' answers where those are better in validation", "share"
    )
    precision: Literal["float32", "mixed_bfloat16"] = setting("float32", "of hidden layers in training")
    jit_compile: bool = setting(False, "whether XLA compiles the steps; meant for GPUs, slow on a CPU")
    seed: int = setting(1, "the same seed, data and machine give the same weights")


class ThresholdsSection(Section):
    """Where tags fire (becomes models.thresholds.ThresholdSettings)."""

    false_alarm_budget: Share = setting(0.001, "share of benign flows that may be detections", "share")
    per_hour: NonNegativeFloat | None = setting(None, "false alarms per hour of traffic, in place of that share")
    least_positives: PositiveInt = setting(20, "validation flows a tag needs for a threshold of its own", "flows")


class BackgroundSection(Section):
    """Ordinary traffic of other networks that joins a training (becomes models.background.BackgroundSettings)."""

    sources: Paths = setting((), "captures, flow records or tables of it; --background adds more")
    share: Annotated[float, Field(gt=0, lt=1)] = setting(0.5, "highest share of the training flows", "share")
    held_out: Annotated[float, Field(gt=0, lt=1)] = setting(
        0.2, "share of it, whole sources where there are five, that thresholds and guard are chosen by", "share"
    )
    attack_share: Share = setting(0.0, "share of the held-out flows that attacks may be", "share")


class UnknownSection(Section):
    """How unknown attacks are looked for (becomes models.unknown.UnknownSettings)."""

    false_alarm_budget: Share = setting(
        0.001, "share of benign flows that may be reported as unknown, beside the tags' budget; 0: off", "share"
    )


class AdaptSection(Section):
    """How a detector is adapted to a network (becomes models.adaptation.AdaptSettings)."""

    attack_share: Share = setting(0.05, "share of the local flows that attacks may be; 0 where there are none", "share")
    held_out: Annotated[float, Field(gt=0, lt=1)] = setting(0.2, "last share of them that is kept for judging", "share")
    epochs: PositiveInt = setting(5, "passes of fine-tuning, where there are labelled flows", "epochs")
    learning_rate: PositiveFloat = setting(1e-3, "of fine-tuning; a tenth of it without old flows to replay")
    anchor: NonNegativeFloat = setting(1e-2, "without them, weight of the squared distance to the old weights")


class VerdictSection(Section):
    """What a detector must keep on the validation flows to come into use (becomes models.verdict.VerdictLimits)."""

    silent_rate: Portion = setting(0.05, "highest share of attack flows on which nothing fires", "share")
    budget_factor: Annotated[float, Field(ge=1)] = setting(
        3.0, "how many times the budget of the thresholds false alarms may reach"
    )


class MlflowSection(Section):
    """Where runs and detectors are kept."""

    tracking_uri: str = setting("", "MLflow's database or server; empty: SQLite in the state folder")
    artifact_root: str = setting("", "where MLflow keeps files; empty: mlartifacts in the state folder")
    experiment: str = setting("flowtag", "name of the experiment")
    model_name: Annotated[str, Field(pattern=r"^\w[\w .-]*$")] = setting("flowtag", "name of the registered detector")

    @field_serializer("tracking_uri", "artifact_root", when_used="json")
    def _hide_password(self, url: str) -> str:
        return masked(url)


class PrefectSection(Section):
    """Where jobs are recorded."""

    api_url: str = setting("", "Prefect's server; empty: one of our own while the command runs")

    @field_serializer("api_url", when_used="json")
    def _hide_password(self, url: str) -> str:
        return masked(url)


class Settings(Section):
    """Everything that can be chosen, built once by `pipeline.config.load` and passed down."""

    state: StateSection = StateSection()
    meter: MeterSection = MeterSection()
    ingest: IngestSection = IngestSection()
    records: RecordsSection = RecordsSection()
    detector: DetectorSection = DetectorSection()
    labels: LabelsSection = LabelsSection()
    network: NetworkSection = NetworkSection()
    loss: LossSection = LossSection()
    training: TrainingSection = TrainingSection()
    thresholds: ThresholdsSection = ThresholdsSection()
    background: BackgroundSection = BackgroundSection()
    unknown: UnknownSection = UnknownSection()
    adapt: AdaptSection = AdaptSection()
    verdict: VerdictSection = VerdictSection()
    mlflow: MlflowSection = MlflowSection()
    prefect: PrefectSection = PrefectSection()

    @property
    def budget_share(self) -> float:
        """The budget of false alarms where it has to be a share.

        Raises:
            ConfigError: It is one per hour.
        """
        if self.thresholds.per_hour is not None:
            raise ConfigError(
                "only a training turns false alarms per hour into a share",
                "thresholds.per_hour",
                "thresholds.false_alarm_budget alone",
                repr(self.thresholds.per_hour),
                "leave thresholds.per_hour out here",
            )
        return self.thresholds.false_alarm_budget

    @property
    def tracking_uri(self) -> str:
        """MLflow's database or server."""
        return self.mlflow.tracking_uri or f"sqlite:///{self.state.root / 'mlflow.db'}"

    @property
    def artifact_root(self) -> str:
        """Where MLflow keeps files."""
        return self.mlflow.artifact_root or (self.state.root / "mlartifacts").as_uri()
