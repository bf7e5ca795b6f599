package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// readConns is how many connections fetch pages.
	readConns = 4
	// readExtra is how many pages of each shard more are put than read: what was not flushed yet.
	readExtra = 4
)

// pages are the pages that are fetched: the sequence numbers they begin with, by shard and in order.
type pages struct {
	shards []string // the shard of each page
	first  []string // its first record's sequence number
	bytes  [2]int64 // of all bodies, in JSON and CBOR
}

var readFormats = []struct {
	name, contentType string
}{{"JSON", jsonType}, {"CBOR", cborType}}

// getRecords reads pages of 10,000 records of 1 KiB out of block files that are not in the system's
// cache, and compares that with a bare server that sends the same bodies from files that are not there
// either.
func getRecords(ctx context.Context, o options) error {
	dir, done, err := o.tempDir()
	if err != nil {
		return err
	}
	defer done()
	data := filepath.Join(dir, "data")
	perShard := 16
	if o.duration < 10*time.Second {
		perShard = 4
	}
	if err := o.fillBlocks(ctx, data, perShard+readExtra); err != nil {
		return err
	}
	p, err := o.startServe(ctx, data) // with nothing in memory but what was in no file
	if err != nil {
		return err
	}
	defer p.stop()
	bodies := filepath.Join(dir, "bodies")
	pg, err := takePages(ctx, p, perShard, bodies)
	if err != nil {
		return err
	}
	bare, err := startCeiling(ctx, o.self, "-files", bodies)
	if err != nil {
		return err
	}
	defer bare.stop()
	for i, f := range readFormats {
		r := &reading{pages: pg, format: i, headrace: p, bare: bare, data: data, bodies: bodies}
		if err := r.run(ctx, o); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// fillBlocks makes a data directory with that many pages in each shard, all but the last few in files.
func (o options) fillBlocks(ctx context.Context, data string, perShard int) error {
	o.memory = 512 << 20
	p, err := o.startServe(ctx, data)
	if err != nil {
		return err
	}
	defer p.stop()
	if err := p.createStream(ctx, benchShards); err != nil {
		return err
	}
	const perRequest = 500
	n := perShard * benchShards * 10_000 / perRequest
	if _, err := runOpen(ctx, p.addr, putRequests(16, perRequest), 1e6, o.conns, time.Duration(n)*time.Microsecond); err != nil {
		return err
	}
	if err := p.settle(ctx); err != nil {
		return err
	}
	return p.drain()
}

// takePages fetches every page once in both formats, keeps where it begins, and stores its bodies.
func takePages(ctx context.Context, p *process, perShard int, dir string) (*pages, error) {
	pg := &pages{}
	for i := range readFormats {
		if err := os.MkdirAll(filepath.Join(dir, strconv.Itoa(i)), 0o700); err != nil {
			return nil, err
		}
	}
	cl, err := dial(p.addr)
	if err != nil {
		return nil, err
	}
	defer cl.conn.Close()
	for shard := range benchShards {
		id := fmt.Sprintf("shardId-%012d", shard)
		it, err := p.iterator(ctx, id, "")
		for n := 0; err == nil && n < perShard; n++ {
			it, err = pg.take(cl, dir, id, it)
		}
		if err != nil {
			return nil, err
		}
	}
	return pg, nil
}

// take fetches the page at an iterator and returns the next one's.
func (pg *pages) take(cl *client, dir, shard, it string) (next string, err error) {
	number := len(pg.first)
	for i := len(readFormats) - 1; i >= 0; i-- { // JSON last: its body is looked into
		body, err := cl.exchange(getRecordsCall(i, it))
		if err != nil {
			return "", err
		}
		pg.bytes[i] += int64(len(body))
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i), strconv.Itoa(number)), body, 0o600); err != nil {
			return "", err
		}
	}
	pg.shards, pg.first = append(pg.shards, shard), append(pg.first, text(cl.body, `"SequenceNumber":"`))
	if n := bytes.Count(cl.body, []byte(`"PartitionKey":`)); n < 9_000 {
		return "", fmt.Errorf("page %d of %s has %d records", number, shard, n)
	}
	return text(cl.body, `"NextShardIterator":"`), nil
}

// text returns what stands between the first place of a mark and the next quotation mark.
func text(body []byte, mark string) string {
	_, rest, _ := bytes.Cut(body, []byte(mark))
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(value)
}

// iterator returns a shard iterator at a sequence number, or at the oldest record.
func (p *process) iterator(ctx context.Context, shard, sequence string) (string, error) {
	in := map[string]any{"StreamName": benchStream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
	if sequence != "" {
		in["ShardIteratorType"], in["StartingSequenceNumber"] = "AT_SEQUENCE_NUMBER", sequence
	}
	var out struct{ ShardIterator string }
	err := p.call(ctx, "GetShardIterator", in, &out)
	return out.ShardIterator, err
}

// getRecordsCall is a GetRecords call in one of the formats.
func getRecordsCall(format int, iterator string) []byte {
	if readFormats[format].contentType == jsonType {
		return rawCall("GetRecords", jsonType, fmt.Appendf(nil, `{"ShardIterator":%q}`, iterator))
	}
	text := func(b []byte, s string) []byte { // CBOR's text string
		b = append(b, 0x79)
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		return append(b, s...)
	}
	return rawCall("GetRecords", cborType, text(text([]byte{0xa1}, "ShardIterator"), iterator))
}

// reading is one comparison.
type reading struct {
	*pages
	format         int
	headrace, bare *process
	data, bodies   string
	fromDisk       float64 // the least share of the bodies that a server read from the disk
}

func (r *reading) run(ctx context.Context, o options) error {
	var ours, theirs, cost, bareCost []float64
	r.fromDisk = 1
	for range o.rounds {
		got, ms, err := r.passes(ctx, o, r.headrace, filepath.Join(r.data, "blocks"), func(n int) ([]byte, error) {
			it, err := r.headrace.iterator(ctx, r.shards[n], r.first[n])
			return getRecordsCall(r.format, it), err
		})
		if err != nil {
			return err
		}
		bare, bareMS, err := r.passes(ctx, o, r.bare, r.bodies, func(n int) ([]byte, error) {
			return []byte("GET /" + strconv.Itoa(r.format) + "/" + strconv.Itoa(n) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"), nil
		})
		if err != nil {
			return err
		}
		ours, theirs = append(ours, got), append(theirs, bare)
		cost, bareCost = append(cost, ms), append(bareCost, bareMS)
	}
	name := readFormats[r.format].name
	fmt.Fprintf(o.out, "\nGetRecords from blocks, %s, %d pages of 10,000x1 KiB (%.0f MB of bodies), %d connections, nothing cached (medians)\n",
		name, len(r.first), float64(r.bytes[r.format])/1e6, readConns)
	fmt.Fprintf(o.out, "  %-52s %6.0f MB/s of bodies, CPU a page %.1f ms\n", "headrace serve", median(ours), median(cost))
	fmt.Fprintf(o.out, "  %-52s %6.0f MB/s, ratio %.2f, CPU a page %.1f ms\n", "bare net/http: sends the same bodies from files",
		median(theirs), median(ours)/median(theirs), median(bareCost))
	fmt.Fprintf(o.out, "  of the bodies' bytes at least %.2f times as many came from the disk\n", r.fromDisk)
	o.report.ratio("GetRecords from blocks, "+name+", to a bare server that sends the same bytes", median(ours)/median(theirs), 0.5, "%.2f")
	return nil
}

// passes fetches all pages again and again until the time is up, each time with the files dropped
// from the cache, and returns the rate in MB/s and milliseconds of the server's processor time a page.
// What comes before a pass does not count.
func (r *reading) passes(ctx context.Context, o options, p *process, files string, request func(n int) ([]byte, error)) (rate, cost float64, err error) {
	var spent, cpu time.Duration
	done := 0
	for spent < o.duration && ctx.Err() == nil {
		requests := make([][]byte, len(r.first))
		for n := range requests {
			if requests[n], err = request(n); err != nil {
				return 0, 0, err
			}
		}
		if err := dropCache(files); err != nil {
			return 0, 0, err
		}
		used, err := p.cpu()
		if err != nil {
			return 0, 0, err
		}
		before, begin := p.diskReads(), time.Now()
		if err := r.pass(p.addr, requests); err != nil {
			return 0, 0, err
		}
		spent += time.Since(begin)
		after, err := p.cpu()
		if err != nil {
			return 0, 0, err
		}
		cpu += after - used
		done++
		r.fromDisk = min(r.fromDisk, float64(p.diskReads()-before)/float64(r.bytes[r.format]))
	}
	cost = float64(cpu.Microseconds()) / 1000 / float64(done*len(r.first))
	return float64(r.bytes[r.format]) * float64(done) / 1e6 / spent.Seconds(), cost, ctx.Err()
}

func (r *reading) pass(addr string, requests [][]byte) error {
	var (
		next  atomic.Int64
		wg    sync.WaitGroup
		errs  = make([]error, readConns)
		total atomic.Int64
	)
	for c := range readConns {
		wg.Go(func() {
			cl, err := dial(addr)
			if err != nil {
				errs[c] = err
				return
			}
			defer cl.conn.Close()
			for n := next.Add(1) - 1; n < int64(len(requests)); n = next.Add(1) - 1 {
				body, err := cl.exchange(requests[n])
				if err != nil {
					errs[c] = err
					return
				}
				total.Add(int64(len(body)))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	// MillisBehindLatest and iterators may be a few bytes longer or shorter.
	if got, want := total.Load(), r.bytes[r.format]; got < want-want/1000 || got > want+want/1000 {
		return fmt.Errorf("%d bytes of bodies; want %d", got, want)
	}
	return nil
}
