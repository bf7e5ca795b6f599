import com.amazonaws.ClientConfiguration;
import com.amazonaws.Request;
import com.amazonaws.auth.AWSCredentials;
import com.amazonaws.auth.AWSStaticCredentialsProvider;
import com.amazonaws.auth.BasicAWSCredentials;
import com.amazonaws.auth.BasicSessionCredentials;
import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.handlers.RequestHandler2;
import com.amazonaws.retry.PredefinedRetryPolicies;
import com.amazonaws.services.kinesis.AmazonKinesis;
import com.amazonaws.services.kinesis.AmazonKinesisClientBuilder;
import com.amazonaws.services.kinesis.model.AmazonKinesisException;
import com.amazonaws.services.kinesis.model.ChildShard;
import com.amazonaws.services.kinesis.model.DescribeStreamSummaryRequest;
import com.amazonaws.services.kinesis.model.GetRecordsRequest;
import com.amazonaws.services.kinesis.model.ListShardsRequest;
import com.amazonaws.services.kinesis.model.PutRecordsRequest;
import com.amazonaws.services.kinesis.model.PutRecordsRequestEntry;
import com.amazonaws.services.kinesis.model.ShardIteratorType;
import com.amazonaws.services.kinesis.model.UpdateShardCountRequest;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import java.util.stream.Stream;

/** The AWS SDK for Java v1. Each call is made once. */
final class ClientV1 implements Kinesis {
    private final AmazonKinesis client;
    private final AtomicReference<String> contentType = new AtomicReference<>("");

    ClientV1(String endpoint, Driver.Login login) {
        AWSCredentials who = login.token().isEmpty()
                ? new BasicAWSCredentials(login.id(), login.secret())
                : new BasicSessionCredentials(login.id(), login.secret(), login.token());
        client = AmazonKinesisClientBuilder.standard()
                .withEndpointConfiguration(new EndpointConfiguration(endpoint, "us-east-1"))
                .withCredentials(new AWSStaticCredentialsProvider(who))
                .withClientConfiguration(new ClientConfiguration().withRetryPolicy(PredefinedRetryPolicies.NO_RETRY_POLICY))
                .withRequestHandlers(new RequestHandler2() {
                    @Override
                    public void beforeRequest(Request<?> request) {
                        contentType.set(request.getHeaders().get("Content-Type"));
                    }
                })
                .build();
    }

    private static <T> T call(Supplier<T> call) throws Refused {
        try {
            return call.get();
        } catch (AmazonKinesisException e) {
            throw new Refused(e.getErrorCode(), e.getErrorMessage());
        }
    }

    @Override
    public void create(String stream, int shards) throws Refused {
        call(() -> client.createStream(stream, shards));
    }

    @Override
    public String status(String stream) throws Refused {
        return call(() -> client.describeStreamSummary(new DescribeStreamSummaryRequest().withStreamName(stream)))
                .getStreamDescriptionSummary().getStreamStatus();
    }

    @Override
    public Description describe(String stream) throws Refused {
        var d = call(() -> client.describeStream(stream)).getStreamDescription();
        return new Description(d.getStreamStatus(), d.getStreamCreationTimestamp().toInstant(), shardsOf(d.getShards()));
    }

    @Override
    public void delete(String stream) throws Refused {
        call(() -> client.deleteStream(stream));
    }

    @Override
    public List<Put> put(String stream, List<byte[]> data, List<String> keys) throws Refused {
        List<PutRecordsRequestEntry> entries = new ArrayList<>();
        for (int i = 0; i < data.size(); i++) {
            entries.add(new PutRecordsRequestEntry().withData(ByteBuffer.wrap(data.get(i))).withPartitionKey(keys.get(i)));
        }
        return call(() -> client.putRecords(new PutRecordsRequest().withStreamName(stream).withRecords(entries)))
                .getRecords().stream().map(r -> new Put(r.getShardId(), r.getSequenceNumber(), r.getErrorCode())).toList();
    }

    private static List<Shard> shardsOf(List<com.amazonaws.services.kinesis.model.Shard> shards) {
        return shards.stream().map(s -> new Shard(
                s.getShardId(), Stream.of(s.getParentShardId(), s.getAdjacentParentShardId()).filter(p -> p != null).toList(),
                s.getHashKeyRange().getStartingHashKey(), s.getHashKeyRange().getEndingHashKey(),
                s.getSequenceNumberRange().getEndingSequenceNumber() != null)).toList();
    }

    @Override
    public Shards shards(String stream, String token, int max) throws Refused {
        ListShardsRequest request = new ListShardsRequest().withMaxResults(max);
        var page = call(() -> client.listShards(token == null ? request.withStreamName(stream) : request.withNextToken(token)));
        return new Shards(shardsOf(page.getShards()), page.getNextToken());
    }

    @Override
    public void split(String stream, String shard, String at) throws Refused {
        call(() -> client.splitShard(stream, shard, at));
    }

    @Override
    public void merge(String stream, String shard, String adjacent) throws Refused {
        call(() -> client.mergeShards(stream, shard, adjacent));
    }

    @Override
    public void resize(String stream, int shards) throws Refused {
        call(() -> client.updateShardCount(new UpdateShardCountRequest()
                .withStreamName(stream).withTargetShardCount(shards).withScalingType("UNIFORM_SCALING")));
    }

    @Override
    public String iterator(String stream, String shard) throws Refused {
        return call(() -> client.getShardIterator(stream, shard, ShardIteratorType.TRIM_HORIZON.toString())).getShardIterator();
    }

    @Override
    public Page get(String iterator, int limit) throws Refused {
        var page = call(() -> client.getRecords(new GetRecordsRequest().withShardIterator(iterator).withLimit(limit)));
        List<Stored> records = page.getRecords().stream().map(r -> {
            byte[] data = new byte[r.getData().remaining()];
            r.getData().get(data);
            return new Stored(r.getSequenceNumber(), r.getPartitionKey(), data, r.getApproximateArrivalTimestamp().toInstant());
        }).toList();
        List<ChildShard> children = page.getChildShards() == null ? List.of() : page.getChildShards();
        return new Page(records, page.getNextShardIterator(), children.stream().map(ChildShard::getShardId).toList(), page.getMillisBehindLatest());
    }

    @Override
    public String spoke() {
        return contentType.get();
    }

    @Override
    public void close() {
        client.shutdown();
    }
}
