package listener

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are in memory, so that a synctest bubble has all of them and
// their deadlines follow its clock.
type pipes struct {
	conns  chan net.Conn
	errs   chan error
	closed chan struct{}
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), errs: make(chan error), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case err := <-p.errs:
		return nil, err
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4566} }

// from is a connection of a peer with an address.
type from struct {
	net.Conn
	addr net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.addr }

// dial opens a connection from an address.
func (p *pipes) dial(t *testing.T, ip string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close() })
	p.conns <- from{server, &net.TCPAddr{IP: net.ParseIP(ip), Port: 50000}}
	return client
}

// refusals collects what was refused.
type refusals struct {
	mu   sync.Mutex
	list []string
}

func (r *refusals) add(why Refusal, peer net.Addr, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	host, _, _ := net.SplitHostPort(peer.String())
	text := fmt.Sprintf("%s %s", why, host)
	if err != nil {
		text += ": " + err.Error()
	}
	r.list = append(r.list, text)
}

func (r *refusals) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.list, "\n")
}

// bubble runs a test of a listener on connections in memory, which is closed at its end.
func bubble(t *testing.T, cfg Config, test func(t *testing.T, p *pipes, l *Listener, r *refusals)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p, r := newPipes(), new(refusals)
		cfg.Refused = r.add
		l := New(p, cfg)
		defer l.Close()
		test(t, p, l, r)
	})
}

// ended says how a connection was left: it reads until there is no more.
func ended(t *testing.T, c net.Conn) (text string) {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("read to the end: %v", err)
	}
	return string(b)
}

// selfSigned is a certificate for localhost.
func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func tlsConfig(t testing.TB) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, NextProtos: []string{"h2", "http/1.1"}}
}

func TestCleartextKeepsItsFirstByte(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, p *pipes, l *Listener, _ *refusals) {
		client := p.dial(t, "192.0.2.1")
		go io.WriteString(client, "GET / HTTP/1.1\r\n")
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || line != "GET / HTTP/1.1\r\n" {
			t.Errorf("got %q, %v", line, err)
		}
		if c.(*Conn).TLS() != nil {
			t.Error("a connection in cleartext says that it has TLS")
		}
	})
}

func TestHandshake(t *testing.T) {
	bubble(t, Config{TLS: tlsConfig(t)}, func(t *testing.T, p *pipes, l *Listener, _ *refusals) {
		client := tls.Client(p.dial(t, "192.0.2.1"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		go io.WriteString(client, "hello")
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var got [5]byte
		if _, err := io.ReadFull(c, got[:]); err != nil || string(got[:]) != "hello" {
			t.Errorf("got %q, %v", got, err)
		}
		if state := c.(*Conn).TLS(); state == nil || state.NegotiatedProtocol != "h2" || state.Version != tls.VersionTLS13 {
			t.Errorf("the handshake agreed on %+v", state)
		}
		// The handshake's deadline is not the connection's.
		<-time.After(time.Hour)
		go io.WriteString(client, "again")
		if _, err := io.ReadFull(c, got[:]); err != nil || string(got[:]) != "again" {
			t.Errorf("an hour later: got %q, %v", got, err)
		}
		go io.Copy(io.Discard, client)
	})
}

// A client that wanted to see the certificate alone does not reach the HTTP server.
func TestHandshakeForItsOwnSake(t *testing.T) {
	cfg := tlsConfig(t)
	cfg.NextProtos = append(cfg.NextProtos, "acme-tls/1")
	bubble(t, Config{TLS: cfg}, func(t *testing.T, p *pipes, l *Listener, r *refusals) {
		client := tls.Client(p.dial(t, "192.0.2.1"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"acme-tls/1"}})
		if got := ended(t, client); got != "" || client.ConnectionState().NegotiatedProtocol != "acme-tls/1" {
			t.Errorf("got %q, %+v", got, client.ConnectionState())
		}
		synctest.Wait()
		if l.Open() != 0 || r.all() != "" {
			t.Errorf("%d open, refused %q; want neither", l.Open(), r.all())
		}
	})
}

func TestStallsBeforeHTTPAreCut(t *testing.T) {
	f := func(sent, want string) {
		t.Helper()
		bubble(t, Config{TLS: tlsConfig(t)}, func(t *testing.T, p *pipes, l *Listener, r *refusals) {
			client := p.dial(t, "192.0.2.1")
			start := time.Now()
			go io.WriteString(client, sent)
			ended(t, client)
			synctest.Wait()
			if took := time.Since(start); took != 10*time.Second || !strings.HasPrefix(r.all(), want) || l.Open() != 0 {
				t.Errorf("%q: cut after %v as %q, %d open; want 10s, %q and none", sent, took, r.all(), l.Open(), want)
			}
		})
	}
	f("", "silent 192.0.2.1")
	f("\x16", "handshake 192.0.2.1: ")
	f("\x16\x03\x01\x02\x00\x01", "handshake 192.0.2.1: ")
}

// A client that sends a byte of its handshake at a time does not buy time with it.
func TestDrippedHandshakeIsCut(t *testing.T) {
	bubble(t, Config{TLS: tlsConfig(t)}, func(t *testing.T, p *pipes, l *Listener, r *refusals) {
		client := p.dial(t, "192.0.2.1")
		start := time.Now()
		for i := 0; ; i++ {
			record := append([]byte{0x16, 3, 1, 2, 0, 1}, make([]byte, 512)...)
			if _, err := client.Write(record[i : i+1]); err != nil {
				break
			}
			<-time.After(time.Second)
		}
		if took := time.Since(start); took > 11*time.Second {
			t.Errorf("cut after %v; want 10s", took)
		}
	})
}

func TestHandshakesThatFail(t *testing.T) {
	f := func(cfg Config, sent, want string) {
		t.Helper()
		bubble(t, cfg, func(t *testing.T, p *pipes, l *Listener, r *refusals) {
			client := p.dial(t, "192.0.2.1")
			go io.WriteString(client, sent)
			ended(t, client)
			synctest.Wait()
			if got := r.all(); !strings.HasPrefix(got, want) || l.Open() != 0 {
				t.Errorf("%q: %q, %d open; want %q", sent, got, l.Open(), want)
			}
		})
	}
	f(Config{}, "\x16\x03\x01", "handshake 192.0.2.1: TLS is not set up")
	f(Config{TLS: tlsConfig(t)}, "\x16GET / HTTP/1.1\r\n\r\n", "handshake 192.0.2.1: tls: ")
}

func TestCleartextIsRefused(t *testing.T) {
	f := func(rule Cleartext, peer string, want bool) {
		t.Helper()
		bubble(t, Config{TLS: tlsConfig(t), Cleartext: rule}, func(t *testing.T, p *pipes, l *Listener, r *refusals) {
			client := p.dial(t, peer)
			go io.WriteString(client, "GET / HTTP/1.1\r\n\r\n")
			if want {
				c, err := l.Accept()
				if err != nil {
					t.Fatalf("rule %d refuses %s: %v", rule, peer, err)
				}
				c.Close()
				return
			}
			got := ended(t, client)
			synctest.Wait()
			if !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.HasSuffix(got, "use https.\n") || r.all() != "cleartext "+peer {
				t.Errorf("rule %d answers %s with %q; refused %q", rule, peer, got, r.all())
			}
		})
	}
	f(Anyone, "192.0.2.1", true)
	f(Loopback, "127.0.0.1", true)
	f(Loopback, "127.8.8.8", true)
	f(Loopback, "::1", true)
	f(Loopback, "::ffff:127.0.0.1", true)
	f(Loopback, "192.0.2.1", false)
	f(Loopback, "2001:db8::1", false)
	f(Nobody, "127.0.0.1", false)
}

func TestConnectionsPerAddress(t *testing.T) {
	bubble(t, Config{PerAddress: 2}, func(t *testing.T, p *pipes, l *Listener, r *refusals) {
		first := p.dial(t, "2001:db8::1")
		p.dial(t, "2001:db8::2") // the same network
		synctest.Wait()
		if got := ended(t, p.dial(t, "2001:db8::3")); got != "" {
			t.Errorf("a third connection got %q", got)
		}
		p.dial(t, "2001:db8:0:1::1")
		p.dial(t, "192.0.2.1")
		synctest.Wait()
		if l.Open() != 4 || r.all() != "address 2001:db8::3" {
			t.Errorf("%d open, refused %q; want 4, and the third one of the first network", l.Open(), r.all())
		}
		first.Close()
		synctest.Wait()
		p.dial(t, "2001:db8::3")
		synctest.Wait()
		if l.Open() != 4 {
			t.Errorf("%d open after one of them went and another came, want 4", l.Open())
		}
	})
}

// What is over the cap waits where the system keeps it, and comes in as others go.
func TestConnectionsInAll(t *testing.T) {
	bubble(t, Config{Connections: 2}, func(t *testing.T, p *pipes, l *Listener, _ *refusals) {
		first := p.dial(t, "192.0.2.1")
		p.dial(t, "192.0.2.2")
		client, server := net.Pipe()
		waiting := from{server, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 3)}}
		defer client.Close()
		came := make(chan struct{})
		go func() { p.conns <- waiting; close(came) }()
		synctest.Wait()
		select {
		case <-came:
			t.Error("a third connection was accepted")
		default:
		}
		first.Close()
		<-came
	})
}

// A place is given back once, however often a connection is closed.
func TestPlacesAreGivenBackOnce(t *testing.T) {
	bubble(t, Config{Connections: 1}, func(t *testing.T, p *pipes, l *Listener, _ *refusals) {
		for range 3 {
			client := p.dial(t, "192.0.2.1")
			go io.WriteString(client, "x")
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if l.Open() != 1 {
				t.Errorf("%d open, want 1", l.Open())
			}
			c.Close()
			c.Close()
			if l.Open() != 0 {
				t.Errorf("%d open after it was closed, want 0", l.Open())
			}
		}
	})
}

func TestCloseEndsGreetings(t *testing.T) {
	bubble(t, Config{TLS: tlsConfig(t)}, func(t *testing.T, p *pipes, l *Listener, r *refusals) {
		silent, greeting, ready := p.dial(t, "192.0.2.1"), p.dial(t, "192.0.2.1"), p.dial(t, "192.0.2.1")
		go io.WriteString(greeting, "\x16\x03")
		go io.WriteString(ready, "GET")
		synctest.Wait()
		start := time.Now()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		for _, c := range []net.Conn{silent, greeting, ready} {
			ended(t, c)
		}
		if took := time.Since(start); took != 0 || l.Open() != 0 || r.all() != "" {
			t.Errorf("closing took %v, left %d open and refused %q; want none of it", took, l.Open(), r.all())
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
	})
}

// A connection that the server has keeps working when the listener closes: requests in flight finish.
func TestCloseLeavesAcceptedConnections(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, p *pipes, l *Listener, _ *refusals) {
		client := p.dial(t, "192.0.2.1")
		go io.WriteString(client, "x")
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		go c.Write([]byte("y"))
		var got [1]byte
		if _, err := io.ReadFull(client, got[:]); err != nil {
			t.Errorf("a connection in use was closed: %v", err)
		}
		c.Close()
	})
}

// passing is an error of accept that will pass.
type passing struct{ error }

func (passing) Temporary() bool { return true }

func TestErrorsOfAccept(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, p *pipes, l *Listener, _ *refusals) {
		start := time.Now()
		for range 10 {
			p.errs <- &net.OpError{Op: "accept", Err: passing{syscall.EMFILE}}
		}
		client := p.dial(t, "192.0.2.1")
		go io.WriteString(client, "x")
		c, err := l.Accept()
		if err != nil {
			t.Fatalf("after errors that pass: %v", err)
		}
		c.Close()
		if took := time.Since(start); took < time.Second || took > 5*time.Second {
			t.Errorf("ten errors took %v; want growing pauses of at most a second", took)
		}
		broken := errors.New("the network is gone")
		p.errs <- broken
		if _, err := l.Accept(); !errors.Is(err, broken) {
			t.Errorf("Accept returned %v, want the cause", err)
		}
	})
}

func TestNetwork(t *testing.T) {
	f := func(addr, want string) {
		t.Helper()
		if got := Network(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("Network(%s) = %s, want %s", addr, got, want)
		}
	}
	f("192.0.2.1", "192.0.2.1")
	f("::ffff:192.0.2.1", "192.0.2.1")
	f("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::")
	f("fe80::1%eth0", "fe80::")
	if got := Network(netip.Addr{}); got.IsValid() {
		t.Errorf("no address became %s", got)
	}
}

// Whatever a stranger sends, the connection ends up accepted or closed, and nothing else happens.
func FuzzGreeting(f *testing.F) {
	for _, seed := range []string{"", "G", "GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
		"\x16\x03\x03\xff\xff\x01\x00\xff\xff", "\x15\x03\x01\x00\x02\x02\x28", "\x80\x2e\x01\x03\x01"} {
		f.Add([]byte(seed))
	}
	cfg := tlsConfig(f)
	f.Fuzz(func(t *testing.T, sent []byte) {
		bubble(t, Config{TLS: cfg}, func(t *testing.T, p *pipes, l *Listener, r *refusals) {
			client := p.dial(t, "192.0.2.1")
			go io.Copy(io.Discard, client)
			go func() { client.Write(sent); client.Close() }()
			accepted := make(chan []byte, 1)
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				got, _ := io.ReadAll(c)
				accepted <- got
			}()
			synctest.Wait()
			open := len(sent) > 0 && sent[0] != handshakeByte
			select {
			case got := <-accepted:
				if !open || string(got) != string(sent) {
					t.Errorf("%q came out as %q", sent, got)
				}
			default:
				if open || r.all() == "" {
					t.Errorf("%q was not accepted; refused %q", sent, r.all())
				}
			}
			if l.Open() != 0 {
				t.Errorf("%q: %d connections are still there", sent, l.Open())
			}
		})
	})
}
