package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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
}

func (l load) mbPerSecond() float64 { return float64(l.payload) / 1e6 / l.elapsed.Seconds() }

// runLoad sends requests to addr from conns connections, each waiting for its answer before it
// sends the next, until d has passed. Any answer but a good one ends the run with an error.
func runLoad(ctx context.Context, addr string, requests []request, conns int, d time.Duration) (load, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var (
		total load
		sent  atomic.Int64
		data  atomic.Int64
		errs  = make([]error, conns)
		wg    sync.WaitGroup
	)
	start := time.Now()
	for c := range conns {
		wg.Go(func() {
			errs[c] = connection(ctx, addr, func(i int) *request { return &requests[(c+i)%len(requests)] }, &sent, &data)
		})
	}
	wg.Wait()
	total = load{requests: sent.Load(), payload: data.Load(), elapsed: time.Since(start)}
	return total, errors.Join(errs...)
}

func connection(ctx context.Context, addr string, next func(int) *request, sent, data *atomic.Int64) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 64<<10)
	var body []byte
	for i := 0; ctx.Err() == nil; i++ {
		q := next(i)
		if _, err := conn.Write(q.bytes); err != nil {
			return fmt.Errorf("send request: %w", err)
		}
		body, err = readResponse(r, body)
		if err != nil {
			return err
		}
		if !bytes.Contains(body, q.accept) {
			return fmt.Errorf("answer lacks %q: %.300s", q.accept, body)
		}
		sent.Add(1)
		data.Add(int64(q.payload))
	}
	return nil
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
