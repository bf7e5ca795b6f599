package jump

import (
	"slices"
	"testing"

	"github.com/headrace/headrace/internal/record"
)

func TestPass(t *testing.T) {
	js := Jumps(nil).Leap(11, 100).Leap(105, 1000)
	f := func(at, want record.Index) {
		t.Helper()
		if got := js.Pass(at); got != want {
			t.Errorf("Pass(%d) = %d, want %d", at, got, want)
		}
	}
	for at, want := range map[record.Index]record.Index{1: 1, 10: 10, 11: 100, 99: 100, 100: 100, 104: 104, 105: 1000, 999: 1000, 1000: 1000, 5000: 5000} {
		f(at, want)
	}
}

func TestLeap(t *testing.T) {
	f := func(got, want Jumps) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	one := Jumps(nil).Leap(11, 100)
	f(one, Jumps{{11, 100}})
	f(one.Leap(100, 200), Jumps{{11, 200}})
	f(one.Leap(101, 200), Jumps{{11, 100}, {101, 200}})
	f(one, Jumps{{11, 100}}) // unchanged
	two := one.Leap(101, 200)
	f(two.After(1), two)
	f(two.After(99), two)
	f(two.After(100), two[1:])
	f(two.After(200), nil)
}

func TestTo(t *testing.T) {
	f := func(now record.Millis, want record.Index, ok bool) {
		t.Helper()
		if got, is := To(now); got != want || is != ok {
			t.Errorf("To(%d) = %d, %t; want %d, %t", now, got, is, want, ok)
		}
		if ok && At(want) != now {
			t.Errorf("At(%d) = %d, want %d", want, At(want), now)
		}
	}
	f(0, 0, false)
	f(epoch, 0, false)
	f(epoch+1, 1<<20, true)
	f(epoch+1<<40, 1<<60, true)
	f(epoch+1<<43-2, 1<<63-2<<20, true)
	f(epoch+1<<43-1, 0, false)
	f(1<<63-1, 0, false)
}

func FuzzDecode(f *testing.F) {
	two := Jumps(nil).Leap(11, 100).Leap(101, 200)
	f.Add(two.Append(nil), uint64(200))
	f.Add(two[:1].Append([]byte{}), uint64(99))
	f.Add([]byte{1, 0, 0, 0}, uint64(1))
	f.Add([]byte{}, uint64(1))
	f.Fuzz(func(t *testing.T, b []byte, next uint64) {
		js, rest, ok := Decode(b, record.Index(next))
		if !ok {
			return
		}
		if again := append(js.Append(nil), rest...); !slices.Equal(again, b) || js.Size() != len(b)-len(rest) {
			t.Fatalf("%x decodes to %v, which encodes to %x", b, js, again)
		}
		for i, j := range js {
			if js.Pass(j.From) != j.To || js.Pass(j.To) != j.To || i > 0 && js.Pass(j.From-1) != j.From-1 {
				t.Fatalf("%v passes %v wrongly", js, j)
			}
		}
	})
}
