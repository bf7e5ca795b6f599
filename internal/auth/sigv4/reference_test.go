package sigv4_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"
)

// The second opinion: Signature Version 4 as AWS describes it, as plainly as it can be written. It
// shares no code with the package.

// reference is a request as its signer sees it.
type reference struct {
	method, path, query string // the path and the query as they are in the URL
	plainPath           bool
	presigned           bool
	header              func(name string) []string // the values of a signed header
	signed              string                     // names of the signed headers
	payload             string
	date, region        string
	service, time       string
	secret              string
}

// referenceOf reads r as a server does.
func referenceOf(r *http.Request, host string) reference {
	return reference{
		method: r.Method, path: r.URL.EscapedPath(), query: r.URL.RawQuery,
		header: func(name string) []string {
			switch {
			case name == "host" || name == ":authority":
				return []string{host}
			case r.Header[http.CanonicalHeaderKey(name)] != nil:
				return r.Header[http.CanonicalHeaderKey(name)]
			case name == "transfer-encoding":
				return r.TransferEncoding
			case name == "content-length" && r.ContentLength >= 0:
				return []string{strconv.Itoa(int(r.ContentLength))}
			case name == "connection" && r.Close:
				return []string{"close"}
			}
			return nil
		},
	}
}

func (f reference) canonical() string {
	var headers strings.Builder
	for _, name := range strings.Split(f.signed, ";") {
		var values []string
		for _, v := range f.header(name) {
			values = append(values, strings.Join(strings.FieldsFunc(v, func(c rune) bool { return c == ' ' || c == '\t' }), " "))
		}
		headers.WriteString(name + ":" + strings.Join(values, ",") + "\n")
	}
	return strings.Join([]string{f.method, f.canonicalPath(), f.canonicalQuery(), headers.String(), f.signed, f.payload}, "\n")
}

func (f reference) canonicalPath() string {
	if f.plainPath {
		return referenceEncode(referenceDecode(f.path, false), "/")
	}
	var kept []string
	for _, segment := range strings.Split(f.path, "/") {
		switch {
		case segment == "" || segment == ".":
		case segment == ".." && len(kept) > 0:
			kept = kept[:len(kept)-1]
		case segment != "..":
			kept = append(kept, referenceEncode(segment, ""))
		}
	}
	path := "/" + strings.Join(kept, "/")
	if strings.HasSuffix(f.path, "/") && len(kept) > 0 {
		path += "/"
	}
	return path
}

func (f reference) canonicalQuery() string {
	type parameter struct{ name, value string }
	var all []parameter
	for _, part := range strings.Split(f.query, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		p := parameter{referenceEncode(referenceDecode(name, true), ""), referenceEncode(referenceDecode(value, true), "")}
		if f.presigned && p.name == "X-Amz-Signature" {
			continue
		}
		all = append(all, p)
	}
	sort.SliceStable(all, func(i, j int) bool {
		if all[i].name != all[j].name {
			return all[i].name < all[j].name
		}
		return all[i].value < all[j].value
	})
	var parts []string
	for _, p := range all {
		parts = append(parts, p.name+"="+p.value)
	}
	return strings.Join(parts, "&")
}

func (f reference) signature() string {
	sum := sha256.Sum256([]byte(f.canonical()))
	text := "AWS4-HMAC-SHA256\n" + f.time + "\n" + f.date + "/" + f.region + "/" + f.service + "/aws4_request\n" + hex.EncodeToString(sum[:])
	return hex.EncodeToString(referenceMAC(referenceKey(f.secret, f.date, f.region, f.service), text))
}

func referenceKey(secret, date, region, service string) []byte {
	key := []byte("AWS4" + secret)
	for _, part := range []string{date, region, service, "aws4_request"} {
		key = referenceMAC(key, part)
	}
	return key
}

func referenceMAC(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func referenceEncode(s, keep string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"+keep, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func referenceDecode(s string, form bool) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+' && form:
			b.WriteByte(' ')
		case s[i] == '%':
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				panic(err)
			}
			b.WriteByte(byte(n))
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
