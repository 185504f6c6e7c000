"""How fast and in how much memory networks are trained: python -m benchmarks.training [--large LABELLED].

Without --large, one process for each backend, precision, batch size and choice of XLA trains the product's network on
random flows, and prints flows a second beside the slower of two floors of the same device, measured in the same
process: arithmetic (multiplications of all kernels, forward and twice backward, at the rate of a large matrix product)
and memory traffic (flows once, weights with gradients and moments once a step, at the rate of a large copy).

With --large, a labelled table of --flows flows is made by repeating LABELLED with other volumes, `flowtag train` learns
from it for one epoch, and what is printed is the most memory the process held: all of it, and without pages of files,
which the system takes back when it needs room.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS, TAGS = 192, 21
STEPS = 60
WATCHED_S = 0.1


@dataclass(frozen=True)
class Way:
    """One way of training."""

    backend: str
    precision: str
    jit: bool
    batch: int


def main() -> int:
    """Measure what was asked for and print it as tables."""
    options = _options()
    if options.one:
        print(json.dumps(step_rates(Way(**json.loads(options.one)))))
        return 0
    if options.large:
        return print_memory(options.large, options.flows)
    print(
        "| backend | precision | XLA | flows a step | flows/s | CPU s for a million | floor, flows/s | of the floor |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for chosen in product(options.backends, options.precisions, (False, True), options.batches):
        way = Way(*chosen)
        if way.backend == "torch" and way.jit:
            continue  # needs a compiler of C++
        rates = in_a_process(way)
        floor = min(rates["arithmetic"], rates["traffic"])
        print(
            f"| {way.backend} on {rates['device']} | {way.precision} | {'yes' if way.jit else 'no'} | {way.batch:,} "
            f"| {rates['flows']:,.0f} | {rates['cpu_s_a_million']:.0f} | {floor:,.0f} | {rates['flows'] / floor:.0%} |",
            flush=True,
        )
    return 0


def in_a_process(way: Way) -> dict[str, Any]:
    """Return what `step_rates` measures in a process of its own: a backend is chosen once in a process."""
    environment = {**os.environ, "KERAS_BACKEND": way.backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "benchmarks.training", "--one", json.dumps(asdict(way))]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def step_rates(way: Way) -> dict[str, Any]:
    """Return flows a second of steps once compiled, their CPU seconds for a million flows, and the floors' flows/s."""
    import keras  # noqa: PLC0415 (asking for the other benchmark needs no backend)

    from models.losses import LossSettings, TagLoss  # noqa: PLC0415
    from models.network import NetworkSettings, build_network  # noqa: PLC0415
    from models.normaliser import measure  # noqa: PLC0415
    from models.ramps import place_ramps  # noqa: PLC0415
    from models.training import computing_with  # noqa: PLC0415

    random = np.random.default_rng(1)
    flows = way.batch * STEPS
    features = random.lognormal(0, 2, (flows, COLUMNS)).astype(np.float32)
    features[random.random(features.shape) < 0.1] = np.nan
    tags = (random.random((flows, TAGS)) < 0.01).astype(np.float32)
    settings = NetworkSettings()
    normalisation = measure(features[:20_000], settings.transform, settings.clip)
    ramps = place_ramps(random.normal(size=(20_000, COLUMNS)).astype(np.float32), 2 * COLUMNS)
    names = [f"column_{position}" for position in range(COLUMNS)]
    with computing_with(way.precision):  # type: ignore[arg-type]  # one of the choices of the command
        members = build_network(normalisation, ramps, names, np.zeros(TAGS, np.float32), settings).members
    members.compile(keras.optimizers.AdamW(1e-3), TagLoss(LossSettings(), TAGS), jit_compile=way.jit)
    fit = {"batch_size": way.batch, "shuffle": False, "verbose": 0}
    members.fit(features, tags, **fit)  # compiles
    begun, used = time.perf_counter(), time.process_time()
    members.fit(features, tags, **fit)
    wall, used = time.perf_counter() - begun, time.process_time() - used
    kernels = sum(int(np.prod(weight.shape)) for weight in members.trainable_variables if len(weight.shape) > 1)
    moved = 4 * (COLUMNS + TAGS) + 10 * 4 * kernels / way.batch
    return {
        "flows": flows / wall,
        "cpu_s_a_million": used / flows * 1e6,
        "arithmetic": _multiplications(way.precision) / (3 * kernels),
        "traffic": _bytes_moved() / moved,
        "device": _device(keras),
    }


def _multiplications(precision: str) -> float:
    """Return multiplications (with their additions) a second in a large matrix product."""
    from keras import ops  # noqa: PLC0415

    side, times = 2048, 10
    square = ops.cast(ops.ones((side, side)), "float32" if precision == "float32" else "bfloat16")
    return side**3 * times / _seconds(lambda: ops.matmul(square, square), times)


def _bytes_moved() -> float:
    """Return bytes a second, read and written, in a large copy."""
    from keras import ops  # noqa: PLC0415

    numbers, times = 64 << 20, 10
    many = ops.ones((numbers,))
    return 2 * 4 * numbers * times / _seconds(lambda: many + 1.0, times)


def _seconds(work: Any, times: int) -> float:  # noqa: ANN401 (a function of tensors, for which Keras has no type)
    from keras import ops  # noqa: PLC0415

    def last_number(answer: Any) -> None:  # noqa: ANN401
        float(ops.convert_to_numpy(ops.reshape(answer, (-1,))[-1]))  # waits for the device

    last_number(work())
    begun = time.perf_counter()
    for _ in range(times):
        answer = work()
    last_number(answer)
    return time.perf_counter() - begun


def _device(keras: Any) -> str:  # noqa: ANN401 (a module)
    return "GPU" if keras.distribution.list_devices("gpu") else "CPU"


def print_memory(labelled: Path, flows: int) -> int:
    """Train on a table of so many flows in a process and print the most memory it held."""
    with TemporaryDirectory(dir=labelled.parent) as folder:
        large = repeat_flows(labelled, Path(folder) / "large.parquet", flows)
        command = [sys.executable, "-m", "flows.cli", "train", "--train", str(large), "--valid", str(labelled)]
        command += ["--state", f"{folder}/state", "--set", "training.epochs=1"]
        most, code = watched(command)
    print(
        f"| flows | columns as float32 | most memory | of it not pages of files |\n|---|---|---|---|\n| {flows:,} | "
        f"{flows * COLUMNS * 4 / 1e6:,.0f} MB | {most[0] / 1e6:,.0f} MB | {most[1] / 1e6:,.0f} MB |"
    )
    return code


def repeat_flows(labelled: Path, large: Path, flows: int) -> Path:
    """Write so many flows, those of a labelled table again and again, floats scaled by up to a tenth each time."""
    random = np.random.default_rng(1)
    source = pq.ParquetFile(labelled)
    with pq.ParquetWriter(large, source.schema_arrow, compression="lz4") as writer:
        written = 0
        while written < flows:
            for batch in source.iter_batches(16_384):
                part = batch.slice(0, flows - written)
                writer.write_batch(_scaled(part, random), row_group_size=65_536)
                written += part.num_rows
    return large


def _scaled(batch: pa.RecordBatch, random: np.random.Generator) -> pa.RecordBatch:
    columns = []
    for column in batch.columns:
        if column.type == pa.float32():
            factor = np.float32(1 + 0.1 * random.random())
            values = column.to_numpy(zero_copy_only=False) * factor
            columns.append(pa.array(values, mask=column.is_null().to_numpy(zero_copy_only=False)))
        else:
            columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def watched(command: list[str]) -> tuple[tuple[int, int], int]:
    """Run a command; return the most resident bytes of its process, all and without pages of files, and its code."""
    process = psutil.Popen(command)
    resident = private = 0
    while process.poll() is None:
        try:
            held = process.memory_info()
        except psutil.NoSuchProcess:
            break
        resident, private = max(resident, held.rss), max(private, held.rss - held.shared)
        time.sleep(WATCHED_S)
    return (resident, private), process.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["tensorflow"], choices=["tensorflow", "jax", "torch"])
    parser.add_argument("--precisions", nargs="+", default=["float32"], choices=["float32", "mixed_bfloat16"])
    parser.add_argument("--batches", nargs="+", type=int, default=[256, 1024, 4096, 16384], help="flows a step")
    parser.add_argument("--large", type=Path, metavar="LABELLED", help="measure memory, on flows like these")
    parser.add_argument("--flows", type=int, default=1_000_000, help="of the large table")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
