package metrics

import "github.com/prometheus/client_golang/prometheus"

// Storage is what streams take of the disk, and how near that is to its end.
type Storage struct {
	// Free and Total are the disk's bytes, LowWater the free bytes below which puts are throttled.
	// All are 0 in memory.
	Free, Total, LowWater int64
	// Quota is the most bytes a stream may take; 0 is no quota.
	Quota int64
	// State is ample, low or full.
	State string
	// Stopped is how many streams are throttled by name because room is low, AtQuota how many have
	// reached their quota.
	Stopped, AtQuota int
	// RefusedDisk and RefusedQuota count the records refused for want of room and for a quota.
	RefusedDisk, RefusedQuota uint64
	// Streams calls f with every stream and what it takes, in bytes.
	Streams func(f func(id StreamID, stored, unflushed int64))
}

// states are what Storage.State may be.
func states() []string { return []string{"ample", "low", "full"} }

// storage asks at each scrape.
type storage struct {
	ask func() Storage

	stored, unflushed, quota, atQuota *prometheus.Desc
	free, total, lowWater             *prometheus.Desc
	state, stopped, refused           *prometheus.Desc
}

// NewStorage returns a collector of what ask says when it is scraped; ask may be called by several at
// once.
func NewStorage(ask func() Storage) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("headrace_"+name, help, labels, nil)
	}
	return &storage{
		ask:       ask,
		stored:    desc("stream_stored_bytes", "Bytes that the stream's records take in block files, compressed.", streamLabels()...),
		unflushed: desc("stream_unflushed_bytes", "Bytes of the stream that are in the write-ahead log alone, or in memory.", streamLabels()...),
		quota:     desc("stream_quota_bytes", "The most that a stream may take, stored and unflushed; 0 is no quota."),
		atQuota:   desc("streams_at_quota", "Streams whose puts are throttled because they have reached their quota."),
		free:      desc("disk_free_bytes", "Bytes free on the disk of the data directory."),
		total:     desc("disk_total_bytes", "Size of the disk of the data directory."),
		lowWater:  desc("disk_low_water_bytes", "Free bytes below which the biggest writers are throttled; at half of it all are."),
		state:     desc("disk_state", "1 for the state the disk is in: ample, low (the biggest writers are throttled) or full (all puts are).", "state"),
		stopped:   desc("streams_stopped", "Streams whose puts are throttled because the disk is low and they write most."),
		refused:   desc("refused_records_total", "Records refused with ProvisionedThroughputExceededException for the stream's quota or for want of room on the disk.", "reason"),
	}
}

// Describe implements prometheus.Collector.
func (s *storage) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.stored, s.unflushed, s.quota, s.atQuota, s.free, s.total, s.lowWater, s.state, s.stopped, s.refused} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *storage) Collect(ch chan<- prometheus.Metric) {
	now := s.ask()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(s.quota, float64(now.Quota))
	gauge(s.atQuota, float64(now.AtQuota))
	gauge(s.free, float64(now.Free))
	gauge(s.total, float64(now.Total))
	gauge(s.lowWater, float64(now.LowWater))
	gauge(s.stopped, float64(now.Stopped))
	for _, state := range states() {
		is := 0.0
		if state == now.State {
			is = 1
		}
		gauge(s.state, is, state)
	}
	ch <- prometheus.MustNewConstMetric(s.refused, prometheus.CounterValue, float64(now.RefusedQuota), "quota")
	ch <- prometheus.MustNewConstMetric(s.refused, prometheus.CounterValue, float64(now.RefusedDisk), "disk")
	now.Streams(func(id StreamID, stored, unflushed int64) {
		gauge(s.stored, float64(stored), id.values()...)
		gauge(s.unflushed, float64(unflushed), id.values()...)
	})
}
