package sigv4

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// reading is one of the ways in which a request can be read, where clients differ in what they sign
// and the request does not say how. The first that matches the signature counts: each of them holds
// everything that is in the request, so what a signature is valid for does not depend on the way.
type reading struct {
	// host is the value of host and :authority. Producers of video sign it without the port that
	// they send.
	host string
	// path is the path before it is encoded.
	path string
	// plain keeps dot segments and empty segments: S3 does, and the SDK for Go always does.
	plain bool
}

// canonicalizer writes canonical requests. Its memory is used again by the next one.
type canonicalizer struct {
	buf   []byte
	arena []byte // names and values of the query, encoded
	pairs []pair
}

// pair is a query parameter: arena[start:equals] is its name, arena[equals:end] its value.
type pair struct{ start, equals, end int }

// request writes the canonical request of r but for its last line, the hash of the payload, and
// reports whether there is one: a query that cannot be decoded has none.
//
//	method
//	path, encoded
//	query, sorted
//	name:value of every signed header
//	(empty line)
//	names of the signed headers
func (z *canonicalizer) request(r *http.Request, c *Credential, way reading) (ok bool) {
	b := append(z.buf[:0], r.Method...)
	b = append(b, '\n')
	if way.plain {
		b = appendEncoded(b, way.path, true)
	} else {
		b = appendNormalized(b, way.path)
	}
	b = append(b, '\n')
	if r.URL.RawQuery != "" {
		z.buf = b
		if !z.query(r.URL.RawQuery, c.Presigned) {
			return false
		}
		b = z.buf
	}
	b = append(b, '\n')
	for rest, more := c.SignedHeaders, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, ";")
		b = appendHeader(b, r, name, way.host)
	}
	b = append(b, '\n')
	b = append(b, c.SignedHeaders...)
	z.buf = append(b, '\n')
	return true
}

// appendHeader writes one line: the name as the client sent it among the signed headers, and the
// header's values. A header that is not there counts as empty, as it does for AWS.
//
// net/http takes some headers out of the request, so they are put together again from where it keeps
// them.
func appendHeader(b []byte, r *http.Request, name, host string) []byte {
	b = append(b, name...)
	b = append(b, ':')
	var key [64]byte
	values := r.Header[string(appendKey(key[:0], name))]
	switch {
	case name == "host" || name == ":authority":
		b = appendValue(b, host)
	case values != nil:
		for i, v := range values {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, v)
		}
	case name == "transfer-encoding":
		b = append(b, strings.Join(r.TransferEncoding, ",")...)
	case name == "content-length" && r.ContentLength >= 0:
		b = strconv.AppendInt(b, r.ContentLength, 10)
	case name == "connection" && r.Close:
		b = append(b, "close"...)
	}
	return append(b, '\n')
}

// appendKey writes name as net/http spells it: what textproto.CanonicalMIMEHeaderKey returns for the
// name of a header, without making a string of it.
func appendKey(b []byte, name string) []byte {
	upper := true
	for i := range len(name) {
		c := name[i]
		switch {
		case upper && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		case !upper && 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		b = append(b, c)
		upper = c == '-'
	}
	return b
}

// appendValue writes a header's value without white space at its ends, and one space for each run of
// white space within.
func appendValue(b []byte, v string) []byte {
	start, space := len(b), false
	for i := range len(v) {
		if c := v[i]; c == ' ' || c == '\t' {
			space = true
			continue
		}
		if space && len(b) > start {
			b = append(b, ' ')
		}
		space = false
		b = append(b, v[i])
	}
	return b
}

// query writes the parameters in the order of their encoded names, then values. Those of a presigned
// URL lack the signature itself. ok is false for a query with a bad escape.
func (z *canonicalizer) query(raw string, presigned bool) (ok bool) {
	z.arena, z.pairs = z.arena[:0], z.pairs[:0]
	for more := true; more; {
		var parameter string
		parameter, raw, more = strings.Cut(raw, "&")
		if parameter == "" {
			continue
		}
		name, value, _ := strings.Cut(parameter, "=")
		p := pair{start: len(z.arena)}
		if z.arena, ok = appendRecoded(z.arena, name); !ok {
			return false
		}
		p.equals = len(z.arena)
		if z.arena, ok = appendRecoded(z.arena, value); !ok {
			return false
		}
		p.end = len(z.arena)
		if !presigned || string(z.name(p)) != "X-Amz-Signature" {
			z.pairs = append(z.pairs, p)
		}
	}
	slices.SortFunc(z.pairs, func(a, b pair) int {
		if by := bytes.Compare(z.name(a), z.name(b)); by != 0 {
			return by
		}
		return bytes.Compare(z.value(a), z.value(b))
	})
	for i, p := range z.pairs {
		if i > 0 {
			z.buf = append(z.buf, '&')
		}
		z.buf = append(z.buf, z.name(p)...)
		z.buf = append(z.buf, '=')
		z.buf = append(z.buf, z.value(p)...)
	}
	return true
}

func (z *canonicalizer) name(p pair) []byte  { return z.arena[p.start:p.equals] }
func (z *canonicalizer) value(p pair) []byte { return z.arena[p.equals:p.end] }

// appendRecoded writes part of a query in AWS's encoding, whatever its client's was: a form's plus
// sign is a space. ok is false for a percent sign that begins no escape.
func appendRecoded(b []byte, s string) (_ []byte, ok bool) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if i+2 >= len(s) {
				return b, false
			}
			high, low := unhex(s[i+1]), unhex(s[i+2])
			if high < 0 || low < 0 {
				return b, false
			}
			c = byte(high<<4 | low)
			i += 2
		}
		b = appendByte(b, c)
	}
	return b, true
}

// appendNormalized writes a path as it is once dot segments and empty segments are gone, encoded once
// more.
func appendNormalized(b []byte, path string) []byte {
	start := len(b)
	trailing := strings.HasSuffix(path, "/")
	for more := true; more; {
		var segment string
		segment, path, more = strings.Cut(path, "/")
		switch segment {
		case "", ".":
		case "..":
			if last := bytes.LastIndexByte(b[start:], '/'); last >= 0 {
				b = b[:start+last]
			}
		default:
			b = append(b, '/')
			b = appendEncoded(b, segment, false)
		}
	}
	if trailing || len(b) == start {
		b = append(b, '/')
	}
	return b
}

// isNormal reports whether appendNormalized leaves path as it is but for its encoding.
func isNormal(path string) bool {
	return path == "/" || strings.HasPrefix(path, "/") && !strings.Contains(path, "//") &&
		!strings.Contains(path+"/", "/./") && !strings.Contains(path+"/", "/../")
}

// appendEncoded writes s in AWS's encoding: every byte but letters, digits and -._~ as %XX.
func appendEncoded(b []byte, s string, slashes bool) []byte {
	for i := range len(s) {
		if slashes && s[i] == '/' {
			b = append(b, '/')
		} else {
			b = appendByte(b, s[i])
		}
	}
	return b
}

func appendByte(b []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	if 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~' {
		return append(b, c)
	}
	return append(b, '%', digits[c>>4], digits[c&15])
}

// unhex returns the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c - 'a' + 10)
	case 'A' <= c && c <= 'F':
		return int(c - 'A' + 10)
	}
	return -1
}
