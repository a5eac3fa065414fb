"""An alarm for events that Kafka deleted before they were read.

What is left of the topic goes on being read; the check fails until somebody acknowledges the loss. Does not belong
here: noticing a loss (`resources.offsets`) and keeping it (`resources.progress`).
"""

import dagster as dg

from retail_assets.checks.results import result
from retail_assets.contracts.tables import raw_table
from retail_assets.contracts.topics import EVENT_TOPICS, Topic
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.progress import read_progress


def _losses_check(topic: Topic) -> dg.AssetChecksDefinition:
    table = raw_table(topic)

    @dg.asset_check(
        asset=dg.AssetKey(table.key),
        name="no_events_lost",
        # The events that are there must not wait until somebody has looked at those that aren't.
        blocking=False,
        description=(
            f"Kafka has deleted no event of {topic.name} before it was read. Fails until the loss is acknowledged by "
            f"`retail topics acknowledge {topic.name} --note TEXT`."
        ),
    )
    def no_events_lost(lake: LakeResource) -> dg.AssetCheckResult:
        progress = read_progress(lake.delta(table))
        gaps = progress.open_gaps
        lost = sum(gap.offsets for gap in gaps)
        return result(
            passed=not gaps,
            sentence="; ".join(f"lost: {gap}" for gap in gaps) or "no event was lost that nobody knows of",
            observed=lost,
            expected=0,
            threshold=0,
            metadata={
                "offsets_lost": lost,
                "losses": dg.MetadataValue.json([str(gap) for gap in gaps]),
                "acknowledged": dg.MetadataValue.json([f"{gap}: {gap.note}" for gap in progress.gaps if gap.note]),
            },
        )

    return no_events_lost


def losses_checks() -> list[dg.AssetChecksDefinition]:
    """Return one check per event topic."""
    return [_losses_check(topic) for topic in EVENT_TOPICS]
