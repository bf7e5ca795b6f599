package disk

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/vfs"
)

// rawFile is a file that was written whole and is overwritten from then on, as a segment is.
func rawFile(b *testing.B, fs vfs.FS, size int64) vfs.File {
	f, err := fs.Open("raw", vfs.Create|vfs.Direct)
	if err != nil {
		b.Fatal(err)
	}
	p := vfs.AlignedBuffer(fillUnit)
	fillWith(p, filler)
	for off := int64(0); off < size; off += fillUnit {
		if err := writeAt(f, p, off); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(f.Sync(), fs.SyncDir(".")); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return f
}

// BenchmarkAppend appends groups and, one after the other in the same run, overwrites a file by as
// many bytes of payload with the same two calls. Its ratios are of medians: lane to disk in MB/s.
func BenchmarkAppend(b *testing.B) {
	f := func(name string, payload int) {
		b.Run(name, func(b *testing.B) {
			fs := openOS(b, b.TempDir())
			const segment = 32 << 20
			l := mustOpen(b, fs, small(4, segment))
			defer mustClose(b, l)
			raw := rawFile(b, fs, segment)
			// The disk writes the payload alone, rounded up; the lane's header may cost it a block more.
			bare := vfs.AlignedBuffer((payload + block - 1) &^ (block - 1))
			p := make([]byte, payload)
			fillWith(p, "a record that compresses no better than it must ")
			next, off := lane.Position(1), int64(0)
			var lanes, raws []time.Duration
			b.SetBytes(int64(payload))
			b.ReportAllocs()
			for b.Loop() {
				copy(bare, p) // new bytes every time, as a lane's are
				began := time.Now()
				if off+int64(len(bare)) > segment {
					off = 0
				}
				if err := errors.Join(writeAt(raw, bare, off), raw.Sync()); err != nil {
					b.Fatal(err)
				}
				off += int64(len(bare))
				between := time.Now()
				err := l.Append(ctx, next, p)
				if err != nil {
					b.Fatal(err)
				}
				lanes, raws = append(lanes, time.Since(between)), append(raws, between.Sub(began))
				if next++; next%64 == 0 {
					mustTrim(b, l, next)
				}
			}
			slices.Sort(lanes)
			slices.Sort(raws)
			median := func(d []time.Duration) float64 { return float64(d[len(d)/2].Nanoseconds()) / 1000 }
			b.ReportMetric(median(raws)/median(lanes), "lane/disk")
			b.ReportMetric(median(lanes), "µs/lane")
			b.ReportMetric(median(raws), "µs/disk")
		})
	}
	f("512KiB", 512<<10)
	f("512KiBwithHeader", 512<<10-headerSize)
	f("4KiB", 4<<10)
	f("4KiBwithHeader", 4<<10-headerSize)
}

// BenchmarkOpen recovers a full ring.
func BenchmarkOpen(b *testing.B) {
	fs := openOS(b, b.TempDir())
	cfg := small(4, 32<<20)
	l := mustOpen(b, fs, cfg)
	next := lane.Position(1)
	for ; ; next++ {
		err := l.Append(ctx, next, make([]byte, 512<<10))
		if errors.Is(err, lane.ErrFull) {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	mustClose(b, l)
	b.SetBytes(4 * 32 << 20)
	for b.Loop() {
		abandon(b, mustOpen(b, fs, cfg))
	}
}
