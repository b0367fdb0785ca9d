"""Plan, execute and keep runs: one folder a run, whole or absent."""
