import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * The main job: put a web server's log into a stream, reshard the stream meanwhile, and read every record
 * back, byte for byte and in order. It throws an IllegalStateException with the facts when a record is
 * lost, invented, repeated, changed or out of order.
 */
final class MainJob {
    private static final int BATCH = 500, LIMIT = 1000, PAGE = 3;

    private interface Step {
        void run() throws Kinesis.Refused;
    }

    private final Kinesis client;
    private final String stream;
    private final List<byte[]> lines;
    /** By shard, then by sequence number. */
    private final Map<String, TreeMap<BigInteger, byte[]>> acknowledged = new HashMap<>();

    private MainJob(Kinesis client, String stream, byte[] log) {
        this.client = client;
        this.stream = stream;
        this.lines = split(log);
    }

    static String run(Kinesis client, byte[] log, String stream) throws Exception {
        return new MainJob(client, stream, log).run();
    }

    private String run() throws Exception {
        client.create(stream, 2);
        waitActive();
        putWhileResharding();
        List<Kinesis.Shard> shards = shards();
        check(shards.size() > 4, "only %d shards: the stream was not resharded", shards.size());
        checkDescription(shards);
        Map<String, List<Kinesis.Stored>> records = new HashMap<>();
        for (Kinesis.Shard shard : shards) {
            records.put(shard.id(), read(shard, shards));
        }
        checkShards(shards, records);
        checkKeys(shards, records);
        client.delete(stream);
        return String.format("ok: %d lines over %d shards by %s", lines.size(), shards.size(), client.spoke());
    }

    private static void check(boolean good, String format, Object... args) {
        if (!good) {
            throw new IllegalStateException(String.format(format, args));
        }
    }

    private static List<byte[]> split(byte[] log) {
        List<byte[]> lines = new ArrayList<>();
        for (int from = 0; from < log.length; ) {
            int to = from;
            while (to < log.length && log[to] != '\n') {
                to++;
            }
            lines.add(Arrays.copyOfRange(log, from, to));
            from = to + 1;
        }
        return lines;
    }

    private static String keyOf(byte[] line) {
        String text = new String(line, StandardCharsets.UTF_8);
        int space = text.indexOf(' ');
        return space < 0 ? text : text.substring(0, space);
    }

    /** Puts every line while another thread splits, doubles and merges. */
    private void putWhileResharding() throws Exception {
        List<Step> steps = new ArrayList<>(List.of(this::splitFirst, this::grow, this::mergePair));
        List<Exception> failed = Collections.synchronizedList(new ArrayList<>());
        Thread resharding = null;
        int batches = (lines.size() + BATCH - 1) / BATCH;
        for (int n = 0; n < batches; n++) {
            if (n % Math.max(1, batches / 4) == 1 && !steps.isEmpty()) {
                if (resharding != null) {
                    resharding.join();
                }
                Step step = steps.remove(0);
                resharding = new Thread(() -> {
                    try {
                        step.run();
                        waitActive();
                    } catch (Exception e) {
                        failed.add(e);
                    }
                });
                resharding.start();
            }
            put(lines.subList(n * BATCH, Math.min((n + 1) * BATCH, lines.size())));
        }
        if (resharding != null) {
            resharding.join();
        }
        check(failed.isEmpty(), "resharding failed: %s", failed);
    }

    private void put(List<byte[]> waiting) throws Kinesis.Refused {
        while (!waiting.isEmpty()) {
            List<Kinesis.Put> answers = client.put(stream, waiting, waiting.stream().map(MainJob::keyOf).toList());
            check(answers.size() == waiting.size(), "%d answers for %d records", answers.size(), waiting.size());
            List<byte[]> again = new ArrayList<>();
            for (int i = 0; i < answers.size(); i++) {
                Kinesis.Put a = answers.get(i);
                if (a.error() != null) {
                    again.add(waiting.get(i));
                    continue;
                }
                byte[] twice = acknowledged.computeIfAbsent(a.shard(), s -> new TreeMap<>()).put(new BigInteger(a.sequence()), waiting.get(i));
                check(twice == null, "%s of %s was given out twice", a.sequence(), a.shard());
            }
            waiting = again;
        }
    }

    private void waitActive() throws Exception {
        Instant late = Instant.now().plus(Duration.ofMinutes(1));
        for (String status; !(status = client.status(stream)).equals("ACTIVE"); Thread.sleep(50)) {
            check(Instant.now().isBefore(late), "the stream stays %s", status);
        }
    }

    private List<Kinesis.Shard> shards() throws Kinesis.Refused {
        List<Kinesis.Shard> all = new ArrayList<>();
        Kinesis.Shards page = client.shards(stream, null, PAGE);
        for (all.addAll(page.shards()); page.next() != null; all.addAll(page.shards())) {
            page = client.shards(stream, page.next(), PAGE);
        }
        return all;
    }

    private List<Kinesis.Shard> open() throws Kinesis.Refused {
        return shards().stream().filter(s -> !s.closed()).sorted(Comparator.comparing(s -> new BigInteger(s.low()))).toList();
    }

    private void splitFirst() throws Kinesis.Refused {
        Kinesis.Shard first = open().get(0);
        BigInteger middle = new BigInteger(first.low()).add(new BigInteger(first.high())).shiftRight(1);
        client.split(stream, first.id(), middle.toString());
    }

    private void grow() throws Kinesis.Refused {
        client.resize(stream, 2 * open().size());
    }

    private void mergePair() throws Kinesis.Refused {
        List<Kinesis.Shard> open = open();
        client.merge(stream, open.get(1).id(), open.get(2).id());
    }

    /** Reads a shard from its trim horizon to its end, or to the tip while it is open. */
    private List<Kinesis.Stored> read(Kinesis.Shard shard, List<Kinesis.Shard> shards) throws Kinesis.Refused {
        List<Kinesis.Stored> records = new ArrayList<>();
        for (String iterator = client.iterator(stream, shard.id()); ; ) {
            Kinesis.Page page = client.get(iterator, LIMIT);
            records.addAll(page.records());
            if (page.next() == null) {
                check(shard.closed(), "%s ends although it is open", shard.id());
                Set<String> children = new HashSet<>();
                shards.stream().filter(s -> s.parents().contains(shard.id())).forEach(s -> children.add(s.id()));
                check(!children.isEmpty() && children.equals(new HashSet<>(page.children())), "%s has the children %s, GetRecords says %s", shard.id(), children, page.children());
                return records;
            }
            check(page.children().isEmpty(), "%s names children before its end", shard.id());
            if (!shard.closed() && page.behind() == 0) {
                return records; // nothing is being put any more
            }
            iterator = page.next();
        }
    }

    private void checkDescription(List<Kinesis.Shard> shards) throws Kinesis.Refused {
        Kinesis.Description d = client.describe(stream);
        check(d.status().equals("ACTIVE") && d.shards().equals(shards), "DescribeStream says %s, ListShards %s", d, shards);
        check(recent(d.created()), "the stream was created %s", d.created());
    }

    private static boolean recent(Instant t) {
        return Duration.between(t, Instant.now()).abs().compareTo(Duration.ofHours(1)) < 0;
    }

    /** Each shard holds what was acknowledged for it, byte for byte, in rising order, in its range. */
    private void checkShards(List<Kinesis.Shard> shards, Map<String, List<Kinesis.Stored>> records) throws NoSuchAlgorithmException {
        MessageDigest md5 = MessageDigest.getInstance("MD5");
        int total = 0;
        for (Kinesis.Shard shard : shards) {
            List<Kinesis.Stored> got = records.get(shard.id());
            TreeMap<BigInteger, byte[]> want = acknowledged.getOrDefault(shard.id(), new TreeMap<>());
            check(got.size() == want.size(), "%s: read %d records, %d were acknowledged", shard.id(), got.size(), want.size());
            int n = 0;
            for (Map.Entry<BigInteger, byte[]> line : want.entrySet()) {
                Kinesis.Stored r = got.get(n++);
                check(new BigInteger(r.sequence()).equals(line.getKey()) && Arrays.equals(r.data(), line.getValue()), "%s: record %d is another one", shard.id(), n);
                check(r.key().equals(keyOf(r.data())) && recent(r.arrival()), "%s: record %d has the key %s and arrived %s", shard.id(), n, r.key(), r.arrival());
                BigInteger hash = new BigInteger(1, md5.digest(r.key().getBytes(StandardCharsets.UTF_8)));
                check(new BigInteger(shard.low()).compareTo(hash) <= 0 && hash.compareTo(new BigInteger(shard.high())) <= 0, "%s: record %d belongs elsewhere", shard.id(), n);
            }
            total += n;
        }
        check(total == lines.size(), "read %d records, put %d", total, lines.size());
    }

    /** Parents read before their children, every key's lines come in the order they were put. */
    private void checkKeys(List<Kinesis.Shard> shards, Map<String, List<Kinesis.Stored>> records) {
        Map<String, Kinesis.Shard> waiting = new LinkedHashMap<>();
        shards.forEach(s -> waiting.put(s.id(), s));
        Map<String, List<String>> got = new HashMap<>(), want = new HashMap<>();
        shards.forEach(s -> visit(s.id(), waiting, records, got));
        for (byte[] line : lines) {
            want.computeIfAbsent(keyOf(line), k -> new ArrayList<>()).add(new String(line, StandardCharsets.UTF_8));
        }
        want.forEach((key, inOrder) -> check(inOrder.equals(got.get(key)), "the %d lines of %s are not in the order they were put", inOrder.size(), key));
    }

    private static void visit(String id, Map<String, Kinesis.Shard> waiting, Map<String, List<Kinesis.Stored>> records, Map<String, List<String>> got) {
        Kinesis.Shard shard = waiting.remove(id);
        if (shard == null) {
            return;
        }
        shard.parents().forEach(p -> visit(p, waiting, records, got));
        for (Kinesis.Stored r : records.get(id)) {
            got.computeIfAbsent(r.key(), k -> new ArrayList<>()).add(new String(r.data(), StandardCharsets.UTF_8));
        }
    }
}
