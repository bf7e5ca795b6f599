package sigv4

import "net/http"

// Canonical returns the canonical request of r but for its last line, with the path normalized or, for
// plain, encoded as it is.
func Canonical(r *http.Request, c Credential, host, path string, plain bool) (string, bool) {
	var z canonicalizer
	ok := z.request(r, &c, reading{host: host, path: path, plain: plain})
	return string(z.buf), ok
}

// KeptKeys is the number of derived keys that a verifier keeps at most.
const KeptKeys = keySets * keyWays

// Kept returns the number of derived keys that v keeps.
func (v *Verifier) Kept() (n int) {
	for i := range v.derived.sets {
		set := &v.derived.sets[i]
		set.mu.Lock()
		for _, d := range set.ways {
			if d.accessKeyID != "" {
				n++
			}
		}
		set.mu.Unlock()
	}
	return n
}
