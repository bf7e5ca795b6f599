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
	return load{l.payload + o.payload, l.elapsed + o.elapsed, all}
}

// runLoad sends requests to addr from conns connections, each waiting for its answer before it
// sends the next, until d has passed. Any answer but a good one ends the run with an error.
func runLoad(ctx context.Context, addr string, requests []request, conns int, d time.Duration) (load, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return gather(conns, func(c int, data *atomic.Int64) (times []time.Duration, err error) {
		cl, err := dial(addr)
		if err != nil {
			return nil, err
		}
		defer cl.conn.Close()
		for i := 0; ctx.Err() == nil; i++ {
			q, begin := &requests[(c+i)%len(requests)], time.Now()
			if err := cl.send(q); err != nil {
				return times, err
			}
			times = append(times, time.Since(begin))
			data.Add(int64(q.payload))
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
	return gather(conns, func(c int, data *atomic.Int64) (times []time.Duration, err error) {
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
			if err := cl.send(q); err != nil {
				cancel()
				return times, err
			}
			times = append(times, time.Since(due))
			data.Add(int64(q.payload))
		}
		return times, nil
	})
}

// gather runs conns workers and joins what they measured.
func gather(conns int, work func(c int, data *atomic.Int64) ([]time.Duration, error)) (load, error) {
	var (
		data  atomic.Int64
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
	return load{payload: data.Load(), elapsed: elapsed, times: all}, errors.Join(errs...)
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

// send makes a request and checks its answer.
func (c *client) send(q *request) error {
	body, err := c.exchange(q.bytes)
	if err != nil {
		return err
	}
	if !bytes.Contains(body, q.accept) {
		return fmt.Errorf("answer lacks %q: %.300s", q.accept, body)
	}
	return nil
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
