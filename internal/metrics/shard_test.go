package metrics

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// eachOf calls f with every series that has a label, by the value of that, and checks the labels beside it.
func eachOf(t *testing.T, reg *prometheus.Registry, label string, f func(name, value string, m *dto.Metric)) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels[label] == "" {
				continue
			}
			if labels["account"] != id().Account || labels["region"] != id().Region || labels["stream"] != id().Name || len(labels) != 4 {
				t.Errorf("%s of %v", family.GetName(), labels)
			}
			f(family.GetName(), labels[label], m)
		}
	}
}

// shardSeries returns the values of the shard-level series by name and shard.
func shardSeries(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	got := map[string]float64{}
	eachOf(t, reg, "shard", func(name, shard string, m *dto.Metric) {
		got[name[len(prefix+"shard_"):]+" "+shard] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
	})
	return got
}

func allShardMetrics() []string {
	return []string{
		"IncomingBytes", "IncomingRecords", "OutgoingBytes", "OutgoingRecords",
		"WriteProvisionedThroughputExceeded", "ReadProvisionedThroughputExceeded", "IteratorAgeMilliseconds",
	}
}

func TestShardMeanings(t *testing.T) {
	m, reg := newMetrics(t)
	want := func(want map[string]float64) {
		t.Helper()
		if got := shardSeries(t, reg); !maps.Equal(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
	}
	m.MonitorShards(id(), allShardMetrics(), []int32{0}) // of a stream that is not there
	s := m.AddStream(id())
	s.Shards().Of(0).Put(1, 1, 1)
	s.Shards().Of(0).GetRecords(Get{Success: true, Throttled: true})
	want(map[string]float64{})

	m.MonitorShards(id(), allShardMetrics(), []int32{0, 7})
	s.Shards().Of(7).Put(3, 30, 2)
	s.Shards().Of(7).GetRecords(Get{Success: true, Records: 2, Bytes: 20, IteratorAge: 1500 * time.Millisecond})
	s.Shards().Of(7).GetRecords(Get{Success: true})
	s.Shards().Of(7).GetRecords(Get{Throttled: true})
	s.Shards().Of(8).Put(1, 1, 1)
	all := map[string]float64{
		"incoming_bytes_total shardId-000000000000": 0, "incoming_bytes_total shardId-000000000007": 30,
		"incoming_records_total shardId-000000000000": 0, "incoming_records_total shardId-000000000007": 3,
		"outgoing_bytes_total shardId-000000000000": 0, "outgoing_bytes_total shardId-000000000007": 20,
		"outgoing_records_total shardId-000000000000": 0, "outgoing_records_total shardId-000000000007": 2,
		"write_provisioned_throughput_exceeded_total shardId-000000000000": 0,
		"write_provisioned_throughput_exceeded_total shardId-000000000007": 2,
		"read_provisioned_throughput_exceeded_total shardId-000000000000":  0,
		"read_provisioned_throughput_exceeded_total shardId-000000000007":  1,
		"iterator_age_seconds shardId-000000000007":                        1.5,
	}
	want(all)

	// A shard that goes takes its series along, one that stays goes on where it was.
	m.MonitorShards(id(), []string{"IncomingBytes"}, []int32{7, 9})
	s.Shards().Of(7).Put(1, 1, 0)
	want(map[string]float64{"incoming_bytes_total shardId-000000000007": 31, "incoming_bytes_total shardId-000000000009": 0})
	m.MonitorShards(id(), nil, []int32{7, 9})
	want(map[string]float64{})

	m.MonitorShards(id(), allShardMetrics(), []int32{0})
	m.RemoveStream(id())
	s.Shards().Of(0).Put(1, 1, 0)
	want(map[string]float64{})
}

// TestIteratorAgeIsRecent shows the greatest age of a minute or two, not the last.
func TestIteratorAgeIsRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recent
		at := func(want time.Duration, wantOK bool) {
			t.Helper()
			if d, ok := r.greatest(time.Now()); d != want || ok != wantOK {
				t.Errorf("got %v, %v; want %v, %v", d, ok, want, wantOK)
			}
		}
		at(0, false)
		r.observe(time.Now(), 3*time.Second)
		r.observe(time.Now(), time.Second)
		at(3*time.Second, true)
		<-time.After(time.Minute)
		at(3*time.Second, true)
		r.observe(time.Now(), 0)
		at(3*time.Second, true)
		<-time.After(time.Minute)
		at(0, true)
		<-time.After(2 * time.Minute)
		at(0, false)
		r.observe(time.Now(), 1<<60)
		at(maxAge*time.Millisecond, true)
	})
}

func TestShardsDoNotAllocate(t *testing.T) {
	m, _ := newMetrics(t)
	s := m.AddStream(id())
	m.MonitorShards(id(), allShardMetrics(), []int32{0})
	if n := testing.AllocsPerRun(100, func() {
		s.Shards().Of(0).Put(1, 10, 0)
		s.Shards().Of(0).GetRecords(Get{Success: true, Records: 1, IteratorAge: time.Second})
		s.Shards().Of(1).Put(1, 10, 0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkShardPut is what a record costs when its stream's shard-level metrics are on.
func BenchmarkShardPut(b *testing.B) {
	m, err := New(prometheus.NewRegistry(), Build{})
	if err != nil {
		b.Fatal(err)
	}
	s := m.AddStream(id())
	m.MonitorShards(id(), allShardMetrics(), []int32{0, 1, 2, 3})
	shards, i := s.Shards(), int32(0)
	b.ReportAllocs()
	for b.Loop() {
		shards.Of(i%4).Put(1, 1024, 0)
		i++
	}
}
