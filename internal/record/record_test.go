package record

import (
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestSequenceNumberLayout(t *testing.T) {
	f := func(text string, want SequenceNumber) {
		t.Helper()
		got, err := ParseSequenceNumber(text)
		if err != nil || got != want {
			t.Errorf("ParseSequenceNumber(%s) = %+v, %v; want %+v", text, got, err, want)
		}
		if s := want.String(); s != text {
			t.Errorf("%+v.String() = %s; want %s", want, s, text)
		}
	}
	// A sequence number AWS issued, from its own documentation.
	f("49590338271490256608559692538361571095921575989136588898",
		SequenceNumber{Created: 1542776258, Index: 0x67648a17, Time: 1545084650, Shard: 6})
	f("49546986683135544286507457936321625675700192471156785154",
		SequenceNumber{Created: 1421279230, Index: 469, Time: 1421279386, Shard: 0})
}

func TestSequenceNumberRejects(t *testing.T) {
	good := SequenceNumber{Created: 1542776258, Index: 7, Time: 1545084650, Shard: 6}.String()
	for _, text := range []string{
		"", "0", good[:55], good + "0", strings.Repeat("9", 56), "4959033827149025660855969253836157109592157598913658889x",
		// one more breaks the version nibble
		good[:55] + string(good[55]+1),
	} {
		if s, err := ParseSequenceNumber(text); err == nil {
			t.Errorf("ParseSequenceNumber(%q) = %+v; want an error", text, s)
		}
	}
}

func TestSequenceNumberOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	prev := SequenceNumber{Created: 1700000000, Shard: 3}
	for range 1000 {
		next := SequenceNumber{Created: prev.Created, Shard: 3, Index: prev.Index + 1 + Index(rng.Uint64N(1<<40)), Time: rng.Int64N(1 << 35)}
		if prev.Compare(next) != -1 || next.Compare(prev) != 1 || prev.String() >= next.String() {
			t.Fatalf("%s does not rise to %s", prev, next)
		}
		prev = next
	}
}

func FuzzSequenceNumber(f *testing.F) {
	f.Add("49590338271490256608559692538361571095921575989136588898")
	f.Add("0")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSequenceNumber(text)
		if err == nil && s.String() != text {
			t.Fatalf("%q parses to %+v, which prints %s", text, s, s)
		}
	})
}

func TestHashKey(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		h := HashKey{rng.Uint64() >> rng.Uint64N(64), rng.Uint64() >> rng.Uint64N(64)}
		want := new(big.Int).Add(new(big.Int).Lsh(new(big.Int).SetUint64(h.Hi), 64), new(big.Int).SetUint64(h.Lo)).String()
		if h.String() != want {
			t.Fatalf("%#v.String() = %s; want %s", h, h, want)
		}
		if back, err := ParseHashKey(want); err != nil || back != h {
			t.Fatalf("ParseHashKey(%s) = %v, %v", want, back, err)
		}
		if h.Next().Prev() != h {
			t.Fatalf("%s: Next and Prev do not undo each other", h)
		}
	}
	for _, text := range []string{"", "00", "01", "-1", "1 ", "340282366920938463463374607431768211456", "999999999999999999999999999999999999999"} {
		if h, err := ParseHashKey(text); err == nil {
			t.Errorf("ParseHashKey(%q) = %s; want an error", text, h)
		}
	}
	if s := MaxHashKey.String(); s != "340282366920938463463374607431768211455" {
		t.Errorf("MaxHashKey = %s", s)
	}
	if s := (HashKey{}).String(); s != "0" {
		t.Errorf("zero HashKey = %s", s)
	}
}

// TestHashKeyOf uses the digest RFC 1321 gives for "a".
func TestHashKeyOf(t *testing.T) {
	if got, want := HashKeyOf("a"), (HashKey{0x0cc175b9c0f1b6a8, 0x31c399e269772661}); got != want {
		t.Errorf("HashKeyOf(a) = %x; want %x", got, want)
	}
}

func TestNoAllocations(t *testing.T) {
	s := SequenceNumber{Created: 1542776258, Index: 7, Time: 1545084650, Shard: 6}
	text, buf, key := s.String(), make([]byte, 0, 64), strings.Repeat("k", 256)
	for name, f := range map[string]func(){
		"Append":              func() { buf = s.Append(buf[:0]) },
		"ParseSequenceNumber": func() { _, _ = ParseSequenceNumber(text) },
		"HashKeyOf":           func() { _ = HashKeyOf(key) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// TestDecimal compares numbers of every length, and those around powers of ten and of two, with
// math/big.
func TestDecimal(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	f := func(n *big.Int) {
		t.Helper()
		if n.Sign() < 0 || n.BitLen() > 192 {
			return
		}
		var limbs [3]uint64
		rest := new(big.Int).Set(n)
		for i := len(limbs) - 1; i >= 0; i-- {
			limbs[i] = new(big.Int).And(rest, new(big.Int).SetUint64(^uint64(0))).Uint64()
			rest.Rsh(rest, 64)
		}
		if got, want := string(appendDecimal([]byte("x"), limbs)), "x"+n.String(); got != want {
			t.Fatalf("appendDecimal(%x) = %s; want %s", limbs, got, want)
		}
	}
	for base, one := range map[int64]*big.Int{2: big.NewInt(1), 10: big.NewInt(1)} {
		for n := one; n.BitLen() <= 192; n = new(big.Int).Mul(n, big.NewInt(base)) {
			for off := int64(-2); off <= 2; off++ {
				f(new(big.Int).Add(n, big.NewInt(off)))
			}
			f(new(big.Int).Mul(n, big.NewInt(9)))
		}
	}
	for range 10_000 {
		n := new(big.Int)
		for range 3 {
			n.Lsh(n, 64).Add(n, new(big.Int).SetUint64(rng.Uint64()))
		}
		f(n.Rsh(n, uint(rng.UintN(192))))
	}
}

// TestNumbering compares runs of numbers with math/big, and with what ParseSequenceNumber reads.
func TestNumbering(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	var n Numbering
	f := func(s SequenceNumber) {
		t.Helper()
		want := new(big.Int)
		for _, limb := range s.limbs() {
			want.Lsh(want, 64).Add(want, new(big.Int).SetUint64(limb))
		}
		if got := string(n.Append(nil, s)); got != want.String() {
			t.Fatalf("Append(%+v) = %s; want %s", s, got, want)
		}
		if got := s.String(); got != want.String() {
			t.Fatalf("%+v.String() = %s; want %s", s, got, want)
		}
		if back, err := ParseSequenceNumber(want.String()); err != nil || back != s {
			t.Fatalf("ParseSequenceNumber(%s) = %+v, %v; want %+v", want, back, err, s)
		}
	}
	for range 200 {
		s := SequenceNumber{Created: rng.Int64N(1 << 36), Time: rng.Int64N(1 << 36), Shard: rng.Int32(), Index: Index(rng.Int64N(int64(MaxIndex)-1000) >> rng.UintN(62))}
		for range 300 { // the low part carries every few numbers
			f(s)
			s.Index++
		}
		s.Time++
		f(s)
	}
	// The middle part carries into the highest digits once in some 8e13 numbers: go there.
	s, carried := SequenceNumber{Created: 1542776258, Time: 1545084650, Shard: 6}, false
	for far := uint64(11); far > 10; s.Index += Index(far) {
		n.set(s)
		far = (chunk - n.mid) / (indexMid + 1)
	}
	for range 30 {
		before := string(n.text[:18])
		f(s)
		carried = carried || string(n.text[:18]) != before
		s.Index++
	}
	if !carried {
		t.Error("no number reached the highest digits")
	}
	f(SequenceNumber{})
	f(SequenceNumber{Index: 1})
	f(SequenceNumber{Created: 1<<36 - 1, Time: 1<<36 - 1, Shard: 1<<31 - 1, Index: MaxIndex})
	f(SequenceNumber{Created: 1<<36 - 1, Time: 1<<36 - 1, Shard: 1<<31 - 1, Index: MaxIndex + 1})
}

func BenchmarkSequenceNumber(b *testing.B) {
	s, buf := SequenceNumber{Created: 1542776258, Index: 7_000_000, Time: 1545084650, Shard: 6}, make([]byte, 0, 64)
	b.Run("any", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Index++
			buf = s.Append(buf[:0])
		}
	})
	b.Run("next", func(b *testing.B) {
		var n Numbering
		b.ReportAllocs()
		for b.Loop() {
			s.Index++
			buf = n.Append(buf[:0], s)
		}
	})
}
