package listener

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
)

// serve runs a server of net/http behind a listener, as package server does, and returns its address.
func serve(t *testing.T, cfg Config) string {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		io.WriteString(w, r.Proto+" "+string(body))
	})}
	l := New(inner, cfg)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		<-served
		if n := l.Open(); n != 0 {
			t.Errorf("%d connections are open at the end", n)
		}
	})
	return inner.Addr().String()
}

// Every way of speaking HTTP works on one port: in cleartext and in TLS, whatever ALPN says.
func TestProtocols(t *testing.T) {
	addr := serve(t, Config{TLS: tlsConfig(t)})
	f := func(what string, version int, alpn []string, secure bool, want string) {
		t.Helper()
		protocols := new(http.Protocols)
		protocols.SetHTTP1(version == 1)
		protocols.SetUnencryptedHTTP2(version == 2)
		transport := &http.Transport{Protocols: protocols, DialContext: func(context.Context, string, string) (net.Conn, error) {
			if !secure {
				return net.Dial("tcp", addr)
			}
			// The URL says http, so the transport leaves the choice of the protocol to us, as
			// clients do that know what they will speak.
			return tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: alpn})
		}}
		defer transport.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		defer resp.Body.Close()
		if got, _ := io.ReadAll(resp.Body); string(got) != want+" " {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	f("HTTP/1.1", 1, nil, false, "HTTP/1.1")
	f("HTTP/2", 2, nil, false, "HTTP/2.0")
	f("HTTP/1.1 in TLS without ALPN", 1, nil, true, "HTTP/1.1")
	f("HTTP/1.1 in TLS with ALPN", 1, []string{"http/1.1"}, true, "HTTP/1.1")
	f("HTTP/2 in TLS without ALPN", 2, nil, true, "HTTP/2.0")
	f("HTTP/2 in TLS with ALPN", 2, []string{"h2"}, true, "HTTP/2.0")
	f("HTTP/2 in TLS with a choice", 2, []string{"h2", "http/1.1"}, true, "HTTP/2.0")
}

// A client that is told to use TLS gets to read it.
func TestAdviceArrives(t *testing.T) {
	addr := serve(t, Config{TLS: tlsConfig(t), Cleartext: Nobody})
	resp, err := http.Post("http://"+addr, "text/plain", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 400 || string(text) != "This port wants TLS: use https.\n" {
		t.Errorf("got %d %q", resp.StatusCode, text)
	}
}
