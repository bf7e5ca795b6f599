package metrics

import (
	"maps"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestStorage scrapes twice: values are asked for each time.
func TestStorage(t *testing.T) {
	reg := prometheus.NewRegistry()
	now := Storage{
		Free: 10, Total: 100, LowWater: 20, Quota: 80, State: "low", Stopped: 3, AtQuota: 4, RefusedDisk: 5, RefusedQuota: 6,
		Streams: func(f func(id StreamID, stored, unflushed int64)) { f(id(), 7, 8) },
	}
	if err := reg.Register(NewStorage(func() Storage { return now })); err != nil {
		t.Fatal(err)
	}
	f := func(want map[string]float64) {
		t.Helper()
		if got := gather(t, reg, "headrace_"); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	want := map[string]float64{
		"headrace_disk_free_bytes": 10, "headrace_disk_total_bytes": 100, "headrace_disk_low_water_bytes": 20, "headrace_disk_state": 1,
		"headrace_stream_quota_bytes": 80, "headrace_streams_stopped": 3, "headrace_streams_at_quota": 4, "headrace_refused_records_total": 11,
		"headrace_stream_stored_bytes": 7, "headrace_stream_unflushed_bytes": 8,
	}
	f(want)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, m := range families {
		for _, series := range m.GetMetric() {
			var labels []string
			for _, l := range series.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			switch strings.Join(labels, " ") {
			case "low":
				if seen++; series.GetGauge().GetValue() != 1 {
					t.Error("the state that the disk is in is not 1")
				}
			case "disk":
				if seen++; series.GetCounter().GetValue() != 5 {
					t.Error("records refused for want of room are not counted as such")
				}
			case "000000000000 us-east-1 logs":
				seen++
			}
		}
	}
	if seen != 4 {
		t.Errorf("%d of 4 series were found by their labels", seen)
	}
	now.Streams = func(func(StreamID, int64, int64)) {}
	now.Free = 11
	want["headrace_disk_free_bytes"] = 11
	delete(want, "headrace_stream_stored_bytes")
	delete(want, "headrace_stream_unflushed_bytes")
	f(want)
}
