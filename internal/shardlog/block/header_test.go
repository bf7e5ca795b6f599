package block_test

import (
	"errors"
	"io"
	"testing"

	"github.com/headrace/headrace/internal/shardlog/block"
)

func TestCheckHeader(t *testing.T) {
	whole, err := io.ReadAll(block.NewBody(7, func() (block.Shard, block.Run, error) { return block.Shard{}, block.Run{}, io.EOF }))
	if err != nil {
		t.Fatal(err)
	}
	head := whole[:block.HeaderSize]
	if err := block.CheckHeader("f", 7, head); err != nil {
		t.Errorf("CheckHeader() = %v", err)
	}
	f := func(what string, id uint64, head []byte) {
		t.Helper()
		if err := block.CheckHeader("f", id, head); !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("%s: CheckHeader() = %v", what, err)
		}
	}
	f("another id", 8, head)
	f("short", 7, head[:15])
	for at := range head {
		head[at] ^= 1
		f("changed", 7, head)
		head[at] ^= 1
	}
}
