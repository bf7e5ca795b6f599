package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/headrace/headrace/internal/record"
)

// script runs command lines against one fake and returns everything they printed, for golden files.
func script(t *testing.T, f *fake, lines ...string) string {
	t.Helper()
	var all strings.Builder
	for _, line := range lines {
		code, out, stderr := f.run(t.Context(), "", strings.Fields(line)...)
		fmt.Fprintf(&all, "$ headrace %s\n%s", line, out)
		for l := range strings.Lines(stderr) {
			all.WriteString("stderr: " + l)
		}
		fmt.Fprintf(&all, "exit %d\n\n", code)
	}
	return all.String()
}

func TestStreamCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		lower, upper := f.split("shardId-000000000000")
		f.merge(upper, "shardId-000000000001")
		got := script(t, f,
			"stream ls", "stream ls -o json", "stream ls -o ndjson",
			"stream describe logs", "stream describe logs -o json", "stream describe logs -o ndjson",
			"stream describe nope",
			"stream create logs --shards 4",
			"stream create logs --on-demand -o json",
			"stream split logs "+lower+" -o ndjson",
			"stream split logs "+lower+" --at 7",
			"stream split logs shardId-9",
			"stream merge logs "+lower, "stream merge logs shardId-000000000004",
			"stream merge logs a b -o json",
		)
		golden(t, "stream.txt", got+strings.Join(f.calls, "\n")+"\n")
	})
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.statuses = []types.StreamStatus{types.StreamStatusCreating, types.StreamStatusCreating, types.StreamStatusActive}
		code, out, stderr := f.run(t.Context(), "", "stream", "create", "logs", "--wait")
		if code != 0 || out != "created stream logs, which is ACTIVE\n" || stderr != "stream logs is CREATING\n" {
			t.Errorf("got %d, %q, %q", code, out, stderr)
		}
		f.statuses = []types.StreamStatus{types.StreamStatusUpdating}
		code, _, stderr = f.run(t.Context(), "", "stream", "split", "logs", "shardId-000000000000", "--wait", "--timeout", "3s")
		want := "stream logs is UPDATING\nheadrace: wait for stream logs, which is UPDATING: context deadline exceeded\n"
		if code != ExitFailure || stderr != want {
			t.Errorf("got %d, %q, want %q", code, stderr, want)
		}
	})
}

func TestMidpoint(t *testing.T) {
	f := func(start, end, want string) {
		t.Helper()
		s, errS := record.ParseHashKey(start)
		e, errE := record.ParseHashKey(end)
		if got := midpoint(s, e).String(); got != want || errS != nil || errE != nil {
			t.Errorf("[%s, %s]: got %s, want %s", start, end, got, want)
		}
	}
	f("0", "340282366920938463463374607431768211455", "170141183460469231731687303715884105728")
	f("170141183460469231731687303715884105728", "340282366920938463463374607431768211455", "255211775190703847597530955573826158592")
	f("0", "1", "1")
	f("5", "6", "6")
	f("18446744073709551615", "18446744073709551617", "18446744073709551617") // carries from Lo to Hi
	f("18446744073709551614", "36893488147419103233", "27670116110564327424") // and borrows
}

func TestNeighbour(t *testing.T) {
	fake := newFake(3)
	fake.split("shardId-000000000001") // into 3 and 4
	shards, err := listShards(t.Context(), fake, "logs")
	if err != nil {
		t.Fatal(err)
	}
	f := func(id, want string, wantErr error) {
		t.Helper()
		if got, err := neighbour(shards, id); got != want || !errors.Is(err, wantErr) {
			t.Errorf("%s: got %q, %v, want %q, %v", id, got, err, want, wantErr)
		}
	}
	f("shardId-000000000000", "shardId-000000000003", nil)
	f("shardId-000000000003", "shardId-000000000004", nil)
	f("shardId-000000000002", "shardId-000000000004", nil) // the highest looks down
	f("shardId-7", "", errNoShard)
	if _, err := neighbour(shards[:1], "shardId-000000000000"); !errors.Is(err, errNoNeighbour) {
		t.Errorf("a lone shard: got %v", err)
	}
}

// stored returns the data of all records of a fake, by shard.
func (f *fake) stored() (data []string) {
	for _, s := range f.shards {
		for _, r := range s.records {
			data = append(data, string(r.Data))
		}
	}
	return data
}

func TestPutSources(t *testing.T) {
	f := func(stdin string, want []string, args ...string) {
		t.Helper()
		fake := newFake(1)
		code, out, stderr := fake.run(t.Context(), stdin, append([]string{"stream", "put", "logs"}, args...)...)
		if got := fake.stored(); code != 0 || !slices.Equal(got, want) {
			t.Errorf("got %d, %q, %q, want %q", code, got, stderr, want)
		}
		size := len(strings.Join(want, ""))
		if summary := fmt.Sprintf("put %d records, %d bytes, into %d shards of stream logs\n", len(want), size, min(1, len(want))); out != summary {
			t.Errorf("got %q, want %q", out, summary)
		}
	}
	f("", []string{"one"}, "one")
	f("", []string{""}, "")
	f("", nil)
	f("a\nb\r\n\n\xff\x00", []string{"a", "b\r", "", "\xff\x00"}) // bytes are kept
	f("a\n", []string{"a"}, "--file", "-")
	f("ignored", []string{"x"}, "--file", writeFile(t, "x\n"))
}

func TestPutPrintsWhereRecordsWent(t *testing.T) {
	_, out, _ := newFake(1).run(t.Context(), "a\nb\n", "stream", "put", "logs", "-k", "user", "-o", "ndjson")
	want := `{"ShardId":"shardId-000000000000","SequenceNumber":"shardId-000000000000-000000","PartitionKey":"user"}
{"ShardId":"shardId-000000000000","SequenceNumber":"shardId-000000000000-000001","PartitionKey":"user"}
`
	if out != want {
		t.Errorf("got %s, want %s", out, want)
	}
	_, out, _ = newFake(1).run(t.Context(), "10.0.0.1 - a\n10.0.0.2\t-\n", "stream", "put", "logs", "--key-field", "1", "-o", "ndjson")
	if strings.Count(out, `"PartitionKey":"10.0.0.1"}`) != 1 || strings.Count(out, `"PartitionKey":"10.0.0.2"}`) != 1 {
		t.Errorf("--key-field 1 gives %q", out)
	}
	code, out, stderr := newFake(1).run(t.Context(), "a b\nc\n", "stream", "put", "logs", "--key-field", "2")
	if want := "headrace: put line 2: it has too few words for --key-field\n"; code != 1 || stderr != want || !strings.HasPrefix(out, "put 1 records") {
		t.Errorf("a line without the field: got %d, %q, %q; want %q after one record", code, out, stderr, want)
	}
	if _, out, _ = newFake(1).run(t.Context(), "", "stream", "put", "logs", "-o", "json"); out != "[]\n" {
		t.Errorf("nothing as JSON: got %q", out)
	}
}

func TestPutBatches(t *testing.T) {
	fake := newFake(4)
	var sent []string
	p := &putter{api: fake, stream: "logs", stored: func(e types.PutRecordsRequestEntry, _ types.PutRecordsResultEntry) error {
		sent = append(sent, *e.PartitionKey)
		return nil
	}}
	add := func(n, size int) {
		t.Helper()
		for i := range n {
			if err := p.add(t.Context(), fmt.Sprint(i), append([]byte(fmt.Sprint(i)), make([]byte, size)...)); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(1001, 0)
	if err := p.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	add(3, 3<<20) // no two fit into one call
	if err := p.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"put 500", "put 500", "put 1", "put 1", "put 1", "put 1"}; !slices.Equal(fake.calls, want) {
		t.Errorf("got %q, want %q", fake.calls, want)
	}
	if p.records != 1004 || len(sent) != 1004 || sent[1000] != "1000" {
		t.Errorf("got %d records, %d reported", p.records, len(sent))
	}
}

// Failed entries are sent again before anything after them, so records of a key stay in order.
func TestPutRetriesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(1)
		refusals := 0
		fake.refuse = func(key string) bool { // the first two calls take only part
			refusals++
			return refusals <= 6 && refusals%3 != 0
		}
		code, out, stderr := fake.run(t.Context(), "1\n2\n3\n4\n5\n6\n7\n8\n", "stream", "put", "logs", "-k", "same")
		if code != 0 || !strings.HasPrefix(out, "put 8 records, 8 bytes") {
			t.Errorf("got %d, %q", code, out)
		}
		if !strings.Contains(stderr, "again: ProvisionedThroughputExceededException\n") {
			t.Errorf("no word of the retry on stderr: %q", stderr)
		}
		got := fake.stored()
		slices.Sort(got)
		if want := []string{"1", "2", "3", "4", "5", "6", "7", "8"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want each once", got)
		}
	})
}

func TestPutGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(1)
		fake.refuse = func(string) bool { return true }
		code, out, stderr := fake.run(t.Context(), "a\n", "stream", "put", "logs")
		want := "headrace: put records to stream logs: 1 records were refused 10 times: ProvisionedThroughputExceededException: Rate exceeded\n"
		if code != ExitFailure || out != "" || !strings.HasSuffix(stderr, want) || len(fake.calls) != maxFruitless {
			t.Errorf("got %d, %q, %q after %d calls", code, out, stderr, len(fake.calls))
		}
	})
}

// What was typed so far is sent while put waits for more, and an interrupt ends the wait.
func TestPutFromASlowPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(1)
		var out, stderr strings.Builder
		app := newApp(&out, &stderr, fake)
		in := &slowPipe{parts: make(chan string)}
		app.In = in
		ctx, cancel := context.WithCancel(t.Context())
		code := make(chan int, 1)
		go func() { code <- app.Run(ctx, []string{"stream", "put", "logs"}) }()
		for _, part := range []string{"a\nb", "c\n", "d\n"} {
			in.parts <- part
			synctest.Wait()
		}
		if got := fake.stored(); !slices.Equal(got, []string{"a", "bc", "d"}) {
			t.Errorf("got %q before the input ended", got)
		}
		cancel()
		if got := <-code; got != ExitFailure {
			t.Errorf("got exit code %d", got)
		}
		if want := "headrace: put records to stream logs: interrupted\n"; stderr.String() != want {
			t.Errorf("got %q, want %q", stderr.String(), want)
		}
		close(in.parts) // lets the reader go
	})
}

// slowPipe is a reader that returns one part at a time, when there is one.
type slowPipe struct{ parts chan string }

func (p *slowPipe) Read(b []byte) (int, error) {
	part, ok := <-p.parts
	if !ok {
		return 0, errors.New("closed")
	}
	return copy(b, part), nil
}

func TestPutLineTooLong(t *testing.T) {
	fake := newFake(1)
	code, _, stderr := fake.run(t.Context(), "ok\n"+strings.Repeat("x", maxRecord+2)+"\n", "stream", "put", "logs")
	want := "headrace: read line 2: longer than 10485760 bytes, the most a record can hold\n"
	if code != ExitFailure || stderr != want || !slices.Equal(fake.stored(), []string{"ok"}) {
		t.Errorf("got %d, %q, %q", code, stderr, fake.stored())
	}
}

func TestShare(t *testing.T) {
	s := shardItem{StartingHashKey: "0", EndingHashKey: "85070591730234615865843651857942052863"}
	if got := s.share(); got != "25.00%" {
		t.Errorf("got %s", got)
	}
	if got := newShardItem(types.Shard{ShardId: aws.String("s")}).share(); got != "?" {
		t.Errorf("got %s", got)
	}
}
