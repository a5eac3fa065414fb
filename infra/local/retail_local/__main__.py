"""`python -m retail_local …`: the stack's own commands alone, without the seconds that importing Dagster takes.

Set-up uses it, before the rest of the project is ready to be imported.
"""

import click

from retail_local.commands import register


@click.group()
def main() -> None:
    """Jars and services of a machine without Docker; `retail` has these commands too."""


register(main)

if __name__ == "__main__":
    main(prog_name="python -m retail_local")
