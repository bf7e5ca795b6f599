package metrics

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headrace/headrace/internal/clock"
)

// Shards counts for the shards of one stream whose shard-level metrics are on. It is never changed, only
// replaced. All methods may be called on nil, which counts nothing.
type Shards struct {
	names  []string // of the metrics that are on, as CloudWatch has them
	shards map[int32]*Shard
}

// Of returns what counts for a shard, nil for one that is not counted.
func (s *Shards) Of(number int32) *Shard {
	if s == nil {
		return nil
	}
	return s.shards[number]
}

// Shard counts for one shard. Its methods are safe for concurrent use, do not allocate, and may be called
// on nil, which counts nothing.
type Shard struct {
	incomingBytes, incomingRecords atomic.Uint64
	outgoingBytes, outgoingRecords atomic.Uint64
	writeExceeded, readExceeded    atomic.Uint64
	age                            recent
}

// Put counts records of PutRecord and PutRecords that were stored, with their bytes, and those that were
// refused for throughput.
func (s *Shard) Put(records, bytes, throttled int) {
	if s == nil {
		return
	}
	s.incomingRecords.Add(uint64(records))
	s.incomingBytes.Add(uint64(bytes))
	s.writeExceeded.Add(uint64(throttled))
}

// GetRecords counts one GetRecords call.
func (s *Shard) GetRecords(g Get) {
	if s == nil {
		return
	}
	s.outgoingRecords.Add(uint64(g.Records))
	s.outgoingBytes.Add(uint64(g.Bytes))
	if g.Throttled {
		s.readExceeded.Add(1)
	}
	if g.Success {
		s.age.observe(clock.System{}.Now(), g.IteratorAge)
	}
}

// recent keeps the greatest of the durations observed in this minute and the last: a gauge of the last one
// would show whichever of a shard's readers came last before the scrape.
type recent struct {
	// slots hold minute<<32 | milliseconds + 1, for even and odd minutes.
	slots [2]atomic.Uint64
}

const maxAge = 1<<32 - 2

func minuteOf(t time.Time) uint64 { return uint64(t.Unix()/60) & (1<<32 - 1) }

func (r *recent) observe(now time.Time, d time.Duration) {
	minute := minuteOf(now)
	slot := &r.slots[minute%2]
	seen := minute<<32 | uint64(min(max(d.Milliseconds(), 0), maxAge)+1)
	for {
		old := slot.Load()
		if old>>32 == minute && old >= seen || slot.CompareAndSwap(old, seen) {
			return
		}
	}
}

// greatest returns the greatest; ok is false if there was none.
func (r *recent) greatest(now time.Time) (d time.Duration, ok bool) {
	minute := minuteOf(now)
	for i := range r.slots {
		v := r.slots[i].Load()
		if v == 0 || v>>32 != minute && v>>32+1 != minute {
			continue
		}
		d, ok = max(d, time.Duration(v&(1<<32-1)-1)*time.Millisecond), true
	}
	return d, ok
}

// MonitorShards says which shard-level metrics a stream has, by CloudWatch's names, and which shards: none
// of the former ends them all. Shards that were counted already go on.
func (m *Metrics) MonitorShards(id StreamID, names []string, shards []int32) {
	s := m.Stream(id)
	if s == m.discard {
		return
	}
	if len(names) == 0 {
		s.shards.Store(nil)
		return
	}
	next := &Shards{names: slices.Clone(names), shards: make(map[int32]*Shard, len(shards))}
	old := s.shards.Load()
	for _, n := range shards {
		if next.shards[n] = old.Of(n); next.shards[n] == nil {
			next.shards[n] = new(Shard)
		}
	}
	s.shards.Store(next)
}

// Shards returns what counts for the stream's shards; nil while their metrics are off.
func (s *Stream) Shards() *Shards { return s.shards.Load() }

// shardMetric is one shard-level metric.
type shardMetric struct {
	cloudWatch string
	desc       *prometheus.Desc
	kind       prometheus.ValueType
	read       func(*Shard) (float64, bool)
}

// shardCollector shows at each scrape what Shards have counted: the series of a metric that is off, or of a
// shard that has gone, are not there.
type shardCollector struct {
	m       *Metrics
	metrics []shardMetric
}

func newShardCollector(m *Metrics) *shardCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(prefix+"shard_"+name, "CloudWatch shard-level "+help, append(streamLabels(), "shard"), nil)
	}
	counter := func(cloudWatch, name, help string, of func(*Shard) *atomic.Uint64) shardMetric {
		return shardMetric{cloudWatch, desc(name+"_total", cloudWatch+": "+help), prometheus.CounterValue, func(s *Shard) (float64, bool) {
			return float64(of(s).Load()), true
		}}
	}
	return &shardCollector{m, []shardMetric{
		counter("IncomingBytes", "incoming_bytes", "bytes of data put into the shard.", func(s *Shard) *atomic.Uint64 { return &s.incomingBytes }),
		counter("IncomingRecords", "incoming_records", "records put into the shard.", func(s *Shard) *atomic.Uint64 { return &s.incomingRecords }),
		counter("OutgoingBytes", "outgoing_bytes", "bytes of data read from the shard.", func(s *Shard) *atomic.Uint64 { return &s.outgoingBytes }),
		counter("OutgoingRecords", "outgoing_records", "records read from the shard.", func(s *Shard) *atomic.Uint64 { return &s.outgoingRecords }),
		counter("WriteProvisionedThroughputExceeded", "write_provisioned_throughput_exceeded", "records refused by the shard for throughput.", func(s *Shard) *atomic.Uint64 { return &s.writeExceeded }),
		counter("ReadProvisionedThroughputExceeded", "read_provisioned_throughput_exceeded", "reads of the shard refused for throughput.", func(s *Shard) *atomic.Uint64 { return &s.readExceeded }),
		{"IteratorAgeMilliseconds", desc("iterator_age_seconds", "IteratorAgeMilliseconds, in seconds: the greatest age of the last record of a GetRecords answer within a minute or two; "+
			"0 when all readers have caught up, absent when nobody reads."), prometheus.GaugeValue, func(s *Shard) (float64, bool) {
			d, ok := s.age.greatest(clock.System{}.Now())
			return d.Seconds(), ok
		}},
	}}
}

// Describe implements prometheus.Collector.
func (c *shardCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, metric := range c.metrics {
		ch <- metric.desc
	}
}

// Collect implements prometheus.Collector.
func (c *shardCollector) Collect(ch chan<- prometheus.Metric) {
	c.m.mu.RLock()
	streams := maps.Clone(c.m.mu.streams)
	c.m.mu.RUnlock()
	for id, s := range streams {
		monitored := s.shards.Load()
		if monitored == nil {
			continue
		}
		for n, shard := range monitored.shards {
			labels := append(id.values(), fmt.Sprintf("shardId-%012d", n))
			for _, metric := range c.metrics {
				if !slices.Contains(monitored.names, metric.cloudWatch) {
					continue
				}
				if v, ok := metric.read(shard); ok {
					ch <- prometheus.MustNewConstMetric(metric.desc, metric.kind, v, labels...)
				}
			}
		}
	}
}
