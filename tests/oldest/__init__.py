"""The oldest Postgres that the README promises, and the tests that run on it."""
