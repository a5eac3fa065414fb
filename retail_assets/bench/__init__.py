"""Benchmarks of the platform itself, each against a rival that does the same work without the platform.

Belongs here: what a claim about speed is measured by. Everything runs in folders of its own; the user's lake,
warehouse and Dagster are not touched. Does not belong here: limits on time, which depend on the machine.
"""
