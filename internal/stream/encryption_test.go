package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/stream/keyspace"
	"github.com/headrace/headrace/internal/stream/row"
	"github.com/headrace/headrace/internal/stream/seal"
)

// stored returns the records of a shard as they lie in its log.
func (w *world) stored(ref Ref, number int32) *shardlog.Page {
	w.t.Helper()
	e, _, err := w.find(home, ref)
	w.must(err)
	p, err := w.cfg.Log.Read(w.t.Context(), shardlog.ShardID{Stream: e.id, Shard: number}, 1, shardlog.Limit{Records: 1000, Bytes: 10 << 20})
	w.must(err)
	return p
}

// page returns the data of the first records of a shard, and which of them lie sealed.
func (w *world) page(ref Ref, limit int) (data, sealed string, err error) {
	w.t.Helper()
	it := w.iterator(ref, IteratorInput{ShardID: "0", Type: TrimHorizon})
	r, err := w.GetRecords(w.t.Context(), home, "", it, limit)
	if err != nil {
		return "", "", err
	}
	defer r.Release()
	for i := range r.Page.Records {
		rec := &r.Page.Records[i]
		data += string(rec.Data) + " "
		sealed += string("psO"[rec.Seal])
	}
	return strings.TrimSpace(data), sealed, nil
}

func (w *world) put1(ref Ref, data string) PutResult {
	w.t.Helper()
	out, err := w.Put(w.t.Context(), home, ref, entry1("key", data), "")
	w.must(err)
	return out
}

func (w *world) keyID(ref Ref) string {
	w.t.Helper()
	d, err := w.DescribeStreamSummary(home, ref)
	w.must(err)
	return d.KeyID
}

// TestEncryptedStream goes through a stream's life: in clear, encrypted, with another key, in clear again,
// and the process ends in between. All records can be read at any time.
func TestEncryptedStream(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, time.Second, Caps{})
	ref := w.create("mill", 1)
	w.tick(time.Second)
	want, forms := "", ""
	put := func(data, keyID string) {
		t.Helper()
		if out := w.put1(ref, data); out.Encrypted != (keyID != "") {
			t.Errorf("put %s: encrypted is %t", data, out.Encrypted)
		}
		want = strings.TrimSpace(want + " " + data)
		forms += map[bool]string{true: "O", false: "p"}[keyID != ""]
		for range 2 {
			if got, sealed, err := w.page(ref, 0); err != nil || got != want || sealed != forms || w.keyID(ref) != keyID {
				t.Fatalf("after %s: %s, %s, key %q, %v; want %s, %s, key %q", data, got, sealed, w.keyID(ref), err, want, forms, keyID)
			}
			w.restart()
		}
	}
	const arn = "arn:aws:kms:eu-west-1:123456789012:alias/race"
	put("clear", "")
	w.must(w.StartEncryption(ctx, home, ref, "alias/aws/kinesis"))
	put("still-clear", "")
	refused(t, w.StartEncryption(ctx, home, ref, "alias/race"), InUse, "Stream mill under account 123456789012 not ACTIVE, instead in state UPDATING")
	w.tick(time.Second)
	put("sealed", "alias/aws/kinesis")
	w.must(w.StartEncryption(ctx, home, ref, "alias/aws/kinesis"))
	put("same-key", "alias/aws/kinesis") // nothing changes, so it is not UPDATING
	w.must(w.StartEncryption(ctx, home, ref, arn))
	w.tick(time.Second)
	put("rotated", arn)
	refused(t, w.StopEncryption(ctx, home, ref, "alias/aws/kinesis"), InvalidArgument,
		"Stream mill under account 123456789012 is encrypted with key "+arn+", not with key alias/aws/kinesis.")
	w.must(w.StopEncryption(ctx, home, ref, "alias/race")) // the same in other words
	put("still-sealed", arn)
	w.tick(time.Second)
	put("in-clear-again", "")
	w.must(w.StopEncryption(ctx, home, ref, "alias/race"))
	put("nothing-to-stop", "")

	p := w.stored(ref, 0)
	defer p.Release()
	for i := range p.Records {
		r := &p.Records[i]
		if (r.Seal == record.Sealed) != (forms[i] == 'O') || r.Seal == record.Sealed && bytes.Contains(r.Data, []byte(strings.Fields(want)[i])) {
			t.Errorf("record %d lies in the log as %q", i, r.Data)
		}
	}
	if n := len(w.view(ref).row.Keys); n != 2 {
		t.Errorf("the stream has %d data keys; want 2", n)
	}
}

func TestEncryptionRefuses(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 1)
	for _, call := range []func(keyID string) error{
		func(keyID string) error { return w.StartEncryption(ctx, home, ref, keyID) },
		func(keyID string) error { return w.StopEncryption(ctx, home, ref, keyID) },
	} {
		refused(t, call("nonsense"), KMSNotFound, "Invalid keyId nonsense")
		refused(t, call("arn:aws:kms:us-east-1:123456789012:alias/a"), KMSNotFound, "Invalid keyId arn:aws:kms:us-east-1:123456789012:alias/a")
		refused(t, call("alias/aws/s3"), KMSAccessDenied, "The key alias/aws/s3 is not accessible to Kinesis Data Streams.")
	}
	refused(t, w.StartEncryption(ctx, home, Ref{Name: "race"}, "alias/a"), NotFound, "Stream race under account 123456789012 not found.")
	for i := range maxDataKeys {
		w.must(w.StartEncryption(ctx, home, ref, fmt.Sprint("alias/", i)))
	}
	refused(t, w.StartEncryption(ctx, home, ref, "alias/a"), LimitExceeded, "Stream mill under account 123456789012 has 500 data keys. Limit: 500.")
	if n := len(row.Encode(w.view(ref).row)); n > 128<<10 {
		t.Errorf("the row has %d bytes", n)
	}
	w.put1(ref, "x")
	w.clock.Advance(400 * 24 * time.Hour)
	w.must(w.StartEncryption(ctx, home, ref, "alias/a"))
	if n := len(w.view(ref).row.Keys); n != 2 {
		t.Errorf("%d keys are left of those whose records have expired; want the last, and the new one", n)
	}
}

// TestPutIsSealedAgain has the shard split between routing and append: what is sealed for it would not open
// as a record of its children.
func TestPutIsSealedAgain(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	hooked := &hookedLog{Log: w.cfg.Log}
	w.cfg.Log = hooked
	w.restart()
	ref := w.create("mill", 1)
	w.must(w.StartEncryption(t.Context(), home, ref, "alias/mill"))
	hooked.before = func() { w.must(w.SplitShard(t.Context(), home, ref, "0", keyspace.UniformStart(1, 2).String())) }
	recs := []record.Entry{explicit(record.HashKey{}, "low"), explicit(record.MaxHashKey, "high")}
	out, err := w.PutAll(t.Context(), home, ref, recs, nil)
	w.must(err)
	if out[0].Shard != 1 || out[1].Shard != 2 || string(recs[0].Data) != "low" || recs[0].Seal != record.Plain {
		t.Errorf("the records went to %+v, the caller's are %+v", out, recs)
	}
	if got := fmt.Sprint(w.readEverything(ref)); got != "map[1:[low] 2:[high]]" {
		t.Errorf("read %s", got)
	}
}

// The answers to those who write to or read from a stream whose data key is not to be had.
const (
	deniedText  = "User 123456789012 is not authorized to %s records in stream 123456789012:mill:1421889722"
	invalidText = "A data key of stream mill under account 123456789012 is not in a state to %s records."
)

// TestLockedStream damages a stream's data key in each way there is: the stream answers with errors about
// keys, all else goes on, and the start is not in danger.
func TestLockedStream(t *testing.T) {
	// alter changes the stream's row as it is stored.
	alter := func(w *world, ref Ref, change func(row *streamRow)) {
		v := w.view(ref)
		altered := v.row.Clone()
		change(altered)
		_, err := w.cfg.Coordinator.Put(t.Context(), altered.Key(), row.Encode(altered), v.version)
		w.must(err)
	}
	for _, c := range []struct {
		name   string
		damage func(w *world, ref Ref)
		kind   Kind
		text   string
	}{
		{"another node key", func(w *world, _ Ref) { w.cfg.KeyBox = KeyBox(secret.NewKey()) }, KMSAccessDenied, deniedText},
		{"damaged", func(w *world, ref Ref) {
			alter(w, ref, func(row *streamRow) {
				row.Keys = []seal.Row{{Number: 1, Made: row.Keys[0].Made, Box: bytes.Clone(row.Keys[0].Box)}}
				row.Keys[0].Box[40]++
			})
		}, KMSInvalidState, invalidText},
		{"missing", func(w *world, ref Ref) { alter(w, ref, func(row *streamRow) { row.Keys = nil }) }, KMSInvalidState, invalidText},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := t.Context()
			w := newWorld(t, 0, Caps{})
			ref, other := w.create("mill", 1), w.create("race", 1)
			w.put1(ref, "clear")
			w.must(w.StartEncryption(ctx, home, ref, "alias/mill"))
			w.put1(ref, "sealed")
			c.damage(w, ref)
			w.restart()

			encrypt := fmt.Sprintf(c.text, "encrypt")
			_, err := w.Put(ctx, home, ref, entry1("k", "x"), "")
			refused(t, err, c.kind, encrypt)
			_, err = w.PutAll(ctx, home, ref, []record.Entry{entry1("k", "x")}, nil)
			refused(t, err, c.kind, encrypt)
			refused(t, w.CheckPutAll(home, ref, []record.Entry{entry1("k", "x")}), c.kind, encrypt)
			if got, _, err := w.page(ref, 0); err != nil || got != "clear" {
				t.Errorf("the page before the sealed record is %q, %v", got, err)
			}
			it := w.iterator(ref, IteratorInput{ShardID: "0", Type: TrimHorizon})
			r, err := w.GetRecords(ctx, home, "", it, 0)
			w.must(err)
			if r.MillisBehind == 0 {
				t.Error("the page says that nothing follows")
			}
			next := r.Next
			r.Release()
			_, err = w.GetRecords(ctx, home, "", next, 0)
			refused(t, err, c.kind, fmt.Sprintf(c.text, "decrypt"))
			w.put1(other, "x")

			var locked []string
			for _, l := range w.Locked() {
				locked = append(locked, fmt.Sprint(l.Name, ": ", l.Err))
			}
			if len(locked) != 1 || !strings.HasPrefix(locked[0], "mill: ") {
				t.Errorf("locked streams are %q", locked)
			}
			// Starting again, with the same key too, makes a data key, and writing goes on.
			w.must(w.StartEncryption(ctx, home, ref, "alias/mill"))
			w.put1(ref, "after")
			if got, err := w.PutAll(ctx, home, ref, []record.Entry{entry1("k", "x")}, nil); err != nil || !got[0].Encrypted {
				t.Errorf("put under a new data key: %+v, %v", got, err)
			}
		})
	}
}

// TestSubscriptionOfLockedStream hears the same as GetRecords.
func TestSubscriptionOfLockedStream(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 1)
	w.must(w.StartEncryption(ctx, home, ref, "alias/mill"))
	w.put1(ref, "sealed")
	c, err := w.RegisterConsumer(ctx, home, home.arn("mill"), "wheel", nil)
	w.must(err)
	subscribe := func() *Subscription {
		sub, _, err := w.Subscribe(ctx, home, SubscribeInput{ConsumerARN: c.ARN, Position: IteratorInput{ShardID: "0", Type: TrimHorizon}})
		w.must(err)
		t.Cleanup(sub.Close)
		return sub
	}
	b, err := subscribe().Read(ctx)
	w.must(err)
	if len(b.Page.Records) != 1 || string(b.Page.Records[0].Data) != "sealed" || b.Page.Records[0].Seal != record.Opened {
		t.Errorf("the batch is %+v", b.Page.Records)
	}
	b.Release()
	w.cfg.KeyBox = KeyBox(secret.NewKey())
	w.restart()
	_, err = subscribe().Read(ctx)
	refused(t, err, KMSAccessDenied, fmt.Sprintf(deniedText, "decrypt"))
}

// TestAnotherNodesKey reads what another node has sealed under a key that this one has not heard of.
func TestAnotherNodesKey(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 1)
	other, err := New(ctx, w.cfg)
	w.must(err)
	w.must(w.StartEncryption(ctx, home, ref, "alias/mill"))
	w.put1(ref, "sealed")
	it, err := other.GetShardIterator(ctx, home, ref, IteratorInput{ShardID: "0", Type: TrimHorizon})
	w.must(err)
	r, err := other.GetRecords(ctx, home, "", it, 0)
	w.must(err)
	defer r.Release()
	if len(r.Page.Records) != 1 || string(r.Page.Records[0].Data) != "sealed" {
		t.Errorf("the other node reads %+v", r.Page.Records)
	}
}

// TestTamperedRecord puts a record into the log that nobody sealed: it is a fault of ours to give it out,
// and those before it are read.
func TestTamperedRecord(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 1)
	w.must(w.StartEncryption(ctx, home, ref, "alias/mill"))
	w.put1(ref, "good")
	p := w.stored(ref, 0)
	bad := p.Records[0].Entry
	bad.Data = bytes.Clone(bad.Data)
	bad.Data[len(bad.Data)-1]++
	p.Release()
	e, _, err := w.find(home, ref)
	w.must(err)
	out, err := w.cfg.Log.Append(ctx, []shardlog.Batch{{Shard: shardlog.ShardID{Stream: e.id}, Entries: []record.Entry{bad}}})
	if err = errors.Join(err, out[0].Err); err != nil {
		t.Fatal(err)
	}
	if got, _, err := w.page(ref, 0); err != nil || got != "good" {
		t.Errorf("the page before it is %q, %v", got, err)
	}
	it := w.iterator(ref, IteratorInput{ShardID: "0", Type: AfterSequenceNumber, Sequence: w.view(ref).shards[0].Sequence(1, w.now()).String()})
	_, err = w.GetRecords(ctx, home, "", it, 0)
	var refusal *Error
	if !errors.Is(err, seal.ErrRecord) || errors.As(err, &refusal) {
		t.Errorf("reading it: %v; want %v", err, seal.ErrRecord)
	}
}

// TestKeysGoWithTheStream checks that no data key is left of a deleted stream, and that only rows with data
// keys need the node's.
func TestKeysGoWithTheStream(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 1)
	has := func(want bool) {
		t.Helper()
		if got, err := HasKeys(ctx, w.cfg.Coordinator); err != nil || got != want {
			t.Errorf("rows have keys: %t, %v; want %t", got, err, want)
		}
	}
	layout := func() (row struct{ V int }) {
		t.Helper()
		var e coordinator.Entry
		e, err := w.cfg.Coordinator.Get(ctx, w.view(ref).row.Key())
		if err = errors.Join(err, json.Unmarshal(e.Value, &row)); err != nil {
			t.Fatal(err)
		}
		return row
	}
	has(false)
	if v := layout().V; v != 1 {
		t.Errorf("the row has layout %d; want 1", v)
	}
	w.must(w.StartEncryption(ctx, home, ref, "alias/mill"))
	has(true)
	if v := layout().V; v != 2 {
		t.Errorf("the row has layout %d; want 2, which older programs refuse", v)
	}
	w.must(w.StopEncryption(ctx, home, ref, "alias/mill"))
	has(true)
	w.must(w.DeleteStream(ctx, home, ref, false))
	has(false)
}

// TestEncryptedSizes checks that the largest record fits, and that a page takes as much as it would in clear.
func TestEncryptedSizes(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 1)
	w.must(w.StartEncryption(ctx, home, ref, "alias/mill"))
	largest := record.Entry{PartitionKey: "k", Data: make([]byte, 1<<20-1)}
	for range 11 {
		_, err := w.Put(ctx, home, ref, largest, "")
		w.must(err)
	}
	it := w.iterator(ref, IteratorInput{ShardID: "0", Type: TrimHorizon})
	r, err := w.GetRecords(ctx, home, "", it, 0)
	w.must(err)
	defer r.Release()
	if n := len(r.Page.Records); n != 10 {
		t.Errorf("a page has %d records of 1 MiB; want 10", n)
	}
}

// TestEncryptedAllocates checks that more records allocate no more, put or read.
func TestEncryptedAllocates(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 1)
	w.must(w.StartEncryption(ctx, home, ref, "alias/mill"))
	recs := make([]record.Entry, 500)
	for i := range recs {
		recs[i] = entry1(fmt.Sprint("key", i), "some data")
		w.put1(ref, "one by one")
	}
	it := w.iterator(ref, IteratorInput{ShardID: "0", Type: TrimHorizon})
	get := func(n int) float64 {
		return alloctest.Count(t, 100, func() {
			r, err := w.GetRecords(ctx, home, "", it, n)
			if err != nil {
				t.Fatal(err)
			}
			r.Release()
		})
	}
	if few, many := get(16), get(500); many > few+1 {
		t.Errorf("reading 16 records allocates %v times, 500 records %v times", few, many)
	}
	w.cfg.Log = &answeringLog{Log: w.cfg.Log, results: make([]shardlog.Result, 1)}
	w.restart()
	var out []PutResult
	put := func(n int) float64 {
		return alloctest.Count(t, 100, func() {
			var err error
			if out, err = w.PutAll(ctx, home, ref, recs[:n], out[:0]); err != nil {
				t.Fatal(err)
			}
		})
	}
	put(500)
	if few, many := put(16), put(500); many > few || many > 12 {
		t.Errorf("putting 16 records allocates %v times, 500 records %v times", few, many)
	}
}
