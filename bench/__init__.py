"""The benchmark: the daemon beside two Node peers, on one machine, against the targets. `python -m bench --help`."""
