package cli

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/headrace/headrace/internal/clock"
)

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "records")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// pass lets time go by in a synctest bubble.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	if err := sleep(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// fill puts n records with a second between them, into shard i%shards, and reshards on the way.
func fill(t *testing.T, f *fake) (want []string) {
	t.Helper()
	next := 0
	put := func(shards ...string) {
		for _, s := range shards {
			data := fmt.Sprint("r", next)
			next++
			f.put(s, data)
			want = append(want, data)
			pass(t, time.Second)
		}
	}
	const s0, s1 = "shardId-000000000000", "shardId-000000000001"
	put(s0, s1, s0, s0, s1, s0, s0, s0)
	lower, upper := f.split(s0)
	put(upper, s1, lower, upper, s1, lower)
	merged := f.merge(upper, s1)
	put(merged, lower, merged, lower, merged)
	return want
}

func TestTailMergesByArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		begin := time.Now()
		want := fill(t, f)
		check := func(want []string, args ...string) {
			t.Helper()
			code, out, stderr := f.run(t.Context(), "", append([]string{"stream", "tail", "logs"}, args...)...)
			if got := strings.Fields(out); code != 0 || stderr != "" || !slices.Equal(got, want) {
				t.Errorf("%q: got %d, %q\n got %q\nwant %q", args, code, stderr, got, want)
			}
		}
		check(want, "--from", "trim-horizon", "--until-idle")
		if f.early != nil {
			t.Errorf("%q were read before their parents", f.early)
		}
		check(want, "--from", "TRIM_HORIZON", "--until-idle=0s")
		check(want[:5], "--from", "trim-horizon", "--limit", "5")
		check(want[9:], "--from", begin.Add(8500*time.Millisecond).UTC().Format(time.RFC3339Nano), "--until-idle")
		check(nil, "--until-idle")
		f.shard("shardId-000000000001").throttle = 2
		f.shard("shardId-000000000000").expire = 1
		check(want, "--from", "trim-horizon", "--until-idle")
	})
}

// Records, splits and merges that happen while a tail runs come out in order of arrival, however
// long single reads take.
func TestTailFollows(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			latency := rand.New(rand.NewPCG(seed, 1))
			f := newFake(3)
			f.put("shardId-000000000000", "old")
			f.latency = func() time.Duration {
				f.mu.Lock()
				defer f.mu.Unlock()
				return time.Duration(latency.IntN(300)) * time.Millisecond
			}
			var got []string
			tail := &follower{
				api: f, stream: "logs", clock: clock.System{}, untilIdle: -1,
				start:      position{kind: types.ShardIteratorTypeLatest},
				childStart: position{kind: types.ShardIteratorTypeTrimHorizon},
				idle:       func() error { return nil },
				emit:       func(_ string, r types.Record) error { got = append(got, string(r.Data)); return nil },
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- tail.run(ctx) }()
			pass(t, time.Second) // every LATEST iterator is there
			var want []string
			for i := range 200 {
				open := f.open()
				switch at := random.IntN(len(open)); {
				case i%40 == 20:
					f.split(open[at])
				case i%40 == 39:
					f.merge(open[at], open[(at+1)%len(open)])
				default:
					data := fmt.Sprint(i)
					f.put(open[at], data)
					want = append(want, data)
				}
				pass(t, time.Duration(1+random.IntN(50))*time.Millisecond)
			}
			pass(t, time.Minute)
			cancel()
			if err := <-done; err == nil {
				t.Error("a cancelled tail ended without an error")
			}
			if !slices.Equal(got, want) {
				t.Errorf("seed %d:\n got %q\nwant %q", seed, got, want)
			}
		})
	}
}

func (f *fake) open() (ids []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.shards {
		if !s.closed {
			ids = append(ids, s.id)
		}
	}
	return ids
}

func TestTailFormats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		for _, data := range []string{`{"a": "<b>"}`, "two\nlines", "\xff\xfe"} {
			f.put("shardId-000000000000", data)
			pass(t, 1500*time.Millisecond)
		}
		const args = "stream tail logs --from trim-horizon --until-idle -o "
		golden(t, "tail.txt", script(t, f, args+"raw", args+"table", args+"ndjson", args+"json",
			"stream tail logs --until-idle -o json", "stream tail nope"))
	})
}

// An interrupt is how a tail ordinarily ends; what was read is printed whole.
func TestTailInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.put("shardId-000000000000", "x")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		code, out, stderr := f.run(ctx, "", "stream", "tail", "logs", "--from", "trim-horizon", "-o", "json")
		if code != 0 || stderr != "" || !strings.HasSuffix(out, "}\n]\n") {
			t.Errorf("got %d, %q, %q", code, out, stderr)
		}
	})
}

func FuzzReadLines(f *testing.F) {
	f.Add([]byte("a\nb\r\n\nc"))
	f.Add(bytes.Repeat([]byte("x"), groupBytes+1))
	f.Fuzz(func(t *testing.T, text []byte) {
		l := newLineReader(t.Context(), bytes.NewReader(text))
		var joined []byte
		for {
			line, more, err := l.next(t.Context(), func() error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			if !more {
				break
			}
			joined = append(append(joined, line...), '\n')
		}
		if l.err != nil {
			t.Fatal(l.err)
		}
		if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
			text = append(text, '\n')
		}
		if !bytes.Equal(joined, text) {
			t.Errorf("got %q, want %q", joined, text)
		}
	})
}
