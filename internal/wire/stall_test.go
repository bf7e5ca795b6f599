package wire

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/wire/shape"
)

// pipes is a listener whose connections are in memory, so that a synctest bubble has all of them and
// their deadlines follow its clock. A write to one blocks until the other side reads.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// peer is the client's end of a connection.
type peer struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

// serveBubble serves h until the test ends and returns a function that opens connections to it.
func serveBubble(t *testing.T, h http.Handler) (dial func() *peer) {
	connect := listenBubble(t, h)
	return func() *peer {
		c := connect()
		return &peer{Conn: c, t: t, r: bufio.NewReader(c)}
	}
}

// clientBubble is like serveBubble and returns a client that speaks HTTP/2.
func clientBubble(t *testing.T, h http.Handler) *http.Client {
	connect := listenBubble(t, h)
	c := client(2)
	transport := c.Transport.(*http.Transport)
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return connect(), nil }
	t.Cleanup(transport.CloseIdleConnections)
	return c
}

// listenBubble serves h until the test ends and returns a function that opens connections.
func listenBubble(t *testing.T, h http.Handler) (connect func() net.Conn) {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	var running sync.WaitGroup
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: h, Protocols: protocols, ConnState: func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			running.Add(1)
		case http.StateClosed:
			running.Done()
		}
	}}
	running.Go(func() { s.Serve(p) })
	t.Cleanup(func() {
		s.Close()
		running.Wait()
	})
	return func() net.Conn {
		client, server := net.Pipe()
		p.conns <- server
		t.Cleanup(func() { client.Close() })
		return client
	}
}

// announce sends the headers of a call with a body of n bytes.
func (p *peer) announce(operation string, n int) {
	p.t.Helper()
	p.announceWith("/", signed(), operation, n)
}

// signed returns the headers of a signed call.
func signed() http.Header {
	h := make(http.Header)
	sign(h)
	return h
}

// announcePresigned does the same with the signature in the URL.
func (p *peer) announcePresigned(operation string, n int) {
	p.t.Helper()
	p.announceWith("/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20261123%2Feu-west-1%2Ffake%2Faws4_request"+
		"&X-Amz-Date=20261123T101112Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00", make(http.Header), operation, n)
}

func (p *peer) announceWith(url string, h http.Header, operation string, n int) {
	p.t.Helper()
	h.Set("Host", "localhost")
	h.Set("Content-Type", typeJSON11)
	h.Set("X-Amz-Target", "Fake_20260101."+operation)
	if h.Set("Content-Length", fmt.Sprint(n)); n < 0 {
		h.Del("Content-Length")
		h.Set("Transfer-Encoding", "chunked")
	}
	var b strings.Builder
	b.WriteString("POST " + url + " HTTP/1.1\r\n")
	h.Write(&b)
	b.WriteString("\r\n")
	p.send(b.String())
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p, s); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

// receive reads one response.
func (p *peer) receive() (status int, body string) {
	p.t.Helper()
	r, err := http.ReadResponse(p.r, nil)
	if err != nil {
		p.t.Fatalf("receive: %v", err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Fatalf("receive body: %v", err)
	}
	return r.StatusCode, string(b)
}

func TestStalledBodyIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHandler(fakeConfig())
		p := serveBubble(t, h)()
		start := time.Now()
		p.announce("Echo", 1<<20)
		p.send(`{"Name":`)
		synctest.Wait()
		if got := h.budget.taken(); got != minBuffer {
			t.Errorf("while the body is missing %d bytes are held, want %d", got, minBuffer)
		}
		status, body := p.receive()
		if status != 408 || !strings.Contains(body, `"RequestTimeoutException"`) {
			t.Errorf("got %d %s, want 408 RequestTimeoutException", status, body)
		}
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("cut after %v, want 20s", took)
		}
		if _, err := p.r.ReadByte(); err != io.EOF {
			t.Errorf("connection after the cut: %v, want EOF", err)
		}
		if got := h.budget.taken(); got != 0 {
			t.Errorf("%d bytes are still held", got)
		}
	})
}

func TestStalledBodiesHoldNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakeConfig()
		c.Memory = 1 << 30
		dial := serveBubble(t, NewHandler(c))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for range 40 {
			p := dial()
			p.announce("Echo", 10<<20)
			p.send(`{"Name":"`)
		}
		synctest.Wait()
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
			t.Errorf("40 bodies announced with 10 MiB each, of which 9 bytes came, hold %d bytes, want less than 16 MiB", grown)
		}
	})
}

// Whoever only announces bodies leaves the memory to those who send some.
func TestAnnouncedBodiesLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakeConfig()
		c.Memory = 4 << 20
		h := NewHandler(c)
		dial := serveBubble(t, h)
		for range 100 {
			dial().announce("Echo", 10<<20)
		}
		synctest.Wait()
		start := time.Now()
		p := dial()
		p.announce("Echo", 100_000)
		p.send(`{"Name":"x"}` + strings.Repeat(" ", 100_000-12))
		if status, body := p.receive(); status != 200 || time.Since(start) != 0 {
			t.Errorf("beside 100 stalled clients: got %d %s after %v, want 200 at once", status, body, time.Since(start))
		}
	})
}

func TestMemoryIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakeConfig()
		c.Memory = 1 << 20
		h := NewHandler(c)
		dial := serveBubble(t, h)
		hog := dial()
		hog.announce("Echo", 10<<20) // more than there is takes all there is
		hog.send(strings.Repeat(" ", firstStep+1))
		synctest.Wait()

		large := `{"Name":"x"}` + strings.Repeat(" ", 500_000)
		start := time.Now()
		p := dial()
		p.announce("Echo", len(large))
		p.send(large[:firstStep])
		status, body := p.receive()
		if status != 400 || !strings.Contains(body, `"ThrottlingException"`) || time.Since(start) != 5*time.Second {
			t.Errorf("without memory: got %d %s after %v, want ThrottlingException after 5s", status, body, time.Since(start))
		}

		one := dial() // leaves no room to any but small ones
		one.announce("Echo", 12)
		one.send(`{"Name":"x"}`)
		if status, body := one.receive(); status != 200 {
			t.Errorf("a small request beside the hog: got %d %s, want 200", status, body)
		}
		one.Close()

		late := dial()
		late.announce("Echo", len(large))
		late.send(large[:firstStep])
		synctest.Wait()
		hog.Close()
		late.send(large[firstStep:])
		if status, body := late.receive(); status != 200 {
			t.Errorf("after the hog went: got %d %s, want 200", status, body)
		}
		late.Close()
		synctest.Wait()
		if got := h.budget.taken(); got != 0 {
			t.Errorf("%d bytes are still held", got)
		}
	})
}

// A signature in the URL does not get a body past the budget.
func TestPresignedRequestsWaitForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakeConfig()
		c.Memory = 1 << 20
		h := NewHandler(c)
		dial := serveBubble(t, h)
		hog := dial()
		hog.announcePresigned("Echo", 10<<20)
		hog.send(strings.Repeat(" ", firstStep+1))
		synctest.Wait()
		if got := h.budget.taken(); got != h.budget.shareOf(c.Memory).n {
			t.Errorf("a presigned request of 10 MiB holds %d bytes of %d", got, c.Memory)
		}
		start := time.Now()
		p := dial()
		p.announcePresigned("Echo", 500_000)
		p.send(strings.Repeat(" ", firstStep))
		if status, body := p.receive(); status != 400 || !strings.Contains(body, `"ThrottlingException"`) || time.Since(start) != 5*time.Second {
			t.Errorf("without memory: got %d %s after %v, want ThrottlingException after 5s", status, body, time.Since(start))
		}
		hog.Close()
		p = dial()
		p.announcePresigned("Echo", 12)
		p.send(`{"Name":"x"}`)
		if status, body := p.receive(); status != 200 {
			t.Errorf("with memory: got %d %s, want 200", status, body)
		}
	})
}

func TestRequestsInHandAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakeConfig()
		c.Requests = 3
		dial := serveBubble(t, NewHandler(c))
		var stalled []*peer
		for range 3 {
			p := dial()
			p.announce("Echo", 100)
			stalled = append(stalled, p)
		}
		synctest.Wait()
		start := time.Now()
		p := dial()
		p.announce("Echo", 12)
		if status, body := p.receive(); status != 400 || !strings.Contains(body, `"ThrottlingException"`) || time.Since(start) != 0 {
			t.Errorf("a fourth request: got %d %s after %v, want ThrottlingException at once", status, body, time.Since(start))
		}
		stalled[0].Close()
		p.Close()
		synctest.Wait()
		p = dial()
		p.announce("Echo", 12)
		p.send(`{"Name":"x"}`)
		if status, body := p.receive(); status != 200 {
			t.Errorf("after one went: got %d %s, want 200", status, body)
		}
	})
}

func TestTrickledBodyIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serveBubble(t, NewHandler(fakeConfig()))()
		start := time.Now()
		p.announce("Echo", 10<<20)
		for time.Since(start) < time.Minute {
			if _, err := p.Write([]byte(" ")); err != nil {
				break
			}
			time.Sleep(time.Second)
			p.SetWriteDeadline(time.Now().Add(time.Millisecond))
		}
		if took := time.Since(start); took < 19*time.Second || took > 23*time.Second {
			t.Errorf("a byte a second was taken for %v, want about 20s", took)
		}
	})
}

func TestSlowBodyIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serveBubble(t, NewHandler(fakeConfig()))()
		start := time.Now()
		const size = 8 << 20
		p.announce("Echo", size)
		p.send(`{"Name":"x"}`)
		chunk := strings.Repeat(" ", 64<<10)
		for sent := len(`{"Name":"x"}`); sent < size; {
			n := min(len(chunk), size-sent)
			p.send(chunk[:n])
			sent += n
			time.Sleep(time.Second)
		}
		if status, body := p.receive(); status != 200 {
			t.Errorf("64 KiB a second: got %d %s after %v, want 200", status, body, time.Since(start))
		}
	})
}

func TestUnreadResponseIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakeConfig()
		finished := 0
		big := strings.Repeat("x", 1<<20)
		c.Services[0].Operations[0].Handle = func(_ context.Context, call *shape.Call, _, out shape.Shape) error {
			out.(*echo).name = big
			call.OnDone(func() { finished++ })
			return nil
		}
		h := NewHandler(c)
		p := serveBubble(t, h)()
		p.announce("Echo", 12)
		p.send(`{"Name":"x"}`)
		synctest.Wait()
		if got := h.budget.taken(); got < 1<<20 || finished != 1 {
			t.Errorf("an unsent response of 1 MiB counts as %d bytes, and the call's resources were released %d times", got, finished)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := h.budget.taken(); got != 0 {
			t.Errorf("%d bytes are held for a client that does not read", got)
		}
		if finished != 1 {
			t.Errorf("the call's resources were released %d times before the client took anything, want once", finished)
		}
	})
}

func TestClientsThatGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakeConfig()
		var failed []error
		c.Observer.Failed = func(_ Event, err error, _ []byte) { failed = append(failed, err) }
		h := NewHandler(c)
		dial := serveBubble(t, h)
		for _, sent := range []string{"", `{"Name"`, strings.Repeat(" ", 100_000)} {
			p := dial()
			p.announce("Echo", 200_000)
			p.send(sent)
			p.Close()
		}
		synctest.Wait()
		if got := h.budget.taken(); got != 0 || len(failed) > 0 {
			t.Errorf("%d bytes are held, faults %v; want neither", got, failed)
		}
	})
}

func TestUnreadBodyIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serveBubble(t, NewHandler(fakeConfig()))()
		start := time.Now()
		p.send("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nxx")
		if status, _ := p.receive(); status != 403 || time.Since(start) != 0 {
			t.Errorf("got %d after %v, want 403 at once", status, time.Since(start))
		}
		if _, err := p.r.ReadByte(); err != io.EOF || time.Since(start) > 25*time.Second {
			t.Errorf("connection after %v: %v, want EOF within 25s", time.Since(start), err)
		}
	})
}

// Small requests for large answers are all admitted before there is an answer.
func TestUnreadResponsesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, clients = 1 << 20, 20
		c := fakeConfig()
		c.Memory = 8 << 20
		big := strings.Repeat("x", size)
		var calls atomic.Int64
		c.Services[0].Operations[0].Handle = func(_ context.Context, _ *shape.Call, _, out shape.Shape) error {
			out.(*echo).name = big
			calls.Add(1)
			return nil
		}
		h := NewHandler(c)
		dial := serveBubble(t, h)
		call := func(p *peer) {
			p.announce("Echo", 12)
			p.send(`{"Name":"x`)
		}
		p := dial()
		call(p)
		p.send(`"}`)
		p.receive() // now the size of an answer is known
		var peers []*peer
		for range clients {
			p := dial()
			call(p)
			peers = append(peers, p)
		}
		synctest.Wait()
		for _, p := range peers {
			p.send(`"}`)
		}
		synctest.Wait()
		if got := h.budget.taken(); got > c.Memory {
			t.Errorf("%d unread answers hold %d bytes, want at most %d", clients, got, c.Memory)
		}
		time.Sleep(6 * time.Second)
		throttled := 0
		for _, p := range peers {
			if status, body := p.receive(); status == 400 && strings.Contains(body, `"ThrottlingException"`) {
				throttled++
			}
		}
		if ran := int(calls.Load()) - 1; ran == 0 || ran > int(c.Memory/size) || ran+throttled != clients {
			t.Errorf("%d operations ran and %d were throttled, want as many to run as there is memory for their answers", ran, throttled)
		}
	})
}

// Nobody knows yet how large an answer of the operation is, but each call says it.
func TestExpectedAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, clients = 1 << 20, 20
		c := fakeConfig()
		c.Memory = 8 << 20
		big := strings.Repeat("x", size-100)
		var calls sync.WaitGroup
		calls.Add(clients)
		c.Services[0].Operations[0].Reserves = true
		c.Services[0].Operations[0].Handle = func(_ context.Context, call *shape.Call, _, out shape.Shape) error {
			calls.Done()
			calls.Wait()
			if err := call.Reserve(size); err != nil {
				return err
			}
			call.Expect(size)
			out.(*echo).name = big
			return nil
		}
		h := NewHandler(c)
		dial := serveBubble(t, h)
		var peers []*peer
		for range clients {
			p := dial()
			p.announce("Echo", 12)
			p.send(`{"Name":"x"}`)
			peers = append(peers, p)
		}
		synctest.Wait()
		if got := h.budget.taken(); got < c.Memory/2 || got > c.Memory {
			t.Errorf("%d unread answers hold %d bytes, want at most %d and most of that", clients, got, c.Memory)
		}
		time.Sleep(6 * time.Second)
		served, throttled := 0, 0
		for _, p := range peers {
			switch status, body := p.receive(); {
			case status == 200:
				served++
			case status == 400 && strings.Contains(body, `"ThrottlingException"`):
				throttled++
			}
		}
		if served == 0 || served > int(c.Memory/size) || served+throttled != clients {
			t.Errorf("%d calls were answered and %d throttled, want as many answers as there is memory for", served, throttled)
		}
	})
}

// Requests that each have a share and wait for one that is as good as all there is get it one after the
// other: for their bodies, or for their answers.
func TestNobodyWaitsForWhoWaits(t *testing.T) {
	f := func(what string, clients int, body string, answer int64) {
		t.Helper()
		chunked := strings.HasSuffix(what, "in chunks")
		synctest.Test(t, func(t *testing.T) {
			c := fakeConfig()
			c.Memory = 1 << 20
			var all sync.WaitGroup
			all.Add(clients)
			c.Services[0].Operations[0].Reserves = true
			c.Services[0].Operations[0].Handle = func(_ context.Context, call *shape.Call, in, out shape.Shape) error {
				if answer > 0 { // all have what their bodies take
					all.Done()
					all.Wait()
				}
				out.(*echo).name = in.(*echo).name
				return call.Reserve(answer)
			}
			h := NewHandler(c)
			dial := serveBubble(t, h)
			var peers []*peer
			for range clients {
				p := dial()
				peers = append(peers, p)
				if chunked {
					p.announceWith("/", signed(), "Echo", -1)
					p.send(fmt.Sprintf("%x\r\n", len(body)))
				} else {
					p.announce("Echo", len(body))
				}
				p.send(body[:min(len(body), firstStep)])
			}
			start := time.Now()
			for _, p := range peers {
				if rest := body[min(len(body), firstStep):]; chunked {
					go io.WriteString(p, rest+"\r\n0\r\n\r\n") // the answer says how that went
				} else if rest != "" {
					go io.WriteString(p, rest)
				}
			}
			for _, p := range peers {
				if status, body := p.receive(); status != 200 || time.Since(start) != 0 {
					t.Errorf("%s: got %d %s after %v, want 200 at once", what, status, body, time.Since(start))
				}
				p.Close()
			}
			synctest.Wait()
			if got := h.budget.taken(); got != 0 {
				t.Errorf("%s: %d bytes are still held", what, got)
			}
		})
	}
	small := `{"Name":"x"}`
	f("two bodies", 2, small+strings.Repeat(" ", 700_000), 0)
	f("two bodies in chunks", 2, small+strings.Repeat(" ", 700_000), 0)
	f("two answers", 2, small, 700_000)
	f("many answers", 30, small, 700_000)
}

func TestStallsOverHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakeConfig()
		big := strings.Repeat("x", 8<<20) // more than the client takes unread
		c.Services[0].Operations[0].Handle = func(_ context.Context, _ *shape.Call, _, out shape.Shape) error {
			out.(*echo).name = big
			return nil
		}
		h := NewHandler(c)
		cl := clientBubble(t, h)

		start := time.Now()
		r := newCall(t, "http://pipe", "Echo", typeJSON11, nil)
		body, feed := io.Pipe()
		defer feed.Close()
		r.Body, r.ContentLength = body, 1<<20
		resp, text := post(t, cl, r)
		if took := time.Since(start); resp.StatusCode != 408 || took != 20*time.Second {
			t.Errorf("stalled body: got %d %s after %v, want 408 after 20s", resp.StatusCode, text, took)
		}

		start = time.Now()
		resp, err := cl.Do(newCall(t, "http://pipe", "Echo", typeJSON11, []byte(`{"Name":"x"}`)))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if got := h.budget.taken(); got != 0 {
			t.Errorf("%d bytes are held for a stream that nobody reads", got)
		}
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("the unread response arrived whole")
		}
		resp.Body.Close()
	})
}
