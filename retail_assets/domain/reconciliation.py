"""Whether the streaming service and the batch pipeline tell the same of the same hours.

The stream counts by hours of UTC, the facts by hours on the store's clock. In zones that are off by half an hour, and
where clocks are put back, the two have no hours in common. So both are laid on one line of time, hours that overlap are
put together, and the smallest stretches that both sides tell apart are compared: an hour nearly everywhere, two where a
clock was put back, the hours of trade between two quiet ones in India.

What the stream left out excuses a difference, but no more differences than it left baskets out: each basket lies in one
stretch. Which of the two sides has more excuses nothing and accuses nobody: returns and voids count negative, and the
facts don't tell them from sales, so a return that came late leaves the stream with more than the facts, and a sale and
a return that came late together with more units and less revenue. Only where facts and quarantine have not one line, no
basket that came late can lie either.

Belongs here: what is compared with what, and what may rightly differ. Does not belong here: reading either side.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Final

import polars as pl

from retail_assets.contracts.tables import CORE_QUARANTINE, REFERENCE_STORES
from retail_assets.contracts.tables.core import CONFLICTING_DUPLICATE, DATE_BEFORE_HISTORY, FUTURE_DATE
from retail_assets.contracts.types import (
    DATE,
    INT32,
    INT64,
    STRING,
    TIMESTAMP,
    Column,
    DecimalType,
)
from retail_assets.domain.frames import columns_of, typed

#: Verdicts on a stretch.
SAME: Final = "same"
DIFFERENT: Final = "different"
#: It differs, and may rightly: something that only one side counts fell into it.
UNCLEAR: Final = "unclear"
#: It differs, and baskets were left out that may lie there, but fewer than there are such stretches.
TOO_MANY: Final = "too many"

#: After so long without a basket of a store the stream counts as begun anew: old rows and those of a till whose clock
#: was wrong don't make it seem to have covered what lies between.
SILENCE: Final = timedelta(days=7)
#: Baskets that came late, from before the stream began, make hours without the others. The stream takes as late ones.
_BEGINNING: Final = timedelta(days=1)
#: An hour that begins later than so long after its row was written is none that the stream has come to: tills may be
#: ahead by minutes, and a machine whose own clock was wrong took one that was ahead by days.
_AHEAD_AT_MOST: Final = timedelta(hours=1)
#: So many days before the first that is compared have to be known, to know since when the stream covers a store.
LOOK_BACK_DAYS: Final = SILENCE.days + 2

#: Offsets of all zones in use are multiples of it.
_QUARTER: Final = timedelta(minutes=15)
_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER: Final = datetime(2200, 1, 1, tzinfo=UTC)
_HOURS_OF_A_DAY: Final = 24
#: The number before that of a checkpoint's first batch.
_NO_BATCH: Final = -1
#: Kept out of the facts, and nobody can tell whether the stream counted it: that depends on when it read it.
_EITHER_WAY: Final = (FUTURE_DATE, DATE_BEFORE_HISTORY, CONFLICTING_DUPLICATE)

_UNITS: Final = Column("units", DecimalType(38, 3), "Net units.", unit="units")
_REVENUE: Final = Column("revenue", DecimalType(38, 2), "Net revenue.", unit="money")
_STORE: Final = Column("store_id", STRING, "Store.")

#: `rt_revenue_hourly`, final rows.
STREAM: Final = (
    _STORE,
    Column("hour_start", TIMESTAMP, "Start of the hour."),
    _UNITS,
    _REVENUE,
    Column("updated_at", TIMESTAMP, "When the row was written."),
)
#: `fact_sales` over all products, those among them that no dimension knows.
FACTS: Final = (
    _STORE,
    Column("business_date", DATE, "Date on the store's clock."),
    Column("business_hour", INT32, "Hour on the store's clock; 24 where only the day is known."),
    _UNITS,
    _REVENUE,
)
#: Days that the facts have been made of.
MADE: Final = (
    Column("business_date", DATE, "Date."),
    Column("known_until", TIMESTAMP, "Events that arrived before are in the facts."),
)
#: `core/quarantine`: lines of baskets.
KEPT_OUT: Final = columns_of(CORE_QUARANTINE, "store_id", "occurred_at", "units", "revenue", "reason")
#: `rt_query_progress` of the query over baskets, each row with the one before it. But for the oldest, rows with nothing
#: left out that go on where the one before ended needn't be there.
PROGRESS: Final = (
    Column("at", TIMESTAMP, "Start of the ten seconds."),
    Column("batch", INT64, "Number of the newest batch."),
    Column("batches", INT64, "Batches that ended."),
    Column("previous_at", TIMESTAMP, "Start of the ten seconds of the row before; 1970 for the oldest."),
    Column("previous_batch", INT64, "Number of the newest batch of the row before; -1 for the oldest."),
    *(Column(name, INT64, "Events left out.") for name in ("ahead", "too_large", "late")),
    Column("newest_event_at", TIMESTAMP, "Time of the newest event so far."),
    Column("watermark", TIMESTAMP, "Older events are late."),
)

_STORES: Final = columns_of(REFERENCE_STORES, "store_id", "time_zone")
#: Pieces of time with what either side counted in them.
_ITEMS: Final = pl.Schema(
    {
        "store_id": pl.String(),
        "begins": pl.Datetime("us", "UTC"),
        "ends": pl.Datetime("us", "UTC"),
        "stream_units": pl.Decimal(38, 3),
        "stream_revenue": pl.Decimal(38, 2),
        "units": pl.Decimal(38, 3),
        "revenue": pl.Decimal(38, 2),
        "kept_out": pl.Int64(),
        "is_told": pl.Boolean(),
        "is_unclear": pl.Boolean(),
        "is_outside": pl.Boolean(),
    }
)
_SUMMED: Final = ("stream_units", "stream_revenue", "units", "revenue", "kept_out")
_ANY: Final = ("is_told", "is_unclear", "is_outside")


def left_out_by_stream(progress: pl.DataFrame, hours_ahead: float) -> pl.DataFrame:
    """Return the stretches of time that events may lie in which the stream left out and the facts hold, and how many.

    Rows can be missing: a service that is killed loses those of its last seconds, a long outage of the warehouse the
    oldest of those that wait. Batches are numbered one by one, also over restarts of the service, so rows are missing
    where a row doesn't begin with the number after the newest of the row before. Two jumps are none: a batch whose end
    a crash of the machine wiped out is repeated under its number; and a fresh checkpoint begins with number 0, reads
    the topic from its start, and says itself what it leaves out. Any other way back is taken for a gap: a checkpoint
    that was restored, a clock that was set back, a fresh checkpoint whose first rows are missing.

    What came after the newest row counts as nothing left out: a service that is idle has no rows either.

    Args:
        progress: columns `PROGRESS`, what is still kept of it.
        hours_ahead: events so far ahead of their arrival are no facts.

    Returns:
        `begins`, `ends` (exclusive), UTC, and `baskets`: the most that were left out there, null where nobody knows.
        Stretches may overlap; each basket that was left out counts in one of them. Late events lie before the watermark
        of the moment; those before the oldest row that is kept may have been left out as well. Events ahead lie after
        the moment. In a gap there may have been any of these.
    """
    rows = typed(progress, PROGRESS).sort("at")
    before = pl.col("batch") - pl.col("batches")
    goes_on = before.is_between(pl.col("previous_batch") - 1, pl.col("previous_batch")) | (before == _NO_BATCH)
    ever, unknown = pl.lit(_EVER).alias("begins"), pl.lit(None, pl.Int64).alias("baskets")
    ahead_until = pl.col("at") + timedelta(hours=hours_ahead)
    seen_until = pl.col("newest_event_at") + timedelta(milliseconds=1)
    gaps = rows.filter(~goes_on)
    stretches = pl.concat(
        [
            rows.filter(pl.col("late") > 0).select(ever, ends="watermark", baskets="late"),
            rows.head(1).select(ever, ends="watermark", baskets=unknown),
            rows.filter(pl.col("ahead") > 0).select(begins="at", ends=ahead_until, baskets="ahead"),
            rows.filter(pl.col("too_large") > 0).select(begins="watermark", ends=seen_until, baskets="too_large"),
            gaps.select(ever, ends=pl.max_horizontal("watermark", seen_until), baskets=unknown),
            gaps.select(begins="previous_at", ends=ahead_until, baskets=unknown),
        ]
    )
    return stretches.filter(pl.col("begins") < pl.col("ends")).sort("begins", "ends")


def compared_stretches(
    stream: pl.DataFrame,
    facts: pl.DataFrame,
    stores: pl.DataFrame,
    made: pl.DataFrame,
    kept_out: pl.DataFrame,
    left_out: pl.DataFrame,
    now: datetime,
) -> pl.DataFrame:
    """Compare what the stream counted with the facts, as far as both are complete.

    Compared are the days of `made`, from a day after the stream began with a store to the store's newest hour, which is
    open; without the days that an import tells of, stores that `stores` lacks, and stores of which the stream has
    nothing. Hours in the future are no newest ones, whether by `now` or by the time at which they were written: a till
    whose clock was ahead would close all hours before. Lines that are in quarantine count with the facts, since the
    stream counted them.

    Args:
        stream: one row per store and hour (UTC) with a basket, columns `STREAM`; from `LOOK_BACK_DAYS` before the first
            day on.
        facts: one row per store, date and hour with a sale, columns `FACTS`.
        stores: `reference/stores`, or a dimension made of it.
        made: one row per date, columns `MADE`.
        kept_out: one row per line, columns `KEPT_OUT`, of the same dates.
        left_out: from `left_out_by_stream`.
        now: the time of this comparison.

    Returns:
        One row per store and stretch of time with anything in it, by store and time: `store_id`, `begins`, `ends`
        (exclusive, UTC), `stream_units`, `stream_revenue`, `units`, `revenue` (of facts and quarantine), `kept_out`
        (lines in quarantine that count among these), `verdict`.
    """
    dates = typed(made, MADE)
    zones = typed(stores, _STORES).unique("store_id", keep="first", maintain_order=True)
    rows = typed(stream, STREAM).join(zones, on="store_id", how="inner")
    reached = rows.filter(pl.col("hour_start") <= pl.min_horizontal("updated_at", pl.lit(now)) + _AHEAD_AT_MOST)
    rows = rows.join(reached, on="store_id", how="semi")
    if dates.is_empty() or rows.is_empty():
        return _judged(_items(pl.DataFrame(), {}), left_out)
    on = dates["business_date"].to_list()
    clock = _clock(zones["time_zone"].unique().to_list(), min(on) - timedelta(days=1), max(on) + timedelta(days=1))

    zones = zones.join(rows, on="store_id", how="semi")
    told = typed(facts, FACTS).join(zones, on="store_id", how="inner").join(dates, on="business_date", how="semi")
    imported = told.filter(pl.col("business_hour") >= _HOURS_OF_A_DAY).select("store_id", "business_date").unique()
    quarantined = typed(kept_out, KEPT_OUT).join(zones, on="store_id", how="inner")
    counts = ~pl.col("reason").is_in(_EITHER_WAY)

    items = pl.concat(
        [
            _items(
                _of_days(rows.with_columns(begins="hour_start"), clock, dates),
                {
                    "ends": pl.col("begins") + timedelta(hours=1),
                    "stream_units": pl.col("units"),
                    "stream_revenue": pl.col("revenue"),
                    "units": pl.lit(0),
                    "revenue": pl.lit(0),
                    "is_unclear": pl.col("updated_at") > pl.col("known_until"),
                },
            ),
            _items(
                told.join(clock, on=["time_zone", "business_date", "business_hour"], how="inner"),
                {"is_told": pl.lit(True)},  # noqa: FBT003 - a literal column
            ),
            _items(
                _of_days(quarantined.with_columns(begins=pl.col("occurred_at").dt.truncate("15m")), clock, dates),
                {
                    "ends": pl.col("begins") + _QUARTER,
                    "units": pl.when(counts).then("units").otherwise(0),
                    "revenue": pl.when(counts).then("revenue").otherwise(0),
                    "kept_out": counts.cast(pl.Int64),
                    "is_told": pl.lit(True),  # noqa: FBT003
                    "is_unclear": ~counts,
                },
            ),
            _items(_not_covered(reached), {"is_outside": pl.lit(True)}),  # noqa: FBT003
            _items(_other_days(zones, clock, dates, imported), {"is_outside": pl.lit(True)}),  # noqa: FBT003
        ]
    )
    return _judged(items, left_out)


def _clock(zones: list[str], first: date, last: date) -> pl.DataFrame:
    """Return when each hour of some dates begins and ends (exclusive, UTC) on the clocks of some zones.

    Asked by the quarters of an hour that a clock shows, so that hours that come twice or not at all need no thought.
    """
    start, end = (datetime(on.year, on.month, on.day, tzinfo=UTC) for on in (first, last))
    quarters = pl.DataFrame(
        {"begins": pl.datetime_range(start - timedelta(days=1), end + timedelta(days=2), _QUARTER, eager=True)}
    ).with_columns(pl.col("begins").cast(pl.Datetime("us", "UTC")))
    hours = []
    for zone in zones:
        local = pl.col("begins").dt.convert_time_zone(zone)
        hours.append(
            quarters.group_by(business_date=local.dt.date(), business_hour=local.dt.hour().cast(pl.Int32))
            .agg(pl.col("begins").min(), ends=pl.col("begins").max() + _QUARTER)
            .filter(pl.col("business_date").is_between(first, last))
            .with_columns(time_zone=pl.lit(zone))
        )
    return pl.concat(hours)


def _of_days(rows: pl.DataFrame, clock: pl.DataFrame, dates: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that begin on one of the dates or the days next to them, with `known_until` of their date."""
    hours = clock.rename({"begins": "hour_begins", "ends": "hour_ends"}).sort("hour_begins")
    return (
        rows.sort("begins")
        .join_asof(
            hours, left_on="begins", right_on="hour_begins", by="time_zone", strategy="backward", check_sortedness=False
        )
        .filter(pl.col("begins") < pl.col("hour_ends"))
        .join(dates, on="business_date", how="left")
    )


def _not_covered(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the time before the stream covers each store, and after it has come to its newest hour."""
    begun = pl.col("hour_start").diff().over("store_id", order_by="hour_start").fill_null(SILENCE * 2) > SILENCE
    before = (
        rows.filter(begun)
        .group_by("store_id")
        .agg(ends=pl.col("hour_start").max() + _BEGINNING)
        .select("store_id", begins=pl.lit(_EVER), ends="ends")
    )
    after = rows.group_by("store_id").agg(begins=pl.col("hour_start").max()).with_columns(ends=pl.lit(_NEVER))
    return pl.concat([before, after.cast(before.schema)])


def _other_days(zones: pl.DataFrame, clock: pl.DataFrame, dates: pl.DataFrame, imported: pl.DataFrame) -> pl.DataFrame:
    """Return the days of each store that are not compared, those before the first and after the last among them."""
    days = clock.group_by("time_zone", "business_date").agg(pl.col("begins").min(), pl.col("ends").max())
    by_store = zones.join(days, on="time_zone", how="inner")
    return pl.concat(
        [
            by_store.join(dates, on="business_date", how="anti"),
            by_store.join(imported, on=["store_id", "business_date"], how="semi"),
        ]
    )


def _items(rows: pl.DataFrame, given: dict[str, pl.Expr]) -> pl.DataFrame:
    """Return rows as pieces of time; what nobody gives is nothing."""
    if rows.width == 0:
        return pl.DataFrame(schema=_ITEMS)
    nothing = {
        name: pl.lit(False if kind == pl.Boolean() else 0) for name, kind in _ITEMS.items() if name not in rows.columns
    }
    return rows.with_columns(**{**nothing, **given}).select(_ITEMS.names()).cast(_ITEMS)


def _numbered(pieces: pl.DataFrame) -> pl.DataFrame:
    """Number the stretches of each store that overlapping pieces of time make together."""
    reach = pl.col("ends").cum_max().shift(1).over("store_id")
    return pieces.sort("store_id", "begins", "ends").with_columns(
        stretch=(reach.is_null() | (pl.col("begins") >= reach)).cum_sum()
    )


def _judged(items: pl.DataFrame, left_out: pl.DataFrame) -> pl.DataFrame:
    stretches = (
        _numbered(items)
        .group_by("store_id", "stretch")
        .agg(pl.col("begins").min(), pl.col("ends").max(), pl.col(_SUMMED).sum(), pl.col(_ANY).any())
        .filter(~pl.col("is_outside"))
        .sort("ends")
    )
    instant = pl.Datetime("us", "UTC")
    pieces = left_out.select(pl.col("begins", "ends").cast(instant), pl.col("baskets").cast(pl.Int64))
    same = (pl.col("stream_units") == pl.col("units")) & (pl.col("stream_revenue") == pl.col("revenue"))
    # They are disjoint: the last one that begins before the stretch ends is the only one that may overlap it first.
    touched = stretches.join_asof(
        _disjoint(pieces).select(left_out_begins="begins", left_out_ends="ends"),
        left_on="ends",
        right_on="left_out_begins",
        strategy="backward",
        allow_exact_matches=False,
    ).with_columns(
        is_excused=~same
        & ~pl.col("is_unclear")
        & pl.col("is_told")
        & (pl.col("left_out_ends") > pl.col("begins")).fill_null(value=False)
    )
    too_many_from = _too_many_from(touched.filter("is_excused"), pieces)
    return (
        touched.with_columns(
            verdict=pl.when(same)
            .then(pl.lit(SAME))
            .when("is_unclear")
            .then(pl.lit(UNCLEAR))
            .when(~pl.col("is_excused"))
            .then(pl.lit(DIFFERENT))
            .when(pl.col("begins") >= pl.lit(too_many_from, instant))
            .then(pl.lit(TOO_MANY))
            .otherwise(pl.lit(UNCLEAR))
        )
        .select("store_id", "begins", "ends", *_SUMMED, "verdict")
        .sort("store_id", "begins")
    )


def _disjoint(pieces: pl.DataFrame) -> pl.DataFrame:
    """Return the time that pieces cover, disjoint and in order."""
    return (
        _numbered(pieces.with_columns(store_id=pl.lit("")))
        .group_by("stretch")
        .agg(pl.col("begins").min(), pl.col("ends").max())
        .sort("begins")
    )


def _too_many_from(excused: pl.DataFrame, pieces: pl.DataFrame) -> datetime:
    """Return since when more stretches differ than baskets were left out that may lie there; never: `_NEVER`.

    Of the stretches that begin at some moment or later each needs a basket of its own that may lie after that moment.
    Late ones may lie anywhere before, so counting from the newest stretch backwards is what tells the most: what was
    left out a week ago explains nothing of yesterday.
    """
    if excused.is_empty():
        return _NEVER
    within = pieces.filter(pl.col("begins") < excused["ends"].max())
    # Stretches share beginnings, as many as there are stores: all of them need baskets.
    needed = (
        excused.group_by("begins")
        .len("stretches")
        .sort("begins")
        .with_columns(pl.col("stretches").cast(pl.Int64).cum_sum(reverse=True))
    )
    # One piece of which nobody knows the number may hold any.
    available = (
        within.group_by("ends")
        .agg(pl.col("baskets").sum(), is_unknown=pl.col("baskets").is_null().any())
        .sort("ends")
        .with_columns(pl.col("baskets").cum_sum(reverse=True), pl.col("is_unknown").cum_max(reverse=True))
    )
    short = needed.join_asof(
        available, left_on="begins", right_on="ends", strategy="forward", allow_exact_matches=False
    ).filter(~pl.col("is_unknown") & (pl.col("stretches") > pl.col("baskets")))
    return min(short["begins"].to_list(), default=_NEVER)
