import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Iterator;
import java.util.List;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.DataFrameReader;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.delta.DeltaLog;

/**
 * A Spark session that reads Delta tables and runs SQL, for as long as lines come. A line is `read PATH`,
 * `read@VERSION PATH`, `changes PATH` (the change data feed from the first version on), `checkpoint@ACTIONS PATH` (in parts of so
 * many) or `sql TEXT`. The answer to a read is a table in the form of read_delta.py; every answer ends with the line `done`, or
 * with `failed TEXT`.
 */
public final class SparkTables {
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSSSS");

    public static void main(String[] arguments) throws Exception {
        PrintStream to = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        // What Spark itself prints is no answer.
        System.setOut(System.err);
        SparkSession spark = SparkSession.builder().master("local[2]").appName("tables")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.sql.warehouse.dir", System.getProperty("java.io.tmpdir"))
            .config("spark.databricks.delta.snapshotPartitions", "1")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.datetime.java8API.enabled", "true")
            .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
            .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
            .getOrCreate();
        BufferedReader from = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = from.readLine(); line != null; line = from.readLine()) {
            try {
                answer(spark, line, to);
                to.println("done");
            } catch (Throwable error) {
                to.println("failed " + String.valueOf(error).replace('\n', ' '));
            }
            to.flush();
        }
        // Threads of Spark's must not keep the process.
        Runtime.getRuntime().halt(0);
    }

    private static void answer(SparkSession spark, String line, PrintStream to) {
        String[] parts = line.split(" ", 2);
        if (parts[0].equals("sql")) {
            spark.sql(parts[1]).collect();
            return;
        }
        if (parts[0].startsWith("checkpoint@")) {
            String size = "spark.databricks.delta.checkpoint.partSize";
            spark.conf().set(size, parts[0].substring(11));
            DeltaLog.forTable(spark, parts[1]).checkpoint();
            spark.conf().unset(size);
            return;
        }
        DataFrameReader reader = spark.read().format("delta");
        if (parts[0].startsWith("read@")) {
            reader = reader.option("versionAsOf", parts[0].substring(5));
        }
        if (parts[0].equals("changes")) {
            reader = reader.option("readChangeFeed", "true").option("startingVersion", "0");
        }
        Dataset<Row> table = reader.load(parts[1]);
        StringBuilder out = new StringBuilder();
        for (String name : table.columns()) {
            string(out.append(out.length() == 0 ? "[" : ","), name);
        }
        to.println(out.append(']'));
        Iterator<Row> rows = table.toLocalIterator();
        while (rows.hasNext()) {
            Row row = rows.next();
            out.setLength(0);
            for (int column = 0; column < row.length(); column++) {
                value(out.append(column == 0 ? '[' : ','), row.get(column));
            }
            to.append(out.append("]\n"));
        }
    }

    private static void value(StringBuilder out, Object value) {
        if (value == null) {
            out.append("null");
        } else if (value instanceof scala.collection.Seq) {
            List<?> items = scala.jdk.javaapi.CollectionConverters.asJava((scala.collection.Seq<?>) value);
            out.append('[');
            for (int item = 0; item < items.size(); item++) {
                value(item == 0 ? out : out.append(','), items.get(item));
            }
            out.append(']');
        } else {
            string(out, text(value));
        }
    }

    private static String text(Object value) {
        if (value instanceof Float) {
            float single = (Float) value;
            return Float.isNaN(single) ? "NaN" : String.format("bits:%08x", Float.floatToRawIntBits(single));
        }
        if (value instanceof Double) {
            double wide = (Double) value;
            return Double.isNaN(wide) ? "NaN" : String.format("bits:%016x", Double.doubleToRawLongBits(wide));
        }
        if (value instanceof BigDecimal) return ((BigDecimal) value).toPlainString();
        if (value instanceof LocalDate) return value.toString();
        if (value instanceof Instant) return LocalDateTime.ofInstant((Instant) value, ZoneOffset.UTC).format(TIME) + "Z";
        if (value instanceof LocalDateTime) return ((LocalDateTime) value).format(TIME);
        if (value instanceof byte[]) {
            StringBuilder hex = new StringBuilder("hex:");
            for (byte part : (byte[]) value) {
                hex.append(String.format("%02x", part));
            }
            return hex.toString();
        }
        return value.toString();
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
