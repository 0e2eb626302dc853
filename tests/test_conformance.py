"""Every assertion of the job schema's specification is accounted for."""

from twisted.trial.unittest import SynchronousTestCase

from tests.conformance import COUNT, NOT_OURS, shown


class ConformanceTests(SynchronousTestCase):
    """pytest prints the account at its end."""

    def test_accounted_for(self) -> None:
        """Each number has a test or a reason, and none has both."""
        tests = shown()
        self.assertEqual(set(tests) | set(NOT_OURS), set(range(1, COUNT + 1)))
        self.assertEqual(set(tests) & set(NOT_OURS), set())
