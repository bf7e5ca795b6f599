package golden

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/e2e/node"
	"github.com/headrace/headrace/internal/cli"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/server"
)

var update = flag.String("update", "", "write testdata/`NAME`.tar.gz and NAME.json anew before they are opened")

// want is what a directory holds, as the program that wrote it saw it.
type want struct {
	// Closed is when the directory was closed: it is opened at that time, or its records would be of age.
	Closed time.Time
	// Answers are what calls that look at streams gave.
	Answers []answer
	// Shards are the records of every shard.
	Shards []shard
	// Iterator was made by the program that wrote the directory and leads to the last Follows records
	// of shard Shards[IteratorShard].
	Iterator      string
	IteratorShard int
	Follows       int
}

type answer struct {
	Operation string
	Input     node.Fields
	Answer    any
}

type shard struct {
	Stream, Shard string
	Closed        bool
	Records       []stored
}

// stored is a record; its data are known by their length and hash.
type stored struct {
	Number  string
	Arrived float64
	Key     string
	Bytes   int
	SHA256  string
	// Encryption is the record's encryption type.
	Encryption string `json:",omitempty"`
}

// config is a server with a log so small that a directory is, too. The first start makes a root key and
// gives it to show.
func config(dir string, now clock.Clock, show func(account, id, secret string)) server.Config {
	return server.Config{Data: dir, Clock: now, Access: server.Access{AnyCredentials: true, ShowKey: show},
		MemoryBytes: 64 << 20, Ring: server.Ring{Segments: 6, SegmentBytes: 1 << 20}}
}

// TestGolden opens every directory that testdata keeps.
func TestGolden(t *testing.T) {
	if *update != "" {
		write(t, filepath.Join("testdata", *update))
	}
	archives, err := filepath.Glob("testdata/*.tar.gz")
	if err != nil || len(archives) == 0 {
		t.Fatalf("testdata has %d archives, %v", len(archives), err)
	}
	for _, archive := range archives {
		name := strings.TrimSuffix(archive, ".tar.gz")
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var w want
			if err := json.Unmarshal(text, &w); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "data")
			unpack(t, archive, dir)
			w.open(t, dir)
		})
	}
}

// open holds a directory against what it should hold, at rest, served twice, and after more was put.
func (w *want) open(t *testing.T, dir string) {
	sound(t, dir)
	now := clock.NewManual(w.Closed)
	forgotten := func(_, id, _ string) { t.Errorf("a new root key was made: %s", id) }
	for range 2 {
		s := &served{t: t, Node: start(t, config(dir, now, forgotten)), clock: now}
		got := s.look(w.streams())
		for i, a := range w.Answers {
			if i >= len(got.Answers) || !covers(got.Answers[i].Answer, a.Answer) {
				t.Errorf("%s %v gives\n%v\nwant\n%v", a.Operation, a.Input, got.Answers[i].Answer, a.Answer)
			}
		}
		if len(got.Shards) != len(w.Shards) {
			t.Fatalf("%d shards, want %d", len(got.Shards), len(w.Shards))
		}
		for i := range w.Shards {
			if !reflect.DeepEqual(got.Shards[i], w.Shards[i]) {
				t.Errorf("%s of %s has %d records, want these %d:\n%v\n%v", w.Shards[i].Shard, w.Shards[i].Stream,
					len(got.Shards[i].Records), len(w.Shards[i].Records), got.Shards[i], w.Shards[i])
			}
		}
		records := w.Shards[w.IteratorShard].Records
		if got := s.follow(w.Iterator); !reflect.DeepEqual(got, records[len(records)-w.Follows:]) {
			t.Errorf("the iterator leads to %d records, want the last %d", len(got), w.Follows)
		}
		s.end()
		sound(t, dir)
	}
	s := &served{t: t, Node: start(t, config(dir, now, forgotten)), clock: now}
	s.goOn(w)
	s.end()
	sound(t, dir)
}

// covers says whether got has everything that want has: later versions may tell more.
func covers(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		have, ok := got.(map[string]any)
		for k, v := range want {
			ok = ok && covers(have[k], v)
		}
		return ok
	case []any:
		have, ok := got.([]any)
		ok = ok && len(have) == len(want)
		for i := 0; ok && i < len(want); i++ {
			ok = covers(have[i], want[i])
		}
		return ok
	}
	return got == want
}

// streams are the names of the streams that the directory has.
func (w *want) streams() []string {
	var names []string
	for _, sh := range w.Shards {
		if !slices.Contains(names, sh.Stream) {
			names = append(names, sh.Stream)
		}
	}
	return names
}

// sound runs `headrace check`.
func sound(t *testing.T, dir string) {
	t.Helper()
	var out, errs bytes.Buffer
	app := cli.New(strings.NewReader(""), &out, &errs, nil, cli.Build{})
	if code := app.Run(t.Context(), []string{"check", dir}); code != cli.ExitOK {
		t.Errorf("headrace check ends with %d:\n%s%s", code, out.String(), errs.String())
	}
}

// served is a directory that is being served.
type served struct {
	t *testing.T
	*node.Node
	clock *clock.Manual
}

func start(t *testing.T, cfg server.Config) *node.Node {
	t.Helper()
	n, err := node.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// end stops the server, which must have had nothing to complain of.
func (s *served) end() {
	s.t.Helper()
	if err := s.Stop(); err != nil || s.Log() != "" {
		s.t.Errorf("Stop() = %v; the server said:\n%s", err, s.Log())
	}
}

func (s *served) call(operation string, in node.Fields, out any) {
	s.t.Helper()
	if err := s.Call(s.t.Context(), operation, in, out); err != nil {
		s.t.Fatal(err)
	}
}

// look asks everything there is to ask about the streams.
func (s *served) look(streams []string) want {
	s.t.Helper()
	var w want
	ask := func(operation string, in node.Fields) {
		s.t.Helper()
		a := answer{Operation: operation, Input: in}
		s.call(operation, in, &a.Answer)
		w.Answers = append(w.Answers, a)
	}
	ask("ListStreams", node.Fields{})
	for _, name := range streams {
		in := node.Fields{"StreamName": name}
		ask("DescribeStreamSummary", in)
		ask("DescribeStream", in)
		ask("ListTagsForStream", in)
		ask("ListShards", in)
		ask("GetResourcePolicy", node.Fields{"ResourceARN": arnOf(name)})
		for _, sh := range s.shards(name) {
			one := shard{Stream: name, Shard: sh.ID, Closed: sh.Range.Ending != ""}
			one.Records = s.follow(s.iterator(name, sh.ID, node.Fields{"ShardIteratorType": "TRIM_HORIZON"}))
			w.Shards = append(w.Shards, one)
		}
	}
	return w
}

func arnOf(stream string) string { return "arn:aws:kinesis:us-east-1:000000000000:stream/" + stream }

type shardInfo struct {
	ID    string                  `json:"ShardId"`
	Range struct{ Ending string } `json:"-"`
	Raw   struct {
		EndingSequenceNumber string
	} `json:"SequenceNumberRange"`
}

func (s *served) shards(stream string) []shardInfo {
	s.t.Helper()
	var out struct{ Shards []shardInfo }
	s.call("ListShards", node.Fields{"StreamName": stream}, &out)
	for i := range out.Shards {
		out.Shards[i].Range.Ending = out.Shards[i].Raw.EndingSequenceNumber
	}
	return out.Shards
}

func (s *served) iterator(stream, shard string, more node.Fields) string {
	s.t.Helper()
	in := node.Fields{"StreamName": stream, "ShardId": shard}
	for k, v := range more {
		in[k] = v
	}
	var out struct{ ShardIterator string }
	s.call("GetShardIterator", in, &out)
	return out.ShardIterator
}

// follow reads from an iterator to the shard's end, or the tip.
func (s *served) follow(iterator string) []stored {
	s.t.Helper()
	records := []stored{}
	for iterator != "" {
		var page struct {
			Records []struct {
				SequenceNumber              string
				ApproximateArrivalTimestamp float64
				PartitionKey                string
				Data                        []byte
				EncryptionType              string
			}
			NextShardIterator  string
			MillisBehindLatest int64
		}
		s.call("GetRecords", node.Fields{"ShardIterator": iterator, "Limit": 7}, &page)
		for _, r := range page.Records {
			sum := sha256.Sum256(r.Data)
			records = append(records, stored{r.SequenceNumber, r.ApproximateArrivalTimestamp, r.PartitionKey, len(r.Data), hex.EncodeToString(sum[:]), r.EncryptionType})
		}
		if iterator = page.NextShardIterator; len(page.Records) == 0 {
			break
		}
	}
	return records
}

// goOn puts a record into every stream and expects its number above all that the shard has.
func (s *served) goOn(w *want) {
	s.t.Helper()
	for _, name := range w.streams() {
		var out struct {
			ShardID        string `json:"ShardId"`
			SequenceNumber string
		}
		s.call("PutRecord", node.Fields{"StreamName": name, "PartitionKey": "later", "Data": []byte("later")}, &out)
		for _, sh := range w.Shards {
			if sh.Stream != name || sh.Shard != out.ShardID {
				continue
			}
			if n := len(sh.Records); n > 0 && out.SequenceNumber <= sh.Records[n-1].Number {
				s.t.Errorf("a record of today got the number %s in %s, where %s was there", out.SequenceNumber, sh.Shard, sh.Records[n-1].Number)
			}
			got := s.follow(s.iterator(name, sh.Shard, node.Fields{"ShardIteratorType": "TRIM_HORIZON"}))
			if len(got) != len(sh.Records)+1 || got[len(got)-1].Number != out.SequenceNumber {
				s.t.Errorf("%s has %d records after another was put to %d", sh.Shard, len(got), len(sh.Records))
			}
		}
	}
}

// unpack writes an archive's files below dir.
func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil || !filepath.IsLocal(h.Name) {
			t.Fatalf("read %s: %v, %q", archive, err, h.Name)
		}
		name := filepath.Join(dir, filepath.FromSlash(h.Name))
		b, err := io.ReadAll(r)
		err = errors.Join(err, os.MkdirAll(filepath.Dir(name), 0o700))
		if err = errors.Join(err, os.WriteFile(name, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// pack writes the files below dir into an archive.
func pack(t *testing.T, dir, archive string) {
	t.Helper()
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		err = w.WriteHeader(&tar.Header{Name: filepath.ToSlash(rel), Mode: 0o600, Size: int64(len(b))})
		if err == nil {
			_, err = w.Write(b)
		}
		return err
	})
	if err = errors.Join(err, w.Close(), z.Close(), os.WriteFile(archive, out.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d bytes", archive, out.Len())
}

// tell formats a value for a file that people read.
func tell(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}
