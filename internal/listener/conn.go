package listener

import (
	"crypto/tls"
	"net"
	"sync"
)

// Conn is a connection that is ready to speak HTTP. Reads and writes are those of the TLS connection
// or, in cleartext, of the socket.
type Conn struct {
	net.Conn
	state *tls.ConnectionState
	leave func()
	once  sync.Once
}

// TLS returns what the handshake agreed on; nil in cleartext. Nobody writes to it.
//
// It is not called ConnectionState because net/http looks for that, and would then not look for
// HTTP/2's preface.
func (c *Conn) TLS() *tls.ConnectionState { return c.state }

// Close closes the connection and gives its place back. Only the first call does anything.
func (c *Conn) Close() (err error) {
	c.once.Do(func() {
		err = c.Conn.Close()
		c.leave()
	})
	return err
}

// CloseWrite ends what is sent and leaves the other direction open, where the connection can: a
// client then reads an answer that came before its request was read.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// opened is a socket of which one byte has been read.
type opened struct {
	net.Conn
	first [1]byte
	given bool
}

// Read gives the byte that was read first, and then reads.
func (o *opened) Read(p []byte) (int, error) {
	if o.given {
		return o.Conn.Read(p)
	}
	n := copy(p, o.first[:])
	o.given = n > 0
	return n, nil
}

// CloseWrite passes on to a socket that can.
func (o *opened) CloseWrite() error {
	if half, ok := o.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
