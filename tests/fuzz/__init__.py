"""Fuzzing: what comes from outside is read as the contract says, or refused, and nothing else happens."""
