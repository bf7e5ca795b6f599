package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/secret"
)

// TestXAES compares with the test vectors of C2SP's XAES-256-GCM: both values of the carry bit.
func TestXAES(t *testing.T) {
	const nonce = "ABCDEFGHIJKLMNOPQRSTUVWX"
	for _, v := range []struct {
		key         byte
		bound, want string
	}{
		{1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		k := newKey(1, bytes.Repeat([]byte{v.key}, keySize))
		got := k.reading([]byte(nonce[:saltSize])).aead.Seal(nil, []byte(nonce[saltSize:]), []byte("XAES-256-GCM"), []byte(v.bound))
		if hex.EncodeToString(got) != v.want {
			t.Errorf("key %d: %x; want %s", v.key, got, v.want)
		}
	}
}

// mill is a stream with one data key.
const mill = 7

func nodeBox() *secret.Box { return secret.NewKey().Box("stream data keys") }

// newKeys returns n data keys of mill.
func newKeys(t testing.TB, n int) Keys {
	t.Helper()
	box, rows := nodeBox(), []Row(nil)
	for i := range n {
		rows, _ = Add(box, mill, rows, record.Millis(i), 1000)
	}
	keys := Open(box, mill, rows, nil)
	if err := keys.Err(); err != nil || len(keys) != n {
		t.Fatalf("%d keys, %v; want %d", len(keys), err, n)
	}
	return keys
}

func newest(t testing.TB, keys Keys) *Key {
	t.Helper()
	k, err := keys.Find(uint32(len(keys)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sealed returns n sealed records of a shard, and what they were.
func sealed(s *Sealer, k *Key, shard int32, n int) (page []record.Record, want []string) {
	entries := make([]record.Entry, n)
	for i := range entries {
		data := strings.Repeat("x", i%70) + fmt.Sprint(i)
		entries[i] = record.Entry{PartitionKey: fmt.Sprint("key ", i), Data: []byte(data)}
		want = append(want, data)
	}
	s.Begin(k, entries)
	s.Seal(mill, shard, entries)
	page = make([]record.Record, n)
	for i := range page {
		page[i].Entry = entries[i]
		page[i].Data = bytes.Clone(entries[i].Data) // what is sealed next takes its place
	}
	return page, want
}

func TestSealAndOpen(t *testing.T) {
	keys := newKeys(t, 3)
	var s Sealer
	var page []record.Record
	var want []string
	for number := uint32(1); number <= 3; number++ {
		k, err := keys.Find(number)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			p, w := sealed(&s, k, 4, 20)
			page, want = append(page, p...), append(want, w...)
		}
		page = append(page, record.Record{Entry: record.Entry{PartitionKey: "plain", Data: []byte("plain")}})
		want = append(want, "plain")
	}
	seen := map[string]bool{}
	for i := range page {
		r := &page[i]
		if r.Seal != record.Sealed {
			continue
		}
		if len(r.Data) != len(want[i])+record.SealOverhead || r.Size() != len(want[i])+len(r.PartitionKey) {
			t.Fatalf("record %d has %d bytes sealed, and the size %d; want %d more than %d", i, len(r.Data), r.Size(), record.SealOverhead, len(want[i]))
		}
		if nonce := string(r.Data[:headSize]); seen[nonce] {
			t.Fatalf("record %d has the nonce of another", i)
		} else {
			seen[nonce] = true
		}
		if len(want[i]) > 8 && bytes.Contains(r.Data, []byte(want[i])) {
			t.Fatalf("record %d holds its data in clear", i)
		}
	}
	var o Opener
	if n, err := o.Open(keys, mill, 4, page); err != nil || n != len(page) {
		t.Fatalf("opened %d of %d records: %v", n, len(page), err)
	}
	for i := range page {
		if r := &page[i]; string(r.Data) != want[i] || r.Size() != len(want[i])+len(r.PartitionKey) || (r.Seal == record.Opened) != (r.PartitionKey != "plain") {
			t.Errorf("record %d is %q, %d; want %q", i, r.Data, r.Seal, want[i])
		}
	}
}

// TestTampered changes every bit of a sealed record's surroundings in turn: none of it opens.
func TestTampered(t *testing.T) {
	keys := newKeys(t, 1)
	var s Sealer
	page, want := sealed(&s, newest(t, keys), 4, 3)
	good := page[2]
	open := func(what string, stream uint64, shard int32, r record.Record) {
		t.Helper()
		one := []record.Record{r}
		n, err := new(Opener).Open(keys, stream, shard, one)
		if n != 0 || !errors.Is(err, ErrRecord) && !errors.Is(err, ErrMissing) {
			t.Errorf("%s: opened as %q, %v", what, one[0].Data, err)
		}
	}
	for i := range good.Data {
		bad := good
		bad.Data = bytes.Clone(good.Data)
		bad.Data[i] ^= 1 << (i % 8)
		open(fmt.Sprint("byte ", i, " changed"), mill, 4, bad)
	}
	for n := record.SealOverhead; n < len(good.Data); n++ {
		bad := good
		bad.Data = good.Data[:n]
		open(fmt.Sprint("cut to ", n), mill, 4, bad)
	}
	open("another stream", mill+1, 4, good)
	open("another shard", mill, 5, good)
	bad := good
	bad.PartitionKey = "key 1"
	open("another partition key", mill, 4, bad)
	three := []record.Record{page[0], bad, page[2]}
	if n, err := new(Opener).Open(keys, mill, 4, three); n != 1 || !errors.Is(err, ErrRecord) || string(three[0].Data) != want[0] {
		t.Errorf("a bad record after a good one: %d, %v, %q", n, err, three[0].Data)
	}
}

// TestSalts checks that salts change, with time and with processes, and that calls under one differ.
func TestSalts(t *testing.T) {
	box := nodeBox()
	rows, _ := Add(box, mill, nil, 0, 0)
	first, second := newest(t, Open(box, mill, rows, nil)), newest(t, Open(box, mill, rows, nil))
	var s Sealer
	heads := map[string]bool{}
	begin := func(k *Key) (salt string) {
		s.Begin(k, nil)
		if heads[string(s.head[:])] {
			t.Fatal("two calls have the same nonces")
		}
		heads[string(s.head[:])] = true
		return string(s.head[numberSize:][:saltSize])
	}
	a := begin(first)
	if begin(first) != a {
		t.Error("the salt changes with each call")
	}
	if begin(second) == a {
		t.Error("two processes have the same salt")
	}
	first.current.Load().calls.Store(callsPerSalt)
	if begin(first) == a {
		t.Error("the salt stays for ever")
	}
}

// TestKeysThatDoNotOpen tells what is wrong apart.
func TestKeysThatDoNotOpen(t *testing.T) {
	box := nodeBox()
	rows, _ := Add(box, mill, nil, 0, 1000)
	rows, _ = Add(box, mill, rows, 0, 1000)
	good := Open(box, mill, rows, nil)
	damaged := bytes.Clone(rows[1].Box)
	damaged[30]++
	for _, c := range []struct {
		name string
		keys Keys
		want error
	}{
		{"another node key", Open(nodeBox(), mill, rows, nil), ErrOtherNodeKey},
		{"damaged", Open(box, mill, []Row{rows[0], {Number: 2, Box: damaged}}, good), ErrDamaged},
		{"empty", Open(box, mill, []Row{rows[0], {Number: 2}}, good), ErrDamaged},
		{"of another number", Open(box, mill, []Row{rows[0], {Number: 2, Box: rows[0].Box}}, good), ErrDamaged},
		{"of another stream", Open(box, mill+1, rows, nil), ErrDamaged},
	} {
		if k, err := c.keys.Find(2); k != nil || !errors.Is(err, c.want) || !errors.Is(c.keys.Err(), c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, k, err, c.want)
		}
	}
	if _, err := good.Find(3); !errors.Is(err, ErrMissing) {
		t.Errorf("a key that never was: %v; want %v", err, ErrMissing)
	}
	again := Open(box, mill, rows, good)
	if again[0].key != good[0].key || again[1].key != good[1].key {
		t.Error("keys that are the same were opened again")
	}
	if text := fmt.Sprintf("%v %+v %#v", good[0].key, good[0].key, good[0].key); text != "[secret] [secret] [secret]" {
		t.Errorf("a key prints as %s", text)
	}
}

// TestOldKeysGo checks that keys go when what they sealed has expired, and that numbers rise all the same.
func TestOldKeysGo(t *testing.T) {
	box := nodeBox()
	var rows []Row
	for _, step := range []struct {
		now  record.Millis
		want string
	}{
		{0, "1"}, {50, "1 2"}, {150, "1 2 3"}, {151, "2 3 4"}, {251, "3 4 5"}, {10_000, "5 6"}, {20_000, "6 7"},
	} {
		before := fmt.Sprint(rows)
		with, number := Add(box, mill, rows, step.now, 100)
		if fmt.Sprint(rows) != before {
			t.Fatal("the rows were changed")
		}
		var got []string
		for _, r := range with {
			got = append(got, fmt.Sprint(r.Number))
		}
		if strings.Join(got, " ") != step.want || with[len(with)-1].Number != number {
			t.Errorf("at %d there are keys %v, the newest %d; want %s", step.now, got, number, step.want)
		}
		rows = with
	}
}

// TestAllocates checks that neither sealing nor opening allocates for a record.
func TestAllocates(t *testing.T) {
	keys := newKeys(t, 1)
	k := newest(t, keys)
	entries := make([]record.Entry, 500)
	page := make([]record.Record, 500)
	var s Sealer
	var o Opener
	data := make([]byte, 1000)
	round := func() {
		for i := range entries {
			entries[i] = record.Entry{PartitionKey: "some partition key", Data: data}
		}
		s.Begin(k, entries)
		s.Seal(mill, 1, entries)
		for i := range entries {
			page[i].Entry = entries[i]
		}
		if n, err := o.Open(keys, mill, 1, page); n != 500 || err != nil {
			t.Fatal(n, err)
		}
		s.Reset()
		o.Reset()
	}
	if n := alloctest.Count(t, 20, round); n != 0 {
		t.Errorf("500 records allocate %v times", n)
	}
}

func TestNamed(t *testing.T) {
	const id = "1234abcd-12ab-34cd-56ef-1234567890ab"
	for _, c := range []struct{ text, want string }{
		{id, id},
		{"arn:aws:kms:eu-west-1:123456789012:key/" + id, id},
		{"arn:aws:kms:eu-west-1:111111111111:key/" + id, "111111111111:" + id},
		{"alias/aws/kinesis", "alias/aws/kinesis"},
		{"arn:aws:kms:eu-west-1:123456789012:alias/aws/kinesis", "alias/aws/kinesis"},
		{"alias/mill-wheel_7/x", "alias/mill-wheel_7/x"},
		{"mrk-" + strings.Repeat("0a", 16), "mrk-" + strings.Repeat("0a", 16)},
		{"", ""},
		{"alias/", ""},
		{"alias/a b", ""},
		{"mill", ""},
		{"1234abcd-12ab-34cd-56ef-1234567890a", ""},
		{"1234abcd-12ab-34cd-56ef-1234567890ag", ""},
		{"arn:aws:kms:us-east-1:123456789012:key/" + id, ""},
		{"arn:aws:kms:eu-west-1:12345678901:key/" + id, ""},
		{"arn:aws:kms:eu-west-1:123456789012:" + id, ""},
		{"arn:aws:iam:eu-west-1:123456789012:key/" + id, ""},
		{"arn:aws:kms", ""},
	} {
		got, err := Named(c.text, "123456789012", "eu-west-1")
		if got != c.want || (c.want == "") != errors.Is(err, ErrNoKey) {
			t.Errorf("%q names %q, %v; want %q", c.text, got, err, c.want)
		}
	}
	if _, err := Named("alias/aws/s3", "123456789012", "eu-west-1"); !errors.Is(err, ErrForeignKey) {
		t.Errorf("alias/aws/s3: %v; want %v", err, ErrForeignKey)
	}
}

func FuzzOpen(f *testing.F) {
	keys := newKeys(f, 2)
	var s Sealer
	page, _ := sealed(&s, newest(f, keys), 4, 1)
	f.Add(page[0].PartitionKey, page[0].Data)
	f.Add("k", make([]byte, record.SealOverhead))
	f.Fuzz(func(t *testing.T, key string, data []byte) {
		if len(data) < record.SealOverhead {
			return // decoding refuses it
		}
		was := bytes.Clone(data)
		one := []record.Record{{Entry: record.Entry{PartitionKey: key, Seal: record.Sealed, Data: data}}}
		n, err := new(Opener).Open(keys, mill, 4, one)
		if n == 1 && (key != page[0].PartitionKey || !bytes.Equal(was, page[0].Data)) {
			t.Fatalf("%x opens as %q", was, one[0].Data)
		}
		if n == 0 && (err == nil || one[0].Seal != record.Sealed || !bytes.Equal(one[0].Data, was)) {
			t.Fatalf("%x was changed: %v", was, err)
		}
	})
}

func FuzzNamed(f *testing.F) {
	f.Add("arn:aws:kms:eu-west-1:123456789012:alias/aws/kinesis")
	f.Add("mrk-00000000000000000000000000000000")
	f.Fuzz(func(t *testing.T, text string) {
		named, err := Named(text, "123456789012", "eu-west-1")
		if (named == "") != (err != nil) {
			t.Fatalf("%q names %q, %v", text, named, err)
		}
	})
}

func BenchmarkSeal500x1KiB(b *testing.B) {
	k := newest(b, newKeys(b, 1))
	entries, data := make([]record.Entry, 500), make([]byte, 1024)
	var s Sealer
	b.SetBytes(500 << 10)
	for b.Loop() {
		for i := range entries {
			entries[i] = record.Entry{PartitionKey: "some partition key", Data: data}
		}
		s.Begin(k, entries)
		s.Seal(mill, 1, entries)
	}
}
