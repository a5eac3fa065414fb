"""The Dagster code location: `defs`, and nothing else."""

import warnings

import dagster as dg

# Single-run backfills are marked beta; said once per asset it would fill every log.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

from retail_assets.build import build_defs  # noqa: E402

defs = build_defs()
