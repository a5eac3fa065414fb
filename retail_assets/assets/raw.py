"""The raw layer: what arrived, as it arrived, appended by Kafka offset range.

The table says which offsets it holds (`resources.progress`), so a run that dies leaves no hole and a repeated one no
duplicate. Does not belong here: cleansing (core).
"""

from collections.abc import Iterator

import dagster as dg
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from retail_assets.assets.common import POOL_INGEST, lake_asset
from retail_assets.assets.sources import topic_key
from retail_assets.contracts.decoding import decode, event_fields, header, plausible_time, rejection
from retail_assets.contracts.events import HEADER_PRODUCED_AT
from retail_assets.contracts.letters import letter_columns
from retail_assets.contracts.tables import BULK_PARTITION, RAW_DEAD_LETTERS, Table, raw_table
from retail_assets.contracts.topics import DEAD_LETTERS, EVENT_TOPICS, Topic
from retail_assets.io_managers.delta import contract_frame, read_table, row_counts
from retail_assets.resources.kafka import KafkaResource, Letter, TopicMissingError
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.offsets import OffsetRange, Progress, range_after
from retail_assets.resources.progress import (
    TRANSACTION_APP,
    ConcurrentIngestError,
    commit_metadata,
    read_progress,
    record,
)
from retail_assets.resources.spark import SparkResource
from retail_assets.settings import get_settings


class IngestConfig(dg.Config):
    """How much one run reads.

    Attributes:
        max_events: read one range of at most so many; 0 reads all that waits when the run begins, in ranges of
            RETAIL_KAFKA_MAX_EVENTS_PER_RUN.
    """

    max_events: int = 0


def read_topic(spark: SparkSession, bootstrap_servers: str, span: OffsetRange) -> SparkFrame:
    """Return the messages of an offset range, lazily, as Spark's Kafka source gives them, in the table's offsets.

    The broker's own are in the column `broker_offset`. The source fails rather than skip offsets that the broker no
    longer has.
    """
    messages = (
        spark.read.format("kafka")
        .option("kafka.bootstrap.servers", bootstrap_servers)
        .option("subscribe", span.topic)
        .option("startingOffsets", span.starting_offsets())
        .option("endingOffsets", span.ending_offsets())
        .option("includeHeaders", "true")
        .load()
    )
    ahead = F.lit(0)
    for partition, base in span.base.items():
        ahead = F.when(F.col("partition") == partition, F.lit(base)).otherwise(ahead)
    return messages.withColumns({"broker_offset": F.col("offset"), "offset": F.col("offset") + ahead})


def decoded(messages: SparkFrame, topic: Topic, table: Table) -> SparkFrame:
    """Turn messages into rows of the topic's raw table; refused ones keep their bytes and get a reason."""
    headers = F.col("headers")
    parsed = messages.withColumn("event", decode(F.col("value"), headers, topic.schema)).withColumn(
        "rejection", rejection(F.col("event"), headers, topic.schema)
    )
    refused = F.col("rejection").isNotNull()
    rows = parsed.select(
        F.col("topic").alias("kafka_topic"),
        F.col("partition").alias("kafka_partition"),
        F.col("offset").alias("kafka_offset"),
        plausible_time(header(headers, HEADER_PRODUCED_AT).try_cast("bigint")).alias("produced_at"),
        F.current_timestamp().alias("ingested_at"),
        "rejection",
        F.when(refused, F.col("value")).alias("raw_value"),
        F.when(refused, headers).alias("raw_headers"),
        # The broker's count too, since a letter is called by it: what the table is ahead by changes when a topic is
        # adopted again, and commits that say it are cleaned away.
        F.when(refused, F.col("broker_offset")).alias("broker_offset"),
        F.when(refused, F.col("timestamp")).alias("broker_time"),
        *[
            F.when(~refused, field).alias(column.name)
            for field, column in zip(event_fields(F.col("event"), topic.schema), topic.schema.columns, strict=True)
        ],
    )
    rows = rows.withColumn("event_date", F.to_date(F.coalesce("occurred_at", "ingested_at")))
    return contract_frame(rows, table)


def _raw_asset(topic: Topic) -> dg.AssetsDefinition:
    table = raw_table(topic)

    @lake_asset(
        table,
        kinds={"spark", "kafka", "deltalake"},
        deps=[topic_key(topic.table)],
        pool=POOL_INGEST,
    )
    def raw_events(
        context: dg.AssetExecutionContext,
        config: IngestConfig,
        spark: SparkResource,
        lake: LakeResource,
        kafka: KafkaResource,
    ) -> dg.MaterializeResult[None]:
        delta = lake.delta(table)
        progress = read_progress(delta)
        name = kafka.name_of(topic)
        try:
            state = kafka.state(name)
        except TopicMissingError:
            if not kafka.topic_prefix:
                raise
            # A tenant whose history was imported needs no tills.
            context.log.info("%s: the tenant has no such topic, so there is nothing to read", name)
            return dg.MaterializeResult(metadata={"events_read": 0})
        limit = config.max_events or get_settings().kafka_max_events_per_run
        span = range_after(progress, name, state, limit=limit)
        if span.lost:
            context.log.error("%s: the broker deleted events before they were read: %s", name, span.losses())
        if span.lost and not span.events and delta is not None:
            record(delta, name, progress.after(span, state.topic_id))
        read = rejected = 0
        lost = sum(span.lost.values())
        offsets: dict[str, int] = {}
        # A day that is made from what the table holds should be made from all that came: range by range, each a commit
        # of its own, up to where the topic ended when the run began.
        while span.events:
            progress = progress.after(span, state.topic_id)
            rejected += _append(spark.spark_session, lake, kafka, topic, table, span, progress)
            read += span.events
            offsets = {str(partition): offset for partition, offset in span.end.items()}
            span = range_after(progress, name, state, limit=limit)
            if config.max_events:
                break
        if span.events:
            context.log.warning("%s: %d events still wait, since this run reads %d at most", name, span.waiting, limit)
        delta = lake.delta(table)
        counts = row_counts(delta, table, None) if delta is not None else {}
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": sum(counts.values()),
                "events_read": read,
                "events_refused": rejected,
                "events_waiting": span.waiting if span.events else 0,
                "events_lost": lost,
                "offsets": dg.MetadataValue.json(offsets or {str(p): offset for p, offset in span.end.items()}),
                "dagster/uri": lake.uri(table.path),
            }
        )

    return raw_events


def _append(
    spark: SparkSession,
    lake: LakeResource,
    kafka: KafkaResource,
    topic: Topic,
    table: Table,
    span: OffsetRange,
    after: Progress,
) -> int:
    """Write a range as one Delta commit, after which the table holds `after`.

    Returns:
        How many messages the contract refused.

    Raises:
        ConcurrentIngestError: another run committed this batch first.
    """
    rows = decoded(read_topic(spark, kafka.bootstrap_servers, span), topic, table)
    (
        rows.repartition("event_date")
        .write.format("delta")
        .mode("append")
        .partitionBy("event_date")
        # A table of an earlier release lacks the optional fields that the contract has got since.
        .option("mergeSchema", "true")
        .option("txnAppId", TRANSACTION_APP)
        .option("txnVersion", str(after.batch))
        .option("userMetadata", commit_metadata(span.topic, after))
        .save(lake.uri(table.path))
    )
    written = lake.delta(table)
    # Delta leaves out, in silence, a batch number that another run has committed in the meantime.
    if written is None or read_progress(written) != after:
        raise ConcurrentIngestError(
            f"{table.path}: another run wrote batch {after.batch} first; its events are safe. Run again for what came "
            "since"
        )
    refused = read_table(spark, lake, table).where(F.col("rejection").isNotNull())
    return refused.where(_within(span)).count()


def _within(span: OffsetRange) -> str:
    parts = [
        f"(kafka_partition = {partition} AND kafka_offset >= {span.start[partition]} AND kafka_offset < {end})"
        for partition, end in span.end.items()
    ]
    return " OR ".join(parts)


@lake_asset(
    RAW_DEAD_LETTERS,
    kinds={"spark", "kafka", "deltalake"},
    deps=[dg.AssetKey(raw_table(topic).key) for topic in EVENT_TOPICS],
    pool=POOL_INGEST,
)
def dead_letters(
    context: dg.AssetExecutionContext, spark: SparkResource, lake: LakeResource, kafka: KafkaResource
) -> SparkFrame:
    """Collect what the contracts refuse, from all raw tables, and send it to the `dead-letters` topic.

    Derived from the raw tables whole, so it is right after any crash. Letters are keyed by topic, partition, the
    broker's offset and Kafka's time of the message, and the topic is compacted: one that is sent again replaces itself.
    """
    session = spark.spark_session
    refused = [
        read_table(session, lake, raw_table(topic))
        .where(F.col("rejection").isNotNull() & (F.col("kafka_partition") != BULK_PARTITION))
        .select(*RAW_DEAD_LETTERS.column_names)
        for topic in EVENT_TOPICS
    ]
    letters = refused[0]
    for frame in refused[1:]:
        letters = letters.unionByName(frame)
    known = read_table(session, lake, RAW_DEAD_LETTERS).select(*RAW_DEAD_LETTERS.grain)
    # Rows of earlier releases don't say the broker's offset; their letters have the keys of those releases.
    offset = F.coalesce("broker_offset", "kafka_offset")
    fresh = letters.join(known, list(RAW_DEAD_LETTERS.grain), "left_anti").select(
        *letter_columns("raw_headers", offset, F.col("broker_time"))
    )
    name = kafka.name_of(DEAD_LETTERS)
    sent = kafka.send(name, _unanswered(fresh, kafka, name))
    context.log.info("sent %d dead letters to %s", sent, name)
    return letters


def _unanswered(fresh: SparkFrame, kafka: KafkaResource, topic: str) -> Iterator[Letter]:
    """Yield the letters to send: not those that somebody has replayed already, of which the topic has a tombstone.

    The streaming service may have sent them long before a run collects them. Tombstones stay for a day at least.

    Args:
        fresh: `letter_columns` of the letters. If there are none, nobody is asked.
        kafka: where the topic is.
        topic: of the dead letters, by its name on the broker.

    Raises:
        BrokerError: the broker is away or has no such topic.
    """
    answered: set[str] | None = None
    for row in fresh.toLocalIterator():
        if answered is None:
            kafka.state(topic)
            answered = _tombstones(fresh.sparkSession, kafka.bootstrap_servers, topic)
        if row.key not in answered:
            yield Letter(row.key.encode(), bytes(row.value), [(one.key, bytes(one.value)) for one in row.headers])


def _tombstones(spark: SparkSession, bootstrap_servers: str, topic: str) -> set[str]:
    everything = (
        spark.read.format("kafka")
        .option("kafka.bootstrap.servers", bootstrap_servers)
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .load()
    )
    return {row.key for row in everything.where(F.col("value").isNull()).select(F.col("key").cast("string")).collect()}


def raw_assets() -> list[dg.AssetsDefinition]:
    """Return the assets of the raw layer."""
    return [*(_raw_asset(topic) for topic in EVENT_TOPICS), dead_letters]
