package stream

import (
	"math/big"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/record"
)

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

// decimal returns the number that hexadecimal digits stand for.
func decimal(hex string) string {
	n, ok := new(big.Int).SetString(hex, 16)
	if !ok {
		panic(hex)
	}
	return n.String()
}

// TestParsePosition holds what AWS has been seen to take and refuse.
func TestParsePosition(t *testing.T) {
	f := func(name, text string, ok bool, want position) {
		t.Helper()
		got, gotOK := parsePosition(text)
		if gotOK != ok || ok && got != want {
			t.Errorf("%s: parsePosition(%s) = %+v, %v; want %+v, %v", name, text, got, gotOK, want, ok)
		}
	}
	f("current", "49590338271490256608559692538361571095921575989136588898", true,
		position{version: 2, created: 1542776258, time: 1545084650, shard: 6, index: 0x67648a17, exact: true})
	f("all zero", decimal("20000000000000000000000000000000000000000000002"), true, position{version: 2, exact: true})
	f("version 1", decimal("20000000000000000000000000000000000000000000001"), true, position{version: 1})
	f("negative shard", decimal("20000000000000000000000000000000000000800000002"), true, position{version: 2, shard: -1 << 31})
	f("version 0, small", "5", true, position{shard: 5})
	f("version 0, zero", "0", true, position{})
	f("version 0, large", decimal("13bb2cc3d70000000000000000000002"), true, position{created: 0x3bb2cc3d7, shard: 2})
	f("version 0, too late", decimal("13bb2cc3d80000000000000000000000"), false, position{})
	f("no version", decimal("20000000000000000000000000000000000000000000000"), false, position{})
	f("version 3", decimal("20000000000000000000000000000000000000000000003"), false, position{})
	f("version 4", decimal("20000000000000000000000000000000000000000000004"), false, position{})
	f("begins with 3", decimal("30000000000000000000000000000000000000000000001"), false, position{})
	f("begins with 1", decimal("1ffffffffff7fffffffffffffff000000000007fffffff2"), false, position{})
	f("index too high", decimal("20000000000800000000000000000000000000000000002"), false, position{})
	f("created too late", decimal("2ffffffffff7fffffffffffffff000000000007fffffff2"), false, position{})
	f("not a number", "wheel", false, position{})
	f("negative", "-5", false, position{})
	f("empty", "", false, position{})
}

func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"0", "5", "49590338271490256608559692538361571095921575989136588898", "26227199374822427428162556223570313216"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := parsePosition(text)
		exact, err := record.ParseSequenceNumber(text)
		if ok && p.exact && (err != nil || exact.String() != text) {
			t.Fatalf("%q passes for exact", text)
		}
		if err == nil && ok && !p.exact {
			t.Fatalf("%q does not pass for exact", text)
		}
	})
}

func TestParseARN(t *testing.T) {
	f := func(arn string, ok bool) {
		t.Helper()
		sc, name, got := ParseARN(arn)
		if got != ok || ok && (sc != home || name != "mill") {
			t.Errorf("ParseARN(%s) = %v, %s, %v; want %v", arn, sc, name, got, ok)
		}
	}
	f(home.arn("mill"), true)
	f("arn:aws-cn:kinesis:eu-west-1:123456789012:stream/mill", true)
	f("arn:aws:kinesis:eu-west-1:123456789012:stream/mill/consumer/wheel:1", false)
	f("arn:aws:kinesis:eu-west-1:123456789012:stream/", false)
	f("arn:aws:kinesis:eu-west-1:123456789012", false)
	f("arn:aws:sqs:eu-west-1:123456789012:mill", false)
	f("mill", false)
	for region, want := range map[string]string{
		"cn-north-1":    "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/mill",
		"us-gov-west-1": "arn:aws-us-gov:kinesis:us-gov-west-1:123456789012:stream/mill",
	} {
		if got := (Scope{home.Account, region}).arn("mill"); got != want {
			t.Errorf("arn = %s; want %s", got, want)
		}
	}
}

func TestJavaDate(t *testing.T) {
	at := time.Date(2015, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	if got, want := javaDate(record.MillisOf(at)), "Fri Jan 02 02:04:05 UTC 2015"; got != want {
		t.Errorf("javaDate = %s; want %s", got, want)
	}
}

// TestRowsSurvive checks that rows read back as they were written.
func TestRowsSurvive(t *testing.T) {
	w := newWorld(t, time.Minute, Caps{})
	ref := w.create("mill", 2)
	w.tick(time.Minute)
	w.must(w.AddTags(t.Context(), home, ref, map[string]string{"a": "b"}))
	_, err := w.EnableMonitoring(t.Context(), home, ref, []ShardMetric{"IncomingBytes"})
	w.must(err)
	w.tick(time.Minute)
	_, err = w.UpdateAccountSettings(t.Context(), home, true)
	w.must(err)
	w.must(w.MergeShards(t.Context(), home, ref, "0", "1"))
	before := w.view(ref)
	w.restart()
	after := w.view(ref)
	settings, err := w.AccountSettings(t.Context(), home)
	w.must(err)
	if want := (Commitment{Status: CommitmentEnabled, Started: w.now(), EarliestEnd: w.now() + commitmentTerm}); settings != want {
		t.Errorf("settings = %+v; want %+v", settings, want)
	}
	if got, want := string(encodeRow(after.row)), string(encodeRow(before.row)); got != want {
		t.Errorf("row = %s; want %s", got, want)
	}
	for i, s := range after.shards {
		if *s != *before.shards[i] {
			t.Errorf("shard = %+v; want %+v", s, before.shards[i])
		}
	}
	if len(encodeRow(after.row)) > 64<<10 {
		t.Error("the row is too large")
	}
}
