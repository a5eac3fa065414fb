"""Tests: `unit` (pure), `dagster` (assets and IO managers on a real Spark), `integration` (the stack), `e2e` (a user)."""
