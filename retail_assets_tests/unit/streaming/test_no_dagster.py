"""The service installs without Dagster, so nothing that it imports may import Dagster."""

import pkgutil
import subprocess
import sys

import retail_streaming

# Of the extra `platform` of pyproject.toml: packages that a bare installation lacks.
ABSENT = ("dagster", "dagster_pyspark", "kafka", "confluent_kafka", "click", "rich", "psutil", "chdb", "starlette")


def test_no_module_of_the_service_imports_dagster_or_anything_else_of_the_platform() -> None:
    modules = [f"retail_streaming.{module.name}" for module in pkgutil.iter_modules(retail_streaming.__path__)]
    assert "retail_streaming.service" in modules
    code = f"import sys, {', '.join(modules)}\nprint(*sorted(name.split('.')[0] for name in sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert not set(answer.stdout.split()) & set(ABSENT)
