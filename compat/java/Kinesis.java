import java.time.Instant;
import java.util.List;

/** What the driver needs of a client, in words of its own: each version of the SDK has its own classes. */
interface Kinesis extends AutoCloseable {
    record Put(String shard, String sequence, String error) {}

    record Shard(String id, List<String> parents, String low, String high, boolean closed) {}

    record Shards(List<Shard> shards, String next) {}

    record Stored(String sequence, String key, byte[] data, Instant arrival) {}

    record Page(List<Stored> records, String next, List<String> children, long behind) {}

    record Description(String status, Instant created, List<Shard> shards) {}

    /** A service's answer that is an error. */
    final class Refused extends Exception {
        Refused(String code, String message) {
            super(code + ": " + message);
        }
    }

    void create(String stream, int shards) throws Refused;

    String status(String stream) throws Refused;

    Description describe(String stream) throws Refused;

    void delete(String stream) throws Refused;

    List<Put> put(String stream, List<byte[]> data, List<String> keys) throws Refused;

    /** The first page, or with a token of another the page after that. */
    Shards shards(String stream, String token, int max) throws Refused;

    void split(String stream, String shard, String at) throws Refused;

    void merge(String stream, String shard, String adjacent) throws Refused;

    void resize(String stream, int shards) throws Refused;

    /** An iterator at the shard's trim horizon. */
    String iterator(String stream, String shard) throws Refused;

    Page get(String iterator, int limit) throws Refused;

    /** How requests went: their content type, and HTTP/2 if that was seen. */
    String spoke();

    @Override
    void close();
}
