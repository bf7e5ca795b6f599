package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"hash/maphash"
	"strings"
	"sync"

	"github.com/headrace/headrace/internal/secret"
)

// A signing key is derived from the secret by four HMACs and is the same for a day, a region and a
// service, so those in use are kept. The number is bounded: clients choose regions.
const (
	keySets = 256
	keyWays = 4
)

type signingKey [sha256.Size]byte

// derived is a signing key and what it was derived from.
type derived struct {
	accessKeyID, date, region, service string
	secret                             secret.Text
	key                                signingKey
}

func (d *derived) of(c *Credential) bool {
	return d.accessKeyID == c.AccessKeyID && d.date == c.Date && d.service == c.Service && d.region == c.Region
}

// signingKeys keeps derived keys, four in each of 256 sets; a new one takes the place of its set's
// oldest. Only keys that verified a signature come in, so strangers cannot empty it. It is safe for
// concurrent use.
type signingKeys struct {
	seed maphash.Seed
	sets [keySets]struct {
		mu   sync.Mutex
		next int
		ways [keyWays]derived
	}
}

func newSigningKeys() *signingKeys { return &signingKeys{seed: maphash.MakeSeed()} }

func (s *signingKeys) set(c *Credential) int {
	var h maphash.Hash
	h.SetSeed(s.seed)
	_, _ = h.WriteString(c.AccessKeyID) // never fails
	_, _ = h.WriteString(c.Date)
	_, _ = h.WriteString(c.Region)
	_, _ = h.WriteString(c.Service)
	return int(h.Sum64() % keySets)
}

// get copies the key of c's scope into into, unless that is it already. It reports false when it has none
// that was derived from this text.
func (s *signingKeys) get(c *Credential, text secret.Text, into *derived) bool {
	if into.of(c) && into.secret.Same(text) {
		return true
	}
	set := &s.sets[s.set(c)]
	set.mu.Lock()
	defer set.mu.Unlock()
	for i := range set.ways {
		if d := &set.ways[i]; d.of(c) && d.secret.Same(text) {
			*into = *d
			return true
		}
	}
	return false
}

// put keeps a key, in place of one of the same scope if there is one: the secret was another.
func (s *signingKeys) put(c *Credential, text secret.Text, key *signingKey) {
	d := derived{
		accessKeyID: strings.Clone(c.AccessKeyID), date: strings.Clone(c.Date),
		region: strings.Clone(c.Region), service: strings.Clone(c.Service),
		secret: text, key: *key,
	}
	set := &s.sets[s.set(c)]
	set.mu.Lock()
	defer set.mu.Unlock()
	for i := range set.ways {
		if set.ways[i].of(c) {
			set.ways[i] = d
			return
		}
	}
	set.ways[set.next] = d
	set.next = (set.next + 1) % keyWays
}

func sameText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// derive computes the signing key of c's scope.
func derive(c *Credential, text secret.Text) signingKey {
	key := mac([]byte("AWS4"+text.Reveal()), c.Date)
	key = mac(key[:], c.Region)
	key = mac(key[:], c.Service)
	return mac(key[:], terminator)
}

func mac(key []byte, text string) (sum signingKey) {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(text)) // never fails
	h.Sum(sum[:0])
	return sum
}
