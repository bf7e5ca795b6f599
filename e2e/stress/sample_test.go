package stress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"
)

// sample is what the process and its directory took at a time.
type sample struct {
	at time.Duration
	// heap is what lives after a collection, rss what the system counts; both in MiB, rss 0 where it is
	// not told.
	heap, rss int64
	// files are in the data directory, stored is their size in MiB.
	files, stored int64
	goroutines    int64
	// descriptors are open files, 0 where they cannot be counted.
	descriptors int64
	// shards are listed, open and closed, of the streams that stay.
	shards int64
	// put is how many records were put since the sample before.
	put int64
}

// watch takes samples until ctx is done.
func (w *world) watch(ctx context.Context) []sample {
	var all []sample
	put := 0
	for began := time.Now(); ; {
		pause(ctx, w.scale.sample)
		if ctx.Err() != nil {
			return all
		}
		s := w.measure(ctx)
		if ctx.Err() != nil {
			return all
		}
		w.mu.Lock()
		s.put, put = int64(w.counts["put"]-put), w.counts["put"]
		w.mu.Unlock()
		s.at = time.Since(began).Round(time.Second)
		all = append(all, s)
		if len(all)%12 == 0 {
			w.t.Logf("%v", s)
		}
	}
}

func (s sample) String() string {
	return fmt.Sprintf("%6v: heap %d MiB, rss %d MiB, %d files of %d MiB, %d shards, %d goroutines, %d descriptors",
		s.at, s.heap, s.rss, s.files, s.stored, s.shards, s.goroutines, s.descriptors)
}

func (w *world) measure(ctx context.Context) sample {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	s := sample{heap: int64(m.HeapAlloc >> 20), rss: resident(), goroutines: int64(runtime.NumGoroutine())}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		s.descriptors = int64(len(open))
	}
	for i := range w.scale.streams {
		shards, err := w.shards(ctx, fmt.Sprint("mill-", i))
		if w.failed(ctx, err) {
			break
		}
		s.shards += int64(len(shards))
	}
	bytes := int64(0)
	err := filepath.WalkDir(w.dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went while we looked
		}
		if err != nil || d.IsDir() {
			return err
		}
		s.files++
		if info, ierr := d.Info(); ierr == nil {
			bytes += info.Size()
		}
		return nil
	})
	if err != nil {
		w.wrong("count files: %v", err)
	}
	s.stored = bytes >> 20
	return s
}

// resident returns the resident memory in MiB, 0 where the system does not tell.
func resident() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, ok := bytes.Cut(status, []byte("VmRSS:"))
	if !ok {
		return 0
	}
	fields := bytes.Fields(rest)
	kib, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0
	}
	return kib >> 10
}

// flat compares the last sixth of the samples with those between a third and a half, when records have
// been coming of age for a while: no median may have risen by more than its tolerance.
func flat(t *testing.T, s scale, samples []sample) {
	t.Helper()
	if s.total < 3*s.retention {
		t.Logf("%v are too few to compare: records come of age after %v", s.total, s.retention)
		return
	}
	n := len(samples)
	if n < 12 {
		t.Errorf("%d samples are too few to compare", n)
		return
	}
	early, late := samples[n/3:n/2], samples[n-n/6:]
	f := func(what string, value func(*sample) int64, percent, slack int64) {
		t.Helper()
		before, after := median(early, value), median(late, value)
		t.Logf("%-12s %6d between %v and %v, %6d from %v on", what, before, early[0].at, early[len(early)-1].at, after, late[0].at)
		if most := before + before*percent/100 + slack; after > most {
			t.Errorf("%s rose from %d to %d; want at most %d", what, before, after, most)
		}
	}
	// Nobody promises how fast the machine is: who reads the rest looks here first.
	t.Logf("%-12s %6d between %v and %v, %6d from %v on", "records put", median(early, func(s *sample) int64 { return s.put }),
		early[0].at, early[len(early)-1].at, median(late, func(s *sample) int64 { return s.put }), late[0].at)
	f("heap MiB", func(s *sample) int64 { return s.heap }, 10, 8)
	f("rss MiB", func(s *sample) int64 { return s.rss }, 15, 16)
	f("files", func(s *sample) int64 { return s.files }, 25, 10)
	f("stored MiB", func(s *sample) int64 { return s.stored }, 25, 32)
	f("shards", func(s *sample) int64 { return s.shards }, 10, 20)
	f("goroutines", func(s *sample) int64 { return s.goroutines }, 10, 20)
	f("descriptors", func(s *sample) int64 { return s.descriptors }, 10, 20)
}

func median(samples []sample, value func(*sample) int64) int64 {
	var all []int64
	for i := range samples {
		all = append(all, value(&samples[i]))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
