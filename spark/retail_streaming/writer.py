"""What happens to each batch of a query: its rows are fetched and written to the warehouse, once or more.

Belongs here: the step from a batch to an insert. Does not belong here: the insert itself (`warehouse`).
"""

from threading import Event

import pyarrow as pa
from pyspark.sql import DataFrame

from retail_streaming.errors import StreamingError
from retail_streaming.patience import patiently
from retail_streaming.progress import RowsWritten
from retail_streaming.queries import Query
from retail_streaming.warehouse import Warehouse, version_of


class BatchWriter:
    """Writes the batches of one query; Spark calls it.

    Attributes:
        failure: why the last batch failed. Spark only passes on a text of it.
    """

    def __init__(
        self, query: Query, warehouse: Warehouse, written: RowsWritten, *, epoch: int, patience: float, stopping: Event
    ) -> None:
        """Say what to write where.

        Args:
            query: whose batches.
            warehouse: this query's own connection.
            written: told how many rows each batch wrote.
            epoch: start time for the versions.
            patience: seconds that the warehouse may be away.
            stopping: set when the service is told to stop.
        """
        self._query = query
        self._warehouse = warehouse
        self._written = written
        self._epoch = epoch
        self._patience = patience
        self._stopping = stopping
        self.failure: StreamingError | None = None

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Write one batch.

        The rows come to this process: they are as many as keys that changed, not as many as messages.

        Raises:
            StreamingError: the warehouse refuses, or is away for too long. The query ends; its checkpoint has the
                batch still, and the next start writes it.
        """
        self.failure = None
        rows: pa.Table = self._query.batch_rows(batch).toArrow()
        try:
            if rows.num_rows:
                patiently(
                    lambda: self._warehouse.write(self._query.target, rows, version_of(self._epoch, batch_id)),
                    what=f"write of {self._query.name}",
                    seconds=self._patience,
                    stopping=self._stopping,
                )
        except StreamingError as error:
            self.failure = error
            raise
        self._written.note(self._query.name, batch_id, rows.num_rows)
