"""What the benchmark of the Delta engine asks of others: delta-rs as a writer, and DuckDB, Polars and delta-rs as readers.
Prints one JSON object. Times are wall times in seconds, imports left out.

delta.py append CSV_FOLDER TABLE        appends each batch to TABLE (made when it is missing)
delta.py copy TABLE COPY                writes the rows of TABLE anew, as COPY
delta.py merge CSV_FOLDER TABLE KEY,..  merges each batch into TABLE
delta.py scan READER TABLE OTHER        reads both tables, in turn; the sums are those of TABLE
delta.py sums READER TABLE KEY_KIND     sums of the whole table"""

import glob
import json
import os
import statistics
import sys
import time

import pyarrow
import pyarrow.compute
import pyarrow.csv

SCANS = 5
TYPES = {
    "op": pyarrow.string(),
    "region": pyarrow.string(),
    "code": pyarrow.string(),
    "number": pyarrow.int64(),
    "price": pyarrow.float64(),
    "note": pyarrow.string(),
    "at": pyarrow.int64(),
    "quantity": pyarrow.int32(),
}
SUMS = 'count(*), sum(number), sum(quantity), sum(price), max(note), count("at")'


def batches(folder):
    """The batches of a folder, in order."""
    for number in range(len(glob.glob(folder + "/*.csv"))):
        path = f"{folder}/{number}.csv"
        with open(path, encoding="ascii") as file:
            names = file.readline().strip().split(",")
            second = file.readline().split(",")
        identity = pyarrow.string() if len(second[names.index("id")] if "id" in names else "") == 36 else pyarrow.int64()
        options = pyarrow.csv.ConvertOptions(column_types={**TYPES, "id": identity})
        table = pyarrow.csv.read_csv(path, convert_options=options)
        at = table.schema.get_field_index("at")
        yield table.set_column(at, "at", table["at"].cast(pyarrow.timestamp("us", "UTC")))


def size_of(folder):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)


def append(folder, path):
    from deltalake import DeltaTable, write_deltalake

    all_rows = [batch.drop_columns("op") for batch in batches(folder)]
    if not os.path.exists(path):
        write_deltalake(path, all_rows[0].slice(0, 1))
    # A writer that keeps its table open, as ours does.
    table = DeltaTable(path)
    before, times = size_of(path), []
    for rows in all_rows:
        begun = time.perf_counter()
        write_deltalake(table, rows, mode="append")
        times.append(time.perf_counter() - begun)
    written = size_of(path) - before
    return {"times": times, "bytes_each": written / len(times), "rows_each": all_rows[0].num_rows}


def copy(path, to):
    from deltalake import write_deltalake

    connection = duck()
    reader = connection.execute(f"select * from delta_scan('{path}')").to_arrow_reader(100_000)
    begun = time.perf_counter()
    write_deltalake(to, reader)
    return {"seconds": time.perf_counter() - begun}


def merge(folder, path, keys):
    from deltalake import DeltaTable

    table, times = DeltaTable(path), []
    same = " and ".join(f"t.{key} = s.{key}" for key in keys.split(","))
    for batch in batches(folder):
        columns = {name: f"s.{name}" for name in batch.column_names if name != "op"}
        begun = time.perf_counter()
        (
            table.merge(batch, same, source_alias="s", target_alias="t")
            .when_matched_delete("s.op = 'Delete'")
            .when_matched_update(columns)
            .when_not_matched_insert(columns, "s.op <> 'Delete'")
            .execute()
        )
        times.append(time.perf_counter() - begun)
    return {"times": times, "median": statistics.median(times)}


def duck():
    import duckdb
    import duckdb_extension_delta  # the extension comes as a package, not over the network

    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    package = os.path.dirname(duckdb_extension_delta.__file__)
    (extension,) = glob.glob(package + "/**/delta.duckdb_extension*", recursive=True)
    connection.execute(f"load '{extension}'")
    return connection


def query(reader, path, columns):
    """The first row of a query over a whole table; the table is opened anew each time."""
    if reader == "duckdb":
        return list(query.duck.execute(f"select {columns} from delta_scan('{path}')").fetchone())
    if reader == "deltalake":
        from deltalake import DeltaTable, QueryBuilder

        builder = QueryBuilder().register("t", DeltaTable(path))
        found = pyarrow.table(builder.execute(f"select {columns} from t").read_all())
        return [column[0].as_py() for column in found.columns]
    if reader == "polars":
        import polars

        found = polars.scan_delta(path).sql(f"select {columns.replace('count(*)', 'count(*) as rows')} from self")
        return list(found.collect().row(0))
    raise SystemExit(f"no reader `{reader}`: use deltalake, polars or duckdb")


def scan(reader, path, other):
    ours, others = [], []
    for _ in range(SCANS + 1):
        for place, times in ((path, ours), (other, others)):
            begun = time.perf_counter()
            query(reader, place, SUMS)
            times.append(time.perf_counter() - begun)
    # The first reading warms caches.
    return {"seconds": min(ours[1:]), "other_seconds": min(others[1:])}


def sums(reader, path, kind):
    key = {"int": "id", "uuid": "cast('0x' || substr(id, 1, 8) as bigint)", "text": "cast(code as bigint)"}[kind]
    if reader != "duckdb":
        # Others have other words for hexadecimal digits.
        key = {"int": "id", "uuid": "number", "text": "cast(code as bigint)"}[kind]
    found = query(reader, path, f"count(*), sum({key}) as k, sum(number) as n, sum(cast(quantity as bigint)) as q")
    return dict(zip(["count", "key", "number", "quantity"], map(int, found)))


def main():
    task, rest = sys.argv[1], sys.argv[2:]
    if "duckdb" in rest:
        query.duck = duck()
    tasks = {"append": append, "copy": copy, "merge": merge, "scan": scan, "sums": sums}
    print(json.dumps(tasks[task](*rest)))


main()
