// Package objectstoretest is the conformance kit of package objectstore: each sentence of the
// contract as a test that every engine runs. It does not test durability, which an engine's own
// crash tests do.
package objectstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/headrace/headrace/internal/objectstore"
)

// Test runs the kit. open returns an empty bucket with room for at least 64 MiB.
func Test(t *testing.T, open func(t *testing.T) objectstore.Bucket) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, b objectstore.Bucket)
	}{
		{"PutGet", testPutGet},
		{"Ranges", testRanges},
		{"Replace", testReplace},
		{"FailingBody", testFailingBody},
		{"Delete", testDelete},
		{"List", testList},
		{"Keys", testKeys},
		{"OpenBodySurvives", testOpenBodySurvives},
		{"DoneContext", testDoneContext},
		{"ConcurrentReplace", testConcurrentReplace},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func testPutGet(t *testing.T, b objectstore.Bucket) {
	f := func(key, content string) {
		t.Helper()
		// A body may yield a byte at a time and its end with the last.
		body := iotest.DataErrReader(iotest.OneByteReader(strings.NewReader(content)))
		info, err := b.Put(t.Context(), key, body)
		if err != nil {
			t.Fatalf("Put(%q) = %v", key, err)
		}
		if info.Key != key || info.Size != int64(len(content)) || info.Modified.IsZero() {
			t.Errorf("Put(%q) = %+v, want its key, size %d and a time", key, info, len(content))
		}
		stat, err := b.Stat(t.Context(), key)
		if err != nil || stat.Key != key || stat.Size != info.Size || !stat.Modified.Equal(info.Modified) {
			t.Errorf("Stat(%q) = %+v, %v; want what Put returned: %+v", key, stat, err, info)
		}
		wantContent(t, b, key, content)
	}
	wantMissing(t, b, "a")
	f("a", "content")
	f("empty", "")
	f("a/b", "below a key that is an object")
	f("large", strings.Repeat("0123456789abcdef", 1<<16))
	wantMissing(t, b, "A")
}

func testRanges(t *testing.T, b objectstore.Bucket) {
	put(t, b, "k", "0123456789")
	put(t, b, "empty", "")
	f := func(key string, offset, length int64, want string) {
		t.Helper()
		got, err := read(t, b, key, offset, length)
		if err != nil || got != want {
			t.Errorf("Get(%q, %d, %d) = %q, %v; want %q", key, offset, length, got, err, want)
		}
	}
	f("k", 0, -1, "0123456789")
	f("k", 0, 10, "0123456789")
	f("k", 0, 3, "012")
	f("k", 3, 4, "3456")
	f("k", 7, -1, "789")
	f("k", 7, 100, "789")
	f("k", 9, 1, "9")
	f("k", 3, 0, "")
	f("k", 10, -1, "")
	f("k", 10, 5, "")
	f("empty", 0, -1, "")
	f("empty", 0, 1, "")

	refused := func(key string, offset, length int64, want error) {
		t.Helper()
		_, err := read(t, b, key, offset, length)
		wantError(t, fmt.Sprintf("Get(%q, %d, %d)", key, offset, length), err, want)
	}
	refused("k", 11, -1, objectstore.ErrRange)
	refused("k", 11, 0, objectstore.ErrRange)
	refused("k", -1, 1, objectstore.ErrRange)
	refused("empty", 1, -1, objectstore.ErrRange)
	refused("missing", 0, 1, objectstore.ErrNotFound)
}

func testReplace(t *testing.T, b objectstore.Bucket) {
	f := func(content string) {
		t.Helper()
		put(t, b, "k", content)
		wantContent(t, b, "k", content)
	}
	f("one")
	f("a longer one")
	f("")
	f("x")
	wantKeys(t, b, "", "", 10, "k")
}

func testFailingBody(t *testing.T, b objectstore.Bucket) {
	broken := errors.New("broken body")
	f := func(key string, size int) {
		t.Helper()
		body := io.MultiReader(bytes.NewReader(make([]byte, size)), iotest.ErrReader(broken))
		_, err := b.Put(t.Context(), key, body)
		wantError(t, "Put of a failing body", err, broken)
	}
	f("k", 100)
	wantMissing(t, b, "k")
	put(t, b, "k", "old")
	f("k", 0)
	f("k", 1<<20)
	wantContent(t, b, "k", "old")
	f("other", 1<<20)
	wantKeys(t, b, "", "", 10, "k")
}

func testDelete(t *testing.T, b objectstore.Bucket) {
	wantError(t, "Delete of a missing key", b.Delete(t.Context(), "k"), nil)
	put(t, b, "k", "x")
	put(t, b, "k/below", "y")
	wantError(t, "Delete", b.Delete(t.Context(), "k"), nil)
	wantError(t, "Delete again", b.Delete(t.Context(), "k"), nil)
	wantMissing(t, b, "k")
	wantContent(t, b, "k/below", "y")
	wantKeys(t, b, "", "", 10, "k/below")
	put(t, b, "k", "again")
	wantContent(t, b, "k", "again")
}

func testList(t *testing.T, b objectstore.Bucket) {
	keys := []string{"A", "a", "a-b", "a/", "a/1", "a/10", "a/2", "a/é", "a0", "b", "b/1"}
	for i := range keys {
		key := keys[(i*7)%len(keys)]
		put(t, b, key, key)
	}
	f := func(prefix, after string, limit int, want ...string) {
		t.Helper()
		wantKeys(t, b, prefix, after, limit, want...)
	}
	f("", "", 100, keys...)
	f("", "", 4, "A", "a", "a-b", "a/")
	f("", "a/", 2, "a/1", "a/10")
	f("", "a/15", 1, "a/2")
	f("", "b/1", 100)
	f("a/", "", 100, "a/", "a/1", "a/10", "a/2", "a/é")
	f("a/", "a/1", 2, "a/10", "a/2")
	f("a/1", "", 100, "a/1", "a/10")
	f("a/", "b", 100)
	f("b", "a", 100, "b", "b/1")
	f("c", "", 100)
	f("", "", 0)
	infos, err := b.List(t.Context(), "a-", "", 1)
	stat, _ := b.Stat(t.Context(), "a-b")
	if err != nil || len(infos) != 1 || infos[0].Size != 3 || !infos[0].Modified.Equal(stat.Modified) {
		t.Errorf("List = %+v, %v; want what Stat says: %+v", infos, err, stat)
	}
}

func testKeys(t *testing.T, b objectstore.Bucket) {
	refused := func(key string) {
		t.Helper()
		_, err := b.Put(t.Context(), key, strings.NewReader("x"))
		wantError(t, "Put", err, objectstore.ErrKey)
		_, err = read(t, b, key, 0, -1)
		wantError(t, "Get", err, objectstore.ErrKey)
		_, err = b.Stat(t.Context(), key)
		wantError(t, "Stat", err, objectstore.ErrKey)
		wantError(t, "Delete", b.Delete(t.Context(), key), objectstore.ErrKey)
	}
	refused("")
	refused("nul \x00")
	refused("not UTF-8 \xff")
	refused(strings.Repeat("x", objectstore.MaxKey+1))

	// Keys that file systems find hard are names like any other, and no two are the same.
	hard := []string{
		"/", "//", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a/b", "b", "a.", "a ",
		" a", "con", "NUL.txt", "a:b", `a\b`, "a%2Fb", "a*?<>|\"b", "\n", "é", "e\u0301", "É",
		".tmp", "a.tmp", "~", strings.Repeat("x", objectstore.MaxKey), strings.Repeat("y/", 512),
		strings.Repeat("é", 300),
	}
	for _, key := range hard {
		put(t, b, key, "content of "+key)
	}
	for _, key := range hard {
		wantContent(t, b, key, "content of "+key)
	}
	if infos, err := b.List(t.Context(), "", "", len(hard)+1); err != nil || len(infos) != len(hard) {
		t.Errorf("List shows %d keys (%v), want %d", len(infos), err, len(hard))
	}
	for _, key := range hard {
		wantError(t, "Delete", b.Delete(t.Context(), key), nil)
	}
	wantKeys(t, b, "", "", 1)
}

func testOpenBodySurvives(t *testing.T, b objectstore.Bucket) {
	old := strings.Repeat("old ", 1<<18)
	f := func(change func()) {
		t.Helper()
		put(t, b, "k", old)
		body, err := b.Get(t.Context(), "k", 0, -1)
		if err != nil {
			t.Fatalf("Get = %v", err)
		}
		defer body.Close()
		change()
		if got, err := io.ReadAll(body); err != nil || string(got) != old {
			t.Errorf("a body opened before yields %d bytes, %v; want the old %d", len(got), err, len(old))
		}
	}
	f(func() { put(t, b, "k", "new") })
	f(func() { wantError(t, "Delete", b.Delete(t.Context(), "k"), nil) })
}

func testDoneContext(t *testing.T, b objectstore.Bucket) {
	put(t, b, "k", "old")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Put(ctx, "k", strings.NewReader("new"))
	wantError(t, "Put", err, context.Canceled)
	_, err = b.Get(ctx, "k", 0, -1)
	wantError(t, "Get", err, context.Canceled)
	_, err = b.Stat(ctx, "k")
	wantError(t, "Stat", err, context.Canceled)
	_, err = b.List(ctx, "", "", 1)
	wantError(t, "List", err, context.Canceled)
	wantError(t, "Delete", b.Delete(ctx, "k"), context.Canceled)
	wantContent(t, b, "k", "old")
}

// testConcurrentReplace has writers replace one object by others of differing lengths, each of one
// letter: a reader that sees two letters or a length that is not the letter's saw half an object.
func testConcurrentReplace(t *testing.T, b objectstore.Bucket) {
	const writers, writes = 4, 25
	content := func(n int) string { return strings.Repeat(string(rune('a'+n)), 1000*(n+1)) }
	put(t, b, "k", content(0))
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() {
			for range writes {
				if _, err := b.Put(t.Context(), "k", strings.NewReader(content(n))); err != nil {
					t.Errorf("Put = %v", err)
				}
				own := fmt.Sprint("own/", n)
				if _, err := b.Put(t.Context(), own, strings.NewReader("x")); err != nil {
					t.Errorf("Put(%q) = %v", own, err)
				}
				if err := b.Delete(t.Context(), own); err != nil {
					t.Errorf("Delete(%q) = %v", own, err)
				}
			}
		})
		wg.Go(func() {
			for range writes {
				got, err := read(t, b, "k", 0, -1)
				if err != nil || got == "" || got != content(int(got[0]-'a')) {
					t.Errorf("read %d bytes of a mixture, %v", len(got), err)
				}
				if _, err := b.List(t.Context(), "", "", 10); err != nil {
					t.Errorf("List = %v", err)
				}
			}
		})
	}
	wg.Wait()
	wantKeys(t, b, "", "", 10, "k")
}

func put(t *testing.T, b objectstore.Bucket, key, content string) {
	t.Helper()
	if _, err := b.Put(t.Context(), key, strings.NewReader(content)); err != nil {
		t.Fatalf("Put(%.40q) = %v", key, err)
	}
}

func read(t *testing.T, b objectstore.Bucket, key string, offset, length int64) (string, error) {
	body, err := b.Get(t.Context(), key, offset, length)
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(body)
	if cerr := body.Close(); err == nil {
		err = cerr
	}
	return string(content), err
}

func wantContent(t *testing.T, b objectstore.Bucket, key, want string) {
	t.Helper()
	got, err := read(t, b, key, 0, -1)
	if err != nil || got != want {
		t.Errorf("Get(%.40q) = %.40q, %v; want %.40q", key, got, err, want)
	}
}

func wantMissing(t *testing.T, b objectstore.Bucket, key string) {
	t.Helper()
	_, err := read(t, b, key, 0, -1)
	wantError(t, "Get of a missing key", err, objectstore.ErrNotFound)
	_, err = b.Stat(t.Context(), key)
	wantError(t, "Stat of a missing key", err, objectstore.ErrNotFound)
}

func wantKeys(t *testing.T, b objectstore.Bucket, prefix, after string, limit int, want ...string) {
	t.Helper()
	infos, err := b.List(t.Context(), prefix, after, limit)
	if err != nil {
		t.Errorf("List(%q, %q, %d) = %v", prefix, after, limit, err)
		return
	}
	got := make([]string, len(infos))
	for i, info := range infos {
		got[i] = info.Key
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("List(%q, %q, %d) = %q, want %q", prefix, after, limit, got, want)
	}
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s returned %v, want %v", what, got, want)
	}
}
