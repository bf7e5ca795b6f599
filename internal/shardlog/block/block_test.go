package block_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog/block"
)

// sample is a run and its shard.
type sample struct {
	block.Shard
	block.Run
}

// samples makes runs of several shards, some small, some larger than a block, of bytes that
// compress and bytes that do not.
func samples(seed uint64) []sample {
	rng := rand.New(rand.NewPCG(seed, 1))
	var out []sample
	for n := range 20 {
		sh := block.Shard{Stream: uint64(n / 6), Number: int32(n % 6), Born: rng.Uint64N(3)}
		at, arrival := record.Index(1+rng.IntN(100)), record.Millis(rng.IntN(1000))
		for range 1 + rng.IntN(5)*rng.IntN(20) {
			data := bytes.Repeat([]byte("headrace "), 1+rng.IntN(50))
			if rng.IntN(3) == 0 {
				for i := range data {
					data[i] = byte(rng.Uint32())
				}
			}
			if rng.IntN(100) == 0 {
				data = make([]byte, 400_000)
			}
			r := block.Run{First: at, Arrival: arrival, Count: 1 + rng.Uint32N(10), Records: data}
			out = append(out, sample{sh, r})
			at, arrival = r.End(), arrival+record.Millis(rng.IntN(3))
			if rng.IntN(50) == 0 {
				at += 5 // another member
			}
		}
	}
	return out
}

func source(in []sample) block.Source {
	return func() (block.Shard, block.Run, error) {
		if len(in) == 0 {
			return block.Shard{}, block.Run{}, io.EOF
		}
		s := in[0]
		in = in[1:]
		return s.Shard, s.Run, nil
	}
}

func encode(t testing.TB, id uint64, in []sample) ([]byte, *block.Body) {
	t.Helper()
	b := block.NewBody(id, source(in))
	file, err := io.ReadAll(b)
	if err != nil {
		t.Fatalf("ReadAll = %v", err)
	}
	if int64(len(file)) != b.Layout().Size {
		t.Fatalf("the file has %d bytes; Layout says %+v", len(file), b.Layout())
	}
	return file, b
}

// content is what a shard has in a file: its records' bytes joined for each arrival.
type content struct {
	first, next record.Index
	marks       []record.Millis
	data        []byte
}

// decode reads everything in a file.
func decode(name string, l block.Layout, file []byte) (map[block.Shard][]content, error) {
	if l.Footer > int64(len(file)) {
		return nil, block.ErrCorrupt
	}
	f, err := block.ParseFooter(name, l, file[l.Footer:])
	if err != nil {
		return nil, err
	}
	out := make(map[block.Shard][]content)
	for n := range f.Members() {
		m := f.Member(n)
		c := content{first: m.First}
		lo, hi := m.Pieces()
		next := m.First
		for i := lo; i < hi; i++ {
			p := f.Piece(i)
			ref := f.Block(p.Block)
			raw, err := block.Decode(name, ref, file[ref.Offset:ref.Offset+int64(ref.Length)], new([]byte))
			if err != nil {
				return out, err
			}
			runs, err := block.Section(name, ref, raw, &m, p)
			if err != nil {
				return out, err
			}
			for runs.Next() {
				next = runs.Run.End()
				for range runs.Run.Count {
					c.marks = append(c.marks, runs.Run.Arrival)
				}
				c.data = append(c.data, runs.Run.Records...)
			}
			if runs.Err != nil {
				return out, runs.Err
			}
		}
		if c.next = m.Next; next != m.Next {
			return out, fmt.Errorf("member ends at %d; its runs at %d: %w", m.Next, next, block.ErrCorrupt)
		}
		out[m.Shard] = append(out[m.Shard], c)
	}
	return out, nil
}

// wanted joins samples the way decode does.
func wanted(in []sample) map[block.Shard][]content {
	out := make(map[block.Shard][]content)
	for _, s := range in {
		list := out[s.Shard]
		if len(list) == 0 || list[len(list)-1].next != s.First {
			list = append(list, content{first: s.First})
		}
		c := &list[len(list)-1]
		c.next = s.End()
		for range s.Count {
			c.marks = append(c.marks, s.Arrival)
		}
		c.data = append(c.data, s.Records...)
		out[s.Shard] = list
	}
	return out
}

// sorted puts the samples in the order of a file: shards of one stream may differ in birth only.
func sorted(in []sample) []sample {
	out := append([]sample(nil), in...)
	for i := 1; i < len(out); i++ {
		for k := i; k > 0 && out[k].Compare(out[k-1].Shard) < 0; k-- {
			out[k], out[k-1] = out[k-1], out[k]
		}
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	for seed := range uint64(20) {
		in := sorted(samples(seed))
		file, body := encode(t, 9, in)
		got, err := decode("f", body.Layout(), file)
		if err != nil {
			t.Fatalf("seed %d: decode = %v", seed, err)
		}
		if want := wanted(in); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: what comes out is not what went in", seed)
		}
		trailer, err := block.ParseTrailer("f", int64(len(file)), file[len(file)-block.TrailerSize:])
		if err != nil || trailer != body.Layout() {
			t.Errorf("ParseTrailer = %+v, %v; want %+v", trailer, err, body.Layout())
		}
		f, err := block.ParseFooter("f", trailer, file[trailer.Footer:])
		if err != nil || f.Members() != len(body.Members()) {
			t.Fatalf("ParseFooter = %v, %v; want %d members", f, err, len(body.Members()))
		}
		for i, m := range body.Members() {
			if f.Member(i) != m {
				t.Errorf("member %d = %+v; the writer listed %+v", i, f.Member(i), m)
			}
		}
	}
}

// TestReader reads a body the way stores do, in odd portions, and expects the same bytes.
func TestReader(t *testing.T) {
	in := sorted(samples(3))
	want, _ := encode(t, 1, in)
	got, err := io.ReadAll(iotest.OneByteReader(block.NewBody(1, source(in))))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read one byte at a time: %d bytes, %v; want %d", len(got), err, len(want))
	}
}

func TestBlockSizes(t *testing.T) {
	var in []sample
	at := record.Index(1)
	for i := range 5000 { // 5 MB of one shard, then 1000 shards of 100 bytes
		data := bytes.Repeat([]byte{byte(i)}, 1000)
		in = append(in, sample{block.Shard{Stream: 1}, block.Run{First: at, Arrival: record.Millis(i), Count: 1, Records: data}})
		at++
	}
	for i := range 1000 {
		in = append(in, sample{block.Shard{Stream: 2, Number: int32(i)}, block.Run{First: 1, Count: 1, Records: make([]byte, 100)}})
	}
	file, body := encode(t, 1, in)
	f, err := block.ParseFooter("f", body.Layout(), file[body.Layout().Footer:])
	if err != nil {
		t.Fatal(err)
	}
	for n := range f.Blocks() {
		if r := f.Block(n); r.Raw > 256<<10 || r.Raw < 64<<10 && n < f.Blocks()-1 {
			t.Errorf("block %d of %d has %d raw bytes; want 64 to 256 KiB", n, f.Blocks(), r.Raw)
		}
	}
	if f.Blocks() > 24 {
		t.Errorf("%d blocks; want few", f.Blocks())
	}
	m := f.Member(0)
	for _, at := range []record.Index{1, 2, 300, 2500, 5000} {
		i := f.SeekIndex(&m, at)
		_, hi := m.Pieces()
		if p := f.Piece(i); p.First > at || i+1 < hi && f.Piece(i+1).First <= at {
			t.Errorf("SeekIndex(%d) = piece %d from %d", at, i, p.First)
		}
	}
}

// TestNoise stores data of which a part gets no shorter, between parts that do.
func TestNoise(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var in []sample
	at := record.Index(1)
	add := func(shard int32, pieces int, random bool) {
		for range pieces {
			data := bytes.Repeat([]byte("a line that repeats itself\n"), 4<<10)
			if random {
				for i := range data {
					data[i] = byte(rng.Uint32())
				}
			}
			in = append(in, sample{block.Shard{Stream: 1, Number: shard}, block.Run{First: at, Arrival: 5, Count: 1, Records: data}})
			at++
		}
	}
	add(1, 40, false)
	add(1, 60, true)
	add(1, 60, false)
	add(2, 20, true)
	add(3, 20, false)
	file, body := encode(t, 1, in)
	got, err := decode("f", body.Layout(), file)
	if err != nil || !reflect.DeepEqual(got, wanted(in)) {
		t.Fatalf("decode = %v; want what was written", err)
	}
	// What does not get shorter takes what it is. Of what does, no more than the few blocks after the
	// turn may have been left as they are: two pieces stand in each.
	piece := len(in[0].Records)
	if size := len(file); size > (60+20+2*8)*piece+120*piece/10 {
		t.Errorf("the file has %d bytes; want %d pieces of %d that do not compress and the rest compressed", size, 80, piece)
	}
}

func TestOrder(t *testing.T) {
	one := func(stream uint64, first record.Index, arrival record.Millis) sample {
		return sample{block.Shard{Stream: stream}, block.Run{First: first, Arrival: arrival, Count: 2, Records: []byte("xy")}}
	}
	f := func(what string, want error, in ...sample) {
		t.Helper()
		_, err := io.ReadAll(block.NewBody(1, source(in)))
		if !errors.Is(err, want) {
			t.Errorf("%s: %v; want %v", what, err, want)
		}
	}
	f("in order", nil, one(1, 1, 1), one(1, 3, 1), one(1, 9, 0), one(2, 1, 0))
	f("shard falls", block.ErrOrder, one(2, 1, 1), one(1, 1, 1))
	f("index falls", block.ErrOrder, one(1, 3, 1), one(1, 1, 1))
	f("index overlaps", block.ErrOrder, one(1, 3, 1), one(1, 4, 1))
	f("arrival falls", block.ErrOrder, one(1, 1, 2), one(1, 3, 1))
	f("index 0", block.ErrOrder, one(1, 0, 2))
	broken := errors.New("broken")
	_, err := io.ReadAll(block.NewBody(1, func() (block.Shard, block.Run, error) { return block.Shard{}, block.Run{}, broken }))
	if err != broken {
		t.Errorf("a source's error comes out as %v", err)
	}
}

// TestBitFlips damages every part of a small file and expects each to be noticed and named.
func TestBitFlips(t *testing.T) {
	in := sorted(samples(5))[:8]
	file, body := encode(t, 4, in)
	want := wanted(in)
	for at := 16; at < len(file); at++ { // the header is for people
		bad := bytes.Clone(file)
		bad[at] ^= 1 << (at % 8)
		got, err := decode("the/object", body.Layout(), bad)
		if !errors.Is(err, block.ErrCorrupt) || !strings.Contains(err.Error(), "the/object at offset ") {
			t.Fatalf("a flipped bit at %d of %d: %v", at, len(file), err)
		}
		subset(t, got, want)
	}
}

// subset expects got to hold nothing that want does not.
func subset(t testing.TB, got, want map[block.Shard][]content) {
	t.Helper()
	for sh, list := range got {
		for i := range list {
			if i >= len(want[sh]) || !reflect.DeepEqual(list[i], want[sh][i]) {
				t.Fatalf("shard %+v: records that nobody wrote", sh)
			}
		}
	}
}

// FuzzMutated changes a sound file at will: an error or what was written, never a panic.
func FuzzMutated(f *testing.F) {
	in := sorted(samples(2))[:40]
	file, body := encode(f, 4, in)
	want := wanted(in)
	f.Add(uint32(20), []byte{1}, false)
	f.Add(uint32(body.Layout().Footer), []byte{0xff, 0xff, 0xff, 0xff}, true)
	f.Add(uint32(body.Layout().Footer+20), []byte{0xff, 0xff}, true)
	f.Add(uint32(len(file)-40), []byte{0xff}, true)
	f.Add(uint32(len(file)-400), []byte{0, 0, 0, 0, 0, 0xff}, true)
	f.Fuzz(func(t *testing.T, at uint32, change []byte, mend bool) {
		bad, l := bytes.Clone(file), body.Layout()
		for i, c := range change {
			bad[(int(at)+i)%len(bad)] ^= c
		}
		if mend { // the checksums fit again, so that what lies behind them is reached
			table := crc32.MakeTable(crc32.Castagnoli)
			end := len(bad) - block.TrailerSize
			l.Sum = crc32.Checksum(bad[l.Footer:end], table)
			binary.LittleEndian.PutUint32(bad[end+16:], l.Sum)
			binary.LittleEndian.PutUint32(bad[end+32:], crc32.Checksum(bad[end:end+32], table))
		}
		got, err := decode("f", l, bad)
		if err != nil && !errors.Is(err, block.ErrCorrupt) {
			t.Fatalf("decode = %v; want ErrCorrupt", err)
		}
		if !mend {
			subset(t, got, want)
		}
	})
}

func BenchmarkBody(b *testing.B) {
	line := []byte(`{"ts":"2026-03-01T12:00:00Z","level":"info","msg":"request served","path":"/v1/items/%d","status":200,"ms":12}`)
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 100<<10)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	for name, data := range map[string][]byte{"json": bytes.Repeat(line, 100<<10/len(line)), "random": noise} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(64 * int64(len(data)))
			b.ReportAllocs()
			for range b.N {
				n := 0
				body := block.NewBody(1, func() (block.Shard, block.Run, error) {
					if n == 64 {
						return block.Shard{}, block.Run{}, io.EOF
					}
					n++
					return block.Shard{Stream: 1, Number: int32(n / 8)}, block.Run{First: record.Index(n), Count: 1, Records: data}, nil
				})
				if _, err := io.Copy(io.Discard, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
