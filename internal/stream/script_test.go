package stream

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/headrace/headrace/internal/record"
)

// TestScripts runs testdata/script/*.txt. A script begins at 01:22:02.500 on 22 January 2015 with no
// streams; times print as seconds from then. The first argument of a command is a stream's name.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			sc := &script{w: newWorld(t, 0, Caps{}), iterators: map[string]string{}}
			datadriven.RunTest(t, file, sc.run)
		})
	}
}

// script is one script under way.
type script struct {
	w         *world
	iterators map[string]string
	out       strings.Builder
}

// commands are what scripts can say. Each writes what it has to show to out.
var commands = map[string]func(sc *script, d *datadriven.TestData) error{
	"world":   (*script).world,
	"restart": func(sc *script, _ *datadriven.TestData) error { sc.w.restart(); return nil },
	"tick":    (*script).tick,
	"cut":     (*script).cut,
	"create":  (*script).create,
	"delete": func(sc *script, d *datadriven.TestData) error {
		return sc.w.DeleteStream(sc.w.t.Context(), home, ref(d), false)
	},
	"describe":       (*script).describe,
	"list":           (*script).list,
	"shards":         (*script).shards,
	"put":            (*script).put,
	"iterator":       (*script).iterator,
	"get":            (*script).get,
	"split":          (*script).split,
	"merge":          (*script).merge,
	"update-count":   (*script).updateCount,
	"mode":           (*script).mode,
	"max-record":     (*script).maxRecord,
	"increase":       (*script).increase,
	"decrease":       (*script).decrease,
	"tag":            (*script).tag,
	"untag":          (*script).untag,
	"tags":           (*script).tags,
	"limits":         (*script).limits,
	"read-all":       (*script).readAll,
	"failed-updates": (*script).failed,
}

func (sc *script) run(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	sc.out.Reset()
	f := commands[d.Cmd]
	if f == nil {
		f = stateCommands[d.Cmd]
	}
	if f == nil {
		t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
	}
	if err := f(sc, d); err != nil {
		fmt.Fprintf(&sc.out, "error: %v\n", err)
		var e *Error
		if !errors.As(err, &e) && !errors.Is(err, errCut) {
			t.Fatalf("%s: %v", d.Pos, err)
		}
	}
	if sc.out.Len() == 0 {
		return "ok\n"
	}
	return sc.out.String()
}

func (sc *script) printf(format string, args ...any) { fmt.Fprintf(&sc.out, format, args...) }

// ref returns the stream a command names.
func ref(d *datadriven.TestData) Ref {
	if strings.HasPrefix(d.CmdArgs[0].Key, "arn:") {
		return Ref{ARN: d.CmdArgs[0].Key}
	}
	return Ref{Name: d.CmdArgs[0].Key}
}

// arg returns a named argument, or def.
func arg[T any](d *datadriven.TestData, name string, def T) T {
	if d.HasArg(name) {
		d.ScanArgs(&testing.T{}, name, &def)
	}
	return def
}

// since prints a time in seconds of the script.
func since(m record.Millis) string {
	return fmt.Sprintf("%+gs", float64(m-record.MillisOf(began))/1000)
}

// moment reads what since printed.
func moment(s string) record.Millis {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return record.MillisOf(began.Add(d))
}

func (sc *script) world(d *datadriven.TestData) error {
	delay, err := time.ParseDuration(arg(d, "delay", "0s"))
	if err != nil {
		return err
	}
	sc.w = newWorld(sc.w.t, delay, Caps{Streams: arg(d, "streams", 0), Shards: arg(d, "shards", 0), OnDemandStreams: arg(d, "on-demand", 0)})
	return nil
}

func (sc *script) tick(d *datadriven.TestData) error {
	by, err := time.ParseDuration(d.CmdArgs[0].Key)
	sc.w.tick(by)
	sc.printf("%s\n", since(sc.w.now()))
	return err
}

// cut lets so many more writes reach storage; -1 mends it.
func (sc *script) cut(d *datadriven.TestData) error {
	sc.w.fuse.left = arg(d, "after", -1)
	return nil
}

func (sc *script) failed(_ *datadriven.TestData) error {
	for _, err := range sc.w.failed {
		sc.printf("%v\n", err)
	}
	sc.w.failed = nil
	return nil
}

func (sc *script) create(d *datadriven.TestData) error {
	in := CreateInput{Name: ref(d).Name, ShardCount: arg(d, "shards", 0), MaxRecordKiB: arg(d, "max-record", 0)}
	if d.HasArg("on-demand") {
		in.Mode = OnDemand
	}
	in.WarmThroughputMiBps = arg(d, "warm", 0)
	return sc.w.CreateStream(sc.w.t.Context(), home, in)
}

func (sc *script) describe(d *datadriven.TestData) error {
	got, err := sc.w.DescribeStream(home, ref(d), arg(d, "after", ""), arg(d, "limit", 0))
	if err != nil {
		return err
	}
	sc.printf("%s %s %s, created %s, keeps %d h, records to %d KiB, %d open\n", got.Name, got.Status, got.Mode,
		since(got.Created), got.RetentionHours, got.MaxRecordKiB, got.OpenShards)
	if got.KeyID != "" {
		sc.printf("encrypted with %s\n", got.KeyID)
	}
	if len(got.Metrics) > 0 {
		sc.printf("metrics %v\n", got.Metrics)
	}
	sc.printShards(got.Shards)
	if got.HasMoreShards {
		sc.printf("more\n")
	}
	return nil
}

func (sc *script) printShards(shards []Shard) {
	for _, s := range shards {
		sc.printf("%s [%s, %s]", s.ID, s.HashKeyRange.Start, s.HashKeyRange.End)
		if s.ParentID != "" {
			sc.printf(" from %s", s.ParentID)
		}
		if s.AdjacentParentID != "" {
			sc.printf(" and %s", s.AdjacentParentID)
		}
		sc.printf(" created %s", since(record.Millis(s.Starting.Created)*1000))
		if s.Closed {
			sc.printf(" closed %s", since(record.Millis(s.Ending.Time)*1000))
		}
		sc.printf("\n")
	}
}

func (sc *script) list(d *datadriven.TestData) error {
	in := ListInput{Limit: arg(d, "limit", 0), After: arg(d, "after", "")}
	for {
		page, err := sc.w.ListStreams(home, in)
		if err != nil {
			return err
		}
		for _, s := range page.Streams {
			sc.printf("%s %s\n", s.Name, s.Status)
		}
		if in.Token = page.Token; in.Token == "" {
			return nil
		}
		sc.printf("-- next page\n")
	}
}

func (sc *script) shards(d *datadriven.TestData) error {
	in := ListShardsInput{Ref: ref(d), MaxResults: arg(d, "limit", 0), ExclusiveStartShardID: arg(d, "after", "")}
	if d.HasArg("filter") {
		in.Filter = &ShardFilter{Type: FilterType(arg(d, "filter", "")), ShardID: arg(d, "shard", "")}
		if d.HasArg("at") {
			in.Filter.Timestamp, in.Filter.HasTimestamp = moment(arg(d, "at", "")), true
		}
	}
	for {
		page, err := sc.w.ListShards(home, in)
		if err != nil {
			return err
		}
		for _, s := range page.Shards {
			sc.printf("%s\n", s.ID)
		}
		if page.Token == "" {
			return nil
		}
		sc.printf("-- next page\n")
		if d.HasArg("wait") {
			by, _ := time.ParseDuration(arg(d, "wait", ""))
			sc.w.clock.Advance(by)
		}
		in = ListShardsInput{Token: page.Token, MaxResults: in.MaxResults}
	}
}

// put writes a record for each line of input, or one: "key" or "key hash-key".
func (sc *script) put(d *datadriven.TestData) error {
	var recs []record.Entry
	for _, line := range strings.Split(strings.TrimSpace(d.Input), "\n") {
		key, hash, has := strings.Cut(line, " ")
		rec := entry1(key, line)
		if rec.HasExplicitHashKey = has; has {
			h, err := ParseExplicitHashKey(hash)
			if err != nil {
				return err
			}
			rec.ExplicitHashKey = h
		}
		recs = append(recs, rec)
	}
	out, err := sc.w.PutAll(sc.w.t.Context(), home, ref(d), recs, nil)
	for i, r := range out {
		if r.Err != nil {
			sc.printf("%s: %v\n", recs[i].PartitionKey, r.Err)
			continue
		}
		sealed := ""
		if r.Encrypted {
			sealed = ", sealed"
		}
		sc.printf("%s: %s number %d at %s%s\n", recs[i].PartitionKey, r.ShardID, r.Sequence.Index, since(record.Millis(r.Sequence.Time)*1000), sealed)
	}
	return err
}

// iterator remembers an iterator under a name.
func (sc *script) iterator(d *datadriven.TestData) error {
	in := IteratorInput{ShardID: arg(d, "shard", ""), Type: IteratorType(arg(d, "type", "")), Sequence: arg(d, "seq", "")}
	if d.HasArg("at") {
		in.Timestamp, in.HasTimestamp = moment(arg(d, "at", "")), true
	}
	text, err := sc.w.GetShardIterator(sc.w.t.Context(), home, ref(d), in)
	if err == nil {
		sc.iterators[arg(d, "as", "it")] = text
	}
	return err
}

// get reads at a remembered iterator and remembers the next one in its place.
func (sc *script) get(d *datadriven.TestData) error {
	name := arg(d, "it", "it")
	r, err := sc.w.GetRecords(sc.w.t.Context(), home, "", sc.iterators[name], arg(d, "limit", 0))
	if err != nil {
		return err
	}
	defer r.Release()
	for i, rec := range r.Page.Records {
		sc.printf("%d %s arrived %s\n", r.Sequence(i).Index, rec.PartitionKey, since(rec.ArrivalTime))
	}
	sc.printf("%d ms behind\n", r.MillisBehind)
	if sc.iterators[name] = r.Next; r.Next == "" {
		sc.printf("end of shard\n")
	}
	for _, c := range r.Children {
		sc.printf("child %s of %s [%s, %s]\n", c.ID, strings.Join(c.Parents, " and "), c.HashKeyRange.Start, c.HashKeyRange.End)
	}
	return nil
}

func (sc *script) split(d *datadriven.TestData) error {
	return sc.w.SplitShard(sc.w.t.Context(), home, ref(d), arg(d, "shard", ""), arg(d, "at", ""))
}

func (sc *script) merge(d *datadriven.TestData) error {
	return sc.w.MergeShards(sc.w.t.Context(), home, ref(d), arg(d, "shard", ""), arg(d, "with", ""))
}

func (sc *script) updateCount(d *datadriven.TestData) error {
	got, err := sc.w.UpdateShardCount(sc.w.t.Context(), home, ref(d), arg(d, "target", 0))
	if err == nil {
		sc.printf("%s from %d to %d\n", got.Name, got.Current, got.Target)
	}
	return err
}

func (sc *script) mode(d *datadriven.TestData) error {
	return sc.w.UpdateStreamMode(sc.w.t.Context(), home, ref(d), Mode(d.CmdArgs[1].Key), 0)
}

func (sc *script) maxRecord(d *datadriven.TestData) error {
	return sc.w.UpdateMaxRecordSize(sc.w.t.Context(), home, ref(d), arg(d, "kib", 0))
}

func (sc *script) increase(d *datadriven.TestData) error {
	return sc.w.IncreaseRetention(sc.w.t.Context(), home, ref(d), arg(d, "hours", 0))
}

func (sc *script) decrease(d *datadriven.TestData) error {
	return sc.w.DecreaseRetention(sc.w.t.Context(), home, ref(d), arg(d, "hours", 0))
}

// tag sets a tag for each line of input: "key=value".
func (sc *script) tag(d *datadriven.TestData) error {
	tags := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(d.Input), "\n") {
		k, v, _ := strings.Cut(line, "=")
		tags[k] = v
	}
	for i := range arg(d, "many", 0) {
		tags[fmt.Sprintf("tag%02d", i)] = "x"
	}
	return sc.w.AddTags(sc.w.t.Context(), home, ref(d), tags)
}

func (sc *script) untag(d *datadriven.TestData) error {
	return sc.w.RemoveTags(sc.w.t.Context(), home, ref(d), strings.Split(strings.TrimSpace(d.Input), "\n"))
}

func (sc *script) tags(d *datadriven.TestData) error {
	page, err := sc.w.ListTags(home, ref(d), arg(d, "after", ""), arg(d, "limit", 0))
	for _, t := range page.Tags {
		sc.printf("%s = %s\n", t.Key, t.Value)
	}
	if page.HasMoreTags {
		sc.printf("more\n")
	}
	return err
}

func (sc *script) limits(_ *datadriven.TestData) error {
	l := sc.w.DescribeLimits(home)
	sc.printf("%d of %d open shards, %d of %d on-demand streams\n", l.OpenShardCount, l.ShardLimit, l.OnDemandStreamCount, l.OnDemandStreamCountLimit)
	return nil
}

// readAll reads every shard to its end and prints what it holds.
func (sc *script) readAll(d *datadriven.TestData) error {
	all := sc.w.readEverything(ref(d))
	for _, n := range slices.Sorted(maps.Keys(all)) {
		sc.printf("%s: %s\n", ShardID(n), strings.Join(all[n], " "))
	}
	return nil
}

// readEverything returns the data of every shard's records, from the trim horizon on.
func (w *world) readEverything(ref Ref) map[int32][]string {
	w.t.Helper()
	all := map[int32][]string{}
	page, err := w.ListShards(home, ListShardsInput{Ref: ref})
	w.must(err)
	for _, sh := range page.Shards {
		it := w.iterator(ref, IteratorInput{ShardID: sh.ID, Type: TrimHorizon})
		for it != "" {
			r, err := w.GetRecords(w.t.Context(), home, "", it, 3)
			w.must(err)
			for _, rec := range r.Page.Records {
				all[sh.Number] = append(all[sh.Number], string(rec.Data))
			}
			if it = r.Next; len(r.Page.Records) == 0 {
				it = ""
			}
			r.Release()
		}
	}
	return all
}
