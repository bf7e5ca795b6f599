package limit

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/record"
)

// start is a moment like any other.
const start record.Millis = 1_700_000_000_123

// put offers records of one size and returns how many were taken.
func put(s *Shard, now record.Millis, count, size int) int {
	entries := make([]record.Entry, count)
	data := make([]byte, size)
	for i := range entries {
		entries[i].Data = data
	}
	return count - s.Write(now, entries, make([]bool, count))
}

// within checks that got is within 1 % of want.
func within(t *testing.T, what string, got, want int) {
	t.Helper()
	if 100*max(got-want, want-got) > want {
		t.Errorf("%s: %d; want %d within 1 %%", what, got, want)
	}
}

// TestWriteRates offers more than a shard takes, after its bursts are drained, for a minute: what it takes is
// its rate within 1 %.
func TestWriteRates(t *testing.T) {
	f := func(name string, every record.Millis, count, size int, wantRecords, wantBytes int) {
		t.Helper()
		s := new(Shard)
		for put(s, start, count, size) > 0 { // drain
		}
		taken := 0
		for at := every; at <= 60*second; at += every {
			taken += put(s, start+at, count, size)
		}
		if wantRecords > 0 {
			within(t, name, taken, wantRecords)
		}
		if wantBytes > 0 {
			within(t, name, taken*size, wantBytes)
		}
	}
	f("small records, many at a time", 50, 500, 100, 60_000, 0)
	f("small records, one at a time", 1, 1, 10, 60_000, 0)
	f("small records, four at a time", 1, 4, 10, 60_000, 0)
	f("KiB records", 1, 3, 2<<10, 0, 60*MiB)
	f("records of 100 KiB", 10, 5, 100<<10, 0, 60*MiB)
	f("records of 1 MiB", 100, 1, MiB, 0, 60*MiB)
	f("records of 3 MiB", 100, 1, 3*MiB, 0, 60*MiB)
	f("records of 10 MiB", 1000, 1, 10*MiB, 0, 60*MiB)
}

// TestWriteBursts says what a shard takes at once after a pause.
func TestWriteBursts(t *testing.T) {
	f := func(name string, size, want int) {
		t.Helper()
		s := new(Shard)
		if got := put(s, start, 1500, size); got != want {
			t.Errorf("%s: took %d at once; want %d", name, got, want)
		}
		if got := put(s, start+3600*second, 1500, size); got != want {
			t.Errorf("%s: took %d at once after an hour; want %d", name, got, want)
		}
	}
	f("small records", 1, 1000)
	f("records of 4 KiB", 4<<10, 256)
	f("records of 1 MiB", MiB, 1)
	f("records of 1 MiB and a byte", MiB+1, 9)
	f("records of 5 MiB", 5*MiB, 2)
	f("records of 10 MiB", 10*MiB, 1)
}

// TestLargeRecordsPay takes what large records had from what comes after them.
func TestLargeRecordsPay(t *testing.T) {
	s := new(Shard)
	if put(s, start, 1, 10*MiB) != 1 || put(s, start, 1, 1) != 0 {
		t.Fatal("a shard that took its 10 MiB should take nothing more")
	}
	if got := put(s, start+100, 1000, 1<<10); got != 102 {
		t.Errorf("took %d KiB a tenth of a second after; want 102", got)
	}
	if got := put(s, start+10_100, 1, 10*MiB); got != 1 {
		t.Error("a large record was refused when the bucket was full again")
	}
	if got := put(s, start+10_100+9_999, 1, 10*MiB); got != 0 {
		t.Error("a large record was taken a moment before the bucket was full again")
	}
}

// TestRefusedRecordsCostNothing puts a record that fits behind one that does not.
func TestRefusedRecordsCostNothing(t *testing.T) {
	s := new(Shard)
	entries := []record.Entry{{Data: make([]byte, MiB/2)}, {Data: make([]byte, MiB)}, {Data: make([]byte, MiB/2)}, {Data: make([]byte, 1)}}
	refused := make([]bool, len(entries))
	if n := s.Write(start, entries, refused); n != 2 || fmt.Sprint(refused) != "[false true false true]" {
		t.Errorf("%d refused, %v", n, refused)
	}
}

// TestReadsAreExact makes calls at all times and finds that no second, wherever it begins, had more than five,
// and that a steady caller misses none.
func TestReadsAreExact(t *testing.T) {
	f := func(what string, call func(s *Shard, now record.Millis) bool) {
		s, random := new(Shard), rand.New(rand.NewPCG(1, 2))
		var taken []record.Millis
		for now := start; now < start+60*second; now += record.Millis(random.IntN(90)) {
			if call(s, now) {
				taken = append(taken, now)
			}
		}
		for i := 0; i+ReadCalls < len(taken); i++ {
			if taken[i+ReadCalls]-taken[i] < second {
				t.Fatalf("%s: six within %d ms", what, taken[i+ReadCalls]-taken[i])
			}
		}
		// The last of five may have to wait for up to 90 ms more than it must.
		if len(taken) < 60*ReadCalls*9/10 || len(taken) > 60*ReadCalls+ReadCalls {
			t.Errorf("%s: %d calls in a minute", what, len(taken))
		}
		s = new(Shard)
		for now := start; now < start+60*second; now += 200 {
			if !call(s, now) {
				t.Fatalf("%s: a call each 200 ms was refused after %d ms", what, now-start)
			}
		}
		s = new(Shard)
		for i := range 12 {
			if got := call(s, start+5*second); got != (i < ReadCalls) {
				t.Errorf("%s: call %d of a moment was allowed: %v", what, i, got)
			}
		}
	}
	f("GetRecords", (*Shard).Read)
	f("GetShardIterator", (*Shard).Iterator)
}

// TestReadBytes reads results of all sizes as often as it may: 2 MiB a second within 1 %, after what the first
// result had at once.
func TestReadBytes(t *testing.T) {
	for _, size := range []int{500 << 10, 700 << 10, MiB, 3 * MiB / 2, 2 * MiB, 3 * MiB, 5 * MiB, 8 * MiB, 10 * MiB} {
		s := new(Shard)
		var at []record.Millis
		for now := start; len(at) == 0 || now < start+600*second; now += 10 {
			if s.Read(now) {
				s.Sent(now, size)
				at = append(at, now)
			}
		}
		n := len(at) - 1
		within(t, fmt.Sprintf("bytes/s, %d at a time", size), n*size*1000/int(at[n]-at[0]), ReadBytes)
	}
}

// TestAfterTenMiB reads 10 MiB, or a result that was cut there, and then nothing for five seconds.
func TestAfterTenMiB(t *testing.T) {
	for _, size := range []int{10 * MiB, 10*MiB - 1, 10*MiB - 700<<10} {
		s := new(Shard)
		if !s.Read(start) {
			t.Fatal("the first read was refused")
		}
		s.Sent(start+20, size)
		for at := record.Millis(20); at < 5*second; at += 20 {
			if s.Read(start + at) {
				t.Fatalf("read %d ms after a result of %d bytes", at, size)
			}
		}
		if !s.Read(start + 5*second) {
			t.Errorf("a read was refused five seconds after a result of %d bytes", size)
		}
	}
}

// TestClockSteps moves the clock back and far ahead: a shard is closed for no longer than its rules say.
func TestClockSteps(t *testing.T) {
	s := new(Shard)
	put(s, start, 2000, 1)
	for range ReadCalls {
		s.Read(start)
		s.Iterator(start)
	}
	s.Sent(start, 10*MiB)
	back := start - 3600*second
	put(s, back, 1, 1)
	if got := put(s, back+second, 2000, 1); got != 1000 {
		t.Errorf("took %d records a second after the clock went back", got)
	}
	if !s.Iterator(back) {
		t.Error("an iterator was refused after the clock went back")
	}
	s.Read(back)
	if !s.Read(back + 5*second) {
		t.Error("a read was refused five seconds after the clock went back")
	}
	if got := put(s, 1<<60, 2000, 1); got != 1000 {
		t.Errorf("took %d records at the end of time", got)
	}
}

// TestCalls bounds calls by key, and forgets keys when there are too many.
func TestCalls(t *testing.T) {
	var c Calls
	take := func(now record.Millis, key Key, rate int) (n int) {
		for c.Take(now, key, rate) {
			n++
		}
		return n
	}
	a, b := Key{Account: "1", Operation: "ListStreams"}, Key{Account: "2", Operation: "ListStreams"}
	if n := take(start, a, 5); n != 5 {
		t.Errorf("%d calls at once; want 5", n)
	}
	if n := take(start, b, 5); n != 5 {
		t.Errorf("%d calls of another account; want 5", n)
	}
	n := 0
	for at := record.Millis(1); at <= 60*second; at++ {
		if c.Take(start+at, a, 5) {
			n++
		}
	}
	if n != 300 {
		t.Errorf("%d calls in a minute; want 300", n)
	}
	now := start + 3600*second
	for i := range maxKeys + 100 {
		c.Take(now, Key{Account: fmt.Sprint(i)}, 5)
	}
	if len(c.known) > maxKeys {
		t.Errorf("%d keys are remembered", len(c.known))
	}
	if n := take(now, Key{Account: strings.Repeat("x", 12)}, 5); n > 5 {
		t.Errorf("%d calls of a key that there is no room for", n)
	}
	if n := take(now+2*second, Key{Account: "late"}, 5); n != 5 || len(c.known) > maxKeys {
		t.Errorf("%d calls of a key when others can be forgotten, %d remembered", n, len(c.known))
	}
}

// TestWithin keeps what is less than a day old.
func TestWithin(t *testing.T) {
	got := Within(start, []record.Millis{start - 2*Day, start - Day, start - Day + 1, start})
	if fmt.Sprint(got) != fmt.Sprint([]record.Millis{start - Day + 1, start}) {
		t.Errorf("kept %v", got)
	}
}

// TestAllocations finds that nothing is allocated, whatever the verdict.
func TestAllocations(t *testing.T) {
	s, entries, refused := new(Shard), make([]record.Entry, 500), make([]bool, 500)
	now := start
	if n := alloctest.Count(t, 100, func() {
		now += 10
		s.Write(now, entries, refused)
		s.Read(now)
		s.Sent(now, 100)
		s.Iterator(now)
	}); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
}

func BenchmarkWrite(b *testing.B) {
	s, entries, refused := new(Shard), make([]record.Entry, 500), make([]bool, 500)
	now := start
	for b.Loop() {
		now += 500
		s.Write(now, entries, refused)
	}
}
