// Package strangers is a crowd of clients that hold connections and waste a server's time: they send
// headers, bodies and handshakes a byte at a time, take answers a byte at a time, and leave streams of
// HTTP/2 open. Tests and measurements of the shipped binary stand it beside a client that behaves.
//
// It attacks nothing that an honest client could not do by accident, and it floods nobody: what it
// uses up is connections and patience.
//
//	crowd := strangers.Gather(strangers.Config{Address: addr, Connections: 1000})
//	defer crowd.Leave()
package strangers

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Kind is a way to waste time.
type Kind int

// The kinds, which a crowd has in equal parts.
const (
	// Headers sends a request's header a byte at a time.
	Headers Kind = iota
	// Bodies announces a large body and sends it a byte at a time.
	Bodies
	// SecureBodies does so in TLS.
	SecureBodies
	// Handshakes sends the first message of TLS a byte at a time.
	Handshakes
	// Readers asks for a large answer and takes it a byte at a time.
	Readers
	// Streams opens streams of HTTP/2, announces bodies on them and sends nothing.
	Streams
	// Silent sends nothing at all.
	Silent
	kinds
)

// String returns the kind's name.
func (k Kind) String() string {
	return [...]string{"headers", "bodies", "secure bodies", "handshakes", "readers", "streams", "silent"}[k]
}

// Config says where the crowd goes and how large it is.
type Config struct {
	// Address is the server's, host:port.
	Address string
	// Connections is how many there are at a time: one that is cut is opened again.
	Connections int
	// Answer is the body of a GetRecords call with a large answer, for Readers. It may be used often.
	Answer string
}

const (
	// drip is the pause between two bytes.
	drip = 250 * time.Millisecond
	// openStreams is how many streams each client of HTTP/2 has.
	openStreams = 4
	// announced is the size of the bodies that never come.
	announced = 10 << 20
	// redial is the pause before a connection that was cut is opened again.
	redial = 100 * time.Millisecond
)

// Crowd is the clients. Its methods are safe for concurrent use.
type Crowd struct {
	cfg     Config
	stop    context.CancelFunc
	running sync.WaitGroup
	open    [kinds]atomic.Int64
	cut     [kinds]atomic.Int64
}

// Gather starts the crowd. Leave ends it.
func Gather(cfg Config) *Crowd {
	ctx, stop := context.WithCancel(context.Background())
	c := &Crowd{cfg: cfg, stop: stop}
	for i := range cfg.Connections {
		c.running.Go(func() { c.client(ctx, Kind(i%int(kinds))) })
	}
	return c
}

// Leave closes all connections and waits for the clients to end.
func (c *Crowd) Leave() {
	c.stop()
	c.running.Wait()
}

// Open returns how many connections there are.
func (c *Crowd) Open() (n int) {
	for i := range c.open {
		n += int(c.open[i].Load())
	}
	return n
}

// Cut returns how many connections of a kind the server has closed.
func (c *Crowd) Cut(k Kind) int { return int(c.cut[k].Load()) }

// Kinds returns all kinds.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for k := range all {
		all[k] = Kind(k)
	}
	return all
}

// client holds a connection, and another when that is cut, until ctx is done.
func (c *Crowd) client(ctx context.Context, k Kind) {
	for pause(ctx, redial) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", c.cfg.Address)
		if err != nil {
			continue
		}
		leave := context.AfterFunc(ctx, func() { _ = conn.Close() }) // which ends its reads and writes
		c.open[k].Add(1)
		c.waste(ctx, k, conn)
		c.open[k].Add(-1)
		if leave() {
			c.cut[k].Add(1)
			_ = conn.Close() // the server has done so already
		}
	}
}

// pause reports false when ctx is done first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// waste uses the connection until the server closes it.
func (c *Crowd) waste(ctx context.Context, k Kind, conn net.Conn) {
	switch k {
	case Headers:
		dripOut(ctx, conn, endless("POST / HTTP/1.1\r\nHost: localhost\r\nX-Long: "))
	case Bodies:
		body(ctx, conn)
	case SecureBodies:
		body(ctx, tls.Client(conn, &tls.Config{InsecureSkipVerify: true}))
	case Handshakes:
		// A record of 512 bytes with the beginning of a message of as many.
		dripOut(ctx, conn, append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 252}, make([]byte, 503)...))
	case Readers:
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(4 << 10) // the less the system takes, the more waits in the server
		}
		if _, err := io.WriteString(conn, request("GetRecords", len(c.cfg.Answer))+c.cfg.Answer); err == nil {
			dripIn(ctx, conn)
		}
	case Streams:
		streams(conn)
	case Silent:
		_, _ = conn.Read(make([]byte, 1)) // until it is cut
	}
}

// request is the header of a signed call.
func request(operation string, length int) string {
	return "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Date: 20260101T000000Z\r\nAuthorization: " + authorization +
		"\r\nX-Amz-Target: Kinesis_20131202." + operation + "\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: " + fmt.Sprint(length) + "\r\n\r\n"
}

// authorization has the form of a signature, which is all that a development server looks at.
const authorization = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"

// endless is a beginning that goes on for longer than anybody waits.
func endless(beginning string) []byte {
	text := make([]byte, 64<<10)
	for i := range text {
		text[i] = 'x'
	}
	copy(text, beginning)
	return text
}

func body(ctx context.Context, conn net.Conn) {
	if _, err := io.WriteString(conn, request("PutRecord", announced)+`{"StreamName":"`); err == nil {
		dripOut(ctx, conn, endless(""))
	}
}

// dripOut sends text a byte at a time, and then holds the connection.
func dripOut(ctx context.Context, conn net.Conn, text []byte) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, conn) // an answer means that the server has had enough
	}()
	defer func() {
		_ = conn.Close() // ends the copy
		<-ended
	}()
	for i := range text {
		if _, err := conn.Write(text[i : i+1]); err != nil {
			return
		}
		t := time.NewTimer(drip)
		select {
		case <-t.C:
		case <-ended:
			t.Stop()
			return
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
	<-ended
}

// dripIn takes what the server sends a byte at a time.
func dripIn(ctx context.Context, conn net.Conn) {
	for one := make([]byte, 1); pause(ctx, drip); {
		if _, err := conn.Read(one); err != nil {
			return
		}
	}
}

// streams speaks HTTP/2: it opens streams whose bodies never come, and more when those are answered.
func streams(conn net.Conn) {
	const (
		headers, settings, ping  = 1, 4, 6
		ack, endHeaders, endBody = 1, 4, 1
	)
	frame := func(kind, flags byte, stream uint32, payload []byte) error {
		h := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
		h = append(h, flags)
		h = binary.BigEndian.AppendUint32(h, stream)
		_, err := conn.Write(append(h, payload...))
		return err
	}
	block := headerBlock()
	next := uint32(1)
	open := func() error {
		err := frame(headers, endHeaders, next, block)
		next += 2
		return err
	}
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil || frame(settings, 0, 0, nil) != nil {
		return
	}
	for range openStreams {
		if open() != nil {
			return
		}
	}
	// What the server says is read, so that it is answered as a client would and streams that end are
	// replaced.
	var head [9]byte
	for {
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		payload := make([]byte, binary.BigEndian.Uint32(head[:])>>8)
		if _, err := io.ReadFull(conn, payload); err != nil {
			return
		}
		kind, flags := head[3], head[4]
		var err error
		switch {
		case kind == settings && flags&ack == 0:
			err = frame(settings, ack, 0, nil)
		case kind == ping && flags&ack == 0:
			err = frame(ping, ack, 0, payload)
		case kind <= headers && flags&endBody != 0:
			err = open()
		}
		if err != nil {
			return
		}
	}
}

// headerBlock is a signed call's header as HPACK writes it without its tables: two of the three
// fields that have numbers, and literals.
func headerBlock() []byte {
	b := []byte{0x83, 0x86, 0x84} // :method POST, :scheme http, :path /
	for _, f := range [][2]string{
		{":authority", "localhost"}, {"x-amz-date", "20260101T000000Z"}, {"authorization", authorization},
		{"x-amz-target", "Kinesis_20131202.PutRecord"}, {"content-type", "application/x-amz-json-1.1"}, {"content-length", fmt.Sprint(announced)},
	} {
		b = append(b, 0)
		for _, s := range f {
			b = hpackLength(b, len(s))
			b = append(b, s...)
		}
	}
	return b
}

// hpackLength appends a length as HPACK writes those of texts that are not compressed: seven bits, and
// the rest in groups of seven.
func hpackLength(b []byte, n int) []byte {
	if n < 127 {
		return append(b, byte(n))
	}
	return binary.AppendUvarint(append(b, 127), uint64(n-127))
}
