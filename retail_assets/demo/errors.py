"""The errors that the platform explains in one line, so that commands show them without a traceback."""

from typing import Final

from retail_assets.backtest.errors import BacktestError
from retail_assets.bench.errors import BenchError
from retail_assets.imports.errors import ImportRefusedError
from retail_assets.pipeline import NothingToRunError
from retail_assets.resources.clickhouse import WarehouseError
from retail_assets.resources.kafka import BrokerError
from retail_assets.resources.letters import LetterError
from retail_assets.resources.migrations import MigrationError
from retail_assets.resources.offsets import TopicResetError
from retail_assets.resources.progress import ConcurrentIngestError
from retail_assets.resources.repair import RepairError
from retail_assets.resources.topic_admin import TopicChangeError
from retail_assets.resources.topics import TopicFileError
from retail_assets.runs import LaunchError, RunFailedError
from retail_assets.simulator.realism.observation import ObservationError
from retail_assets.simulator.scenario import ScenarioError
from retail_assets.simulator.stock.stock_state import StateError
from retail_assets.simulator.tills.day_producer import ProducerError
from retail_assets.simulator.tills.wire import ContractError


class DemoError(Exception):
    """The demo can't go on. The message says what to do."""


EXPLAINED: Final = (
    BacktestError,
    BenchError,
    BrokerError,
    ConcurrentIngestError,
    ContractError,
    DemoError,
    ImportRefusedError,
    LaunchError,
    LetterError,
    MigrationError,
    NothingToRunError,
    ObservationError,
    ProducerError,
    RepairError,
    RunFailedError,
    ScenarioError,
    StateError,
    TopicChangeError,
    TopicFileError,
    TopicResetError,
    WarehouseError,
)
