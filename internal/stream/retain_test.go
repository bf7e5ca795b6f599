package stream

import (
	"context"
	"runtime"
	"strings"
	"testing"
)

// TestKeepsNoRequestMemory checks that what a call is given, which may be a few bytes of a request of
// many MiB, does not stay in memory with the rows.
func TestKeepsNoRequestMemory(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	w.create("dam", 1) // the log makes its first memory
	const request = 8 << 20
	part := func(s string) string { return (s + strings.Repeat(" ", request))[:len(s)] }
	scope := func() Scope { return Scope{part("111122223333"), part("eu-west-1")} }
	ref := func() Ref { return Ref{Name: part("mill")} }
	f := func(name string, call func(ctx context.Context) error) {
		t.Helper()
		before := heap()
		w.must(call(t.Context()))
		if kept := heap() - before; kept > request/2 {
			t.Errorf("%s keeps %d bytes", name, kept)
		}
	}
	f("CreateStream", func(ctx context.Context) error {
		return w.CreateStream(ctx, scope(), CreateInput{
			Name: part("mill"), Mode: Mode(part("PROVISIONED")), ShardCount: 2, Tags: map[string]string{part("a"): part("b")},
		})
	})
	f("AddTags", func(ctx context.Context) error {
		return w.AddTags(ctx, scope(), ref(), map[string]string{part("c"): part("d")})
	})
	f("UpdateStreamMode", func(ctx context.Context) error {
		return w.UpdateStreamMode(ctx, scope(), ref(), Mode(part("ON_DEMAND")), 0)
	})
	f("UpdateStreamMode back", func(ctx context.Context) error {
		return w.UpdateStreamMode(ctx, scope(), ref(), Mode(part("PROVISIONED")), 0)
	})
	f("SplitShard", func(ctx context.Context) error {
		return w.SplitShard(ctx, scope(), ref(), part("shardId-000000000000"), part("4096"))
	})
	f("StartEncryption", func(ctx context.Context) error {
		return w.StartEncryption(ctx, scope(), ref(), part("alias/mill"))
	})
	f("Put", func(ctx context.Context) error {
		_, err := w.Put(ctx, scope(), ref(), entry1(part("k"), part("x")), "")
		return err
	})
	f("GetShardIterator", func(ctx context.Context) error {
		_, err := w.GetShardIterator(ctx, scope(), ref(), IteratorInput{ShardID: part("1"), Type: IteratorType(part("LATEST"))})
		return err
	})
	runtime.KeepAlive(w)
}

// heap returns how many bytes are reachable.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools hold goes in the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
