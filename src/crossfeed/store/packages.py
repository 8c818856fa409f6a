"""The packages of the extra `store`, loaded when first needed: `import crossfeed` stays light."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from crossfeed.errors import ConfigError

__all__ = ["package"]


def package(name: str) -> Any:  # noqa: ANN401 - pyarrow brings no types
    """Import `name` ("pyarrow", "pyarrow.parquet", "duckdb", "numpy").

    Raises:
        ConfigError: It is not installed; says what to install.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f'the store needs {name.partition(".")[0]}: pip install "crossfeed[store]"'
        ) from error
