"""Tests: `unit` (pure), `dagster` (assets and IO managers on Spark), `integration` (the stack), `e2e` (a user)."""
