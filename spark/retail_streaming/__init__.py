"""The streaming service: from the tills' topics to the warehouse's real-time tables, within seconds.

A program of its own that runs without Dagster. Imports `retail_assets.contracts` and, through `installation` alone,
what finds Java and the verified jars. The batch pipeline owns the lake and the star schema; this service owns the
`rt_*` tables. Dead letters both send, each the very same.
"""
