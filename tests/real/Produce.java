import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Produces the lines of a file to a topic with Kafka's own client, which shares no code with the engine under test.
 *
 * <p>{@code java -cp 'libs/*' Produce.java BROKERS TOPIC FILE [--by-key]}, through {@code kafka.sh produce}. A line is
 * {@code TIMESTAMP_MS<TAB>KEY<TAB>VALUE}; FILE may be {@code -}. Values are bytes, not text: what is not UTF-8 arrives
 * as it is. An empty timestamp is the time of sending, an empty key is no key. Records go to partition 0 in the order of
 * the file, or with {@code --by-key} to the partition of their key.
 *
 * <p>Exit 0 only after every record is acknowledged by the broker; the count is the one line on stdout.
 */
public final class Produce {
    private static final int MAX_REQUEST = 4 * 1024 * 1024;

    public static void main(String[] args) throws Exception {
        if (args.length < 3 || args.length > 4 || (args.length == 4 && !args[3].equals("--by-key"))) {
            System.err.println("usage: Produce BROKERS TOPIC FILE [--by-key]");
            System.exit(2);
        }
        Integer partition = args.length == 4 ? null : Integer.valueOf(0);
        try (InputStream in = args[2].equals("-") ? System.in : Files.newInputStream(Path.of(args[2]))) {
            long count = produce(args[0], args[1], partition, in);
            System.out.println("produced " + count);
        } catch (Exception e) {
            System.err.println("Produce: " + e);
            System.exit(1);
        }
    }

    private static long produce(String brokers, String topic, Integer partition, InputStream in) throws Exception {
        AtomicReference<Exception> failure = new AtomicReference<>();
        Lines lines = new Lines(in);
        long count = 0;
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings(brokers))) {
            for (byte[] line = lines.next(); line != null && failure.get() == null; line = lines.next()) {
                count++;
                producer.send(
                        record(topic, partition, line, count),
                        (metadata, e) -> {
                            if (e != null) failure.compareAndSet(null, e);
                        });
            }
            producer.flush();
        }
        if (failure.get() != null) throw failure.get();
        return count;
    }

    private static Properties settings(String brokers) {
        Properties p = new Properties();
        p.put("bootstrap.servers", brokers);
        p.put("key.serializer", ByteArraySerializer.class.getName());
        p.put("value.serializer", ByteArraySerializer.class.getName());
        p.put("enable.idempotence", "true");
        p.put("acks", "all");
        p.put("linger.ms", "10");
        p.put("batch.size", Integer.toString(256 * 1024));
        p.put("buffer.memory", Integer.toString(64 * 1024 * 1024));
        p.put("max.request.size", Integer.toString(MAX_REQUEST));
        return p;
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, Integer partition, byte[] line, long number) {
        int first = indexOfTab(line, 0, number);
        int second = indexOfTab(line, first + 1, number);
        Long timestamp = first == 0 ? null : Long.valueOf(new String(line, 0, first, StandardCharsets.US_ASCII));
        byte[] key = second == first + 1 ? null : Arrays.copyOfRange(line, first + 1, second);
        byte[] value = Arrays.copyOfRange(line, second + 1, line.length);
        return new ProducerRecord<>(topic, partition, timestamp, key, value);
    }

    private static int indexOfTab(byte[] line, int from, long number) {
        for (int i = from; i < line.length; i++) {
            if (line[i] == '\t') return i;
        }
        throw new IllegalArgumentException("line " + number + " is not TIMESTAMP_MS<TAB>KEY<TAB>VALUE");
    }

    /** Lines of bytes of any length, read in blocks: a read call a byte would take longer than the sending. */
    private static final class Lines {
        private final InputStream in;
        private final byte[] block = new byte[1 << 20];
        private int from = 0;
        private int to = 0;

        Lines(InputStream in) {
            this.in = in;
        }

        /** The bytes up to the next line feed, or to the end; null when there are none left. */
        byte[] next() throws IOException {
            byte[] line = null;
            while (from < to || fill()) {
                int end = from;
                while (end < to && block[end] != '\n') end++;
                line = joined(line, end);
                boolean complete = end < to;
                from = complete ? end + 1 : end;
                if (complete) return line;
            }
            return line;
        }

        private boolean fill() throws IOException {
            from = 0;
            to = Math.max(0, in.read(block));
            return to > 0;
        }

        private byte[] joined(byte[] start, int end) {
            if (start == null) return Arrays.copyOfRange(block, from, end);
            byte[] both = Arrays.copyOf(start, start.length + end - from);
            System.arraycopy(block, from, both, start.length, end - from);
            return both;
        }
    }
}
