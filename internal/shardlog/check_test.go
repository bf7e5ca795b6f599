package shardlog_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/shardlog"
)

// checked checks what a world has stored.
func (w *world) checked(t testing.TB) ([]shardlog.Finding, shardlog.Checked) {
	t.Helper()
	var found []shardlog.Finding
	held, err := w.lane.Bounds(ctx)
	if err != nil {
		t.Fatal(err)
	}
	out, err := shardlog.Check(ctx, shardlog.CheckConfig{
		Lane: w.lane, Held: held, Bucket: unchanged{w.bucket}, Journal: id(0),
		Found: func(f shardlog.Finding) { found = append(found, f) },
	})
	if err != nil {
		t.Fatalf("Check() = %v", err)
	}
	return found, out
}

// unchanged is a bucket that nobody may change.
type unchanged struct{ objectstore.Bucket }

func (unchanged) Put(context.Context, string, io.Reader) (objectstore.Info, error) {
	return objectstore.Info{}, errors.New("Put was called")
}

func (unchanged) Delete(context.Context, string) error { return errors.New("Delete was called") }

// lived runs a world's history until it ends or is cut.
func lived(t testing.TB, w *world, c *cutter) {
	t.Helper()
	s, err := shardlog.Open(ctx, w.config(c))
	if err == nil {
		err = w.live(s)
		_ = s.Close()
	}
	if err != nil && !c.dead {
		t.Fatal(err)
	}
}

// TestCheckOfCuts ends the process at every call that changes the lane or the bucket: what that
// leaves is not damage.
func TestCheckOfCuts(t *testing.T) {
	t.Parallel()
	for _, fan := range []int{2, 100} {
		files := 0
		for at := 1; ; at++ {
			w, c := newWorld(fan), &cutter{at: at, after: fan == 2}
			lived(t, w, c)
			found, out := w.checked(t)
			if len(found) > 0 {
				t.Fatalf("cut at call %d: found %+v", at, found)
			}
			files = max(files, out.Files)
			if !c.dead {
				break
			}
		}
		if files < 3 {
			t.Errorf("at most %d files were read; want more", files)
		}
	}
}

// TestCheckGivesTheJournal compares what Check read of a shard with what its store gives.
func TestCheckGivesTheJournal(t *testing.T) {
	w := newWorld(3)
	lived(t, w, &cutter{})
	_, out := w.checked(t)
	s := open(t, w.config(nil))
	p, err := s.Read(ctx, id(0), 1, shardlog.Limit{Records: 10_000, Bytes: 1 << 30})
	if err != nil || len(p.Records) == 0 {
		t.Fatalf("Read() = %+v, %v", p, err)
	}
	defer p.Release()
	if out.Journal.First != p.Bounds.First || out.Journal.Next != p.Bounds.Next {
		t.Errorf("Check() gives bounds %+v, the store %+v", out.Journal, p.Bounds)
	}
	for _, r := range p.Records {
		if got, ok := out.Commands[r.Index]; !ok || !bytes.Equal(got, r.Data) {
			t.Errorf("record %d: Check() gives %q, %t; the store %q", r.Index, got, ok, r.Data)
		}
	}
}

// TestCheckOfEveryByte damages every byte of every object: each is found, in that object.
func TestCheckOfEveryByte(t *testing.T) {
	t.Parallel()
	w := newWorld(100)
	lived(t, w, &cutter{})
	honest := w.bucket
	for _, o := range objects(t, honest, "") {
		whole := object(t, honest, o.Key)
		for at := range whole {
			w.bucket = altered{honest, o.Key, func(b []byte) []byte { b[at] ^= 0x10; return b }}
			found, _ := w.checked(t)
			if len(found) == 0 || found[0].Object != o.Key {
				t.Fatalf("%s damaged at %d of %d: found %+v", o.Key, at, len(whole), found)
			}
			if len(found) > 1 {
				t.Errorf("%s damaged at %d: found %d things: %+v", o.Key, at, len(found), found)
			}
		}
	}
}

// TestCheckTells does to a store's objects and groups what is not a flipped bit.
func TestCheckTells(t *testing.T) {
	w := newWorld(100)
	lived(t, w, &cutter{})
	bucket, groups := w.bucket, w.lane
	f := func(what, object string) {
		t.Helper()
		found, _ := w.checked(t)
		w.bucket, w.lane = bucket, groups
		if len(found) == 0 || !strings.Contains(found[0].What, what) || !strings.HasPrefix(found[0].Object, object) {
			t.Errorf("found %+v, want %q in %s", found, what, object)
		}
	}
	file := objects(t, bucket, "blocks/")[0].Key
	manifest := objects(t, bucket, "manifest/")[0].Key
	w.bucket = altered{bucket, file, nil}
	f("the object is missing", file)
	w.bucket = altered{bucket, file, func(b []byte) []byte { return b[:len(b)-1] }}
	f("the file should have", file)
	w.bucket = altered{bucket, manifest, nil}
	f("no manifest is there", "")
	w.lane = shifted{groups, 1 << 40}
	f("the manifest goes with position", manifest)
	held, err := groups.Bounds(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := groups.Append(ctx, held.Next, []byte{7, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	f("unknown version", "")
}

// altered is a bucket of which one object reads as something else, or is not there.
type altered struct {
	objectstore.Bucket
	key    string
	change func(b []byte) []byte
}

func (a altered) content() []byte {
	body, err := a.Bucket.Get(ctx, a.key, 0, -1)
	if err != nil {
		return nil
	}
	b, _ := io.ReadAll(body)
	return a.change(b)
}

func (a altered) Stat(ctx context.Context, key string) (objectstore.Info, error) {
	if key == a.key {
		if a.change == nil {
			return objectstore.Info{}, objectstore.ErrNotFound
		}
		return objectstore.Info{Key: key, Size: int64(len(a.content()))}, nil
	}
	return a.Bucket.Stat(ctx, key)
}

func (a altered) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if key != a.key {
		return a.Bucket.Get(ctx, key, offset, length)
	}
	b := a.content()
	if offset > int64(len(b)) {
		return nil, objectstore.ErrRange
	}
	b = b[offset:]
	if length >= 0 {
		b = b[:min(length, int64(len(b)))]
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (a altered) List(ctx context.Context, prefix, after string, limit int) ([]objectstore.Info, error) {
	infos, err := a.Bucket.List(ctx, prefix, after, limit)
	for i := range infos {
		if infos[i].Key == a.key && a.change == nil {
			return append(infos[:i:i], infos[i+1:]...), err
		}
	}
	return infos, err
}

func object(t testing.TB, b objectstore.Bucket, key string) []byte {
	t.Helper()
	return altered{b, key, func(b []byte) []byte { return b }}.content()
}

// shifted is a lane that begins elsewhere.
type shifted struct {
	lane.Lane
	by lane.Position
}

func (s shifted) Bounds(ctx context.Context) (lane.Bounds, error) {
	b, err := s.Lane.Bounds(ctx)
	return lane.Bounds{First: b.First + s.by, Next: b.Next + s.by}, err
}
