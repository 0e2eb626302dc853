"""The chaos suite: what kills other workers happens to the daemon, and every accepted event is accounted for.

`make chaos` runs all scenarios, `make chaos-quick` a selection; each prints a table. A scenario is a coroutine function
in `scenarios`, on a `Rig`: a Postgres server, a database, receivers, senders and daemons, all of them real processes or
threads. `ledger` holds the invariant that each is judged by.
"""
