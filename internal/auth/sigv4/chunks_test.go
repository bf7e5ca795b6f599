package sigv4_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/secret"
)

// bucket is a service that takes all kinds of bodies.
var bucket = sigv4.Rules{Service: "s3", PlainPath: true, Payloads: sigv4.Chunked | sigv4.Unsigned}

// The examples of AWS's documentation: 65 KiB of the letter a, in chunks of 64 KiB.
func TestPublishedChunks(t *testing.T) {
	const id = "AKIAIOSFODNN7EXAMPLE"
	keys := keyTable{id: {Secret: secret.NewText("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), Active: true}}
	v := sigv4.NewVerifier(keys, clock.NewManual(time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)))
	f := func(payload, signed, seed string, signatures []string, trailer string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodPut, "http://s3.amazonaws.com/examplebucket/chunkObject.txt", nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{
			"X-Amz-Date": "20130524T000000Z", "X-Amz-Storage-Class": "REDUCED_REDUNDANCY", "Content-Encoding": "aws-chunked",
			"X-Amz-Content-Sha256": payload, "X-Amz-Decoded-Content-Length": "66560", "Content-Length": "66824",
			"Authorization": "AWS4-HMAC-SHA256 Credential=" + id + "/20130524/us-east-1/s3/aws4_request,SignedHeaders=" + signed + ",Signature=" + seed,
		} {
			r.Header.Set(name, value)
		}
		if trailer != "" {
			r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32c")
		}
		want := bytes.Repeat([]byte("a"), 66560)
		body := fmt.Sprintf("10000;chunk-signature=%s\r\n%s\r\n400;chunk-signature=%s\r\n%s\r\n0;chunk-signature=%s\r\n%s\r\n",
			signatures[0], want[:65536], signatures[1], want[65536:], signatures[2], trailer)
		if _, got, err := verify(v, r, []byte(body), bucket); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %d bytes, %v", payload, len(got), err)
		}
	}
	f("STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
		"content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
		"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
		[]string{
			"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
			"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
			"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
		}, "")
	f("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
		"content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
		"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
		[]string{
			"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
			"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
			"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
		},
		"x-amz-checksum-crc32c:sOO8/Q==\n\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\n\r\n")
}

// chunkedBody is a body in the encoding, written by the book.
type chunkedBody struct {
	signed   bool
	trailers []string // names
	values   []string
	sizes    []int
}

// upload returns a signed request with that body, which holds content.
func (b chunkedBody) upload(t testing.TB, content []byte) (*http.Request, []byte) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPut, "http://h/bucket/key", nil)
	if err != nil {
		t.Fatal(err)
	}
	payload := "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	switch {
	case !b.signed:
		payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	case len(b.trailers) > 0:
		payload += "-TRAILER"
	}
	stamp := noon.Format("20060102T150405Z")
	r.Header.Set("X-Amz-Date", stamp)
	r.Header.Set("X-Amz-Content-Sha256", payload)
	r.Header.Set("X-Amz-Decoded-Content-Length", strconv.Itoa(len(content)))
	signed := "host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length"
	if len(b.trailers) > 0 {
		r.Header.Set("X-Amz-Trailer", strings.Join(b.trailers, ","))
		signed += ";x-amz-trailer"
	}
	by := referenceOf(r, "h")
	by.plainPath, by.signed, by.payload = true, signed, payload
	by.secret, by.time, by.date, by.region, by.service = hidden, stamp, stamp[:8], "eu-west-1", "s3"
	seed := by.signature()
	scope := by.date + "/eu-west-1/s3/aws4_request"
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+keyID+"/"+scope+", SignedHeaders="+signed+", Signature="+seed)
	return r, b.body(content, stamp+"\n"+scope+"\n", seed)
}

func (b chunkedBody) body(content []byte, scope, previous string) []byte {
	var out bytes.Buffer
	key := referenceKey(hidden, noon.Format("20060102"), "eu-west-1", "s3")
	sign := func(algorithm, text string) string {
		previous = hex.EncodeToString(referenceMAC(key, algorithm+"\n"+scope+previous+"\n"+text))
		return previous
	}
	sizes := append(b.sizes, len(content), 0)
	for _, size := range sizes {
		chunk := content[:min(size, len(content))]
		content = content[len(chunk):]
		if len(chunk) == 0 && size != 0 {
			continue
		}
		fmt.Fprintf(&out, "%x", len(chunk))
		if b.signed {
			fmt.Fprintf(&out, ";chunk-signature=%s", sign("AWS4-HMAC-SHA256-PAYLOAD", hashOf(nil)+"\n"+hashOf(chunk)))
		}
		out.WriteString("\r\n")
		if len(chunk) == 0 {
			break
		}
		out.Write(chunk)
		out.WriteString("\r\n")
	}
	var trailers string
	for i, name := range b.trailers {
		trailers += name + ":" + b.values[i] + "\n"
		fmt.Fprintf(&out, "%s:%s\r\n", name, b.values[i])
	}
	if b.signed && len(b.trailers) > 0 {
		fmt.Fprintf(&out, "x-amz-trailer-signature:%s\r\n", sign("AWS4-HMAC-SHA256-TRAILER", hashOf([]byte(trailers))))
	}
	out.WriteString("\r\n")
	return out.Bytes()
}

func TestChecksums(t *testing.T) {
	const text = "123456789"
	base := func(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
	sha := sha1.Sum([]byte(text))
	sum, err := hex.DecodeString(hashOf([]byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	// The check values that the catalogue of CRCs gives for this text.
	values := map[string]string{
		"crc32": base([]byte{0xcb, 0xf4, 0x39, 0x26}), "crc32c": base([]byte{0xe3, 0x06, 0x92, 0x83}),
		"crc64nvme": base([]byte{0xae, 0x8b, 0x14, 0x86, 0x0a, 0x79, 0x98, 0x88}), "sha1": base(sha[:]), "sha256": base(sum),
	}
	for name, value := range values {
		for _, signed := range []bool{false, true} {
			b := chunkedBody{signed: signed, trailers: []string{"x-amz-checksum-" + name}, values: []string{value}, sizes: []int{3, 4}}
			r, body := b.upload(t, []byte(text))
			if _, got, err := verify(newVerifier(), r, body, bucket); err != nil || string(got) != text {
				t.Errorf("%s, signed %v: got %q, %v", name, signed, got, err)
			}
			b.values[0] = base(make([]byte, len(value)*3/4))
			r, body = b.upload(t, []byte(text))
			_, _, err := verify(newVerifier(), r, body, bucket)
			expectRefusal(t, name, err, sigv4.BadDigest, "The "+strings.ToUpper(name)+" you specified did not match the calculated checksum.")
		}
	}
}

// Bodies of every size, in chunks of every size, read in every way.
func TestChunkSizes(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		content := make([]byte, rng.IntN(20000))
		for i := range content {
			content[i] = byte(rng.Uint32())
		}
		b := chunkedBody{signed: rng.IntN(2) == 0}
		for range rng.IntN(5) {
			b.sizes = append(b.sizes, 1+rng.IntN(9000))
		}
		if !b.signed || rng.IntN(2) == 0 {
			b.trailers = []string{"x-amz-checksum-crc32"}
			b.values = []string{base64.StdEncoding.EncodeToString(crc32.NewIEEE().Sum(nil))}
			sum := crc32.NewIEEE()
			sum.Write(content)
			b.values[0] = base64.StdEncoding.EncodeToString(sum.Sum(nil))
		}
		r, body := b.upload(t, content)
		var c sigv4.Check
		if err := newVerifier().Begin(&c, r, bucket); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		var in io.Reader = bytes.NewReader(body)
		switch rng.IntN(3) {
		case 0:
			in = iotest.OneByteReader(in)
		case 1:
			in = iotest.DataErrReader(in)
		}
		got, err := io.ReadAll(c.Body(in))
		if err == nil {
			_, err = c.Finish()
		}
		if err != nil || !bytes.Equal(got, content) || !c.Chunked() {
			t.Fatalf("seed %d: got %d bytes of %d, %v", seed, len(got), len(content), err)
		}
	}
}

func TestBadChunks(t *testing.T) {
	content := []byte("the content of the body, in three chunks")
	good := chunkedBody{signed: true, sizes: []int{10, 20}}
	sum := make([]byte, 4)
	crc := crc32.ChecksumIEEE(content)
	for i := range sum {
		sum[i] = byte(crc >> (24 - 8*i))
	}
	trailing := good
	trailing.trailers, trailing.values = []string{"x-amz-checksum-crc32"}, []string{base64.StdEncoding.EncodeToString(sum)}
	unsigned := trailing
	unsigned.signed = false
	v := newVerifier()
	f := func(name string, b chunkedBody, reason sigv4.Reason, change func(r *http.Request, body string) string) {
		t.Helper()
		r, body := b.upload(t, content)
		if _, got, err := verify(v, r, body, bucket); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%s, unchanged: %q, %v", name, got, err)
		}
		_, _, err := verify(v, r, []byte(change(r, string(body))), bucket)
		expectRefusal(t, name, err, reason, "")
	}
	replace := func(old, new string) func(*http.Request, string) string {
		return func(_ *http.Request, body string) string { return strings.Replace(body, old, new, 1) }
	}
	f("a byte changed", good, sigv4.Invalid, replace("the", "The"))
	f("ends early", good, sigv4.Incomplete, func(_ *http.Request, b string) string { return b[:len(b)/2] })
	f("ends before the last chunk", good, sigv4.Incomplete, func(_ *http.Request, b string) string { return b[:strings.Index(b, "0;chunk")] })
	f("chunks swapped", good, sigv4.Invalid, func(_ *http.Request, b string) string {
		first, second := strings.Index(b, "a;"), strings.Index(b, "14;")
		third := strings.Index(b[second+3:], "a;") + second + 3
		return b[second:third] + b[first:second] + b[third:]
	})
	f("a chunk left out", good, sigv4.Invalid, func(_ *http.Request, b string) string { return b[strings.Index(b, "14;"):] })
	f("without signatures", good, sigv4.Incomplete, replace(";chunk-signature=", ""))
	f("another extension", good, sigv4.Incomplete, replace(";chunk-signature=", ";chunk-checksum=00"))
	f("bytes after it", good, sigv4.Incomplete, func(_ *http.Request, b string) string { return b + "x" })
	f("a trailer that was not announced", good, sigv4.Incomplete, func(_ *http.Request, b string) string { return b + "x-amz-checksum-crc32:AAAAAA==\r\n" })
	f("lines without end", good, sigv4.Incomplete, func(_ *http.Request, b string) string { return b + strings.Repeat("\r\n", 1000) })
	f("a line too long", good, sigv4.Incomplete, replace("a;", strings.Repeat("0", 600)+"a;"))
	f("a negative size", unsigned, sigv4.Incomplete, replace("a\r\n", "-a\r\n"))
	f("no size", unsigned, sigv4.Incomplete, replace("a\r\n", "\r\n"))
	f("a size out of range", unsigned, sigv4.Incomplete, replace("a\r\n", "ffffffffffffffff\r\n"))
	f("a size too large", unsigned, sigv4.Incomplete, replace("a\r\n", "7fffffffffffffff\r\n"))
	f("a byte changed, unsigned", unsigned, sigv4.BadDigest, replace("the", "The"))
	f("signed where it should not be", unsigned, sigv4.Incomplete, replace("a\r\n", "a;chunk-signature=00\r\n"))
	f("no checksum", unsigned, sigv4.BadDigest, replace("x-amz-checksum-crc32:"+trailing.values[0]+"\r\n", ""))
	f("two checksums", unsigned, sigv4.Incomplete, replace("x-amz-checksum", "x-amz-checksum-crc32:x\r\nx-amz-checksum"))
	f("a trailer's signature where none is due", unsigned, sigv4.Incomplete, replace("x-amz-checksum", "x-amz-trailer-signature:00\r\nx-amz-checksum"))
	f("checksum changed", trailing, sigv4.Invalid, replace(trailing.values[0], "AAAAAA=="))
	f("no signature of the trailer", trailing, sigv4.Invalid, replace("x-amz-trailer-signature:", "\r\nx-amz-trailer-signature:0"))
	f("no length", good, sigv4.Invalid, func(r *http.Request, b string) string { r.Header.Del("X-Amz-Decoded-Content-Length"); return b })
}

// What the headers must say of a body in chunks.
func TestChunkHeaders(t *testing.T) {
	f := func(name, length, trailer, payload string, reason sigv4.Reason, text string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodPut, "http://h/bucket/key", nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"X-Amz-Decoded-Content-Length": length, "X-Amz-Trailer": trailer, "X-Amz-Content-Sha256": payload} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		sdkSign(t, r, permanent, payload, "s3", noon)
		var c sigv4.Check
		expectRefusal(t, name, newVerifier().Begin(&c, r, bucket), reason, text)
	}
	const signed, trailing = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	f("no length", "", "", signed, sigv4.Incomplete, "The request requires an 'X-Amz-Decoded-Content-Length' header.")
	f("negative length", "-1", "", signed, sigv4.Incomplete, "The request requires an 'X-Amz-Decoded-Content-Length' header.")
	f("no trailer", "1", "", trailing, sigv4.Incomplete, "The request requires an 'X-Amz-Trailer' header.")
	f("unknown trailer", "1", "x-amz-checksum-md5", trailing, sigv4.BadDigest, "The value specified in the x-amz-trailer header is not supported.")
	f("other trailer", "1", "etag", trailing, sigv4.BadDigest, "The value specified in the x-amz-trailer header is not supported.")
	f("trailer twice", "1", "x-amz-checksum-crc32, X-Amz-Checksum-CRC32", trailing, sigv4.BadDigest, "The value specified in the x-amz-trailer header is not supported.")
}

// A connection's error is not taken for the caller's fault, and nothing is accepted after it.
func TestChunksOfABrokenConnection(t *testing.T) {
	errBroken := errors.New("connection reset")
	r, body := chunkedBody{signed: true, sizes: []int{5}}.upload(t, []byte("content"))
	for n := range body {
		var c sigv4.Check
		if err := newVerifier().Begin(&c, r, bucket); err != nil {
			t.Fatal(err)
		}
		_, err := io.ReadAll(c.Body(io.MultiReader(bytes.NewReader(body[:n]), iotest.ErrReader(errBroken))))
		if !errors.Is(err, errBroken) {
			t.Fatalf("broken after %d bytes: got %v", n, err)
		}
		if _, err := c.Finish(); err == nil {
			t.Fatalf("broken after %d bytes: accepted", n)
		}
	}
}

// FuzzChunks gives the reader bodies of every kind. What it accepts has the announced length, and what
// is signed has been signed by who has the secret.
func FuzzChunks(f *testing.F) {
	for _, b := range []chunkedBody{
		{signed: true, sizes: []int{3}},
		{signed: true, trailers: []string{"x-amz-checksum-crc32"}, values: []string{"AAAAAA=="}},
		{trailers: []string{"x-amz-checksum-crc32"}, values: []string{"Nh0CCQ=="}},
	} {
		_, body := b.upload(f, make([]byte, 7))
		f.Add(body, b.signed, 7)
	}
	f.Add([]byte("0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"), false, 0)
	f.Add([]byte("7;chunk-signature=\r\ncontent\r\n"), true, 7)
	f.Fuzz(func(t *testing.T, body []byte, signed bool, length int) {
		b := chunkedBody{signed: signed}
		if !signed {
			b.trailers, b.values = []string{"x-amz-checksum-crc32"}, []string{""}
		}
		length &= 1<<16 - 1
		r, right := b.upload(t, make([]byte, length))
		_, got, err := verify(newVerifier(), r, body, bucket)
		var refusal *sigv4.Refusal
		switch {
		case err != nil && !errors.As(err, &refusal):
			t.Errorf("got %v, want a refusal", err)
		case err == nil && len(got) != length:
			t.Errorf("accepted %d bytes, announced %d", len(got), length)
		case err == nil && signed && !bytes.Equal(got, make([]byte, length)):
			t.Errorf("accepted %q, which nobody signed (but %q)", body, right)
		}
	})
}
