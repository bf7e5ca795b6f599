package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// maxRecord is the largest record any stream takes.
const maxRecord = 10 << 20

// lineReader reads lines ahead of whoever sends them.
//
// Reading has a goroutine of its own for two reasons: a read from a terminal or a pipe cannot be
// interrupted, so a cancelled command must be able to leave it behind; and what has been read ahead
// says how much can go into the next request. Input faster than the network fills whole requests;
// lines that trickle in are sent as they come.
type lineReader struct {
	groups chan [][]byte
	group  [][]byte // what is left of the group received last
	err    error    // why groups was closed; read it after that
}

const (
	// groupBytes is how much is handed over at a time, unless the reader would have to wait for
	// more, and readAhead how many such groups may lie ready: enough to fill a request.
	groupBytes = 64 << 10
	readAhead  = 16
)

// newLineReader starts reading r. The goroutine ends at the end of r, or with ctx once the read
// under way returns.
func newLineReader(ctx context.Context, r io.Reader) *lineReader {
	l := &lineReader{groups: make(chan [][]byte, readAhead)}
	go func() {
		defer close(l.groups)
		l.err = l.read(ctx, bufio.NewReaderSize(r, groupBytes))
	}()
	return l
}

func (l *lineReader) read(ctx context.Context, r *bufio.Reader) error {
	var group [][]byte
	size := 0
	for n := 1; ; n++ {
		line, err := readLine(r)
		if err == nil || errors.Is(err, io.EOF) && len(line) > 0 {
			group = append(group, line)
			size += len(line)
		}
		if len(group) > 0 && (err != nil || size >= groupBytes || r.Buffered() == 0) {
			select {
			case l.groups <- group:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			group, size = nil, 0
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read line %d: %w", n, err)
		}
	}
}

// next returns the next line, and false at the end. When none is there yet, it calls wait first.
func (l *lineReader) next(ctx context.Context, wait func() error) (line []byte, more bool, err error) {
	if len(l.group) == 0 {
		if l.group, more, err = l.receive(ctx, wait); !more || err != nil {
			return nil, false, err
		}
	}
	line, l.group = l.group[0], l.group[1:]
	return line, true, nil
}

func (l *lineReader) receive(ctx context.Context, wait func() error) (group [][]byte, more bool, err error) {
	select {
	case group, more = <-l.groups:
		return group, more, nil
	default:
	}
	if err := wait(); err != nil {
		return nil, false, err
	}
	select {
	case group, more = <-l.groups:
		return group, more, nil
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
}

var errLongLine = fmt.Errorf("longer than %d bytes, the most a record can hold", maxRecord)

// readLine returns the next line without its newline, and io.EOF with a last line that has none.
// All other bytes are kept, a carriage return too. The error is io.EOF with no bytes at the end.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxRecord+1 {
			return nil, errLongLine
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return line, err
		}
		return bytes.TrimSuffix(line, []byte("\n")), nil
	}
}
