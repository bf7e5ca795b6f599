package metrics

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func id() StreamID { return StreamID{"000000000000", "us-east-1", "logs"} }

func newMetrics(t *testing.T) (*Metrics, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	m, err := New(reg, Build{"1.2.3", "abc", "go1"})
	if err != nil {
		t.Fatal(err)
	}
	return m, reg
}

// gather returns the value of every counter and gauge and the sample count of every histogram of
// the named prefix, by metric name.
func gather(t *testing.T, reg *prometheus.Registry, prefix string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), prefix) {
			continue
		}
		for _, m := range f.GetMetric() {
			switch f.GetType().String() {
			case "HISTOGRAM":
				got[f.GetName()] += float64(m.GetHistogram().GetSampleCount())
			case "COUNTER":
				got[f.GetName()] += m.GetCounter().GetValue()
			default:
				got[f.GetName()] += m.GetGauge().GetValue()
			}
		}
	}
	return got
}

func TestStreamMeanings(t *testing.T) {
	m, reg := newMetrics(t)
	s := m.AddStream(id())
	s.PutRecord(Put{Records: 1, Successful: 1, Bytes: 10, Latency: time.Millisecond})
	s.PutRecord(Put{Records: 1, Throttled: 1})
	s.PutRecords(Put{Records: 6, Successful: 3, Throttled: 2, Failed: 1, Bytes: 30})
	s.PutRecords(Put{Records: 2, Throttled: 2})
	s.GetRecords(Get{Success: true, Records: 4, Bytes: 40, IteratorAge: time.Second})
	s.GetRecords(Get{Throttled: true})
	got := gather(t, reg, prefix)
	f := func(name string, want float64) {
		t.Helper()
		v, ok := got[prefix+name]
		if !ok || v != want {
			t.Errorf("%s: got %v, want %v", name, v, want)
		}
		delete(got, prefix+name)
	}
	f("incoming_bytes_total", 40)
	f("incoming_records_total", 4)
	f("put_record_success_total", 1)
	f("put_record_bytes_total", 10)
	f("put_record_latency_seconds", 2)
	f("put_records_success_total", 1)
	f("put_records_bytes_total", 30)
	f("put_records_latency_seconds", 2)
	f("put_records_records_total", 8)
	f("put_records_successful_records_total", 3)
	f("put_records_failed_records_total", 1)
	f("put_records_throttled_records_total", 4)
	f("get_records_success_total", 1)
	f("get_records_bytes_total", 40)
	f("get_records_records_total", 4)
	f("get_records_latency_seconds", 2)
	f("get_records_iterator_age_seconds", 1)
	f("write_provisioned_throughput_exceeded_total", 5)
	f("read_provisioned_throughput_exceeded_total", 1)
	if len(got) != 0 {
		t.Errorf("metrics that this test does not know: %v", got)
	}
}

func TestSeriesLiveAsLongAsTheirStream(t *testing.T) {
	m, reg := newMetrics(t)
	m.Stream(id()).PutRecord(Put{Successful: 1, Bytes: 1})
	if got := gather(t, reg, prefix); len(got) != 0 {
		t.Errorf("a stream that was never added has series: %v", got)
	}
	s := m.AddStream(id())
	if m.AddStream(id()) != s || m.Stream(id()) != s {
		t.Error("the same stream has two sets of series")
	}
	m.RemoveStream(id())
	m.RemoveStream(id())
	s.PutRecord(Put{Successful: 1, Bytes: 1})
	m.Stream(id()).PutRecord(Put{Successful: 1, Bytes: 1})
	if got := gather(t, reg, prefix); len(got) != 0 {
		t.Errorf("a removed stream has series: %v", got)
	}
	m.AddStream(id())
	if got := gather(t, reg, prefix)[prefix+"incoming_bytes_total"]; got != 0 {
		t.Errorf("a stream created again starts at %v, want 0", got)
	}
}

func TestRequests(t *testing.T) {
	m, reg := newMetrics(t)
	o := m.Operation("kinesis", "PutRecords")
	o.Done("", time.Millisecond)
	o.Done(CodeOK, time.Millisecond)
	o.Done("ValidationException", time.Millisecond)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		if f.GetName() != "headrace_requests_total" {
			continue
		}
		for _, series := range f.GetMetric() {
			var labels []string
			for _, l := range series.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			if series.GetCounter().GetValue() != map[string]float64{"OK": 2, "ValidationException": 1}[labels[0]] {
				t.Errorf("%v: got %v", labels, series.GetCounter().GetValue())
			}
			got = append(got, strings.Join(labels, " "))
		}
	}
	if want := []string{"OK PutRecords kinesis", "ValidationException PutRecords kinesis"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if gather(t, reg, "headrace_request_duration")["headrace_request_duration_seconds"] != 3 {
		t.Error("not every request's duration was observed")
	}
}

// Every Data Streams metric says which CloudWatch metric it is, and names are Prometheus's own.
func TestNamesAndHelp(t *testing.T) {
	m, reg := newMetrics(t)
	m.AddStream(id())
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), prefix) {
			continue
		}
		found++
		if !strings.HasPrefix(f.GetHelp(), "CloudWatch ") {
			t.Errorf("%s: help names no CloudWatch metric: %q", f.GetName(), f.GetHelp())
		}
		suffix := "_total"
		if f.GetType().String() == "HISTOGRAM" {
			suffix = "_seconds"
		}
		if !strings.HasSuffix(f.GetName(), suffix) {
			t.Errorf("%s: want a name that ends in %s", f.GetName(), suffix)
		}
	}
	if found != 19 {
		t.Errorf("got %d metrics a stream, want 19", found)
	}
	if gather(t, reg, "headrace_build_info")["headrace_build_info"] != 1 {
		t.Error("no build info")
	}
}

func TestNewTwiceInOneRegistry(t *testing.T) {
	_, reg := newMetrics(t)
	if _, err := New(reg, Build{}); err == nil {
		t.Error("got no error")
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	m, _ := newMetrics(t)
	m.AddStream(id())
	o := m.Operation("kinesis", "PutRecords")
	o.Done("ValidationException", 0)
	f := func(name string, run func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: got %v allocations, want 0", name, n)
		}
	}
	f("PutRecord", func() { m.Stream(id()).PutRecord(Put{Successful: 1, Bytes: 1, Latency: 1}) })
	f("PutRecords", func() { m.Stream(id()).PutRecords(Put{Successful: 1, Bytes: 1, Latency: 1}) })
	f("GetRecords", func() { m.Stream(id()).GetRecords(Get{Success: true, Throttled: true}) })
	f("Done", func() { o.Done("", 1); o.Done("ValidationException", 1) })
}

func TestConcurrentUse(t *testing.T) {
	m, reg := newMetrics(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				m.AddStream(id()).PutRecord(Put{Successful: 1, Bytes: 1})
				m.Stream(id()).GetRecords(Get{Success: true})
				m.RemoveStream(id())
				_, _ = reg.Gather() // only raced against
			}
		})
	}
	wg.Wait()
}

func BenchmarkPutRecords(b *testing.B) {
	m, err := New(prometheus.NewRegistry(), Build{})
	if err != nil {
		b.Fatal(err)
	}
	m.AddStream(id())
	for b.Loop() {
		m.Stream(id()).PutRecords(Put{Records: 500, Successful: 500, Bytes: 512000, Latency: time.Millisecond})
	}
}
