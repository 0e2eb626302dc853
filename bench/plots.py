"""The plots of the report. Needs matplotlib, which only the extra `bench` installs."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from bench.contestants import DAEMON, EVERYBODY
from bench.figures import Samples
from bench.processes import BenchError

_COLOURS = {"slayq": "#0b6e4f", "per-queue": "#c1443c", "tuned": "#d9a21b"}


def check() -> None:
    """See whether plots can be drawn, before everything is measured in vain.

    Raises:
        BenchError: they cannot.
    """
    if find_spec("matplotlib") is None:
        raise BenchError("there is no matplotlib: pip install 'slayq-tw[bench]', or make bench")


def draw(samples: Samples, folder: Path) -> Iterator[tuple[str, Path]]:
    """Draw what there are curves of; titles and files."""
    if samples.curve("rate", DAEMON.name):
        yield "Throughput against concurrency", _throughput(samples, folder / "throughput.png")
    if samples.curve("latency p50", DAEMON.name):
        yield "Latency against rate", _latency(samples, folder / "latency.png")
    if samples.curve("churn rate", DAEMON.name):
        yield "Job table and indexes under churn", _churn(samples, folder / "churn.png")
    if samples.curve("memory over deliveries", DAEMON.name):
        yield "Memory over deliveries", _memory(samples, folder / "memory.png")


class _Figure:
    """A plot that is saved at the end."""

    def __init__(self, across: str, up: str) -> None:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        self._figure, self.axes = pyplot.subplots(figsize=(7.2, 4.2), dpi=130)
        self.axes.set_xlabel(across)
        self.axes.set_ylabel(up)
        self.axes.grid(alpha=0.3)

    def line(
        self, points: list[tuple[float, float]], label: str, colour: str | None = None, style: str = "o-"
    ) -> None:
        """A curve, when there are points."""
        if points:
            places, values = zip(*points, strict=True)
            self.axes.plot(places, values, style, color=colour, label=label, markersize=4)

    def save(self, path: Path) -> Path:
        """Write it."""
        if self.axes.get_yscale() == "linear":
            self.axes.set_ylim(bottom=0)
        self.axes.legend()
        self._figure.tight_layout()
        self._figure.savefig(path)
        return path


def _throughput(samples: Samples, path: Path) -> Path:
    figure = _Figure("concurrency of the queue", "deliveries a second")
    for contestant in EVERYBODY:
        figure.line(samples.curve("rate", contestant.name), contestant.name, _COLOURS[contestant.name])
    return figure.save(path)


def _latency(samples: Samples, path: Path) -> Path:
    figure = _Figure("events a second", "ms from commit to receiver")
    figure.axes.set_yscale("log")
    figure.axes.yaxis.set_major_formatter("{x:g}")
    for contestant in EVERYBODY:
        name, colour = contestant.name, _COLOURS[contestant.name]
        figure.line(samples.curve("latency p50", name), f"{name}, median", colour)
        figure.line(samples.curve("latency p99", name), f"{name}, 99th percentile", colour, "o--")
    return figure.save(path)


def _churn(samples: Samples, path: Path) -> Path:
    figure = _Figure("deliveries", "MB")
    for name in sorted({who for figure_name, who, _ in samples.values if figure_name == "size"}):
        # matplotlib keeps labels that begin with an underscore out of the legend.
        figure.line(samples.curve("size", name), name.lstrip("_"), style=".-")
    return figure.save(path)


def _memory(samples: Samples, path: Path) -> Path:
    figure = _Figure("deliveries", "resident memory, MB")
    figure.line(samples.curve("memory over deliveries", DAEMON.name), DAEMON.name, _COLOURS["slayq"], "-")
    return figure.save(path)
