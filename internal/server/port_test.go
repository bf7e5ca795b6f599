package server

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// oneConn is a listener of a single connection in memory.
type oneConn struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (l oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l oneConn) Close() error   { close(l.closed); return nil }
func (l oneConn) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// dialPort serves h on a connection of its own until the test ends.
func dialPort(t *testing.T, h http.Handler) net.Conn {
	client, server := net.Pipe()
	l := oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conn <- server
	srv := &http.Server{Handler: h}
	var running sync.WaitGroup
	running.Go(func() { _ = srv.Serve(l) }) // ends with ErrServerClosed
	t.Cleanup(func() {
		client.Close()
		srv.Close()
		running.Wait()
		synctest.Wait() // for the connection's goroutine
	})
	return client
}

// testPort is a port with more metrics than a connection takes unread.
func testPort() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "tries"}))
	return port(http.NotFoundHandler(), pages{ready: new(atomic.Bool), registry: registry, controls: newControls(true, nil)})
}

func TestUnreadMetricsHoldNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := testPort()
		get := func() (status int) {
			conn := dialPort(t, h)
			io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			return resp.StatusCode
		}
		var stalled []net.Conn
		for range 4 {
			conn := dialPort(t, h)
			io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
			stalled = append(stalled, conn)
		}
		synctest.Wait()
		time.Sleep(pageTimeout + time.Second)
		for i, conn := range stalled {
			if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("client %d: read %d bytes, %v, after the page's time; want EOF", i, n, err)
			}
		}
		if status := get(); status != 200 {
			t.Errorf("beside four clients that did not read: got %d, want 200", status)
		}
	})
}

// A body that never comes keeps neither the answer nor, for long, the connection.
func TestPagesWaitForNoBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := func(request string, want int) {
			t.Helper()
			conn := dialPort(t, testPort())
			start := time.Now()
			io.WriteString(conn, request+" HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
			answers := bufio.NewReader(conn)
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != want || time.Since(start) != 0 {
				t.Errorf("%s: got %d after %v, want %d at once", request, resp.StatusCode, time.Since(start), want)
			}
			io.Copy(io.Discard, resp.Body)
			if _, err := answers.ReadByte(); err != io.EOF || time.Since(start) > pageTimeout+time.Second {
				t.Errorf("%s: the connection after %v: %v, want EOF within %v", request, time.Since(start), err, pageTimeout)
			}
		}
		f("POST /metrics", 405)
		f("GET /-/healthy", 200)
		f("DELETE /-/ready", 405)
	})
}
