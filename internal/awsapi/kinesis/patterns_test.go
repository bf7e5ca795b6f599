package kinesis

import (
	"math/rand/v2"
	"regexp"
	"testing"

	"github.com/headrace/headrace/internal/wire/shape"
)

// TestMatchersAgreeWithPatterns compares the matchers written out with the regular expressions they
// stand for: on every string of one byte, and on longer ones made of what such patterns are about.
func TestMatchersAgreeWithPatterns(t *testing.T) {
	const alphabet = "0123456789azAZ_.-/!'()*=:{}#~^\\ \n\xff"
	r := rand.New(rand.NewPCG(5, 6))
	for _, p := range []shape.Pattern{
		channelNamePattern, cloudWatchLogGroupNamePattern, consumerNamePattern, expectedBucketOwnerPattern,
		hashKeyPattern, partitionSourceNamePattern, s3ErrorOutputPrefixPattern, s3OutputKeyTemplatePattern,
		s3TablesNamespacePattern, s3TablesTableNamePattern, sequenceNumberPattern, shardIdPattern, streamNamePattern,
	} {
		re := regexp.MustCompile(`\A(?:` + p.Text + `)\z`)
		check := func(s string) {
			t.Helper()
			if got, want := p.Match(s), re.MatchString(s); got != want {
				t.Errorf("%s: %q: got %v, want %v", p.Text, s, got, want)
			}
		}
		check("")
		for c := range 256 {
			check(string([]byte{byte(c)}))
		}
		for range 2000 {
			s := make([]byte, r.IntN(45))
			within := 1 + r.IntN(len(alphabet)) // few characters make a match likely
			for i := range s {
				s[i] = alphabet[r.IntN(within)]
			}
			check(string(s))
		}
	}
}
