import java.net.URI;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.model.ChildShard;
import software.amazon.awssdk.services.kinesis.model.ConsumerStatus;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;
import software.amazon.awssdk.services.kinesis.model.PutRecordsResponse;
import software.amazon.awssdk.services.kinesis.model.Record;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;
import software.amazon.awssdk.services.kinesis.model.StartingPosition;
import software.amazon.awssdk.services.kinesis.model.StreamStatus;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardEvent;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardResponseHandler;

/**
 * Subscribes with the asynchronous client of the AWS SDK for Java v2, over HTTP/2, to the shards of a stream
 * and their children while records are put and shards split and merge: every record comes once, those of a
 * key in their order.
 */
final class FanOut {
    private static final int BATCHES = 60, BATCH = 20, KEYS = 9;

    private final KinesisAsyncClient client;
    private final String stream;
    private final AtomicReference<String> spoke = new AtomicReference<>("");
    private final Map<String, String> put = new ConcurrentHashMap<>(), seen = new ConcurrentHashMap<>();
    private final List<String> order = new ArrayList<>();
    private final Set<String> begun = new HashSet<>(), done = new HashSet<>();
    private final List<Throwable> failures = new ArrayList<>();
    private String consumer;
    private volatile boolean stopping;

    private FanOut(String endpoint, String stream) {
        this.stream = stream;
        client = KinesisAsyncClient.builder().endpointOverride(URI.create(endpoint)).region(Region.US_EAST_1)
                .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test")))
                .overrideConfiguration(c -> c.retryStrategy(AwsRetryStrategy.doNotRetry())
                        .addExecutionInterceptor(new ExecutionInterceptor() {
                            @Override
                            public void beforeTransmission(Context.BeforeTransmission context, ExecutionAttributes attributes) {
                                spoke.set(context.httpRequest().firstMatchingHeader("Content-Type").orElse(""));
                            }
                        }))
                .build();
    }

    static String run(String endpoint, String stream) throws Exception {
        return new FanOut(endpoint, stream).run();
    }

    private String run() throws Exception {
        client.createStream(r -> r.streamName(stream).shardCount(2)).get();
        waitActive();
        String arn = client.describeStreamSummary(r -> r.streamName(stream)).get().streamDescriptionSummary().streamARN();
        consumer = client.registerStreamConsumer(r -> r.streamARN(arn).consumerName("wheel")).get().consumer().consumerARN();
        while (client.describeStreamConsumer(r -> r.consumerARN(consumer)).get().consumerDescription().consumerStatus() != ConsumerStatus.ACTIVE) {
            Thread.sleep(50);
        }
        begin("shardId-000000000000");
        begin("shardId-000000000001");
        fill();
        for (int i = 0; i < 600 && seen.size() < put.size(); i++) {
            Thread.sleep(100);
        }
        stopping = true;
        client.deleteStream(r -> r.streamName(stream).enforceConsumerDeletion(true)).get(); // ends the subscriptions
        synchronized (this) {
            check(failures.isEmpty(), "subscriptions failed: %s", failures);
            check(seen.equals(put), "%d records came of %d, or others", seen.size(), put.size());
            Map<String, String> last = new HashMap<>();
            for (String data : order) {
                String before = last.put(data.substring(0, data.indexOf('/')), data);
                check(before == null || before.compareTo(data) < 0, "%s came after %s", data, before);
            }
            return String.format("ok: %d records pushed through %d shards by %s", seen.size(), begun.size(), spoke.get());
        }
    }

    private static void check(boolean good, String format, Object... args) {
        if (!good) {
            throw new IllegalStateException(String.format(format, args));
        }
    }

    private void waitActive() throws Exception {
        while (client.describeStreamSummary(r -> r.streamName(stream)).get().streamDescriptionSummary().streamStatus() != StreamStatus.ACTIVE) {
            Thread.sleep(50);
        }
    }

    private void fill() throws Exception {
        for (int batch = 0; batch < BATCHES; batch++) {
            List<PutRecordsRequestEntry> entries = new ArrayList<>();
            for (int n = 0; n < BATCH; n++) {
                String key = "key-" + n % KEYS, data = String.format("%s/%05d", key, batch * BATCH + n);
                entries.add(PutRecordsRequestEntry.builder().partitionKey(key).data(SdkBytes.fromUtf8String(data)).build());
            }
            PutRecordsResponse answer = client.putRecords(r -> r.streamName(stream).records(entries)).get();
            check(answer.failedRecordCount() == 0, "records were refused: %s", answer);
            for (int n = 0; n < BATCH; n++) {
                put.put(answer.records().get(n).sequenceNumber(), entries.get(n).data().asUtf8String());
            }
            if (batch == BATCHES / 3) {
                client.splitShard(r -> r.streamName(stream).shardToSplit("shardId-000000000000")
                        .newStartingHashKey("85070591730234615865843651857942052864")).get();
                waitActive();
            }
            if (batch == BATCHES * 2 / 3) {
                client.mergeShards(r -> r.streamName(stream).shardToMerge("shardId-000000000003")
                        .adjacentShardToMerge("shardId-000000000001")).get();
                waitActive();
            }
        }
    }

    private synchronized void begin(String shard) {
        if (begun.add(shard)) {
            subscribe(shard, StartingPosition.builder().type(ShardIteratorType.TRIM_HORIZON).build());
        }
    }

    /** Subscribes to a shard, again when the subscription ends before the shard, and to its children after it. */
    private void subscribe(String shard, StartingPosition from) {
        AtomicReference<SubscribeToShardEvent> last = new AtomicReference<>();
        SubscribeToShardResponseHandler handler = SubscribeToShardResponseHandler.builder()
                .subscriber(e -> {
                    SubscribeToShardEvent event = (SubscribeToShardEvent) e;
                    saw(event.records());
                    last.set(event);
                })
                .build();
        CompletableFuture<Void> stream = client.subscribeToShard(r -> r.consumerARN(consumer).shardId(shard).startingPosition(from), handler);
        stream.orTimeout(5, TimeUnit.MINUTES).whenComplete((nothing, failure) -> {
            if (stopping) {
                return;
            }
            SubscribeToShardEvent event = last.get();
            if (failure != null || event == null) {
                fail(failure == null ? new IllegalStateException("no event of " + shard) : failure);
            } else if (!event.childShards().isEmpty()) {
                if (event.continuationSequenceNumber() != null) {
                    fail(new IllegalStateException("children and a continuation: " + event));
                }
                ended(shard, event.childShards());
            } else {
                subscribe(shard, StartingPosition.builder().type(ShardIteratorType.AFTER_SEQUENCE_NUMBER)
                        .sequenceNumber(event.continuationSequenceNumber()).build());
            }
        });
    }

    private synchronized void fail(Throwable failure) {
        failures.add(failure);
    }

    private synchronized void ended(String shard, List<ChildShard> children) {
        done.add(shard);
        for (ChildShard child : children) {
            if (done.containsAll(child.parentShards())) {
                begin(child.shardId());
            }
        }
    }

    private synchronized void saw(List<Record> records) {
        for (Record r : records) {
            String data = r.data().asUtf8String();
            if (seen.put(r.sequenceNumber(), data) != null) {
                failures.add(new IllegalStateException(data + " came twice"));
            }
            order.add(data);
        }
    }
}
