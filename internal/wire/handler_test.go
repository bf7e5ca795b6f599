package wire

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/wire/shape"
)

// log collects what an Observer hears.
type log struct {
	mu     sync.Mutex
	events []Event
	faults []string
	stacks int
}

func (l *log) observer() Observer {
	return Observer{
		Done: func(e Event) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.events = append(l.events, e)
		},
		Failed: func(e Event, err error, stack []byte) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.faults = append(l.faults, e.Operation+": "+err.Error())
			if stack != nil {
				l.stacks++
			}
		},
	}
}

func (l *log) last() Event { return l.events[len(l.events)-1] }

// serveRecorded runs one request through h without a network.
func serveRecorded(h *Handler, r *http.Request) *recorder {
	w := &recorder{header: make(http.Header)}
	h.ServeHTTP(w, r)
	return w
}

// recorder is a ResponseWriter that keeps header names as they were spelled.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(p []byte) (int, error) { return w.body.Write(p) }

func TestHeaderSpelling(t *testing.T) {
	w := serveRecorded(NewHandler(fakeConfig()), newCall(t, "/", "Whatever", typeJSON11, []byte("{}")))
	for _, name := range []string{"x-amzn-RequestId", "x-amz-id-2", "x-amzn-ErrorType"} {
		if len(w.header[name]) != 1 {
			t.Errorf("header %s is there %d times, want once", name, len(w.header[name]))
		}
	}
}

func TestObserver(t *testing.T) {
	var l log
	c := fakeConfig()
	c.Observer = l.observer()
	h := NewHandler(c)
	f := func(r *http.Request, want Event) {
		t.Helper()
		w := serveRecorded(h, r)
		got := l.last()
		if got.RequestID == "" || got.RequestID != w.header["x-amzn-RequestId"][0] {
			t.Errorf("event of request %q, response says %q", got.RequestID, w.header["x-amzn-RequestId"])
		}
		if got.Duration <= 0 {
			t.Errorf("took %v", got.Duration)
		}
		if got.Request != r || got.AccessKeyID != map[bool]string{true: "AKID"}[want.Account != ""] {
			t.Errorf("event of request %p, whose key is %q, is of %p with key %q", r, "AKID", got.Request, got.AccessKeyID)
		}
		got.RequestID, got.Duration, got.Request, got.AccessKeyID = "", 0, nil, ""
		if got != want {
			t.Errorf("\n got %+v\nwant %+v", got, want)
		}
	}
	call := func(operation, body string) *http.Request {
		return newCall(t, "/", operation, typeJSON11, []byte(body))
	}
	f(call("Echo", `{"Name":"x"}`), Event{Service: "fake", Operation: "Echo", Account: "000000000000", Region: "eu-west-1", Status: 200, BytesIn: 12, BytesOut: 12})
	f(call("NotBuilt", `{}`), Event{Service: "fake", Operation: "NotBuilt", Account: "000000000000", Region: "eu-west-1",
		Status: 400, ErrorCode: "UnknownOperationException", BytesIn: 2, BytesOut: 38})
	f(call("Invented", `{}`), Event{Service: "fake", Account: "000000000000", Region: "eu-west-1",
		Status: 400, ErrorCode: "UnknownOperationException", BytesIn: 2, BytesOut: 38})
	unsigned := call("Echo", "{")
	unsigned.Header.Del("Authorization")
	f(unsigned, Event{Service: "fake", Operation: "Echo", Status: 400, ErrorCode: "SerializationException", BytesIn: 1, BytesOut: 35})
	get, _ := http.NewRequest("GET", "/", nil)
	f(get, Event{Status: 403, ErrorCode: "AccessDeniedException", BytesOut: int64(len(accessDenied.body))})
	if len(l.faults) > 0 {
		t.Errorf("faults %v, want none", l.faults)
	}

	f(call("Fail", `{"Name":"broken"}`), Event{Service: "fake", Operation: "Fail", Account: "000000000000", Region: "eu-west-1",
		Status: 500, ErrorCode: "InternalFailureException", ErrorMessage: "Internal service failure.", BytesIn: 17, BytesOut: 75})
	if got := fmt.Sprint(l.faults); got != "[Fail: disk on fire at /dev/secret]" || l.stacks != 0 {
		t.Errorf("faults %s with %d stacks", got, l.stacks)
	}
}

// A call is shown to the observer before its input and output are used again, and the event carries
// what was kept.
func TestObserverSeesCalls(t *testing.T) {
	var l log
	c := fakeConfig()
	c.Observer = l.observer()
	c.Observer.Called = func(e *Event, in, out shape.Shape, err error) any {
		return fmt.Sprintf("%s %s %s %v", e.Operation, in.(*echo).name, out.(*echo).name, err != nil)
	}
	h := NewHandler(c)
	f := func(operation, body string, want any) {
		t.Helper()
		serveRecorded(h, newCall(t, "/", operation, typeJSON11, []byte(body)))
		if got := l.last().Note; got != want {
			t.Errorf("%s %s: noted %v, want %v", operation, body, got, want)
		}
	}
	f("Echo", `{"Name":"x"}`, "Echo x x false")
	f("Fail", `{"Name":"modelled"}`, "Fail modelled  true")
	f("Echo", `{"Name":""}`, "Echo   true") // breaks a constraint
	f("Echo", `{`, "Echo   true")           // cannot be read to its end
	f("NotBuilt", `{"Name":"x"}`, nil)
	unsigned := newCall(t, "/", "Echo", typeJSON11, []byte(`{"Name":"x"}`))
	unsigned.Header.Del("Authorization")
	serveRecorded(h, unsigned)
	if got := l.last(); got.Note != nil || got.ErrorCode != "MissingAuthenticationTokenException" || got.ErrorMessage != "Missing Authentication Token" {
		t.Errorf("an unsigned request: %+v", got)
	}
}

// Who is over a rate hears so in its own format: strangers before their body is read, callers once
// they are known, and nobody else for them.
func TestRatesThrottle(t *testing.T) {
	var l log
	c := fakeConfig()
	c.Observer = l.observer()
	c.Admit = func(r *http.Request) bool { return r.RemoteAddr != "192.0.2.1:1" }
	c.Allow = func(id sigv4.Identity) bool { return id.AccessKeyID != "AKID" }
	h := NewHandler(c)
	f := func(peer, key, contentType, want string, wantRead int64) {
		t.Helper()
		r := newCall(t, "/", "Echo", contentType, encoded(map[bool]shape.Format{true: shape.CBOR}[contentType == typeCBOR11], &echo{name: "x"}))
		r.RemoteAddr = peer
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "AKID", key, 1))
		if key == "" {
			r.Header.Del("Authorization")
		}
		w := serveRecorded(h, r)
		e := l.last()
		if e.ErrorCode != want || w.header["Content-Type"][0] != contentType || (e.BytesIn > 0) != (wantRead > 0) {
			t.Errorf("%s %q: got %s %q %q with %d bytes read", peer, key, e.ErrorCode, w.header["Content-Type"], readable(w.body.Bytes()), e.BytesIn)
		}
	}
	f("192.0.2.2:1", "OTHER", typeJSON11, "", 1)
	f("192.0.2.1:1", "OTHER", typeJSON11, "ThrottlingException", 0)
	f("192.0.2.1:1", "", typeCBOR11, "ThrottlingException", 0)
	f("192.0.2.2:1", "AKID", typeJSON11, "ThrottlingException", 1)
	f("192.0.2.2:1", "AKID", typeCBOR11, "ThrottlingException", 1)
	// A key is not charged for requests that somebody else signs with its name.
	f("192.0.2.2:1", "", typeJSON11, "MissingAuthenticationTokenException", 1)
}

func TestPanicKeepsTheConnection(t *testing.T) {
	var l log
	c := fakeConfig()
	c.Observer = l.observer()
	h := NewHandler(c)
	server := newServer(t, h)
	for _, version := range []int{1, 2} {
		cl := client(version)
		for i, operation := range []string{"Echo", "Panic", "Echo"} {
			r := newCall(t, server.URL, operation, typeJSON11, []byte(`{"Name":"x"}`))
			var reused bool
			r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
				GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused }}))
			resp, body := post(t, cl, r)
			want := 200
			if operation == "Panic" {
				want = 500
			}
			if resp.StatusCode != want || strings.Contains(body, "secret") {
				t.Errorf("HTTP/%d: %s answered %d %s, want %d without details", version, operation, resp.StatusCode, body, want)
			}
			if reused != (i > 0) {
				t.Errorf("HTTP/%d: call %d reused its connection: %v", version, i, reused)
			}
		}
	}
	if len(l.faults) != 2 || l.stacks != 2 || l.faults[0] != "Panic: handle request: panic: secret x" {
		t.Errorf("faults %q with %d stacks, want one for each panic", l.faults, l.stacks)
	}
	if got := h.budget.taken(); got != 0 {
		t.Errorf("%d bytes are still held", got)
	}
}

// Whoever still holds a part of the input when its operation panics does not see it change.
func TestPanicRecyclesNothing(t *testing.T) {
	c := fakeConfig()
	var kept string
	c.Services[0].Operations[0].Handle = func(_ context.Context, _ *shape.Call, in, _ shape.Shape) error {
		if name := in.(*echo).name; kept == "" {
			kept = name // aliases the request's body
			panic("x")
		}
		return nil
	}
	h := NewHandler(c)
	for _, name := range []string{"first", "other"} {
		for range 3 {
			serveRecorded(h, newCall(t, "/", "Echo", typeJSON11, []byte(`{"Name":"`+name+`"}`)))
		}
	}
	if kept != "first" {
		t.Errorf("the input of the operation that panicked now says %q, want %q", kept, "first")
	}
}

// An operation that is not transient may keep parts of its input.
func TestInputThatIsKept(t *testing.T) {
	c := fakeConfig()
	var kept []string
	echoes := &c.Services[0].Operations[0]
	echoes.Transient = false
	echoes.Handle = func(_ context.Context, _ *shape.Call, in, _ shape.Shape) error {
		kept = append(kept, in.(*echo).name)
		return nil
	}
	h := NewHandler(c)
	for i := range 5 {
		serveRecorded(h, newCall(t, "/", "Echo", typeJSON11, fmt.Appendf(nil, `{"Name":"call %d"}`, i)))
	}
	if got := fmt.Sprint(kept); got != "[call 0 call 1 call 2 call 3 call 4]" {
		t.Errorf("kept %s", got)
	}
	if got := h.budget.taken(); got != 0 {
		t.Errorf("%d bytes are still held", got)
	}
}

// What a call leaves to be done is done once, and not before its output has been encoded.
func TestOnDone(t *testing.T) {
	f := func(name string, handle func(c *shape.Call, out *echo) error, status int) {
		t.Helper()
		c := fakeConfig()
		var l log
		c.Observer = l.observer()
		var w *recorder
		ran := 0
		c.Services[0].Operations[0].Handle = func(_ context.Context, call *shape.Call, _, out shape.Shape) error {
			call.OnDone(func() {
				ran++
				out.(*echo).name = "too late"
			})
			out.(*echo).name = "x"
			return handle(call, out.(*echo))
		}
		h := NewHandler(c)
		w = &recorder{header: make(http.Header)}
		h.ServeHTTP(w, newCall(t, "/", "Echo", typeJSON11, []byte(`{"Name":"x"}`)))
		if ran != 1 || w.status != status || status == 200 && w.body.String() != `{"Name":"x"}` {
			t.Errorf("%s: ran %d times, answered %d %s; want once, and %d with what was there before it ran", name, ran, w.status, &w.body, status)
		}
		w = &recorder{header: make(http.Header)}
		h.ServeHTTP(w, newCall(t, "/", "Quiet", typeJSON11, []byte(`{"Name":"x"}`)))
		if ran != 1 {
			t.Errorf("%s: ran again after another request", name)
		}
	}
	f("success", func(*shape.Call, *echo) error { return nil }, 200)
	f("error", func(*shape.Call, *echo) error { return errBroken }, 500)
	f("panic", func(*shape.Call, *echo) error { panic("x") }, 500)
	f("second panic", func(c *shape.Call, _ *echo) error {
		c.OnDone(func() { panic("y") })
		return nil
	}, 200)
}

func TestAbandonedRequestIsNeverASuccess(t *testing.T) {
	c := fakeConfig()
	var l log
	c.Observer = l.observer()
	c.Services[0].Operations[0].Handle = func(ctx context.Context, _ *shape.Call, _, _ shape.Shape) error {
		<-ctx.Done()
		return fmt.Errorf("append records: %w", ctx.Err())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := serveRecorded(NewHandler(c), newCall(t, "/", "Echo", typeJSON11, []byte(`{"Name":"x"}`)).WithContext(ctx))
	if w.status != 503 || len(l.faults) > 0 {
		t.Errorf("got %d %s and faults %v, want 503 and none", w.status, w.body.String(), l.faults)
	}
}

// The read deadline of the body must not end the operation that comes after it.
func TestLongOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakeConfig()
		c.Services[0].Operations[0].Handle = func(ctx context.Context, _ *shape.Call, _, _ shape.Shape) error {
			select {
			case <-time.After(time.Hour):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		dial := serveBubble(t, NewHandler(c))
		p := dial()
		p.announce("Echo", 12)
		p.send(`{"Name":"x"}`)
		if status, body := p.receive(); status != 200 {
			t.Errorf("after an hour: got %d %s, want 200", status, body)
		}
	})
}

func TestHTTPOddities(t *testing.T) {
	server := newServer(t, NewHandler(fakeConfig()))
	f := func(raw, wantStatus string) {
		t.Helper()
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(conn, raw); err != nil {
			t.Fatal(err)
		}
		conn.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(got), "HTTP/1."+wantStatus) {
			t.Errorf("request %q: got %q, error %v, want status %s", raw, got, err, wantStatus)
		}
	}
	post := "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Fake_20260101.Echo\r\n"
	f(post+"Content-Length: 100\r\n\r\n{}", "1 400")                               // ends early
	f(post+"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", "1 400")     // not chunked
	f(post+"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "1 400")               // no last chunk
	f(post+"Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n", "1 413") // never asked to go on
	f(post+"Expect: the unexpected\r\nContent-Length: 2\r\n\r\n{}", "1 417")
	f("POST * HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "1 400")
	f("FROBNICATE / HTTP/1.1\r\nHost: x\r\n\r\n", "1 403")
	f("POST / HTTP/1.0\r\n\r\n", "0 400")
}

// Many clients of all kinds at once: run with -race.
func TestConcurrentCalls(t *testing.T) {
	c := fakeConfig()
	c.Memory = 8 << 20 // some have to wait
	h := NewHandler(c)
	server := newServer(t, h)
	var all sync.WaitGroup
	for worker := range 10 {
		all.Go(func() {
			cl := client(worker%2 + 1)
			for i := range 16 {
				if err := echoOnce(t, cl, server.URL, worker, i); err != nil {
					t.Errorf("worker %d, call %d: %v", worker, i, err)
					return
				}
			}
		})
	}
	all.Wait()
	server.Close()
	if got := h.budget.taken(); got != 0 {
		t.Errorf("%d bytes are still held", got)
	}
}

// echoOnce sends records that no other call sends and checks that they come back.
func echoOnce(t *testing.T, cl *http.Client, url string, worker, i int) error {
	in := &echo{name: fmt.Sprintf("worker %d call %d", worker, i)}
	for n := range i * 8 {
		in.items = append(in.items, item{key: fmt.Sprint(n), data: bytes.Repeat([]byte(in.name), 1+n)})
	}
	contentType, format := typeJSON11, shape.JSON
	if worker%3 == 0 {
		contentType, format = typeCBOR11, shape.CBOR
	}
	want := encoded(format, in)
	r := newCall(t, url, "Echo", contentType, want)
	if worker%4 == 0 {
		r = newCall(t, url, "Echo", contentType, zip(t, want))
		r.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := cl.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != 200 || !bytes.Equal(got, want) {
		return fmt.Errorf("got %d and %d bytes, want 200 and %d bytes back", resp.StatusCode, len(got), len(want))
	}
	return nil
}

func TestNewHandlerPanics(t *testing.T) {
	f := func(name string, c Config) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s: NewHandler did not panic", name)
			}
		}()
		NewHandler(c)
	}
	f("no Authenticate", Config{})
	f("a prefix twice", Config{Services: []Service{fakeService(), fakeService()}, Authenticate: sigv4.FormOnly{}})
	twice := fakeService()
	twice.Operations = append(twice.Operations, twice.Operations[0])
	f("an operation twice", Config{Services: []Service{twice}, Authenticate: sigv4.FormOnly{}})
}

// Two services on one port answer in their own formats.
func TestTwoServices(t *testing.T) {
	other := fakeService()
	other.TargetPrefix, other.SigningName, other.Formats = "Other", "other", AWSJSON10
	c := fakeConfig()
	c.Services = append(c.Services, other)
	h := NewHandler(c)
	f := func(target, contentType, body string, wantStatus int, wantType string) {
		t.Helper()
		r := newCall(t, "/", "", contentType, []byte(body))
		r.Header.Set("X-Amz-Target", target)
		w := serveRecorded(h, r)
		if got := w.header.Get("Content-Type"); w.status != wantStatus || got != wantType {
			t.Errorf("%s as %s: got %d as %q, want %d as %q", target, contentType, w.status, got, wantStatus, wantType)
		}
	}
	f("Other.Echo", typeJSON10, `{"Name":"x"}`, 200, typeJSON10)
	f("Other.Echo", typeJSON11, `{"Name":"x"}`, 404, "")
	f("Other.Echo", "", "", 400, typeJSON10)
	f("Fake_20260101.Echo", typeJSON11, `{"Name":"x"}`, 200, typeJSON11)
	f("Fake_20260101.Echo", typeJSON10, `{"Name":"x"}`, 404, "")
	f("Nobody.Echo", typeJSON10, `{}`, 400, typeJSON10)
}
