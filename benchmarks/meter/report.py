"""What was measured, as a table, as JSON and as a picture."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.meter.measure import Cost

OURS = "flowtag"


@dataclass(frozen=True)
class Row:
    """A tool on a capture."""

    capture: str
    packets: int
    tool: str
    computes: str
    cost: Cost

    @property
    def packets_per_cpu_s(self) -> float:
        """Packets per second of CPU."""
        return self.packets / self.cost.cpu_s


def table(rows: list[Row]) -> str:
    """Return a Markdown table a capture, with how many times the packets per CPU-second of a tool are ours."""
    lines: list[str] = []
    for capture in dict.fromkeys(row.capture for row in rows):
        own = next(row for row in rows if row.capture == capture and row.tool == OURS)
        lines += [f"**{capture}**, {own.packets:,} packets", ""]
        lines += ["| meter | computes | CPU s | wall s | memory MB | k packets per CPU-s | flowtag is |"]
        lines += ["|---|---|---|---|---|---|---|"]
        lines += [_line(row, own) for row in rows if row.capture == capture]
        lines.append("")
    return "\n".join(lines)


def _line(row: Row, own: Row) -> str:
    cost, speed = row.cost, row.packets_per_cpu_s
    numbers = f"{cost.cpu_s:.1f} | {cost.wall_s:.1f} | {cost.memory_mb:,.0f} | {speed / 1000:,.0f}"
    return f"| {row.tool} | {row.computes} | {numbers} | {own.packets_per_cpu_s / speed:.2f} x |"


def plain(rows: list[Row]) -> list[dict[str, Any]]:
    """Return the rows as JSON can hold them."""
    return [{**asdict(row), "packets_per_cpu_s": row.packets_per_cpu_s} for row in rows]


def draw(rows: list[Row], path: Path) -> None:
    """Draw packets per CPU-second of every tool, a panel a capture, as SVG."""
    mpl.rcParams["svg.hashsalt"] = "flowtag"
    captures = list(dict.fromkeys(row.capture for row in rows))
    figure = Figure(figsize=(9, 2.6 * len(captures)), layout="constrained")
    panels = figure.subplots(len(captures), 1, squeeze=False)[:, 0]
    for panel, capture in zip(panels, captures, strict=True):
        shown = [row for row in rows if row.capture == capture][::-1]
        speeds = [row.packets_per_cpu_s / 1000 for row in shown]
        colors = ["#1f77b4" if row.tool.startswith(OURS) else "#bbbbbb" for row in shown]
        bars = panel.barh([row.tool for row in shown], speeds, color=colors)
        panel.bar_label(bars, fmt="%.0f", padding=3)
        panel.set_title(capture, loc="left")
        panel.set_xlabel("thousand packets per CPU-second")
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(x=0.12)
    figure.savefig(path, format="svg", metadata={"Date": None})
