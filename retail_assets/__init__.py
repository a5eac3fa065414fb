"""Retail Assets: the Dagster code location and everything that the `retail` command runs.

Packages, in the direction in which they may import: `contracts` <- `simulator`, `domain` <- `resources`,
`io_managers` <- `assets`, `checks`, `sensors` <- `build` <- `definitions`. `docs/architecture.md` says why.
"""

__version__ = "0.1.0"
