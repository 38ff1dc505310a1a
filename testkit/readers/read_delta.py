"""Reads Delta tables as their real readers see them, for as long as lines come. A line is a JSON array: what reads
(deltalake, polars or duckdb; `changes` for delta-rs's change data feed from the beginning; `sums` for how many rows many of
the versions have, and the sum of a column in them, as delta-rs sees them; `counts` for how many rows have the same values in
some columns, as delta-rs sees them), the table's place, what its store must be told, and a version, a column, some columns
or null. The answer is a line with the column names, then one JSON array a row, each value as
canonical text (null stays null, lists are lists), so that any two readers and the source can be compared byte by byte; every
answer ends with the line `done`, or with `failed TEXT`."""

import datetime
import decimal
import json
import os
import struct
import sys

UTC = datetime.timezone.utc


def canonical(value, single):
    """One value as text; `single` says that its type is a 4-byte float."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if value != value:
            return "NaN"
        return "bits:" + struct.pack(">f" if single else ">d", value).hex()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
        return value.isoformat(timespec="microseconds")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "hex:" + bytes(value).hex()
    if isinstance(value, (list, tuple)):
        return [canonical(item, single) for item in value]
    if isinstance(value, dict):
        return {name: canonical(item, single) for name, item in value.items()}
    return str(value)


def read(reader, path, options, version):
    """The table as a pyarrow table; `options` is what its store must be told."""
    import pyarrow

    if reader == "deltalake":
        from deltalake import DeltaTable, QueryBuilder

        table = DeltaTable(path, version=version, storage_options=options)
        batches = QueryBuilder().register("t", table).execute("select * from t").read_all()
        return pyarrow.table(batches)
    if reader == "changes":
        from deltalake import DeltaTable

        return pyarrow.table(DeltaTable(path, storage_options=options).load_cdf(starting_version=0).read_all())
    if reader == "polars":
        import polars

        return polars.scan_delta(path, version=version, storage_options=options).collect().to_arrow()
    if reader == "duckdb":
        import duckdb
        import duckdb_extension_delta  # noqa: F401  the extension comes as a package, not over the network

        connection = duckdb.connect()
        # A query that takes a while draws a bar, and on a pipe it draws it into our output.
        connection.execute("SET enable_progress_bar = false")
        load_extension(connection)
        connection.execute("set timezone='UTC'")
        at = f", version => {version}" if version is not None else ""
        found = connection.execute(f"select * from delta_scan('{path}'{at})")
        return found.to_arrow_table()
    raise ValueError(f"no reader `{reader}`: use deltalake, polars, duckdb, changes or sums")


def load_extension(connection):
    """DuckDB's delta extension from the package of the same version."""
    import glob

    import duckdb_extension_delta

    folder = os.path.dirname(duckdb_extension_delta.__file__)
    files = glob.glob(folder + "/**/delta.duckdb_extension*", recursive=True)
    if not files:
        raise RuntimeError(f"no extension in {folder}")
    connection.execute(f"load '{files[0]}'")


def is_single(kind):
    """Whether a type is, or holds, 4-byte floats."""
    import pyarrow

    while pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        kind = kind.value_type
    return pyarrow.types.is_float32(kind)


def sums(path, options, column, out):
    """Rows, and the sum of a column, of up to 60 versions."""
    import pyarrow.compute
    from deltalake import DeltaTable

    last = DeltaTable(path, storage_options=options).version()
    out.write(json.dumps(["version", "rows", "sum"]) + "\n")
    for number in sorted({last * step // 59 for step in range(60)}):
        table = read("deltalake", path, options, number)
        total = pyarrow.compute.sum(table.column(column)).as_py()
        out.write(json.dumps([str(number), str(table.num_rows), str(total or 0)]) + "\n")


def counts(path, options, columns, out):
    """How many rows have the same texts in these columns."""
    import pyarrow
    from deltalake import DeltaTable, QueryBuilder

    names = ", ".join('"' + column.replace('"', '""') + '"' for column in columns)
    table = DeltaTable(path, storage_options=options)
    query = f"select {names}, count(*) as rows from t group by {names}"
    found = pyarrow.table(QueryBuilder().register("t", table).execute(query).read_all())
    out.write(json.dumps([*columns, "rows"], ensure_ascii=False) + "\n")
    for row in zip(*(column.to_pylist() for column in found.columns)):
        out.write(json.dumps([canonical(value, False) for value in row], ensure_ascii=False) + "\n")


def answer(what, path, options, more, out):
    """The lines of one answer, without its end."""
    options = options or None
    if what == "counts":
        counts(path, options, more, out)
        return
    if what == "sums":
        sums(path, options, more, out)
        return
    table = read(what, path, options, more)
    out.write(json.dumps(table.column_names, ensure_ascii=False) + "\n")
    singles = [is_single(field.type) for field in table.schema]
    for batch in table.to_batches(max_chunksize=10_000):
        columns = [column.to_pylist() for column in batch.columns]
        for row in zip(*columns):
            values = [canonical(value, single) for value, single in zip(row, singles)]
            out.write(json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n")


def main():
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What a library prints is no answer.
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            answer(*json.loads(line), out)
            out.write("done\n")
        except Exception as error:
            text = f"{type(error).__name__}: {error}".replace("\n", " ")
            out.write(f"failed {text}\n")
        out.flush()


main()
