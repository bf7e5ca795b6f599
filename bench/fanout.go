package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headrace/headrace/internal/wire/eventstream"
)

const (
	pushRate     = 50e6 // bytes of records a second that are pushed as they are put
	pushRecords  = 50   // of a put
	fanOutReader = 20   // consumers of one shard
	// fanOutBytes is how much of records each of them reads in a round.
	fanOutBytes = 192 << 20
)

// stamp begins the first record of a put: the magic, and when it was sent.
const stampMagic = "\xf1headrac\xe5"

// fanOut measures enhanced fan-out: how soon a record is pushed after it was put, and what twenty consumers
// of a shard get beside what a bare server sends to as many readers.
func fanOut(ctx context.Context, o options) error {
	if err := pushLatency(ctx, o); err != nil {
		return fmt.Errorf("latency: %w", err)
	}
	return manyReaders(ctx, o)
}

// consumer registers a consumer of the stream and returns its ARN.
func (p *process) consumer(ctx context.Context, name string) (string, error) {
	var summary struct {
		StreamDescriptionSummary struct{ StreamARN string }
	}
	if err := p.call(ctx, "DescribeStreamSummary", map[string]any{"StreamName": benchStream}, &summary); err != nil {
		return "", err
	}
	var out struct{ Consumer struct{ ConsumerARN string } }
	err := p.call(ctx, "RegisterStreamConsumer", map[string]any{"StreamARN": summary.StreamDescriptionSummary.StreamARN, "ConsumerName": name}, &out)
	return out.Consumer.ConsumerARN, err
}

// dropStream deletes the stream with its consumers.
func (p *process) dropStream(ctx context.Context) error {
	return p.call(ctx, "DeleteStream", map[string]any{"StreamName": benchStream, "EnforceConsumerDeletion": true}, nil)
}

// subscribe begins a subscription and returns its events.
func (p *process) subscribe(ctx context.Context, c *http.Client, contentType, consumer, shard, from string) (io.ReadCloser, error) {
	body, err := json.Marshal(map[string]any{"ConsumerARN": consumer, "ShardId": shard, "StartingPosition": map[string]string{"Type": from}})
	if err != nil {
		return nil, err
	}
	if contentType == cborType {
		body = subscribeCBOR(consumer, shard, from)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.addr, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("X-Amz-Target", "Kinesis_20131202.SubscribeToShard")
	r.Header.Set("X-Amz-Date", "20260101T000000Z")
	r.Header.Set("Authorization", authorization)
	resp, err := c.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return nil, errors.Join(fmt.Errorf("SubscribeToShard: %d %s", resp.StatusCode, text), resp.Body.Close())
	}
	return resp.Body, nil
}

// subscribeCBOR is the input of SubscribeToShard in CBOR.
func subscribeCBOR(consumer, shard, from string) []byte {
	text := func(b []byte, s string) []byte {
		return append(append(b, 0x79, byte(len(s)>>8), byte(len(s))), s...)
	}
	b := []byte{0xa3}
	b = text(text(b, "ConsumerARN"), consumer)
	b = text(text(b, "ShardId"), shard)
	b = append(text(b, "StartingPosition"), 0xa1)
	return text(text(b, "Type"), from)
}

// overHTTP returns a client of one version of HTTP.
func overHTTP(version int) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP1(version == 1)
	p.SetUnencryptedHTTP2(version == 2)
	return &http.Client{Transport: &http.Transport{Protocols: p, DisableCompression: true, ReadBufferSize: 64 << 10}}
}

// pushLatency puts records at a fixed rate into a durable stream and measures the time from each put to
// the event that carries its first record.
func pushLatency(ctx context.Context, o options) error {
	dir, done, err := o.tempDir()
	if err != nil {
		return err
	}
	defer done()
	p, err := o.startServe(ctx, filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	defer p.stop()
	var slowest, middle, answered []float64 // hundredth, half, and the hundredth of the puts, in milliseconds
	for range o.rounds {
		if err := p.createStream(ctx, benchShards); err != nil {
			return err
		}
		arn, err := p.consumer(ctx, "one")
		if err != nil {
			return err
		}
		times, puts, err := o.pushes(ctx, p, arn)
		if err != nil {
			return err
		}
		slowest = append(slowest, millis(times[len(times)*99/100]))
		middle = append(middle, millis(times[len(times)/2]))
		answered = append(answered, puts.millis(0.99))
		if err := p.dropStream(ctx); err != nil {
			return err
		}
		if err := p.settle(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(o.out, "\nSubscribeToShard in CBOR of 1 KiB records at %.0f MB/s, durable, one consumer of %d shards (medians)\n", pushRate/1e6, benchShards)
	fmt.Fprintf(o.out, "  %-44s %8.2f ms\n", "put to push, half of the puts", median(middle))
	fmt.Fprintf(o.out, "  %-44s %8.2f ms\n", "put to push, slowest hundredth", median(slowest))
	fmt.Fprintf(o.out, "  %-44s %8.2f ms\n", "put to its own answer, slowest hundredth", median(answered))
	o.report.limit("fan-out: put to push at 50 MB/s, slowest hundredth", median(slowest), 10, "%.1f ms")
	return nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// pushes puts for the length of a measurement and returns the times from put to push, sorted, and the puts.
func (o options) pushes(ctx context.Context, p *process, arn string) ([]time.Duration, load, error) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	base, c := time.Now(), overHTTP(1)
	var (
		mu      sync.Mutex
		times   []time.Duration
		readers sync.WaitGroup
		failed  error
	)
	for shard := range benchShards {
		body, err := p.subscribe(reading, c, cborType, arn, fmt.Sprintf("shardId-%012d", shard), "LATEST")
		if err != nil {
			return nil, load{}, err
		}
		readers.Go(func() {
			defer body.Close()
			d := eventstream.Decoder{From: body}
			for {
				m, err := d.Next()
				now := time.Since(base)
				mu.Lock()
				if err != nil {
					if reading.Err() == nil {
						failed = errors.Join(failed, err)
					}
					mu.Unlock()
					return
				}
				for rest := m.Payload; ; {
					i := bytes.Index(rest, []byte(stampMagic))
					if i < 0 || len(rest) < i+len(stampMagic)+8 {
						break
					}
					rest = rest[i+len(stampMagic):]
					times = append(times, now-time.Duration(binary.BigEndian.Uint64(rest)))
				}
				mu.Unlock()
			}
		})
	}
	puts, err := o.stampedPuts(ctx, p.addr, base)
	pause(ctx, 500*time.Millisecond) // the last are on their way
	stop()
	readers.Wait()
	slices.Sort(times)
	if err == nil && failed == nil && len(times) != len(puts.times) {
		err = fmt.Errorf("%d puts were pushed of %d", len(times), len(puts.times))
	}
	return times, puts, errors.Join(err, failed)
}

// stampedPuts puts at the rate, each with the time in its first record.
func (o options) stampedPuts(ctx context.Context, addr string, base time.Time) (load, error) {
	const perSecond = pushRate / (pushRecords * recordBytes)
	var ticket atomic.Int64
	begin, last := time.Now(), int64(perSecond*o.duration.Seconds())
	l, err := gather(o.conns, func(c int, data *counts) (times []time.Duration, err error) {
		cl, err := dial(addr)
		if err != nil {
			return nil, err
		}
		defer cl.conn.Close()
		requests := putRequests(8, pushRecords)
		for ctx.Err() == nil {
			n := ticket.Add(1)
			if n > last {
				break
			}
			pause(ctx, time.Until(begin.Add(time.Duration(float64(n)/perSecond*1e9))))
			q := &requests[n%8]
			at := bytes.Index(q.bytes, []byte(`"Data":"`)) + len(`"Data":"`)
			sent := time.Now()
			var first [24]byte // of the record; 24 bytes are 32 of base64
			binary.BigEndian.PutUint64(append(first[:0], stampMagic...)[:17][9:], uint64(time.Since(base)))
			base64.StdEncoding.Encode(q.bytes[at:at+32], first[:])
			if err := cl.put(ctx, q, &data.refused); err != nil {
				return times, err
			}
			times = append(times, time.Since(sent))
			data.payload.Add(int64(q.payload))
		}
		return times, nil
	})
	if err == nil && l.refused > 0 {
		err = fmt.Errorf("%d puts were throttled: the rate was not held", l.refused)
	}
	return l, err
}

// manyReaders has twenty consumers read a shard that was closed, each from its beginning to its end, and a
// bare server send as many frames of the same size to twenty readers.
func manyReaders(ctx context.Context, o options) error {
	p, err := startHeadrace(ctx, o.headrace, "dev", "--memory", "2GiB", "--log-level", "error")
	if err != nil {
		return err
	}
	defer p.stop()
	if err := p.createStream(ctx, 1); err != nil {
		return err
	}
	var consumers []string
	for i := range fanOutReader {
		arn, err := p.consumer(ctx, fmt.Sprintf("consumer-%d", i))
		if err != nil {
			return err
		}
		consumers = append(consumers, arn)
	}
	requests := putRequests(8, 500)
	cl, err := dial(p.addr)
	if err != nil {
		return err
	}
	defer cl.conn.Close()
	for n := range fanOutBytes / (500 * recordBytes) {
		if err := cl.send(&requests[n%8]); err != nil {
			return err
		}
	}
	split := map[string]any{"StreamName": benchStream, "ShardToSplit": "0", "NewStartingHashKey": "170141183460469231731687303715884105728"}
	if err := p.call(ctx, "SplitShard", split, nil); err != nil {
		return err
	}
	bare, err := startCeiling(ctx, o.self, "-events")
	if err != nil {
		return err
	}
	defer bare.stop()
	for version := 1; version <= 2; version++ {
		if err := o.readers(ctx, p, bare, consumers, version); err != nil {
			return fmt.Errorf("HTTP/%d: %w", version, err)
		}
	}
	return nil
}

// readers compares both over one version of HTTP.
func (o options) readers(ctx context.Context, p, bare *process, consumers []string, version int) error {
	var ours, theirs []float64 // MB/s of frames, all readers together
	for range o.rounds {
		var frames, size atomic.Int64
		rate, err := readAll(len(consumers), func(i int) (io.ReadCloser, error) {
			return p.subscribe(ctx, overHTTP(version), jsonType, consumers[i], "0", "TRIM_HORIZON")
		}, &frames, &size)
		if err != nil {
			return err
		}
		ours = append(ours, rate)
		n := frames.Load() / int64(len(consumers))
		url := fmt.Sprintf("http://%s/?frames=%d&size=%d", bare.addr, n, size.Load()/frames.Load())
		rate, err = readAll(len(consumers), func(int) (io.ReadCloser, error) {
			resp, err := overHTTP(version).Get(url)
			if err != nil {
				return nil, err
			}
			return resp.Body, nil
		}, new(atomic.Int64), new(atomic.Int64))
		if err != nil {
			return err
		}
		theirs = append(theirs, rate)
		pause(ctx, 5*time.Second) // a consumer's next subscription takes over only then
	}
	ratio := median(ours) / median(theirs)
	fmt.Fprintf(o.out, "\nSubscribeToShard in JSON by %d consumers of one shard, HTTP/%d (medians)\n", len(consumers), version)
	fmt.Fprintf(o.out, "  %-44s %8.1f MB/s of frames\n", "headrace", median(ours))
	fmt.Fprintf(o.out, "  %-44s %8.1f MB/s of frames\n", "bare server that has the frames", median(theirs))
	o.report.ratio(fmt.Sprintf("fan-out: %d consumers of a shard, HTTP/%d, beside a bare server", len(consumers), version), ratio, 0.7, "%.2f")
	return nil
}

// readAll has n readers read their streams to the end and returns the MB/s of all of them together; frames
// and size receive how many messages there were and their bytes.
func readAll(n int, open func(i int) (io.ReadCloser, error), frames, size *atomic.Int64) (float64, error) {
	errs := make([]error, n)
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range n {
		wg.Go(func() {
			body, err := open(i)
			if err != nil {
				errs[i] = err
				return
			}
			errs[i] = errors.Join(countFrames(body, frames, size), body.Close())
		})
	}
	wg.Wait()
	return float64(size.Load()) / 1e6 / time.Since(begin).Seconds(), errors.Join(errs...)
}

// countFrames reads messages as cheaply as they can be told apart, so that a reader costs little.
func countFrames(r io.Reader, frames, size *atomic.Int64) error {
	var head [4]byte
	for {
		if _, err := io.ReadFull(r, head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		total := int64(binary.BigEndian.Uint32(head[:]))
		if _, err := io.CopyN(io.Discard, r, total-int64(len(head))); err != nil {
			return err
		}
		frames.Add(1)
		size.Add(total)
	}
}
