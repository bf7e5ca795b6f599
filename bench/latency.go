package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// latency measures how soon a put is seen: by who waits in the process, and by a client that asks
// every millisecond.
func latency(ctx context.Context, o options) error {
	wake, err := putToWake(ctx, o)
	if err != nil {
		return err
	}
	dir, done, err := o.tempDir()
	if err != nil {
		return err
	}
	defer done()
	p, err := o.startServe(ctx, filepath.Join(dir, "data"), o.walFor(1)...)
	if err != nil {
		return err
	}
	defer p.stop()
	if err := p.createStream(ctx, 1); err != nil {
		return err
	}
	var seen, median50 []float64
	for range o.rounds {
		times, err := putToPoll(ctx, p, o.duration)
		if err != nil {
			return err
		}
		slices.Sort(times)
		l := load{times: times}
		seen, median50 = append(seen, l.millis(.99)), append(median50, l.millis(.5))
	}
	fmt.Fprintf(o.out, "\nFrom put to reader (medians of the rounds)\n")
	fmt.Fprintf(o.out, "  %-52s p99 %.2f ms\n", "Append begins -> Wait returns, in the process", wake)
	fmt.Fprintf(o.out, "  %-52s p99 %.2f ms, half of them %.2f ms\n", "PutRecord sent -> in the answer to a 1 ms GetRecords poll", median(seen), median(median50))
	o.report.limit("put -> shardlog.Wait wakes, p99", wake, 5, "%.2f ms")
	o.report.limit("put -> seen by a 1 ms GetRecords poll, p99", median(seen), 10, "%.2f ms")
	return nil
}

var p99Column = regexp.MustCompile(`([0-9.]+) p99-ms`)

// putToWake runs the benchmark that sits where a waiting reader does: no call over the wire waits.
func putToWake(ctx context.Context, o options) (float64, error) {
	var found []float64
	for range o.rounds {
		ms, err := o.benchmark(ctx, "./internal/server", "PutToWake", "5000x", p99Column)
		if err != nil {
			return 0, err
		}
		found = append(found, ms)
	}
	return median(found), nil
}

// benchmark runs a benchmark that stands beside the code it measures, and returns the number that the
// column's group matches.
func (o options) benchmark(ctx context.Context, pkg, name, benchtime string, column *regexp.Regexp) (float64, error) {
	pattern := "^Benchmark" + strings.ReplaceAll(name, "/", "$/^") + "$"
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", pattern, "-benchtime", benchtime, pkg)
	cmd.Env = os.Environ()
	if o.dir != "" {
		dir, err := filepath.Abs(o.dir)
		if err != nil {
			return 0, err
		}
		cmd.Env = append(cmd.Env, "TMPDIR="+dir)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("run benchmark: %w: %s", err, out)
	}
	m := column.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("run benchmark: no %v in %s", column, out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// putToPoll puts a record every few milliseconds, with the time in it, and has another connection ask
// for records a millisecond after each answer. It returns how long each record took from the one to the other.
func putToPoll(ctx context.Context, p *process, d time.Duration) ([]time.Duration, error) {
	it, err := p.latestIterator(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begin := time.Now()
	put := make(chan putDone, 1)
	go func() {
		n, err := putTimes(ctx, p.addr, begin, d)
		put <- putDone{n, err}
	}()
	cl, err := dial(p.addr)
	if err != nil {
		return nil, err
	}
	defer cl.conn.Close()
	var times []time.Duration
	want := -1
	for want < 0 || len(times) < want {
		select {
		case done := <-put:
			if done.err != nil {
				return nil, done.err
			}
			want = done.n
		default:
		}
		body, err := cl.exchange(getRecordsCall(0, it))
		if err != nil {
			return nil, err
		}
		now := time.Since(begin)
		it = text(body, `"NextShardIterator":"`)
		if times, err = appendTimes(times, body, now); err != nil {
			return nil, err
		}
		if time.Since(begin) > d+10*time.Second {
			return nil, fmt.Errorf("%d records of %d were seen", len(times), want)
		}
		pause(ctx, time.Millisecond)
	}
	return times, nil
}

type putDone struct {
	n   int
	err error
}

func (p *process) latestIterator(ctx context.Context) (string, error) {
	var out struct{ ShardIterator string }
	err := p.call(ctx, "GetShardIterator", map[string]any{"StreamName": benchStream, "ShardId": "shardId-000000000000", "ShardIteratorType": "LATEST"}, &out)
	return out.ShardIterator, err
}

// putTimes puts records that hold how long after begin they were sent.
func putTimes(ctx context.Context, addr string, begin time.Time, d time.Duration) (n int, err error) {
	cl, err := dial(addr)
	if err != nil {
		return 0, err
	}
	defer cl.conn.Close()
	data := make([]byte, 8)
	for time.Since(begin) < d && ctx.Err() == nil {
		binary.LittleEndian.PutUint64(data, uint64(time.Since(begin)))
		body := fmt.Appendf(nil, `{"StreamName":%q,"PartitionKey":"k","Data":%q}`, benchStream, base64.StdEncoding.EncodeToString(data))
		if err := cl.send(&request{bytes: rawCall("PutRecord", jsonType, body), accept: []byte("SequenceNumber")}); err != nil {
			return n, err
		}
		n++
		pause(ctx, time.Duration(2+rand.IntN(8))*time.Millisecond)
	}
	return n, ctx.Err()
}

var dataMember = regexp.MustCompile(`"Data":"([^"]*)"`)

// appendTimes appends how long ago the records of an answer were sent.
func appendTimes(times []time.Duration, body []byte, now time.Duration) ([]time.Duration, error) {
	for _, m := range dataMember.FindAllSubmatch(body, -1) {
		data, err := base64.StdEncoding.DecodeString(string(m[1]))
		if err != nil || len(data) != 8 {
			return times, fmt.Errorf("a record holds %q", m[1])
		}
		times = append(times, now-time.Duration(binary.LittleEndian.Uint64(data)))
	}
	return times, nil
}
