package sigv4

import (
	"testing"
	"time"
)

// FuzzParseBasic compares with package time.
func FuzzParseBasic(f *testing.F) {
	for _, s := range []string{
		"20261126T123456Z", "00000101T000000Z", "99991231T235959Z", "20240229T000000Z", "20230229T000000Z", "21000229T000000Z",
		"20261301T000000Z", "20260001T000000Z", "20260100T000000Z", "20260431T000000Z", "20261126T240000Z", "20261126T126000Z",
		"20261126T123460Z", "20261126t123456Z", "20261126T123456z", "2026112 T123456Z", "-0261126T123456Z", "20261126T12345.Z",
		"20261126T1234:6Z", "2026112/T123456Z", "20261126T123456", "", "20261126T123456ZZ", "\xff0261126T123456Z",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseBasic(s)
		want, err := time.Parse(basicFormat, s)
		if len(s) == len(basicFormat) && ok != (err == nil) || ok && !got.Equal(want) {
			t.Errorf("parseBasic(%q) = %v, %v; package time says %v, %v", s, got, ok, want, err)
		}
	})
}
