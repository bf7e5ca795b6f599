package access

import (
	"fmt"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/auth/policy"
)

const allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// TestDocuments reads the same text once, in each kind, and keeps no more than so many.
func TestDocuments(t *testing.T) {
	var d documents
	read := func(kind policy.Kind, text string) *policy.Policy {
		t.Helper()
		p, err := d.read(kind, text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := read(policy.Identity, allowAll)
	if again := read(policy.Identity, strings.Clone(allowAll)); again != first {
		t.Error("the same text was taken apart twice")
	}
	if read(policy.Session, allowAll) == first {
		t.Error("a session policy is the identity policy of the same text")
	}
	if read(policy.Resource, "") != nil {
		t.Error("no text is a policy")
	}
	if p, err := d.read(policy.Identity, "{"); err == nil {
		t.Errorf("a broken document became %v", p)
	}
	for i := range 2 * maxDocuments {
		read(policy.Identity, allowAll+strings.Repeat(" ", 1+i%128)+strings.Repeat("\n", i/128))
	}
	if n := len(d.parsed); n > maxDocuments {
		t.Errorf("%d policies are kept, want at most %d", n, maxDocuments)
	}
}

func TestAccountOf(t *testing.T) {
	f := func(arn, want string) {
		t.Helper()
		if got := accountOf(arn); got != want {
			t.Errorf("accountOf(%q) = %q, want %q", arn, got, want)
		}
	}
	f("arn:aws:kinesis:eu-west-1:111122223333:stream/mill", "111122223333")
	f("*", "")
	f("", "")
	f("arn:aws:kinesis:eu-west-1:111122223333", "")
	f("arn:aws:kinesis:eu-west-1:11112222333x:stream/mill", "")
	f("urn:aws:kinesis:eu-west-1:111122223333:stream/mill", "")
}

func TestCheck(t *testing.T) {
	if err := Check(policy.Identity, allowAll); err != nil {
		t.Error(err)
	}
	for _, document := range []string{"", "{}", allowAll[1:], fmt.Sprintf("[%s]", allowAll)} {
		if err := Check(policy.Resource, document); err == nil || err.Error() == "" {
			t.Errorf("Check(%.20q) = %v; want what is wrong", document, err)
		}
	}
	if err := Check(policy.Resource, allowAll); err == nil {
		t.Error("a resource policy without a principal was taken")
	}
}
