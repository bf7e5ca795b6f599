package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/wire/eventstream"
	"github.com/headrace/headrace/internal/wire/shape"
)

// streamConfig is the fake service whose operation Stream pushes with push.
func streamConfig(push func(ctx context.Context, to shape.Events) error) Config {
	c := fakeConfig()
	for i := range c.Services[0].Operations {
		if o := &c.Services[0].Operations[i]; o.Name == "Stream" {
			o.Handle = func(_ context.Context, call *shape.Call, in, _ shape.Shape) error {
				call.Push(push)
				return nil
			}
		}
	}
	return c
}

// messages reads a whole stream and says what is in it, a line a message.
func messages(t *testing.T, r io.Reader, f shape.Format) string {
	t.Helper()
	var out strings.Builder
	d := eventstream.Decoder{From: r}
	for {
		m, err := d.Next()
		if errors.Is(err, io.EOF) {
			return out.String()
		}
		if err != nil {
			t.Fatalf("read stream: %v\nafter %s", err, out.String())
		}
		fmt.Fprintf(&out, "%s %s%s %s ", m.Header(eventstream.MessageType), m.Header(eventstream.EventType), m.Header(eventstream.ExceptionType), m.Header(eventstream.PayloadType))
		if f == shape.CBOR && m.Header(eventstream.MessageType) == eventstream.Event {
			var e echo
			var d shape.Decoder
			d.Reset(f, m.Payload)
			e.Decode(&d)
			fmt.Fprintf(&out, "%s %d %v\n", e.name, e.count.Value, d.Finish())
			continue
		}
		fmt.Fprintln(&out, readable(m.Payload))
	}
}

// TestStreams has streams over both versions of HTTP and in both formats: the initial response, the
// events, and the error that ends them.
func TestStreams(t *testing.T) {
	failed := make(chan error, 16)
	cfg := fakeConfig()
	cfg.Observer.Failed = func(_ Event, err error, _ []byte) { failed <- err }
	srv := httptest.NewUnstartedServer(NewHandler(cfg))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	defer srv.Close()
	f := func(contentType string, format shape.Format, name string, want string) {
		t.Helper()
		for version := 1; version <= 2; version++ {
			body := encoded(format, &echo{name: name, count: shape.Some[int32](2)})
			resp, err := client(version).Do(newCall(t, srv.URL, "Stream", contentType, body))
			if err != nil {
				t.Fatal(err)
			}
			got := messages(t, resp.Body, format)
			resp.Body.Close()
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/vnd.amazon.eventstream" || resp.Header.Get("X-Amzn-Requestid") == "" {
				t.Errorf("HTTP/%d: status %d, headers %v", version, resp.StatusCode, resp.Header)
			}
			if got != want {
				t.Errorf("HTTP/%d in %s: got\n%swant\n%s", version, format, got, want)
			}
		}
	}
	f(typeJSON11, shape.JSON, "wheel", `event initial-response application/x-amz-json-1.1 {"Name":"first"}
event Echo application/x-amz-json-1.1 {"Name":"wheel","Count":0}
event Echo application/x-amz-json-1.1 {"Name":"wheel","Count":1}
`)
	f(typeCBOR11, shape.CBOR, "wheel", `event initial-response application/x-amz-cbor-1.1 first 0 <nil>
event Echo application/x-amz-cbor-1.1 wheel 0 <nil>
event Echo application/x-amz-cbor-1.1 wheel 1 <nil>
`)
	f(typeJSON11, shape.JSON, "modelled", `event initial-response application/x-amz-json-1.1 {"Name":"first"}
event Echo application/x-amz-json-1.1 {"Name":"modelled","Count":0}
event Echo application/x-amz-json-1.1 {"Name":"modelled","Count":1}
exception ResourceInUseException application/x-amz-json-1.1 {"message":"Another one."}
`)
	f(typeJSON11, shape.JSON, "broken", `event initial-response application/x-amz-json-1.1 {"Name":"first"}
event Echo application/x-amz-json-1.1 {"Name":"broken","Count":0}
event Echo application/x-amz-json-1.1 {"Name":"broken","Count":1}
exception InternalFailureException application/x-amz-json-1.1 {"message":"Internal service failure."}
`)
	if err := <-failed; !errors.Is(err, errBroken) {
		t.Errorf("the observer heard of %v", err)
	}
}

// TestStreamLasts keeps a stream longer than any request's deadline, then ends all streams.
func TestStreamLasts(t *testing.T) {
	for version := 1; version <= 2; version++ {
		synctest.Test(t, func(t *testing.T) {
			h := NewHandler(streamConfig(func(ctx context.Context, to shape.Events) error {
				tick := time.NewTicker(5 * time.Second)
				defer tick.Stop()
				var buf []byte
				for n := int32(0); ; n++ {
					select {
					case <-ctx.Done():
						return ctx.Err()
					case <-tick.C:
					}
					buf = to.Encode(buf[:0], "Echo", &echo{name: "tick", count: shape.Some(n)})
					if err := to.Send(buf); err != nil {
						return err
					}
				}
			}))
			var c *http.Client
			if version == 2 {
				c = clientBubble(t, h)
			} else {
				connect := listenBubble(t, h)
				c = pipeClient(connect)
			}
			resp, err := c.Do(newCall(t, "http://fake/", "Stream", typeJSON11, []byte(`{"Name":"x"}`)))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if n := h.inHand.Load(); n != 0 {
				t.Errorf("%d requests are in hand, want none but a stream", n)
			}
			began := time.Now()
			d := eventstream.Decoder{From: resp.Body}
			for range 61 { // the initial response, then five minutes
				if _, err := d.Next(); err != nil {
					t.Fatalf("HTTP/%d: after %v: %v", version, time.Since(began), err)
				}
			}
			if since := time.Since(began); since != 5*time.Minute {
				t.Errorf("HTTP/%d: 60 events took %v", version, since)
			}
			h.EndStreams()
			if m, err := d.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("HTTP/%d: after the end: message %v, error %v", version, m, err)
			}
			again, err := c.Do(newCall(t, "http://fake/", "Stream", typeJSON11, []byte(`{"Name":"x"}`)))
			if err != nil || again.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("HTTP/%d: a stream after the end: %v, error %v", version, again, err)
			}
			if err == nil {
				again.Body.Close()
			}
		})
	}
}

func pipeClient(connect func() net.Conn) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return connect(), nil },
		DisableKeepAlives: true,
	}}
}

// TestStreamStalls cuts clients that take nothing for 30 s, and those only.
func TestStreamStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		h := NewHandler(streamConfig(func(_ context.Context, to shape.Events) error {
			event := to.Encode(nil, "Echo", &echo{name: strings.Repeat("x", 1<<20)})
			err := to.Send(event)
			ended <- err
			return err
		}))
		dial := serveBubble(t, h)
		f := func(step time.Duration) error {
			t.Helper()
			c := dial()
			c.announce("Stream", len(`{"Name":"x"}`))
			fmt.Fprint(c, `{"Name":"x"}`)
			resp, err := http.ReadResponse(c.r, nil)
			if err != nil {
				t.Fatal(err)
			}
			first := eventstream.Decoder{From: resp.Body}
			if _, err := first.Next(); err != nil {
				t.Fatal(err)
			}
			var reading sync.WaitGroup
			defer reading.Wait()
			reading.Go(func() {
				for err := error(nil); err == nil; {
					<-time.After(step)
					_, err = io.CopyN(io.Discard, resp.Body, 64<<10)
				}
			})
			defer c.Close()
			return <-ended
		}
		if err := f(29 * time.Second); err != nil {
			t.Errorf("a client that takes 64 KiB every 29 s: %v", err)
		}
		if err := f(31 * time.Second); !errors.Is(err, shape.ErrClientGone) {
			t.Errorf("a client that takes nothing for 31 s: %v", err)
		}
	})
}

// TestStreamStallsHTTP2 cuts the stream of a client that takes nothing, and not the connection's others.
func TestStreamStallsHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		h := NewHandler(streamConfig(func(_ context.Context, to shape.Events) error {
			err := to.Send(to.Encode(nil, "Echo", &echo{name: strings.Repeat("x", 16<<20)})) // more than the client takes ahead
			ended <- err
			return err
		}))
		c := clientBubble(t, h)
		resp, err := c.Do(newCall(t, "http://fake/", "Stream", typeJSON11, []byte(`{"Name":"x"}`)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		began := time.Now()
		if err := <-ended; !errors.Is(err, shape.ErrClientGone) || time.Since(began) != 30*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Error("the stream ended as if it were whole")
		}
		again, err := c.Do(newCall(t, "http://fake/", "Echo", typeJSON11, []byte(`{"Name":"x"}`)))
		if err != nil || again.StatusCode != http.StatusOK {
			t.Errorf("a call after it: %v, error %v", again, err)
		}
		if err == nil {
			again.Body.Close()
		}
	})
}

// TestStreamMemory has streams share their own memory.
func TestStreamMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := streamConfig(nil)
		cfg.Events = 100
		h := NewHandler(cfg)
		e := events{&exchange{h: h}}
		if !e.Reserve(t.Context(), 60, time.Second) || e.Reserve(t.Context(), 60, time.Second) {
			t.Error("60 bytes of 100 were there twice, or never")
		}
		e.Release(60)
		if !e.Reserve(t.Context(), 1000, 0) { // all there is
			t.Error("more than all there is was not taken for all there is")
		}
		e.Release(1000)
		if held := h.events.taken(); held != 0 {
			t.Errorf("%d bytes are held", held)
		}
	})
}
