import io.delta.kernel.Scan;
import io.delta.kernel.Snapshot;
import io.delta.kernel.Table;
import io.delta.kernel.data.ArrayValue;
import io.delta.kernel.data.ColumnVector;
import io.delta.kernel.data.ColumnarBatch;
import io.delta.kernel.data.FilteredColumnarBatch;
import io.delta.kernel.data.Row;
import io.delta.kernel.defaults.engine.DefaultEngine;
import io.delta.kernel.engine.Engine;
import io.delta.kernel.engine.FileReadResult;
import io.delta.kernel.internal.InternalScanFileUtils;
import io.delta.kernel.internal.data.ScanStateRow;
import io.delta.kernel.internal.util.Utils;
import io.delta.kernel.types.*;
import io.delta.kernel.utils.CloseableIterator;
import io.delta.kernel.utils.FileStatus;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;

/**
 * Reads Delta tables as Delta Kernel for Java sees them, for as long as lines come. A line is `read PATH` or
 * `read@VERSION PATH`. The answer to a read is a table in the form of read_delta.py: a line with the column names, then one JSON
 * array a row, each value as canonical text; every answer ends with the line `done`, or with `failed TEXT`.
 */
public final class ReadDelta {
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSSSS");

    public static void main(String[] arguments) throws Exception {
        PrintStream to = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        // What a library prints is no answer.
        System.setOut(System.err);
        BufferedReader from = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = from.readLine(); line != null; line = from.readLine()) {
            try {
                answer(line, to);
                to.println("done");
            } catch (Throwable error) {
                to.println("failed " + String.valueOf(error).replace('\n', ' '));
            }
            to.flush();
        }
    }

    private static void answer(String line, PrintStream to) throws Exception {
        String[] parts = line.split(" ", 2);
        // An engine and a table of their own: nothing is remembered of earlier questions.
        Engine engine = DefaultEngine.create(new Configuration());
        Table table = Table.forPath(engine, parts[1]);
        Snapshot snapshot = parts[0].startsWith("read@")
            ? table.getSnapshotAsOfVersion(engine, Long.parseLong(parts[0].substring(5)))
            : table.getLatestSnapshot(engine);
        StringBuilder out = new StringBuilder();
        StructType schema = snapshot.getSchema();
        for (StructField field : schema.fields()) {
            string(out.append(out.length() == 0 ? "[" : ","), field.getName());
        }
        to.println(out.append(']'));
        rows(engine, snapshot, schema, to);
    }

    private static void rows(Engine engine, Snapshot snapshot, StructType schema, PrintStream to) throws Exception {
        Scan scan = snapshot.getScanBuilder().build();
        Row state = scan.getScanState(engine);
        StructType physical = ScanStateRow.getPhysicalDataReadSchema(state);
        try (CloseableIterator<FilteredColumnarBatch> files = scan.getScanFiles(engine)) {
            while (files.hasNext()) {
                try (CloseableIterator<Row> rows = files.next().getRows()) {
                    while (rows.hasNext()) {
                        Row file = rows.next();
                        FileStatus status = InternalScanFileUtils.getAddFileStatus(file);
                        CloseableIterator<ColumnarBatch> read = engine.getParquetHandler()
                            .readParquetFiles(Utils.singletonCloseableIterator(status), physical, Optional.empty())
                            .map(FileReadResult::getData);
                        try (var batches = Scan.transformPhysicalData(engine, state, file, read)) {
                            while (batches.hasNext()) {
                                print(batches.next(), schema, to);
                            }
                        }
                    }
                }
            }
        }
    }

    /** The rows that the deletion vector leaves. */
    private static void print(FilteredColumnarBatch batch, StructType schema, PrintStream to) {
        ColumnarBatch data = batch.getData();
        Optional<ColumnVector> selection = batch.getSelectionVector();
        StringBuilder out = new StringBuilder();
        for (int row = 0; row < data.getSize(); row++) {
            if (selection.isPresent() && (selection.get().isNullAt(row) || !selection.get().getBoolean(row))) {
                continue;
            }
            out.setLength(0);
            for (int column = 0; column < schema.length(); column++) {
                value(out.append(column == 0 ? '[' : ','), data.getColumnVector(column), row);
            }
            to.append(out.append("]\n"));
        }
    }

    private static void value(StringBuilder out, ColumnVector vector, int row) {
        DataType type = vector.getDataType();
        if (vector.isNullAt(row)) {
            out.append("null");
        } else if (type instanceof ArrayType) {
            ArrayValue array = vector.getArray(row);
            out.append('[');
            for (int item = 0; item < array.getSize(); item++) {
                value(item == 0 ? out : out.append(','), array.getElements(), item);
            }
            out.append(']');
        } else {
            string(out, text(vector, type, row));
        }
    }

    private static String text(ColumnVector vector, DataType type, int row) {
        if (type instanceof BooleanType) return String.valueOf(vector.getBoolean(row));
        if (type instanceof ByteType) return String.valueOf(vector.getByte(row));
        if (type instanceof ShortType) return String.valueOf(vector.getShort(row));
        if (type instanceof IntegerType) return String.valueOf(vector.getInt(row));
        if (type instanceof LongType) return String.valueOf(vector.getLong(row));
        if (type instanceof FloatType) {
            float value = vector.getFloat(row);
            return Float.isNaN(value) ? "NaN" : String.format("bits:%08x", Float.floatToRawIntBits(value));
        }
        if (type instanceof DoubleType) {
            double value = vector.getDouble(row);
            return Double.isNaN(value) ? "NaN" : String.format("bits:%016x", Double.doubleToRawLongBits(value));
        }
        if (type instanceof DecimalType) {
            BigDecimal value = vector.getDecimal(row);
            return value.setScale(((DecimalType) type).getScale()).toPlainString();
        }
        if (type instanceof DateType) return LocalDate.ofEpochDay(vector.getInt(row)).toString();
        if (type instanceof TimestampType) return time(vector.getLong(row)) + "Z";
        if (type instanceof TimestampNTZType) return time(vector.getLong(row));
        if (type instanceof StringType) return vector.getString(row);
        if (type instanceof BinaryType) {
            StringBuilder hex = new StringBuilder("hex:");
            for (byte part : vector.getBinary(row)) {
                hex.append(String.format("%02x", part));
            }
            return hex.toString();
        }
        throw new IllegalArgumentException("no canonical text for " + type);
    }

    private static String time(long micros) {
        long second = Math.floorDiv(micros, 1_000_000L);
        int nano = (int) Math.floorMod(micros, 1_000_000L) * 1_000;
        return LocalDateTime.ofEpochSecond(second, nano, ZoneOffset.UTC).format(TIME);
    }

    private static void string(StringBuilder out, String text) {
        out.append('"');
        for (int at = 0; at < text.length(); at++) {
            char letter = text.charAt(at);
            if (letter == '"' || letter == '\\') {
                out.append('\\').append(letter);
            } else if (letter < ' ') {
                out.append(String.format("\\u%04x", (int) letter));
            } else {
                out.append(letter);
            }
        }
        out.append('"');
    }
}
