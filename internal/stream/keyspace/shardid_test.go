package keyspace

import "testing"

func TestShardID(t *testing.T) {
	f := func(in string, number int32, ok bool, canonical string) {
		t.Helper()
		got, gotOK := ParseShardID(in)
		if got != number || gotOK != ok {
			t.Errorf("ParseShardID(%q) = %d, %v; want %d, %v", in, got, gotOK, number, ok)
		}
		if ok && ShardID(got) != canonical {
			t.Errorf("ShardID(%d) = %s; want %s", got, ShardID(got), canonical)
		}
	}
	f("shardId-000000000000", 0, true, "shardId-000000000000")
	f("shardId-0", 0, true, "shardId-000000000000")
	f("anything-5", 5, true, "shardId-000000000005")
	f("5", 5, true, "shardId-000000000005")
	f("-00002147483647", 1<<31-1, true, "shardId-002147483647")
	f("shardId-2147483648", 0, false, "")
	f("shardId-99999999999999999999", 0, false, "")
	f("ABKLFD8", 0, false, "")
	f("2.14E4", 0, false, "")
	f("shardId-", 0, false, "")
	f("", 0, false, "")
	if got, want := ShardID(-1<<31), "shardId--02147483648"; got != want {
		t.Errorf("ShardID(min) = %s; want %s", got, want)
	}
}

func FuzzParseShardID(f *testing.F) {
	for _, s := range []string{"shardId-000000000000", "-00002147483647", "a-b-c", "9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, ok := ParseShardID(text)
		if n < 0 || !ok && n != 0 {
			t.Fatalf("ParseShardID(%q) = %d, %v", text, n, ok)
		}
		if back, again := ParseShardID(ShardID(n)); ok && (back != n || !again) {
			t.Fatalf("%q is shard %d, whose id is %d", text, n, back)
		}
	})
}
