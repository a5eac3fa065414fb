"""Looks at the live picture: what changes by time going by, or needs history and master data, is asked again and again.

How long stock lasts follows from sales, forecasts and time, whether an hour is unusual from eight weeks of facts: all
of it lies in the warehouse. So the service asks there, by statements that read the tables' final rows and insert only
what changed. What was known before is in the tables too, so a look may be repeated, or done by another process, without
harm. Belongs here: the statements, and how often. Does not belong here: the figures themselves (views of
`infra/clickhouse/ddl`).
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from retail_streaming.errors import StreamingError, first_line
from retail_streaming.logs import log
from retail_streaming.settings import StreamingSettings
from retail_streaming.warehouse import Warehouse

#: The tables that looks write.
TABLES: Final = ("rt_clock", "rt_stock_settled", "rt_stockout_risk", "rt_anomaly")

# A count says what is there, so what had gone missing until then says nothing of the stock any more. Not before the
# last movement from before the count must have come: until then, what is unexplained may only be late.
SETTLED: Final = """
INSERT INTO rt_stock_settled
    (store_id, product_id, counted_at, unexplained_then, first_movement_then, version, updated_at)
SELECT
    i.store_id, i.product_id, i.last_count_at, i.unexplained, i.first_movement_at,
    greatest(toUInt64(toUnixTimestamp64Milli(now64(3))), c.version + 1), now64(3, 'UTC')
FROM
(
    SELECT store_id, product_id, last_count_at, unexplained, first_movement_at
    FROM rt_inventory FINAL WHERE toUnixTimestamp64Milli(last_count_at) > 0
) AS i
INNER JOIN v_store_clock AS k ON k.store_id = i.store_id
LEFT JOIN (SELECT store_id, product_id, counted_at, first_movement_then, version FROM rt_stock_settled FINAL) AS c
    ON c.store_id = i.store_id AND c.product_id = i.product_id
WHERE dateDiff('minute', i.last_count_at, k.as_of) > {late:Float64}
    AND (i.last_count_at > c.counted_at OR i.first_movement_at > c.first_movement_then)
"""

# A level is left for a better one only ten percent above its limit; stock near a limit would change back and forth.
LEVELS: Final = """
INSERT INTO rt_stockout_risk
    (store_id, product_id, level, previous_level, changed_at, on_hand_then, hours_of_cover_then, expected_units_then,
     version, updated_at)
SELECT
    store_id, product_id, level, previous, if(level = 'out', last_movement_at, as_of), on_hand, hours_of_cover,
    expected_units, greatest(toUInt64(toUnixTimestamp64Milli(now64(3))), known_version + 1), now64(3, 'UTC')
FROM
(
    SELECT
        c.store_id AS store_id, c.product_id AS product_id, c.as_of AS as_of, c.last_movement_at AS last_movement_at,
        c.on_hand AS on_hand, c.hours_of_cover AS hours_of_cover, c.expected_units AS expected_units,
        r.version AS known_version, if(r.level = '', 'ok', r.level) AS previous,
        multiIf(
            c.on_hand <= 0, 'out',
            c.hours_of_cover < {critical:Float64} * if(previous = 'critical', 1.1, 1), 'critical',
            c.hours_of_cover < {low:Float64} * if(previous IN ('low', 'critical'), 1.1, 1), 'low',
            'ok'
        ) AS level
    FROM v_stock_cover AS c
    LEFT JOIN (SELECT store_id, product_id, level, version FROM rt_stockout_risk FINAL) AS r
        ON r.store_id = c.store_id AND r.product_id = c.product_id
)
WHERE level != previous
"""

# What looks wrong now: kind, store, subject, since when, score, expected, observed, a sentence without its place, and
# whether it is enough to begin an incident. One that goes on needs less, or it would end and begin all the time.
_UNUSUAL_SALES: Final = """
    SELECT
        m.1 AS kind, store_id, category AS subject, as_of AS started_at, m.3 AS score, m.4 AS expected, m.5 AS observed,
        abs(m.3) >= {score:Float64} AS begins,
        concat(category, ': ', toString(round(m.5, 1)), ' ', m.2, ' in an hour, ', toString(round(m.4, 1)), ' expected')
            AS words
    FROM
    (
        SELECT
            store_id, category, as_of,
            arrayJoin([
                ('unusual_units', 'units', units_score, expected_units, units),
                ('unusual_revenue', 'revenue', revenue_score, expected_revenue, revenue)
            ]) AS m
        FROM v_sales_surprise
    )
    WHERE abs(m.3) >= 0.6 * {score:Float64}
"""

_TILLS: Final = """
    SELECT
        'till_silent' AS kind, h.store_id AS store_id, h.register_id AS subject, h.last_event_at AS started_at,
        dateDiff('minute', h.last_event_at, c.as_of) / {silent:Float64} AS score, {silent:Float64} AS expected,
        toFloat64(dateDiff('minute', h.last_event_at, c.as_of)) AS observed, true AS begins,
        concat('Till ', h.register_id, ': nothing for ', toString(dateDiff('minute', h.last_event_at, c.as_of)),
               ' minutes, though it did not close') AS words
    FROM (SELECT store_id, register_id, last_event_at, last_kind FROM v_pos_health) AS h
    INNER JOIN v_store_clock AS c ON c.store_id = h.store_id
    WHERE h.last_kind NOT IN ('close', 'offline') AND dateDiff('minute', h.last_event_at, c.as_of) > {silent:Float64}
    UNION ALL
    SELECT
        'till_offline', h.store_id, h.register_id, h.last_event_at,
        1 + dateDiff('minute', h.last_event_at, c.as_of) / {silent:Float64}, 0.,
        toFloat64(dateDiff('minute', h.last_event_at, c.as_of)), true,
        concat('Till ', h.register_id, ': offline for ', toString(dateDiff('minute', h.last_event_at, c.as_of)),
               ' minutes')
    FROM (SELECT store_id, register_id, last_event_at, last_kind FROM v_pos_health) AS h
    INNER JOIN v_store_clock AS c ON c.store_id = h.store_id
    WHERE h.last_kind = 'offline'
    UNION ALL
    SELECT
        'store_silent', h.store_id, '', any(c.as_of),
        dateDiff('minute', any(c.as_of), any(n.newest)) / {silent:Float64}, {silent:Float64},
        toFloat64(dateDiff('minute', any(c.as_of), any(n.newest))), true,
        concat('All tills: nothing for ', toString(dateDiff('minute', any(c.as_of), any(n.newest))),
               ' minutes, though ', toString(count()), ' did not close')
    FROM (SELECT store_id, last_kind FROM v_pos_health) AS h
    INNER JOIN v_store_clock AS c ON c.store_id = h.store_id
    CROSS JOIN (SELECT max(as_of) AS newest FROM v_store_clock) AS n
    WHERE h.last_kind != 'close' AND dateDiff('minute', c.as_of, n.newest) > {silent:Float64}
    GROUP BY h.store_id
    UNION ALL
    SELECT
        'price_overrides', h.store_id, h.register_id, toDateTime64(h.hour_start, 3, 'UTC'),
        h.price_overrides / {overrides:Float64}, {overrides:Float64}, toFloat64(h.price_overrides), true,
        concat('Till ', h.register_id, ': ', toString(h.price_overrides), ' prices changed by hand in an hour, ',
               toString({overrides:Float64}), ' at most are usual')
    FROM (SELECT store_id, register_id, hour_start, price_overrides FROM rt_pos_hourly FINAL) AS h
    INNER JOIN v_store_clock AS c ON c.store_id = h.store_id
    LEFT JOIN
    (
        SELECT
            store_id, subject, groupArray(toDateTime(started_at, 'UTC')) AS hours,
            toDateTime(maxIf(started_at, toUnixTimestamp(ended_at) = 0), 'UTC') AS lasting
        FROM rt_anomaly FINAL WHERE kind = 'price_overrides' GROUP BY store_id, subject
    ) AS k ON k.store_id = h.store_id AND k.subject = h.register_id
    -- One hour of a till at a time, the oldest first, each an incident of its own: the running one while it runs, one
    -- that is over when it has none yet; the next look ends that. The incident of another hour has to end before.
    WHERE h.price_overrides > {overrides:Float64}
        AND h.hour_start > c.as_of - INTERVAL 25 HOUR AND h.hour_start <= c.as_of
        AND (h.hour_start > c.as_of - INTERVAL 1 HOUR OR NOT has(k.hours, h.hour_start))
        AND (toUnixTimestamp(k.lasting) = 0 OR k.lasting = h.hour_start)
    ORDER BY h.hour_start
    LIMIT 1 BY h.store_id, h.register_id
"""

_STOCK: Final = """
    SELECT
        'negative_stock' AS kind, i.store_id AS store_id, i.product_id AS subject, i.last_movement_at AS started_at,
        -toFloat64(i.on_hand) AS score, 0. AS expected, toFloat64(i.on_hand) AS observed, true AS begins,
        concat(if(p.product_id = '', i.product_id, p.name), ': ', toString(i.on_hand), ' units on hand by the books')
            AS words
    FROM (SELECT store_id, product_id, on_hand, last_movement_at FROM rt_inventory FINAL) AS i
    LEFT JOIN dim_product AS p ON p.product_id = i.product_id
    WHERE i.on_hand < 0
"""


def incidents(found: str, kinds: Sequence[str]) -> str:
    """Return the statement that keeps the incidents of some kinds.

    One is written when it begins, when it has become a tenth worse, and when it is found no more.

    Args:
        found: selects what looks wrong now.
        kinds: that it tells of. Incidents of other kinds are left as they are.
    """
    of_kinds = ", ".join(f"'{kind}'" for kind in kinds)
    return f"""
INSERT INTO rt_anomaly
    (kind, store_id, subject, started_at, ended_at, score, expected, observed, sentence, version, updated_at)
SELECT
    if(f.kind = '', o.kind, f.kind), if(f.kind = '', o.store_id, f.store_id), if(f.kind = '', o.subject, f.subject),
    if(o.kind = '', f.started_at, o.started_at),
    if(f.kind = '', greatest(o.as_of, o.started_at), toDateTime64(0, 3, 'UTC')),
    if(f.kind = '', o.score, f.score), if(f.kind = '', o.expected, f.expected), if(f.kind = '', o.observed, f.observed),
    if(f.kind = '', o.sentence, f.sentence),
    greatest(toUInt64(toUnixTimestamp64Milli(now64(3))), o.version + 1), now64(3, 'UTC')
FROM
(
    SELECT
        n.kind AS kind, n.store_id AS store_id, n.subject AS subject, n.started_at AS started_at, n.score AS score,
        n.expected AS expected, n.observed AS observed, n.begins AS begins,
        concat(if(s.store_id = '', n.store_id, s.name), ', ', n.words) AS sentence
    FROM ({found}) AS n
    LEFT JOIN dim_store AS s ON s.store_id = n.store_id
) AS f
FULL OUTER JOIN
(
    SELECT
        a.kind AS kind, a.store_id AS store_id, a.subject AS subject, a.started_at AS started_at, a.score AS score,
        a.expected AS expected, a.observed AS observed, a.sentence AS sentence, a.version AS version, c.as_of AS as_of
    FROM (SELECT * FROM rt_anomaly FINAL WHERE toUnixTimestamp(ended_at) = 0 AND kind IN ({of_kinds})) AS a
    LEFT JOIN v_store_clock AS c ON c.store_id = a.store_id
) AS o ON o.kind = f.kind AND o.store_id = f.store_id AND o.subject = f.subject
WHERE f.kind = '' OR (o.kind = '' AND f.begins) OR (o.kind != '' AND abs(f.score) > 1.1 * abs(o.score))
"""  # noqa: S608 -- made of nothing but constants


@dataclass(frozen=True)
class Statement:
    """One statement of a look.

    Attributes:
        name: in the log and the metrics.
        queries: whose tables it reads. It is left out while one of them is behind: sales that wait for their query
            would be taken for sales that did not happen. A query that has failed holds up no other statement.
        sql: reads final rows, and inserts what changed.
    """

    name: str
    queries: frozenset[str]
    sql: str


#: In the order in which they need each other.
STATEMENTS: Final = (
    Statement("counts", frozenset({"inventory"}), SETTLED),
    Statement("levels", frozenset({"sales", "inventory"}), LEVELS),
    Statement("unusual sales", frozenset({"sales"}), incidents(_UNUSUAL_SALES, ("unusual_units", "unusual_revenue"))),
    Statement(
        "tills",
        frozenset({"tills"}),
        incidents(_TILLS, ("till_silent", "till_offline", "store_silent", "price_overrides")),
    ),
    Statement("stock", frozenset({"inventory"}), incidents(_STOCK, ("negative_stock",))),
)

_AT_RISK: Final = "SELECT level, count() FROM rt_stockout_risk FINAL GROUP BY level"
_LASTING: Final = "SELECT kind, count() FROM rt_anomaly FINAL WHERE toUnixTimestamp(ended_at) = 0 GROUP BY kind"

_REFRESHES: Final = """
SELECT view, exception FROM system.view_refreshes WHERE database = currentDatabase() AND exception != '' ORDER BY view
"""

# A look may take at most this share of the time, whatever is set: on a small machine the queries come first.
_PAUSE_PER_SECOND: Final = 10.0


class LookObserver(Protocol):
    """What is told of looks."""

    def looked(
        self, seconds: float, products: dict[str, int], anomalies: dict[str, int], failing_refreshes: int
    ) -> None:
        """Take note of one: its time, products by level of risk, anomalies that last by kind, failing summaries."""

    def look_failed(self) -> None:
        """Take note of one that failed."""

    def look_left_out(self, statement: str) -> None:
        """Take note that a statement was left out of one."""


class Looks:
    """Looks, in the order in which they need each other."""

    def __init__(
        self,
        settings: StreamingSettings,
        warehouse: Warehouse,
        observer: LookObserver,
        behind: Callable[[Collection[str]], str | None] = lambda _: None,
    ) -> None:
        """Say where to look.

        Args:
            settings: limits, and how often.
            warehouse: a connection of their own.
            observer: told of each.
            behind: says why the tables of some queries are not what they should be by now, if so.
        """
        self._settings = settings
        self._warehouse = warehouse
        self._observer = observer
        self._behind = behind
        self._said = ""

    def turn(self) -> float:
        """Look once, with the statements whose queries keep up.

        Returns:
            How long to wait before the next look, seconds.

        Raises:
            StreamingError: the warehouse doesn't answer, or refuses; said once in the log until it is well again.
        """
        reasons = {statement.name: self._behind(statement.queries) for statement in STATEMENTS}
        left_out = {name: why for name, why in reasons.items() if why is not None}
        for name in left_out:
            self._observer.look_left_out(name)
        if len(left_out) == len(STATEMENTS):
            self._say("no looks meanwhile", why="; ".join(dict.fromkeys(left_out.values())))
            return self._settings.stream_look_seconds
        begun = time.monotonic()
        try:
            products, anomalies, failing = self._look(left_out)
        except StreamingError as error:
            self._say("look failed", error=str(error))
            self._observer.look_failed()
            raise
        if failing:
            self._say("summaries are not refreshed", **failing)
        elif left_out:
            self._say("some looks are left out", which=", ".join(left_out), why="; ".join(set(left_out.values())))
        else:
            self._said = ""
        took = time.monotonic() - begun
        self._observer.looked(took, products, anomalies, len(failing))
        return max(self._settings.stream_look_seconds, took * _PAUSE_PER_SECOND)

    def _look(self, left_out: Collection[str]) -> tuple[dict[str, int], dict[str, int], dict[str, str]]:
        settings, warehouse = self._settings, self._warehouse
        limits: dict[str, float] = {
            "late": settings.stream_late_minutes,
            "critical": settings.stream_critical_hours,
            "low": settings.stream_low_hours,
            "score": settings.stream_anomaly_score,
            "silent": settings.stream_till_silent_minutes,
            "overrides": settings.stream_price_overrides,
        }
        for statement in STATEMENTS:
            if statement.name not in left_out:
                used = {name: value for name, value in limits.items() if f"{{{name}:" in statement.sql}
                warehouse.command(statement.sql, **used)
        at_risk, lasting = (
            {str(name): int(count) for name, count in warehouse.rows(sql)} for sql in (_AT_RISK, _LASTING)
        )
        return at_risk, lasting, {str(name): first_line(error) for name, error in warehouse.rows(_REFRESHES)}

    def _say(self, event: str, **fields: str) -> None:
        """Say it once, until something else is to be said."""
        if event != self._said:
            log(logging.WARNING, event, **fields)
        self._said = event
