package record

import (
	"math/big"
	"testing"
)

// decimal returns the number that hexadecimal digits stand for.
func decimal(hex string) string {
	n, ok := new(big.Int).SetString(hex, 16)
	if !ok {
		panic(hex)
	}
	return n.String()
}

// TestParsePosition holds what AWS has been seen to take and refuse.
func TestParsePosition(t *testing.T) {
	f := func(name, text string, ok bool, want Position) {
		t.Helper()
		got, gotOK := ParsePosition(text)
		if gotOK != ok || ok && got != want {
			t.Errorf("%s: ParsePosition(%s) = %+v, %v; want %+v, %v", name, text, got, gotOK, want, ok)
		}
	}
	f("current", "49590338271490256608559692538361571095921575989136588898", true,
		Position{Version: 2, Created: 1542776258, Time: 1545084650, Shard: 6, Index: 0x67648a17, Exact: true})
	f("all zero", decimal("20000000000000000000000000000000000000000000002"), true, Position{Version: 2, Exact: true})
	f("version 1", decimal("20000000000000000000000000000000000000000000001"), true, Position{Version: 1})
	f("negative shard", decimal("20000000000000000000000000000000000000800000002"), true, Position{Version: 2, Shard: -1 << 31})
	f("version 0, small", "5", true, Position{Shard: 5})
	f("version 0, zero", "0", true, Position{})
	f("version 0, large", decimal("13bb2cc3d70000000000000000000002"), true, Position{Created: 0x3bb2cc3d7, Shard: 2})
	f("version 0, too late", decimal("13bb2cc3d80000000000000000000000"), false, Position{})
	f("no version", decimal("20000000000000000000000000000000000000000000000"), false, Position{})
	f("version 3", decimal("20000000000000000000000000000000000000000000003"), false, Position{})
	f("version 4", decimal("20000000000000000000000000000000000000000000004"), false, Position{})
	f("begins with 3", decimal("30000000000000000000000000000000000000000000001"), false, Position{})
	f("begins with 1", decimal("1ffffffffff7fffffffffffffff000000000007fffffff2"), false, Position{})
	f("index too high", decimal("20000000000800000000000000000000000000000000002"), false, Position{})
	f("created too late", decimal("2ffffffffff7fffffffffffffff000000000007fffffff2"), false, Position{})
	f("not a number", "wheel", false, Position{})
	f("negative", "-5", false, Position{})
	f("empty", "", false, Position{})
}

func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"0", "5", "49590338271490256608559692538361571095921575989136588898", "26227199374822427428162556223570313216"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := ParsePosition(text)
		exact, err := ParseSequenceNumber(text)
		if ok && p.Exact && (err != nil || exact.String() != text) {
			t.Fatalf("%q passes for exact", text)
		}
		if err == nil && ok && !p.Exact {
			t.Fatalf("%q does not pass for exact", text)
		}
	})
}
