package lint

import (
	"os"
	"testing"
)

// TestRepository holds the repository to every rule.
func TestRepository(t *testing.T) {
	tree, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := tree.text("internal/lint/allow.txt")
	allowed, err := ParseExceptions(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			for _, f := range Run(tree, rule, allowed) {
				t.Errorf("%s\n\t(rule %s, subject %s)", f, rule.Name, f.Subject)
			}
		})
	}
}
