// Package listener is the front of the one port: it accepts connections, bounds how many there are
// in all and from one address, tells TLS from cleartext by the first byte, and does the handshake.
// What comes out of Accept is ready to speak HTTP, in cleartext or in TLS.
//
// It is not a server: it reads no request and answers none, but for the one line that tells a client
// to use TLS. It makes no certificate (package certificate does) and has no opinion about callers.
//
//	l := listener.New(inner, listener.Config{TLS: tlsConfig, Connections: 8192, PerAddress: 2048})
//	err := httpServer.Serve(l) // which closes l
//
// # HTTP/2 in TLS without ALPN
//
// Some Kinesis clients begin to speak HTTP/2 in TLS without having negotiated it: older AWS SDKs for
// Java, and Netty clients that are told to assume the protocol. The server of net/http serves HTTP/2
// in a *tls.Conn only when ALPN chose it, and looks for HTTP/2's preface only in connections that it
// takes for cleartext. So Accept returns a Conn, which hides the TLS below it: HTTP/1.1 and HTTP/2
// are told apart by what the client sends, whatever ALPN said. The price is that net/http does not
// know of the TLS; Conn.TLS does.
//
// # What a stranger can hold
//
// Until its first byte and, in TLS, until the end of its handshake a connection has a goroutine and a
// few hundred bytes here and nothing in the HTTP server, for Timeout at most.
package listener

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/headrace/headrace/internal/clock"
)

// Cleartext says which peers may do without TLS.
type Cleartext uint8

const (
	// Anyone may speak cleartext.
	Anyone Cleartext = iota
	// Loopback lets this machine speak cleartext: health checks, a proxy beside the server.
	Loopback
	// Nobody may.
	Nobody
)

// Refusal is why a connection was closed before it got to speak HTTP.
type Refusal string

const (
	// RefusedAddress is a connection from an address that has PerAddress of them already.
	RefusedAddress Refusal = "address"
	// RefusedSilent is one whose first byte did not come.
	RefusedSilent Refusal = "silent"
	// RefusedCleartext is one without TLS where it is asked for.
	RefusedCleartext Refusal = "cleartext"
	// RefusedHandshake is one whose TLS handshake failed or took too long. Clients that do not trust
	// the certificate end here.
	RefusedHandshake Refusal = "handshake"
)

// Config says who may connect and how. The zero value takes everybody in cleartext, one address up
// to the number of all.
type Config struct {
	// TLS is what handshakes are made with; nil refuses clients that begin one.
	TLS *tls.Config
	// Cleartext says which peers may do without TLS.
	Cleartext Cleartext
	// Connections is how many there may be at a time: further ones wait in the system's queue.
	// 0 means 8192.
	Connections int
	// PerAddress is how many one IPv4 address or one IPv6 network of 64 bits may have; further ones
	// are closed. 0 means no bound but Connections.
	PerAddress int
	// Timeout is how long a connection may take from its opening to the end of its handshake; without
	// TLS, to its first byte. 0 means 10 s.
	Timeout time.Duration
	// Refused, if set, hears of every connection that is closed before it got to speak HTTP. The
	// error is the handshake's, or nil. It is called by many goroutines.
	Refused func(why Refusal, peer net.Addr, err error)
}

const (
	defaultConnections = 8 << 10
	defaultTimeout     = 10 * time.Second
	// lastAcceptPause is how long accepting rests at most when the system cannot give a connection.
	lastAcceptPause = time.Second
)

// Listener is a net.Listener whose connections are *Conn. It is safe for concurrent use.
type Listener struct {
	inner   net.Listener
	cfg     Config
	ready   chan *Conn
	places  chan struct{} // as many as there are connections
	done    chan struct{} // closed by Close
	running sync.WaitGroup

	mu struct {
		sync.Mutex
		closed   bool
		err      error                 // why inner failed
		greeting map[net.Conn]struct{} // connections that Accept has not returned yet
		from     map[netip.Addr]int    // connections by address
	}
}

// New accepts from inner, which it owns from now on, until Close.
func New(inner net.Listener, cfg Config) *Listener {
	if cfg.Connections == 0 {
		cfg.Connections = defaultConnections
	}
	if cfg.PerAddress == 0 {
		cfg.PerAddress = cfg.Connections
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Refused == nil {
		cfg.Refused = func(Refusal, net.Addr, error) {}
	}
	l := &Listener{
		inner: inner, cfg: cfg,
		ready:  make(chan *Conn),
		places: make(chan struct{}, cfg.Connections),
		done:   make(chan struct{}),
	}
	l.mu.greeting = map[net.Conn]struct{}{}
	l.mu.from = map[netip.Addr]int{}
	l.running.Go(l.accept)
	return l
}

// Accept returns the next connection that is ready to speak HTTP, a *Conn. After Close it returns
// net.ErrClosed, and the cause when the listener below failed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.done:
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.mu.err != nil {
			return nil, l.mu.err
		}
		return nil, net.ErrClosed
	}
}

// Addr returns the address listened on.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Open returns how many connections there are, those that Accept has not returned yet among them.
func (l *Listener) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, m := range l.mu.from {
		n += m
	}
	return n
}

// Close stops accepting, closes the connections that Accept has not returned and waits for the
// goroutines that greeted them. Those that it has returned stay open and their closing is somebody
// else's.
func (l *Listener) Close() error {
	err := l.shut(nil)
	l.running.Wait()
	return err
}

// shut ends accepting, because of cause if there is one.
func (l *Listener) shut(cause error) error {
	l.mu.Lock()
	if l.mu.closed {
		l.mu.Unlock()
		return nil
	}
	l.mu.closed, l.mu.err = true, cause
	close(l.done)
	greeting := l.mu.greeting
	l.mu.greeting = nil
	l.mu.Unlock()
	for conn := range greeting {
		_ = conn.Close() // nobody was served on it
	}
	return l.inner.Close()
}

// accept takes connections off the system's queue for as long as there are places.
func (l *Listener) accept() {
	pause := time.Duration(0)
	for {
		select {
		case l.places <- struct{}{}:
		case <-l.done:
			return
		}
		conn, err := l.inner.Accept()
		if err != nil {
			<-l.places
			if pause = min(max(2*pause, 5*time.Millisecond), lastAcceptPause); l.rest(err, pause) {
				continue
			}
			return
		}
		pause = 0
		l.admit(conn)
	}
}

// rest waits after an error of accept that will pass, such as too many open files. It reports false
// when there is no going on.
func (l *Listener) rest(err error, pause time.Duration) bool {
	var passing interface{ Temporary() bool }
	if !errors.As(err, &passing) || !passing.Temporary() {
		_ = l.shut(err) // err is the one to tell
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.done:
		return false
	}
}

// admit gives a connection that has a place the goroutine that greets it, if its address may have
// one more.
func (l *Listener) admit(conn net.Conn) {
	from := network(conn.RemoteAddr())
	l.mu.Lock()
	closed, full := l.mu.closed, l.mu.from[from] >= l.cfg.PerAddress
	if closed || full {
		l.mu.Unlock()
		<-l.places
		_ = conn.Close() // nobody was served on it
		if full {
			l.cfg.Refused(RefusedAddress, conn.RemoteAddr(), nil)
		}
		return
	}
	l.mu.from[from]++
	l.mu.greeting[conn] = struct{}{}
	l.mu.Unlock()
	c := &Conn{Conn: conn, leave: func() { l.leave(conn, from) }}
	l.running.Go(func() { l.greet(c, conn) })
}

// leave gives back the place of a connection that was closed.
func (l *Listener) leave(conn net.Conn, from netip.Addr) {
	l.mu.Lock()
	delete(l.mu.greeting, conn)
	if l.mu.from[from]--; l.mu.from[from] == 0 {
		delete(l.mu.from, from)
	}
	l.mu.Unlock()
	<-l.places
}

// greet makes a connection ready and hands it to Accept.
func (l *Listener) greet(c *Conn, raw net.Conn) {
	_ = raw.SetDeadline(deadline(l.cfg.Timeout)) // a connection that takes none has failed
	if why, err := l.secure(c, raw); why != "" {
		if why == RefusedCleartext {
			explain(raw)
		}
		_ = c.Close() // nobody was served on it
		if why == served {
			return
		}
		select {
		case <-l.done: // which closed it
		default:
			l.cfg.Refused(why, raw.RemoteAddr(), err)
		}
		return
	}
	_ = raw.SetDeadline(time.Time{})
	l.mu.Lock()
	delete(l.mu.greeting, raw)
	l.mu.Unlock()
	select {
	case l.ready <- c:
	case <-l.done:
		_ = c.Close() // nobody was served on it
	}
}

// served stands for a client that wanted nothing but the handshake, such as an ACME authority's: ALPN
// chose a protocol that is not HTTP.
const served Refusal = "served"

// handshakeByte begins every TLS record of a handshake, and no request of any version of HTTP.
const handshakeByte = 0x16

// secure reads the first byte and does the handshake that it announces. A connection that may not
// speak HTTP has a Refusal.
func (l *Listener) secure(c *Conn, raw net.Conn) (Refusal, error) {
	opened := &opened{Conn: raw}
	if _, err := io.ReadFull(raw, opened.first[:]); err != nil {
		return RefusedSilent, nil
	}
	c.Conn = opened
	if opened.first[0] != handshakeByte {
		if !l.mayTalkOpenly(raw.RemoteAddr()) {
			return RefusedCleartext, nil
		}
		return "", nil
	}
	if l.cfg.TLS == nil {
		return RefusedHandshake, errors.New("TLS is not set up")
	}
	secured := tls.Server(opened, l.cfg.TLS)
	if err := secured.Handshake(); err != nil {
		return RefusedHandshake, err
	}
	state := secured.ConnectionState()
	c.Conn, c.state = secured, &state
	if p := state.NegotiatedProtocol; p != "" && p != "h2" && p != "http/1.1" {
		return served, nil
	}
	return "", nil
}

// mayTalkOpenly says whether a peer may do without TLS.
func (l *Listener) mayTalkOpenly(peer net.Addr) bool {
	switch l.cfg.Cleartext {
	case Anyone:
		return true
	case Loopback:
		addr, ok := addressOf(peer)
		return ok && addr.IsLoopback()
	}
	return false
}

// explain tells a client in cleartext what it should have done, in HTTP/1.1, which those of HTTP/2
// show as well when they report what they could not understand.
func explain(raw net.Conn) {
	const patience = time.Second // for the client to read it
	_ = raw.SetDeadline(deadline(patience))
	const text = "This port wants TLS: use https.\n"
	_, err := raw.Write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" + text))
	half, ok := raw.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		return
	}
	// A connection closed over unread bytes is reset, and the client may never see the line.
	var sink [512]byte
	for unread := 64 << 10; unread > 0; {
		n, err := raw.Read(sink[:])
		if err != nil {
			return
		}
		unread -= n
	}
}

// deadline returns the machine's time d from now: sockets do not follow an injected clock.
func deadline(d time.Duration) time.Time { return clock.System{}.Now().Add(d) }

// addressOf returns a peer's address; false for one that has none.
func addressOf(peer net.Addr) (netip.Addr, bool) {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	addr, ok := netip.AddrFromSlice(tcp.IP)
	return addr.Unmap(), ok
}

// network returns what counts as one address: an IPv4 address, or the first 64 bits of an IPv6
// address, since whoever has one of those has all that share them.
func network(peer net.Addr) netip.Addr {
	addr, _ := addressOf(peer)
	return Network(addr)
}

// Network returns the part of an address that stands for one peer: all of an IPv4 address, also of
// one that is written as IPv6, and the first 64 bits of an IPv6 address.
func Network(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr // never: 64 bits are there
	}
	return prefix.Addr()
}
