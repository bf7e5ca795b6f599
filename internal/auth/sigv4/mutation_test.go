package sigv4_test

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/clock"
)

// spot is a part of a request that its signature is over, or a part of the signature.
type spot struct {
	name string
	text string
	set  func(c *captured, text string)
}

// spots returns all of them. What is left out is what clients do not sign: headers that are not named in
// SignedHeaders, the body where it is UNSIGNED-PAYLOAD or in chunks without signatures or endless, and
// the version of HTTP.
func (c captured) spots(t *testing.T, credential sigv4.Credential) []spot {
	t.Helper()
	path, query, _ := strings.Cut(c.URI, "?")
	uri := func(path, query string) string {
		if query == "" {
			return path
		}
		return path + "?" + query
	}
	all := []spot{
		{"method", c.Method, func(c *captured, text string) { c.Method = text }},
		{"path", path, func(c *captured, text string) { c.URI = uri(text, query) }},
	}
	if strings.HasPrefix(path, "/") { // else the path has it
		all = append(all, spot{"host", c.Host, func(c *captured, text string) { c.Host = text }})
	}
	if query != "" {
		all = append(all, spot{"query", query, func(c *captured, text string) { c.URI = uri(path, text) }})
	}
	names := append(strings.Split(credential.SignedHeaders, ";"), "authorization", "x-amz-date", "x-amz-security-token")
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		key := http.CanonicalHeaderKey(name)
		for i, value := range c.Header[key] {
			all = append(all, spot{name, value, func(c *captured, text string) { c.Header[key][i] = text }})
		}
		if values := c.Header[key]; values != nil && name != "content-length" { // which the body's end depends on
			all = append(all, spot{"name of " + name, name, func(c *captured, text string) {
				delete(c.Header, key)
				c.Header[http.CanonicalHeaderKey(text)] = values
			}})
		}
	}
	switch payload := c.Header.Get("X-Amz-Content-Sha256"); {
	case payload == "UNSIGNED-PAYLOAD" || payload == "STREAMING-UNSIGNED-PAYLOAD-TRAILER" || c.rules().Payloads == sigv4.Endless:
	default:
		all = append(all, spot{"body", string(c.Body), func(c *captured, text string) { c.Body = []byte(text) }})
	}
	return slices.DeleteFunc(all, func(s spot) bool { return s.text == "" })
}

// clone returns a copy whose headers may be changed.
func (c captured) clone() captured {
	c.Header = c.Header.Clone()
	return c
}

// meaning is what a request that was accepted says, as the plainest implementation reads it.
func (c captured) meaning(t *testing.T, content []byte) string {
	t.Helper()
	r, err := c.request()
	if err != nil {
		t.Fatal(err)
	}
	credential, err := sigv4.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	by := referenceOf(r, r.Host)
	by.signed, by.presigned = credential.SignedHeaders, credential.Presigned
	by.plainPath = c.rules().PlainPath
	credential.Expires, credential.Signature = "", ""
	return by.canonical() + credential.AccessKeyID + credential.Date + credential.Region + credential.Service + credential.Time +
		c.Header.Get("X-Amz-Content-Sha256") + r.URL.Query().Get("X-Amz-Signature") + string(content)
}

// Of every client's requests, ten thousand with one other byte are refused. A byte that may be another
// is one that says the same: what is accepted has the meaning of what was signed.
func TestMutations(t *testing.T) {
	enough := 10_000
	if alloctest.Raced {
		enough /= 20
	}
	for client, requests := range load(t) {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(4, uint64(len(client))))
			var verifiers []*sigv4.Verifier // of each request's time
			for _, c := range requests {
				verifiers = append(verifiers, sigv4.NewVerifier(newKeys(), clock.NewManual(c.at())))
			}
			refused, same := 0, map[string]int{}
			for n := 0; refused < enough; n++ {
				c, v := requests[n%len(requests)], verifiers[n%len(requests)]
				r, err := c.request()
				if err != nil {
					t.Fatal(err)
				}
				credential, err := sigv4.Parse(r)
				if err != nil {
					t.Fatal(err)
				}
				all := c.spots(t, credential)
				s := all[rng.IntN(len(all))]
				text := []byte(s.text)
				at := rng.IntN(len(text))
				text[at] ^= byte(1 + rng.IntN(255))
				changed := c.clone()
				s.set(&changed, string(text))

				r, err = changed.request()
				var content []byte
				if err == nil {
					_, content, err = verify(v, r, changed.Body, c.rules())
				}
				if err != nil {
					refused++
					continue
				}
				r, _ = c.request()
				_, original, err := verify(v, r, c.Body, c.rules())
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(content, original) || changed.meaning(t, content) != c.meaning(t, original) {
					t.Fatalf("%s %s: accepted with byte %d of its %s changed:\n%q\n%q", c.Method, c.URI, at, s.name, s.text, text)
				}
				same[s.name]++
			}
			accepted := 0
			for _, n := range same {
				accepted += n
			}
			t.Logf("%d refused; %d said the same and were accepted: %v", refused, accepted, same)
			if accepted > enough/100 {
				t.Errorf("%d changes were accepted, which is too many to believe: %v", accepted, same)
			}
		})
	}
}
