package sigv4_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/auth/sigv4"
)

// typical returns what the SDKs send to put a record, with its hash sent or not.
func typical(t testing.TB, body []byte, sent bool) *http.Request {
	r := put(t, "http://127.0.0.1:4566/", body)
	r.Header.Set("Amz-Sdk-Invocation-Id", "b1a4e2c5-8d0a-4f29-9f3a-0d6a7bd0b8f2")
	r.Header.Set("Amz-Sdk-Request", "attempt=1; max=3")
	r.Header.Set("User-Agent", "aws-sdk-go-v2/1.47.7 ua/2.1 os/linux lang/go#1.26.8 md/GOOS#linux md/GOARCH#amd64 api/kinesis#1.56.11 m/E,g")
	if sent {
		r.Header.Set("X-Amz-Content-Sha256", hashOf(body))
	}
	sdkSign(t, r, permanent, hashOf(body), "kinesis", noon)
	return received(t, r, body)
}

// check judges r again and again with the same memory.
func check(t testing.TB, v *sigv4.Verifier, c *sigv4.Check, r *http.Request, body *bytes.Reader, buf []byte) {
	body.Seek(0, io.SeekStart)
	if err := v.Begin(c, r, kinesis); err != nil {
		t.Fatal(err)
	}
	in := c.Body(body)
	for {
		if _, err := in.Read(buf); err == io.EOF {
			break
		}
	}
	if _, err := c.Finish(); err != nil {
		t.Fatal(err)
	}
	c.Reset()
}

// A signature costs no memory, where the one before was by the same key.
func TestVerifyAllocations(t *testing.T) {
	for _, size := range []int{0, 100, 1 << 20} {
		for _, sent := range []bool{false, true} {
			body := make([]byte, size)
			v, r, in, buf := newVerifier(), typical(t, body, sent), bytes.NewReader(body), make([]byte, 32<<10)
			var c sigv4.Check
			if n := alloctest.Count(t, 100, func() { check(t, v, &c, r, in, buf) }); n > 0 {
				t.Errorf("body of %d bytes, hash sent %v: %v allocations, want none", size, sent, n)
			}
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	f := func(name string, size int, sent bool) {
		b.Run(name, func(b *testing.B) {
			body := make([]byte, size)
			v, r, in, buf := newVerifier(), typical(b, body, sent), bytes.NewReader(body), make([]byte, 32<<10)
			var c sigv4.Check
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				check(b, v, &c, r, in, buf)
			}
		})
	}
	f("no body", 0, false)
	f("hash sent", 0, true)
	f("1 KiB", 1<<10, false)
	f("1 MiB", 1<<20, false) // the hash itself is the floor
}

// Requests whose keys are not kept: each scope's turn comes again when it has been driven out.
func BenchmarkVerifyNewKey(b *testing.B) {
	var requests []*http.Request
	for n := range 4 * sigv4.KeptKeys {
		r := put(b, "http://127.0.0.1:4566/", nil)
		if err := v4.NewSigner().SignHTTP(b.Context(), permanent, r, hashOf(nil), "kinesis", fmt.Sprint("region-", n), noon); err != nil {
			b.Fatal(err)
		}
		requests = append(requests, r)
	}
	v, in, buf := newVerifier(), bytes.NewReader(nil), make([]byte, 1)
	var c sigv4.Check
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		check(b, v, &c, requests[n%len(requests)], in, buf)
	}
}
