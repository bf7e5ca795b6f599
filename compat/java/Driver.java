import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Runs the AWS SDKs for Java.
 *
 * <pre>
 * Driver main CLIENT ENDPOINT LOG STREAM   the main job, with any credentials; prints what it saw
 * Driver fanout ENDPOINT STREAM            subscriptions, with any credentials; prints what it saw
 * Driver signed CLIENT                     a round trip for every line of input, ENDPOINT STREAM ID SECRET
 *                                          [TOKEN], with those credentials; prints "accepted", or what the
 *                                          server refused it with
 * </pre>
 *
 * CLIENT is v1, v2 or v2-async. They speak CBOR unless the system properties of their SDKs say otherwise.
 */
final class Driver {
    record Login(String id, String secret, String token) {}

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "main" -> {
                try (Kinesis client = client(args[1], args[2], new Login("test", "test", ""))) {
                    System.out.println(MainJob.run(client, Files.readAllBytes(Path.of(args[3])), args[4]));
                }
            }
            case "fanout" -> System.out.println(FanOut.run(args[1], args[2]));
            case "signed" -> signed(args[1]);
            default -> throw new IllegalArgumentException(args[0]);
        }
        System.exit(0); // threads of the clients would go on for a while
    }

    private static Kinesis client(String name, String endpoint, Login login) {
        return switch (name) {
            case "v1" -> new ClientV1(endpoint, login);
            case "v2" -> new ClientV2(endpoint, login, false);
            case "v2-async" -> new ClientV2(endpoint, login, true);
            default -> throw new IllegalArgumentException(name);
        };
    }

    private static void signed(String name) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            String[] words = line.split(" ");
            Login login = new Login(words[2], words[3], words.length > 4 ? words[4] : "");
            try {
                roundTrip(client(name, words[0], login), words[1]); // not closed: that takes two seconds each
                System.out.println("accepted");
            } catch (Kinesis.Refused refused) {
                System.out.println(refused.getMessage());
            }
        }
    }

    private static void roundTrip(Kinesis client, String stream) throws Kinesis.Refused {
        client.create(stream, 1);
        List<byte[]> sent = new ArrayList<>();
        for (int size : new int[] {0, 256, 512_000}) {
            byte[] data = new byte[size];
            for (int i = 0; i < size; i++) {
                data[i] = (byte) i;
            }
            sent.add(data);
        }
        List<Kinesis.Put> put = client.put(stream, sent, List.of("\u00e4 \u00f6", "\u00e4 \u00f6", "\u00e4 \u00f6"));
        List<Kinesis.Stored> got = client.get(client.iterator(stream, put.get(0).shard()), 10).records();
        boolean same = got.size() == sent.size();
        for (int i = 0; same && i < sent.size(); i++) {
            same = Arrays.equals(got.get(i).data(), sent.get(i));
        }
        if (!same) {
            throw new IllegalStateException(got.size() + " records came back, or others");
        }
    }
}
