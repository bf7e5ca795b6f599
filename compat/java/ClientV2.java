import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.net.URI;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;
import software.amazon.awssdk.http.Http2Metric;
import software.amazon.awssdk.metrics.MetricCollection;
import software.amazon.awssdk.metrics.MetricPublisher;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.ChildShard;
import software.amazon.awssdk.services.kinesis.model.CreateStreamRequest;
import software.amazon.awssdk.services.kinesis.model.DeleteStreamRequest;
import software.amazon.awssdk.services.kinesis.model.DescribeStreamRequest;
import software.amazon.awssdk.services.kinesis.model.DescribeStreamSummaryRequest;
import software.amazon.awssdk.services.kinesis.model.GetRecordsRequest;
import software.amazon.awssdk.services.kinesis.model.GetShardIteratorRequest;
import software.amazon.awssdk.services.kinesis.model.KinesisException;
import software.amazon.awssdk.services.kinesis.model.ListShardsRequest;
import software.amazon.awssdk.services.kinesis.model.MergeShardsRequest;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequest;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;
import software.amazon.awssdk.services.kinesis.model.ScalingType;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;
import software.amazon.awssdk.services.kinesis.model.SplitShardRequest;
import software.amazon.awssdk.services.kinesis.model.UpdateShardCountRequest;

/** The AWS SDK for Java v2, its client that waits or the asynchronous one. Each call is made once. */
final class ClientV2 implements Kinesis {
    private final KinesisClient client;
    private final AtomicReference<String> contentType = new AtomicReference<>("");
    private final AtomicBoolean http2 = new AtomicBoolean();

    ClientV2(String endpoint, Driver.Login login, boolean async) {
        client = async ? waitingFor(common(KinesisAsyncClient.builder(), endpoint, login).build())
                : common(KinesisClient.builder(), endpoint, login).build();
    }

    private <B extends AwsClientBuilder<B, ?>> B common(B builder, String endpoint, Driver.Login login) {
        AwsCredentials who = login.token().isEmpty()
                ? AwsBasicCredentials.create(login.id(), login.secret())
                : AwsSessionCredentials.create(login.id(), login.secret(), login.token());
        return builder.endpointOverride(URI.create(endpoint)).region(Region.US_EAST_1)
                .credentialsProvider(StaticCredentialsProvider.create(who))
                .overrideConfiguration(c -> c.retryStrategy(AwsRetryStrategy.doNotRetry())
                        .addExecutionInterceptor(new ExecutionInterceptor() {
                            @Override
                            public void beforeTransmission(Context.BeforeTransmission context, ExecutionAttributes attributes) {
                                contentType.set(context.httpRequest().firstMatchingHeader("Content-Type").orElse(""));
                            }
                        })
                        .addMetricPublisher(new MetricPublisher() {
                            @Override
                            public void publish(MetricCollection metrics) {
                                look(metrics);
                            }

                            @Override
                            public void close() {}
                        }));
    }

    /** Looks for what the HTTP client measures of HTTP/2 alone. */
    private void look(MetricCollection metrics) {
        if (!metrics.metricValues(Http2Metric.LOCAL_STREAM_WINDOW_SIZE_IN_BYTES).isEmpty()) {
            http2.set(true);
        }
        metrics.children().forEach(this::look);
    }

    /** The asynchronous client as one that waits: its methods have the same names and requests. */
    private static KinesisClient waitingFor(KinesisAsyncClient async) {
        return (KinesisClient) Proxy.newProxyInstance(ClientV2.class.getClassLoader(), new Class<?>[] {KinesisClient.class}, (self, method, args) -> {
            try {
                Object result = KinesisAsyncClient.class.getMethod(method.getName(), method.getParameterTypes()).invoke(async, args);
                return result instanceof CompletableFuture<?> future ? future.join() : result;
            } catch (CompletionException | InvocationTargetException e) {
                throw e.getCause();
            }
        });
    }

    private static <T> T call(Supplier<T> call) throws Refused {
        try {
            return call.get();
        } catch (KinesisException e) {
            throw new Refused(e.awsErrorDetails().errorCode(), e.awsErrorDetails().errorMessage());
        }
    }

    @Override
    public void create(String stream, int shards) throws Refused {
        call(() -> client.createStream(CreateStreamRequest.builder().streamName(stream).shardCount(shards).build()));
    }

    @Override
    public String status(String stream) throws Refused {
        return call(() -> client.describeStreamSummary(DescribeStreamSummaryRequest.builder().streamName(stream).build()))
                .streamDescriptionSummary().streamStatusAsString();
    }

    @Override
    public Description describe(String stream) throws Refused {
        var d = call(() -> client.describeStream(DescribeStreamRequest.builder().streamName(stream).build())).streamDescription();
        return new Description(d.streamStatusAsString(), d.streamCreationTimestamp(), shardsOf(d.shards()));
    }

    @Override
    public void delete(String stream) throws Refused {
        call(() -> client.deleteStream(DeleteStreamRequest.builder().streamName(stream).build()));
    }

    @Override
    public List<Put> put(String stream, List<byte[]> data, List<String> keys) throws Refused {
        List<PutRecordsRequestEntry> entries = IntStream.range(0, data.size()).mapToObj(i -> PutRecordsRequestEntry.builder()
                .data(SdkBytes.fromByteArray(data.get(i))).partitionKey(keys.get(i)).build()).toList();
        return call(() -> client.putRecords(PutRecordsRequest.builder().streamName(stream).records(entries).build()))
                .records().stream().map(r -> new Put(r.shardId(), r.sequenceNumber(), r.errorCode())).toList();
    }

    private static List<Shard> shardsOf(List<software.amazon.awssdk.services.kinesis.model.Shard> shards) {
        return shards.stream().map(s -> new Shard(
                s.shardId(), Stream.of(s.parentShardId(), s.adjacentParentShardId()).filter(p -> p != null).toList(),
                s.hashKeyRange().startingHashKey(), s.hashKeyRange().endingHashKey(),
                s.sequenceNumberRange().endingSequenceNumber() != null)).toList();
    }

    @Override
    public Shards shards(String stream, String token, int max) throws Refused {
        ListShardsRequest.Builder request = ListShardsRequest.builder().maxResults(max);
        var page = call(() -> client.listShards((token == null ? request.streamName(stream) : request.nextToken(token)).build()));
        return new Shards(shardsOf(page.shards()), page.nextToken());
    }

    @Override
    public void split(String stream, String shard, String at) throws Refused {
        call(() -> client.splitShard(SplitShardRequest.builder().streamName(stream).shardToSplit(shard).newStartingHashKey(at).build()));
    }

    @Override
    public void merge(String stream, String shard, String adjacent) throws Refused {
        call(() -> client.mergeShards(MergeShardsRequest.builder().streamName(stream).shardToMerge(shard).adjacentShardToMerge(adjacent).build()));
    }

    @Override
    public void resize(String stream, int shards) throws Refused {
        call(() -> client.updateShardCount(UpdateShardCountRequest.builder()
                .streamName(stream).targetShardCount(shards).scalingType(ScalingType.UNIFORM_SCALING).build()));
    }

    @Override
    public String iterator(String stream, String shard) throws Refused {
        return call(() -> client.getShardIterator(GetShardIteratorRequest.builder()
                .streamName(stream).shardId(shard).shardIteratorType(ShardIteratorType.TRIM_HORIZON).build())).shardIterator();
    }

    @Override
    public Page get(String iterator, int limit) throws Refused {
        var page = call(() -> client.getRecords(GetRecordsRequest.builder().shardIterator(iterator).limit(limit).build()));
        List<Stored> records = page.records().stream().map(r ->
                new Stored(r.sequenceNumber(), r.partitionKey(), r.data().asByteArray(), r.approximateArrivalTimestamp())).toList();
        return new Page(records, page.nextShardIterator(), page.childShards().stream().map(ChildShard::shardId).toList(), page.millisBehindLatest());
    }

    @Override
    public String spoke() {
        return contentType.get() + (http2.get() ? ", HTTP/2" : "");
    }

    @Override
    public void close() {
        client.close();
    }
}
