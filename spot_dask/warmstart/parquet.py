"""Tables in Parquet, as ``spot-dask export`` and pandas write them; needs ``[tables]``."""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.errors import StoreError
from spot_dask.store.export import optional
from spot_dask.warmstart import Earlier, check_file, reason
from spot_dask.warmstart.table import Lines


class Parquet:
    """A column for each parameter and one for the objective; null is no value.

    Columns of lists, such as curves, are left out.
    """

    suffixes = (".parquet", ".pq")

    def read(self, path: str, objectives: Sequence[str]) -> Earlier:
        check_file(path)
        pyarrow, parquet = (optional(name, path) for name in ("pyarrow", "pyarrow.parquet"))
        try:
            table = parquet.ParquetFile(path).read()
            flat = [f.name for f in table.schema if not pyarrow.types.is_nested(f.type)]
            rows = table.select(flat).to_pylist()
        except Exception as error:  # whatever a broken file makes pyarrow raise
            raise StoreError(f"{path}: no Parquet that can be read ({reason(error)})") from error
        values = [{n: v for n, v in row.items() if v is not None} for row in rows]
        names = [name for name in flat if not name.startswith("__index_level_")]
        text = repr(rows)
        return Lines(path, text, names, range(1, len(rows) + 1), values).earlier(objectives)
