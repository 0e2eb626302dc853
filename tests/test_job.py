"""`slayq_tw.job`: what is kept of a claimed job."""

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.job import LARGE
from tests.fakes import a_job


class SlimTests(SynchronousTestCase):
    """Whoever keeps a job until its end is written keeps no megabytes."""

    def test_large(self) -> None:
        """A large payload is left behind, and nothing else is."""
        job = a_job(payload='"' + "x" * LARGE + '"')
        self.assertEqual(job.slim(), job._replace(payload=None))

    def test_small(self) -> None:
        """Any other job stays as it is, and costs nothing."""
        for payload in ("{}", None):
            job = a_job(payload=payload)
            self.assertIs(job.slim(), job)
