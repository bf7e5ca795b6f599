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

// load is what a run of closed-loop connections achieved.
type load struct {
	requests int64
	payload  int64
	elapsed  time.Duration
	p99      time.Duration // of the requests' times
}

func (l load) mbPerSecond() float64 { return float64(l.payload) / 1e6 / l.elapsed.Seconds() }
func (l load) perSecond() float64   { return float64(l.requests) / l.elapsed.Seconds() }

// runLoad sends requests to addr from conns connections, each waiting for its answer before it
// sends the next, until d has passed. Any answer but a good one ends the run with an error.
func runLoad(ctx context.Context, addr string, requests []request, conns int, d time.Duration) (load, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var (
		data  atomic.Int64
		errs  = make([]error, conns)
		times = make([][]time.Duration, conns)
		wg    sync.WaitGroup
	)
	start := time.Now()
	for c := range conns {
		wg.Go(func() {
			times[c], errs[c] = connection(ctx, addr, func(i int) *request { return &requests[(c+i)%len(requests)] }, &data)
		})
	}
	wg.Wait()
	elapsed, all := time.Since(start), slices.Concat(times...)
	if len(all) == 0 {
		return load{}, errors.Join(append(errs, errors.New("no request was answered"))...)
	}
	slices.Sort(all)
	return load{requests: int64(len(all)), payload: data.Load(), elapsed: elapsed, p99: all[len(all)*99/100]}, errors.Join(errs...)
}

// connection sends requests one after the other and returns how long each took.
func connection(ctx context.Context, addr string, next func(int) *request, data *atomic.Int64) (times []time.Duration, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 64<<10)
	var body []byte
	for i := 0; ctx.Err() == nil; i++ {
		q, begin := next(i), time.Now()
		if _, err := conn.Write(q.bytes); err != nil {
			return times, fmt.Errorf("send request: %w", err)
		}
		if body, err = readResponse(r, body); err != nil {
			return times, err
		}
		if !bytes.Contains(body, q.accept) {
			return times, fmt.Errorf("answer lacks %q: %.300s", q.accept, body)
		}
		times = append(times, time.Since(begin))
		data.Add(int64(q.payload))
	}
	return times, nil
}

// readResponse reads one response with a Content-Length into buf.
func readResponse(r *bufio.Reader, buf []byte) ([]byte, error) {
	status, err := r.ReadSlice('\n')
	if err != nil {
		return nil, fmt.Errorf("read status: %w", err)
	}
	ok := bytes.HasPrefix(status, []byte("HTTP/1.1 200"))
	first := string(status)
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, fmt.Errorf("read header: %w", err)
		}
		if len(line) <= 2 {
			break
		}
		if name, value, found := bytes.Cut(line, []byte(":")); found && bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return nil, fmt.Errorf("read header: %w", err)
			}
		}
	}
	if cap(buf) < length {
		buf = make([]byte, length)
	}
	buf = buf[:length]
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	if !ok {
		return nil, fmt.Errorf("answer %s: %.300s", first, buf)
	}
	return buf, nil
}
