"""Dagster's event log on one machine: SQLite, which takes what a run says of an asset's many partitions at once.

A run over a year records a materialisation for each day of each table. Dagster's own SQLite storage opens six
connections for each of them, which takes longer than making most tables; it has the door for whole batches, which
Dagster uses where DAGSTER_EVENT_BATCH_SIZE is set, but takes them one by one. Belongs here: that, and nothing that
Dagster's storage does itself. If a batch fails, Dagster stores its events one by one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dagster import EventLogEntry
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData


class BatchedEventLog(SqliteEventLogStorage):
    """Dagster's SQLite storage, with batches of events in one transaction of the run's file and one of the index."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "BatchedEventLog":
        """Make the storage from its section of `dagster.yaml`."""
        return cls(inst_data=inst_data, **config_value)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of one run. Others than those of assets, which need more than two rows each, go one by one."""
        run_ids = {event.run_id for event in events}
        if len(run_ids) != 1 or any(event.dagster_event_type not in ASSET_EVENTS for event in events):
            super().store_event_batch(events)
            return
        inserts = [self.prepare_insert_event(event) for event in events]
        with self.run_connection(run_ids.pop()) as connection:
            for insert in inserts:
                connection.execute(insert)
        with self.index_transaction() as connection:
            keys = [connection.execute(insert).inserted_primary_key for insert in inserts]
            ids = [int(key[0]) for key in keys if key is not None]
            self._store_asset_event_tags(connection, events, ids)
            for event, number in zip(events, ids, strict=True):
                self._store_asset_event(connection, event, number)
