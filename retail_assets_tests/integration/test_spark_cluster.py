"""The same code on a Spark cluster with its lake in an object store: every table as on one machine with a folder.

The cluster is Spark's own standalone one, a master and two workers in processes of their own; the object store is the
local stack's.
"""

import contextlib
import http.client
import json
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import boto3
import pyspark
import pytest
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from retail_assets.contracts.tables import MODELS_DEMAND_FORECAST
from retail_assets.contracts.topics import EVENT_TOPICS, TOPICS
from retail_assets.paths import project_root
from retail_assets.resources.clickhouse import connect
from retail_assets.resources.kafka import KafkaResource
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.migrations import migrate
from retail_assets.resources.spark import SparkResource
from retail_assets.resources.topics import read_topic_settings
from retail_assets.settings import Mode, Settings
from retail_assets.simulator.lake import write_history
from retail_assets.simulator.simulation import simulate
from retail_assets.simulator.tills.day_producer import TillProducer
from retail_assets_tests.steps import Step, here, start
from retail_assets_tests.stored import differences, lake_tables, warehouse_tables
from retail_assets_tests.tiny_retailer import TODAY, tiny_retailer
from retail_local.java import find_java
from retail_local.passwords import S3_ACCESS_KEY, S3_SECRET_KEY, read_secret
from retail_local.ports import LOOPBACK, free_ports, is_free
from retail_local.services import find_service
from retail_local.stack import Stack

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(1_800)]

BUCKET = "retail"
WORKERS = 2
START_SECONDS = 60
#: Enough for features that look back a month, and for a model that is judged on a week.
DAYS, FEATURE_DAYS = 45, 24
ON_ONE_MACHINE, ON_A_CLUSTER = "on_one_machine", "on_a_cluster"


@pytest.fixture(scope="module")
def object_store(stack: Stack, settings: Settings) -> Settings:
    """Start the S3 server with an empty bucket; return the settings of a lake in it."""
    while True:
        (port,) = free_ports(1)
        there = settings.model_copy(update={"s3_endpoint": f"http://{LOOPBACK}:{port}"})
        if all(0 < use.number < 65_536 and is_free(use.number) for use in find_service("s3").ports(there)):
            break
    Stack(there).up(["s3"])
    there = there.model_copy(
        update={
            "lake_uri": f"s3a://{BUCKET}/lake",
            "s3_access_key": read_secret(there, S3_ACCESS_KEY),
            "s3_secret_key": SecretStr(read_secret(there, S3_SECRET_KEY)),
        }
    )
    boto3.client(
        "s3",
        endpoint_url=there.s3_endpoint,
        region_name=there.s3_region,
        aws_access_key_id=there.s3_access_key,
        aws_secret_access_key=there.s3_secret_key.get_secret_value(),
    ).create_bucket(Bucket=BUCKET)
    return there


@pytest.fixture(scope="module")
def spark_master(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a master and two workers, as docker-compose.yml does; return the master's address."""
    folder = tmp_path_factory.mktemp("spark")
    port, page = free_ports(2)
    home = Path(pyspark.__file__).parent
    environment = {
        **os.environ,
        "JAVA_HOME": str(find_java(settings).home),
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": LOOPBACK,
        "SPARK_DAEMON_MEMORY": "192m",
    }
    address = f"spark://{LOOPBACK}:{port}"
    master = ["master.Master", "--host", LOOPBACK, "--port", str(port), "--webui-port", str(page)]
    worker = ["worker.Worker", "--host", LOOPBACK, "--webui-port", "0", "--cores", "1", "--memory", "1g"]
    programs = [master, *([*worker, "--work-dir", str(folder / f"worker-{n}"), address] for n in range(WORKERS))]
    with contextlib.ExitStack() as running:
        for number, (name, *arguments) in enumerate(programs):
            log = running.enter_context((folder / f"{number}.log").open("wb"))
            command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *arguments]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
            running.callback(process.wait)
            running.callback(process.terminate)
        deadline = time.monotonic() + START_SECONDS
        while _workers(page) < WORKERS:
            assert time.monotonic() < deadline, "\n".join(log.read_text() for log in sorted(folder.glob("*.log")))
            time.sleep(0.2)
        yield address


def _workers(page: int) -> int:
    """Ask the master how many workers it has."""
    connection = http.client.HTTPConnection(LOOPBACK, page, timeout=5)
    try:
        connection.request("GET", "/json/")
        return int(json.loads(connection.getresponse().read())["aliveworkers"])
    except (OSError, ValueError):  # a master that is starting gives every page's address its first page
        return 0
    finally:
        connection.close()


@pytest.fixture
def databases(stack: Stack, settings: Settings) -> Iterator[Client]:
    """Make two empty databases of the newest schema."""
    client = connect(settings, database="")
    for database in (ON_ONE_MACHINE, ON_A_CLUSTER):
        migrate(client, database)
    client.database = None
    yield client
    for database in (ON_ONE_MACHINE, ON_A_CLUSTER):
        for name in (database, f"{database}_staging"):
            client.command(f"DROP DATABASE IF EXISTS {name} SYNC")
    client.close()


@pytest.fixture
def topics(kafka: KafkaResource) -> Iterator[None]:
    kafka.apply_topics(read_topic_settings(Mode.LOCAL))
    yield
    kafka.delete_topics([topic.name for topic in TOPICS])


def test_a_cluster_with_an_object_store_gives_the_tables_of_one_machine_with_a_folder(
    settings: Settings,
    object_store: Settings,
    spark_master: str,
    spark_resource: SparkResource,
    lake: LakeResource,
    databases: Client,
    kafka: KafkaResource,
    topics: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("retail_assets.resources.lake.get_settings", lambda: object_store)
    in_store = LakeResource(root=object_store.lake)
    scenario = tiny_retailer(DAYS)
    simulation = simulate(scenario)
    for one in (lake, in_store):
        write_history(simulation, one.root, one.storage_options)
    producer = TillProducer(settings.bootstrap_servers)
    messages = simulation.today_messages()
    for topic in EVENT_TOPICS:
        producer.send(topic, messages[topic])

    today = str(TODAY)
    whole = Step("daily_etl", first=str(scenario.first_date), last=today)
    features = Step("feature_engineering", first=str(TODAY - timedelta(days=FEATURE_DAYS)), last=today)
    training = Step("model_training", config={"models__demand_forecast": {"judged_origins": 1, "rounds": 10}})
    predictions = Step("batch_predictions", first=today, last=today)
    cluster = {
        "RETAIL_MODE": "cluster",
        "RETAIL_SPARK_MASTER": spark_master,
        "RETAIL_LAKE_URI": object_store.lake_uri,
        "RETAIL_S3_ENDPOINT": object_store.s3_endpoint,
        "RETAIL_S3_ACCESS_KEY": object_store.s3_access_key,
        "RETAIL_S3_SECRET_KEY": object_store.s3_secret_key.get_secret_value(),
        "RETAIL_CLICKHOUSE_DATABASE": ON_A_CLUSTER,
        "SPARK_LOCAL_IP": LOOPBACK,
        # The images' own: how much memory an executor gets.
        "SPARK_CONF_DIR": str(project_root() / "infra" / "docker"),
    }
    log = tmp_path / "cluster.log"
    ended = start([whole, features, training, predictions], cluster, log).wait()
    assert ended == 0, log.read_text()

    on_one_machine = here(spark_resource, kafka, lake.root, ON_ONE_MACHINE)
    whole.run(on_one_machine)
    features.run(on_one_machine)
    # Training draws rows in the order in which its workers get them, so no two models are the same to the last bit.
    lake.overwrite(MODELS_DEMAND_FORECAST, in_store.read(MODELS_DEMAND_FORECAST))
    predictions.run(on_one_machine)

    there = lake_tables(in_store)
    assert differences(lake_tables(lake), there) == []
    # Nothing that this retailer's tills say is beyond belief.
    assert {path for path, frame in there.items() if frame.is_empty()} <= {"core/quarantine"}
    assert {"raw/dead_letters", "features/demand_features", "inventory/reorder_points"} <= set(there)
    marts = warehouse_tables(databases, ON_A_CLUSTER)
    assert differences(warehouse_tables(databases, ON_ONE_MACHINE), marts) == []
    assert min(marts[f"v_{name}"].height for name in ("sales", "inventory", "forecast", "reorder")) > 0
