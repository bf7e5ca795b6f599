package sigv4

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxChunkLine bounds a chunk's first line and a trailing header: the longest there are have
	// about 90 bytes.
	maxChunkLine = 512
	// maxTrailers bounds the number of trailing headers.
	maxTrailers = 8
	// chunkSignature begins the extension of a signed chunk, trailerSignature is the header that
	// signs the trailing headers.
	chunkSignature   = "chunk-signature="
	trailerSignature = "x-amz-trailer-signature"
)

// chunks reads a body in the encoding aws-chunked and hands on what is in it.
//
//	size in hex [;chunk-signature=64 hex digits] CRLF
//	size bytes CRLF
//	... the last chunk has size 0 and no bytes ...
//	[trailing header: value CRLF] [x-amz-trailer-signature: 64 hex digits CRLF]
//	CRLF
//
// A signature is over the chunk, the time, the scope and the signature before it, that of the request
// being the first: chunks can be neither changed nor left out nor moved. A chunk is handed on while it
// is read, and its signature is checked at its end.
type chunks struct {
	check *Check
	in    *bufio.Reader

	signed   bool
	previous string // the signature before the next one
	left     int64  // bytes of the current chunk that are not read yet
	within   bool   // a chunk's line was read, its end not
	expected string // the current chunk's signature
	sum      hash.Hash

	names     []string    // of the trailing headers, as announced
	checksums []hash.Hash // one for each
	content   int64       // bytes handed on
	announced int64       // bytes there should be

	done bool // all of it was read and is right
	err  error
	text []byte // the string to sign
}

// reset forgets the request.
func (k *chunks) reset() {
	k.in.Reset(nil)
	k.sum.Reset()
	*k = chunks{in: k.in, sum: k.sum, text: k.text[:0], names: k.names[:0], checksums: k.checksums[:0]}
}

// beginChunks prepares for a body in chunks.
func (c *Check) beginChunks() error {
	k := c.chunks
	if k == nil {
		k = &chunks{in: bufio.NewReader(nil), sum: sha256.New()}
		c.chunks = k
	}
	k.reset()
	k.check, k.previous = c, c.credential.Signature
	k.signed = c.hash != unsignedChunksTrailer
	length := c.r.Header.Get("X-Amz-Decoded-Content-Length")
	if length == "" {
		return refuse(Incomplete, decodedLengthIsRequired)
	}
	announced, err := strconv.ParseInt(length, 10, 64)
	if err != nil || announced < 0 {
		return refuse(Incomplete, decodedLengthIsRequired)
	}
	k.announced = announced
	if c.hash == signedChunks {
		return nil
	}
	for name := range strings.SplitSeq(strings.Join(c.r.Header.Values("X-Amz-Trailer"), ","), ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); name == "" {
			continue
		}
		sum := newChecksum(name)
		if sum == nil || len(k.names) == maxTrailers || slices.Contains(k.names, name) {
			return refuse(BadDigest, "The value specified in the x-amz-trailer header is not supported.")
		}
		k.names, k.checksums = append(k.names, name), append(k.checksums, sum)
	}
	if len(k.names) == 0 {
		return refuse(Incomplete, trailerIsRequired)
	}
	return nil
}

// Read implements io.Reader.
func (k *chunks) Read(p []byte) (int, error) {
	for k.err == nil {
		switch {
		case k.left > 0:
			return k.data(p)
		case k.within:
			k.err = k.endChunk()
		default:
			k.err = k.beginChunk()
		}
	}
	return 0, k.err
}

// data reads from within a chunk.
func (k *chunks) data(p []byte) (int, error) {
	n, err := k.in.Read(p[:min(int64(len(p)), k.left)])
	k.left -= int64(n)
	k.content += int64(n)
	if k.signed {
		_, _ = k.sum.Write(p[:n]) // never fails
	}
	for _, sum := range k.checksums {
		_, _ = sum.Write(p[:n]) // never fails
	}
	if err == io.EOF {
		err = badChunks()
	}
	k.err = err
	return n, err
}

// beginChunk reads a chunk's line. After that of the last chunk it reads all there is.
func (k *chunks) beginChunk() error {
	line, err := k.line()
	if err != nil {
		return inMidst(err)
	}
	size, extension, signed := strings.Cut(line, ";")
	if k.signed {
		k.expected, signed = strings.CutPrefix(extension, chunkSignature)
	}
	if signed != k.signed || size == "" || unhex(size[0]) < 0 {
		return badChunks()
	}
	k.left, err = strconv.ParseInt(size, 16, 64)
	switch {
	case err != nil || k.left > k.announced-k.content:
		k.left = 0
		return badChunks()
	case k.left == 0:
		return k.end()
	}
	k.within = true
	return nil
}

// endChunk checks a chunk's signature and reads what separates it from the next.
func (k *chunks) endChunk() error {
	k.within = false
	if err := k.verifyChunk(); err != nil {
		return err
	}
	line, err := k.line()
	if err == nil && line != "" {
		err = badChunks()
	}
	return inMidst(err)
}

func (k *chunks) verifyChunk() error {
	if !k.signed {
		return nil
	}
	return k.verify("AWS4-HMAC-SHA256-PAYLOAD", emptyHash, k.expected)
}

// line reads a line and returns it without its end, or io.EOF when there is nothing left.
func (k *chunks) line() (string, error) {
	line, err := k.in.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull || len(line) > maxChunkLine || err == io.EOF && len(line) > 0:
		return "", badChunks()
	case err != nil:
		return "", err
	}
	return strings.TrimSuffix(string(line[:len(line)-1]), "\r"), nil
}

// badChunks is the answer to a body that is not in the encoding, or ends early.
func badChunks() error {
	return refuse(Incomplete, "The request body is not what the aws-chunked encoding says.")
}

// inMidst turns the end of a body into an error.
func inMidst(err error) error {
	if err == io.EOF {
		return badChunks()
	}
	return err
}

// verify compares a signature with that of what k.sum has been fed, and starts it over.
func (k *chunks) verify(algorithm, between, signature string) error {
	c := k.check
	b := append(k.text[:0], algorithm...)
	b = c.appendScope(append(b, '\n'))
	b = append(b, '\n')
	b = append(b, k.previous...)
	b = append(b, '\n')
	if between != "" {
		b = append(append(b, between...), '\n')
	}
	k.text = hex.AppendEncode(b, k.sum.Sum(c.digest[:0]))
	k.sum.Reset()
	if !c.isSignature(k.text, signature) {
		return refuse(Invalid, "")
	}
	k.previous = signature
	return nil
}

// end checks the last chunk and reads what follows it: the trailing headers, and nothing else.
func (k *chunks) end() error {
	if k.content != k.announced {
		return badChunks()
	}
	if err := k.verifyChunk(); err != nil {
		return err
	}
	found := make([]string, len(k.names))
	signature := ""
	for n := 0; ; n++ {
		line, err := k.line()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if n > 2*maxTrailers {
			return badChunks()
		}
		if line == "" { // some clients end lines twice
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		name, value = strings.ToLower(name), strings.TrimSpace(value)
		i := slices.Index(k.names, name)
		switch {
		case name == trailerSignature && signature == "":
			signature = value
		case i < 0 || found[i] != "":
			return badChunks()
		default:
			found[i] = value
		}
	}
	if err := k.verifyTrailers(found, signature); err != nil {
		return err
	}
	k.done = true
	return io.EOF
}

// verifyTrailers checks the trailing headers' signature, then what they say.
func (k *chunks) verifyTrailers(found []string, signature string) error {
	if k.signed && len(found) > 0 {
		order := make([]int, len(found))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int { return strings.Compare(k.names[a], k.names[b]) })
		for _, i := range order {
			_, _ = io.WriteString(k.sum, k.names[i]+":"+found[i]+"\n") // never fails
		}
		if err := k.verify("AWS4-HMAC-SHA256-TRAILER", "", signature); err != nil {
			return err
		}
	} else if signature != "" {
		return badChunks()
	}
	for i, sum := range k.checksums {
		if !isChecksum(sum, found[i]) {
			algorithm := strings.ToUpper(strings.TrimPrefix(k.names[i], checksumPrefix))
			return refuse(BadDigest, "The "+algorithm+" you specified did not match the calculated checksum.")
		}
	}
	return nil
}
