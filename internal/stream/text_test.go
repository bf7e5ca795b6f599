package stream

import (
	"testing"
	"time"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream/commitment"
	"github.com/headrace/headrace/internal/stream/row"
)

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
	if want := (Commitment{Status: commitment.Enabled, Started: w.now(), EarliestEnd: w.now() + commitment.Term}); settings != want {
		t.Errorf("settings = %+v; want %+v", settings, want)
	}
	if got, want := string(row.Encode(after.row)), string(row.Encode(before.row)); got != want {
		t.Errorf("row = %s; want %s", got, want)
	}
	for i, s := range after.shards {
		if *s != *before.shards[i] {
			t.Errorf("shard = %+v; want %+v", s, before.shards[i])
		}
	}
	if len(row.Encode(after.row)) > 64<<10 {
		t.Error("the row is too large")
	}
}
