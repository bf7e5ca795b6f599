package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// request is one HTTP/1.1 request, headers and body, made before the clock starts so that the
// load generator costs next to nothing on the cores it shares with the server.
type request struct {
	bytes   []byte
	payload int    // bytes of user data it carries
	accept  []byte // what a good response body contains
}

// load is what a run of connections achieved.
type load struct {
	payload int64
	refused int64 // puts that were throttled and made again, in the time of the one that was taken
	elapsed time.Duration
	times   []time.Duration // of the requests, sorted
}

func (l load) mbPerSecond() float64 { return float64(l.payload) / 1e6 / l.elapsed.Seconds() }
func (l load) perSecond() float64   { return float64(len(l.times)) / l.elapsed.Seconds() }

// millis is the time in milliseconds that the given share of the requests took at most.
func (l load) millis(share float64) float64 {
	return float64(l.times[int(float64(len(l.times)-1)*share)].Microseconds()) / 1000
}

// add joins a run that followed.
func (l load) add(o load) load {
	all := slices.Concat(l.times, o.times)
	slices.Sort(all)
	return load{l.payload + o.payload, l.refused + o.refused, l.elapsed + o.elapsed, all}
}

// runLoad sends requests to addr from conns connections, each waiting for its answer before it
// sends the next, until d has passed. Any answer but a good one ends the run with an error.
func runLoad(ctx context.Context, addr string, requests []request, conns int, d time.Duration) (load, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return gather(conns, func(c int, data *counts) (times []time.Duration, err error) {
		cl, err := dial(addr)
		if err != nil {
			return nil, err
		}
		defer cl.conn.Close()
		for i := 0; ctx.Err() == nil; i++ {
			q, begin := &requests[(c+i)%len(requests)], time.Now()
			if err := cl.put(ctx, q, &data.refused); errors.Is(err, errRefused) {
				break // the time is up
			} else if err != nil {
				return times, err
			}
			times = append(times, time.Since(begin))
			data.payload.Add(int64(q.payload))
		}
		return times, nil
	})
}

// runOpen sends requests at a fixed rate whatever the server does: a request's time counts from
// when it was due, so that one slow answer is seen by all who queue up behind it.
func runOpen(ctx context.Context, addr string, requests []request, perSecond float64, conns int, d time.Duration) (load, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		begin  = time.Now()
		ticket atomic.Int64
		last   = int64(perSecond * d.Seconds())
	)
	return gather(conns, func(c int, data *counts) (times []time.Duration, err error) {
		cl, err := dial(addr)
		if err != nil {
			return nil, err
		}
		defer cl.conn.Close()
		for ctx.Err() == nil {
			n := ticket.Add(1)
			if n > last {
				break
			}
			due := begin.Add(time.Duration(float64(n) / perSecond * 1e9))
			pause(ctx, time.Until(due))
			q := &requests[int(n)%len(requests)]
			if err := cl.put(ctx, q, &data.refused); err != nil {
				cancel()
				return times, err
			}
			times = append(times, time.Since(due))
			data.payload.Add(int64(q.payload))
		}
		return times, nil
	})
}

// counts is what the connections of a run count together.
type counts struct{ payload, refused atomic.Int64 }

// gather runs conns workers and joins what they measured.
func gather(conns int, work func(c int, data *counts) ([]time.Duration, error)) (load, error) {
	var (
		data  counts
		errs  = make([]error, conns)
		times = make([][]time.Duration, conns)
		wg    sync.WaitGroup
	)
	start := time.Now()
	for c := range conns {
		wg.Go(func() { times[c], errs[c] = work(c, &data) })
	}
	wg.Wait()
	elapsed, all := time.Since(start), slices.Concat(times...)
	if len(all) == 0 {
		return load{}, errors.Join(append(errs, errors.New("no request was answered"))...)
	}
	slices.Sort(all)
	return load{payload: data.payload.Load(), refused: data.refused.Load(), elapsed: elapsed, times: all}, errors.Join(errs...)
}

// pause waits, less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// client is one connection of the load generator.
type client struct {
	conn net.Conn
	r    *bufio.Reader
	body []byte
}

func dial(addr string) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}, nil
}

// errRefused says that a put was throttled: there is no room for its records now.
var errRefused = errors.New("put was throttled")

// put makes a put until it is taken, and counts how often it was refused. It returns a refusal when the
// time is up.
func (c *client) put(ctx context.Context, q *request, refused *atomic.Int64) error {
	for {
		err := c.send(q)
		if !errors.Is(err, errRefused) {
			return err
		}
		refused.Add(1)
		if ctx.Err() != nil {
			return err
		}
		pause(ctx, 2*time.Millisecond)
	}
}

// send makes a request and checks its answer.
func (c *client) send(q *request) error {
	body, err := c.exchange(q.bytes)
	if err == nil && bytes.Contains(body, q.accept) {
		return nil
	}
	const throttled = "ProvisionedThroughputExceededException"
	if err == nil {
		err = fmt.Errorf("answer lacks %q: %.300s", q.accept, body)
	}
	// Of many records some may have been refused, at the end of a long answer.
	if bytes.Contains(body, []byte(throttled)) || strings.Contains(err.Error(), throttled) {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return err
}

// exchange makes a request and returns the answer's body, which is valid until the next.
func (c *client) exchange(req []byte) ([]byte, error) {
	if _, err := c.conn.Write(req); err != nil {
		return nil, fmt.Errorf("send request: %w", err)
	}
	if err := c.readResponse(); err != nil {
		return nil, err
	}
	return c.body, nil
}

// readResponse reads one response with a Content-Length.
func (c *client) readResponse() error {
	status, err := c.r.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read status: %w", err)
	}
	ok := bytes.HasPrefix(status, []byte("HTTP/1.1 200"))
	first := string(status)
	length := 0
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("read header: %w", err)
		}
		if len(line) <= 2 {
			break
		}
		if name, value, found := bytes.Cut(line, []byte(":")); found && bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return fmt.Errorf("read header: %w", err)
			}
		}
	}
	if cap(c.body) < length {
		c.body = make([]byte, length+length/4)
	}
	c.body = c.body[:length]
	if _, err := io.ReadFull(c.r, c.body); err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	if !ok {
		return fmt.Errorf("answer %s: %.300s", first, c.body)
	}
	return nil
}
