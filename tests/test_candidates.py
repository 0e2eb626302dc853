"""`slayq_tw.candidates`."""

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.candidates import candidates


class CandidatesTests(SynchronousTestCase):
    """The hosts of a URL, one by one."""

    def split(self, **parameters: str) -> list[dict[str, str]]:
        return [dict(one) for one in candidates(parameters)]

    def test_each(self) -> None:
        """Each with its address and port, and with all that is common."""
        self.assertEqual(
            self.split(host="a,b", hostaddr="10.0.0.1,10.0.0.2", port="1,2", user="u,v"),
            [
                {"host": "a", "hostaddr": "10.0.0.1", "port": "1", "user": "u,v"},
                {"host": "b", "hostaddr": "10.0.0.2", "port": "2", "user": "u,v"},
            ],
        )

    def test_one_port(self) -> None:
        """One port is everybody's; so is none."""
        self.assertEqual(
            self.split(host="a,b", port="7"), [{"host": "a", "port": "7"}, {"host": "b", "port": "7"}]
        )
        self.assertEqual(self.split(hostaddr="1.1.1.1,::1"), [{"hostaddr": "1.1.1.1"}, {"hostaddr": "::1"}])
        self.assertEqual(self.split(host="a,/run", hostaddr="10.0.0.1,")[1], {"host": "/run", "hostaddr": ""})

    def test_whole(self) -> None:
        """What is one host, what libpq has to decide over all, and what it will refuse, stays as it is."""
        for parameters in (
            {"host": "a", "dbname": "x"},
            {"dbname": "x"},
            {"host": "a,b", "target_session_attrs": "prefer-standby"},
            {"host": "a,b", "load_balance_hosts": "random"},
            {"host": "a,b,c", "port": "1,2"},
        ):
            self.assertEqual(self.split(**parameters), [parameters])
        self.assertEqual(len(self.split(host="a,b", target_session_attrs="read-write")), 2)
