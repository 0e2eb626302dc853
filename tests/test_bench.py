"""The benchmark's arithmetic. That it runs is shown by `make bench-smoke`."""

import json
import os
from collections import Counter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.contestants import DAEMON, EVERYBODY, PER_QUEUE, TUNED
from bench.figures import Samples, pairwise, percentile
from bench.jobs import by_concurrency, identifiers, payload, sample, single
from bench.measurements import MEASUREMENTS
from bench.plan import FULL, QUICK, SMOKE
from bench.processes import cpu_seconds, resident_bytes
from bench.report import write
from bench.targets import Row, rows, table
from slayq_tw.signing import canonical_json


class FigureTests(SynchronousTestCase):
    """Medians, ratios, percentiles."""

    def test_median(self) -> None:
        """A figure is the median of its rounds, each contestant's its own; one that was not measured is None."""
        samples = Samples()
        for value in (3.0, 100.0, 2.0):
            samples.record("rate", "slayq", value)
        samples.record("rate", "tuned", 7.0)
        self.assertEqual(samples.median("rate", "slayq"), 3.0)
        self.assertEqual(samples.median("rate", "tuned"), 7.0)
        self.assertIsNone(samples.median("rate", "per-queue"))

    def test_ratio_of_pairs(self) -> None:
        """Ratios are taken within a round: a machine that is twice as slow in one round changes nothing."""
        samples = Samples()
        for ours, theirs in ((400.0, 100.0), (200.0, 50.0), (100.0, 25.0)):
            samples.record("rate", "slayq", ours)
            samples.record("rate", "tuned", theirs)
        self.assertEqual(samples.ratio("rate", "slayq", "tuned"), 4.0)
        self.assertIsNone(samples.ratio("rate", "slayq", "per-queue"))

    def test_ratio_is_not_that_of_the_medians(self) -> None:
        """The median of the ratios, not the ratio of the medians."""
        samples = Samples({("x", "a", None): [10.0, 20.0, 90.0], ("x", "b", None): [10.0, 5.0, 30.0]})
        self.assertEqual(samples.ratio("x", "a", "b"), 3.0)  # of 1, 4 and 3; the medians' is 20 / 10

    def test_incomplete_round(self) -> None:
        """A round that one side has not finished counts for nothing."""
        self.assertEqual(pairwise([4.0, 6.0], [2.0]), [2.0])

    def test_percentile(self) -> None:
        """Nearest rank, whatever the order."""
        values = [float(n) for n in range(100, 0, -1)]
        self.assertEqual(
            [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)], [1.0, 50.0, 99.0, 100.0]
        )
        self.assertEqual(percentile([5.0], 0.99), 5.0)
        with self.assertRaises(ValueError):
            percentile([], 0.5)

    def test_curve(self) -> None:
        """Places from left to right, each with its median; values without a place are no part of it."""
        samples = Samples()
        for at, value in ((10, 5.0), (2, 1.0), (10, 7.0)):
            samples.record("rate", "slayq", value, at=at)
        samples.record("rate", "slayq", 99.0)
        self.assertEqual(samples.curve("rate", "slayq"), [(2, 1.0), (10, 6.0)])


class JobTests(SynchronousTestCase):
    """What is delivered."""

    def test_identifiers(self) -> None:
        """Each queue and alias of the sample configuration, once."""
        names = identifiers(sample())
        self.assertEqual(len(names), len(set(names)))
        self.assertIn("dispatch", names)
        self.assertIn("messaging", names)

    def test_by_concurrency(self) -> None:
        """Queues get jobs in proportion to their concurrency, in any stretch, and aliases equal parts of them."""
        spread = by_concurrency(sample())
        counts = Counter(spread)
        self.assertEqual(
            counts["general"], 10 * sum(counts[name] for name in ("interactions", "reconcile", "discord"))
        )
        self.assertEqual(counts["messaging"], counts["dispatch"])
        begin = Counter(spread[: len(spread) // 4])
        self.assertAlmostEqual(begin["general"] / counts["general"], 0.25, delta=0.02)

    def test_single(self) -> None:
        """The configuration of the throughput curve has one queue."""
        self.assertEqual(by_concurrency(single(3)), ["general"] * 36)

    def test_payload(self) -> None:
        """It is compact and valid, carries its number, and is signed as it is."""
        text = payload("http://127.0.0.1:1/x", 17)
        document = json.loads(text)
        self.assertEqual((document["url"], document["data"]["n"]), ("http://127.0.0.1:1/x", 17))
        self.assertEqual(canonical_json(text).decode(), text)


class PlanTests(SynchronousTestCase):
    """How much is measured."""

    def test_turns(self) -> None:
        """Each contestant begins a round in turn, and takes part in each."""
        turns = list(FULL.turns())
        self.assertEqual(len(turns), FULL.rounds)
        self.assertEqual([turn[0] for turn in turns[:3]], list(EVERYBODY))
        self.assertTrue(all(set(turn) == set(EVERYBODY) for turn in turns))
        self.assertEqual(len(list(FULL.fewer_turns())), (FULL.rounds + 1) // 2)

    def test_measurements(self) -> None:
        """A full run has all of them, and none has one that is not there."""
        self.assertEqual(FULL.measurements, tuple(MEASUREMENTS))
        self.assertLessEqual({*QUICK.measurements, *SMOKE.measurements}, set(MEASUREMENTS))

    def test_smoke_needs_nothing(self) -> None:
        """Continuous integration has neither nginx nor the peers."""
        self.assertEqual((SMOKE.contestants, SMOKE.nginx), ((DAEMON,), False))


class TableTests(SynchronousTestCase):
    """Targets, and whether they are met."""

    def test_nothing_measured(self) -> None:
        """Then nothing has passed, and nothing has failed."""
        self.assertEqual({row.verdict for row in rows(Samples())}, {"not measured"})

    def test_ratios(self) -> None:
        """Four times `per-queue` and three times `tuned`; exactly that is enough."""
        samples = Samples()
        for name, rate, cpu in (
            (DAEMON.name, 4000, 250),
            (PER_QUEUE.name, 1000, 1000),
            (TUNED.name, 1334, 800),
        ):
            samples.record("rate", name, rate)
            samples.record("cpu", name, cpu)
        verdicts = [row.verdict for row in rows(samples)[:3]]
        self.assertEqual(verdicts, ["pass", "FAIL", "pass"])

    def test_limits(self) -> None:
        """A limit may be reached, not passed."""
        for value, verdict in ((5, "pass"), (6, "FAIL")):
            samples = Samples()
            samples.record("connections", DAEMON.name, value)
            self.assertEqual(_row(samples, "connections").verdict, verdict)

    def test_peers_do_not_count(self) -> None:
        """What a peer has says nothing about the daemon."""
        samples = Samples()
        samples.record("connections", PER_QUEUE.name, 4)
        self.assertEqual(_row(samples, "connections").verdict, "not measured")

    def test_99th_percentile(self) -> None:
        """10 ms, or half of `per-queue`'s when that is more."""
        for theirs, ours, verdict in ((12, 10, "pass"), (12, 11, "FAIL"), (60, 29, "pass"), (60, 31, "FAIL")):
            samples = Samples()
            samples.record("latency p99", DAEMON.name, ours)
            samples.record("latency p99", PER_QUEUE.name, theirs)
            self.assertEqual(_row(samples, "99th").verdict, verdict)

    def test_shares(self) -> None:
        """Round by round, as ratios of contestants are."""
        samples = Samples()
        for with_them, without in ((45.0, 100.0), (260.0, 500.0), (27.0, 50.0)):
            samples.record("lanes with", DAEMON.name, with_them)
            samples.record("lanes without", DAEMON.name, without)
        self.assertEqual(_row(samples, "serial lanes").measured, "45 / 100 = 0.52")
        self.assertEqual(_row(samples, "serial lanes").verdict, "pass")

    def test_held(self) -> None:
        """What is begun all the same: as many as with the peer, or one more."""
        for ours, verdict in ((3.0, "pass"), (3.1, "FAIL")):
            samples = Samples()
            samples.record("replaced 5 ms", DAEMON.name, ours)
            samples.record("replaced 5 ms", PER_QUEUE.name, 2.0)
            self.assertEqual(_row(samples, "replaced 5 ms").verdict, verdict)

    def test_flat_memory(self) -> None:
        """A twentieth more at the end is flat."""
        for late, verdict in ((62.9, "pass"), (63.1, "FAIL")):
            samples = Samples()
            samples.record("memory early", DAEMON.name, 60.0)
            samples.record("memory late", DAEMON.name, late)
            self.assertEqual(_row(samples, "long run").verdict, verdict)

    def test_table(self) -> None:
        """Columns are aligned."""
        lines = table([Row("a", "≤ 1", "0.5", True), Row("longer", "≥ 10", "", None)]).splitlines()
        self.assertEqual(len({len(line) for line in lines}), 1)
        self.assertEqual(lines[2], "| a      | ≤ 1    | 0.5      | pass         |")


class ReportTests(SynchronousTestCase):
    """What is written."""

    def test_report(self) -> None:
        """Medians with their spread, and all rounds in a file beside."""
        out = Path(self.mktemp())
        (out / "report").mkdir(parents=True)
        samples = Samples()
        for value in (900.0, 1100.0, 1000.0):
            samples.record("rate", DAEMON.name, value)
        text = write(
            samples, FULL, [("CPU", "a fast one")], [("A plot", out / "report" / "a.png")], out
        ).read_text()
        self.assertIn("| deliveries a second | 1,000 (900 – 1,100) |", text)
        self.assertIn("- CPU: a fast one", text)
        self.assertIn("![A plot](report/a.png)", text)
        kept = json.loads((out / "report" / "samples.json").read_text())
        self.assertEqual(kept[0]["rounds"], [900.0, 1100.0, 1000.0])


class ProcessTests(SynchronousTestCase):
    """What /proc says."""

    def test_this_process(self) -> None:
        """A Python that has imported this has used some CPU and memory."""
        self.assertGreater(cpu_seconds(os.getpid()), 0.05)
        self.assertGreater(resident_bytes(os.getpid()), 10e6)

    def test_no_process(self) -> None:
        """One that has just gone has none."""
        self.assertEqual((cpu_seconds(2**22 + 1), resident_bytes(2**22 + 1)), (0.0, 0))


def _row(samples: Samples, what: str) -> Row:
    (row,) = [row for row in rows(samples) if what in row.what]
    return row
