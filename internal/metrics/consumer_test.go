package metrics

import (
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// consumerSeries returns the values of the series of consumers, of histograms the number of samples, by name
// and consumer.
func consumerSeries(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	got := map[string]float64{}
	eachOf(t, reg, "consumer", func(name, consumer string, m *dto.Metric) {
		name = name[len(prefix+"subscribe_to_shard_"):] + " " + consumer
		got[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		if h := m.GetHistogram(); h != nil {
			got[name+" sum"] = h.GetSampleSum()
		}
	})
	return got
}

// TestConsumerMeanings counts what a consumer does.
func TestConsumerMeanings(t *testing.T) {
	m, reg := newMetrics(t)
	s := m.AddStream(id())
	if got := consumerSeries(t, reg); len(got) != 0 {
		t.Errorf("a stream without consumers has %v", got)
	}
	m.SetConsumers(id(), []string{"wheel"})
	c := s.Consumer("wheel")
	c.Subscribed()
	c.RateExceeded()
	c.RateExceeded()
	c.Pushed(Event{Records: 3, Bytes: 40, Behind: 1500 * time.Millisecond})
	c.Pushed(Event{Records: 1, Bytes: 2})
	c.Pushed(Event{})
	want := map[string]float64{
		"success_total wheel": 1, "rate_exceeded_total wheel": 2, "event_success_total wheel": 3, "event_bytes_total wheel": 42,
		"event_records_total wheel": 4, "event_behind_latest_seconds wheel": 3, "event_behind_latest_seconds wheel sum": 1.5,
	}
	if got := consumerSeries(t, reg); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if n := testing.AllocsPerRun(100, func() {
		c := m.Stream(id()).Consumer("wheel")
		c.Subscribed()
		c.RateExceeded()
		c.Pushed(Event{Records: 3, Bytes: 40, Behind: time.Second})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestConsumerSeriesLiveAsLongAsTheirConsumer registers and deregisters consumers, and deletes their stream.
func TestConsumerSeriesLiveAsLongAsTheirConsumer(t *testing.T) {
	m, reg := newMetrics(t)
	subscribed := func(want map[string]float64) {
		t.Helper()
		got := map[string]float64{}
		for name, v := range consumerSeries(t, reg) {
			var consumer string
			if n := len("success_total "); len(name) > n && name[:n] == "success_total " {
				consumer = name[n:]
				got[consumer] = v
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	m.SetConsumers(id(), []string{"wheel"}) // of a stream that is not there
	m.Stream(id()).Consumer("wheel").Subscribed()
	subscribed(nil)
	s := m.AddStream(id())
	s.Consumer("wheel").Subscribed() // nobody
	subscribed(nil)
	m.SetConsumers(id(), []string{"wheel", "pond"})
	s.Consumer("wheel").Subscribed()
	m.SetConsumers(id(), []string{"race", "wheel"})
	s.Consumer("pond").Subscribed()
	s.Consumer("wheel").Subscribed()
	subscribed(map[string]float64{"race": 0, "wheel": 2})
	m.SetConsumers(id(), nil)
	subscribed(nil)
	m.SetConsumers(id(), []string{"wheel"})
	subscribed(map[string]float64{"wheel": 0})
	m.RemoveStream(id())
	s.Consumer("wheel").Subscribed()
	if got := consumerSeries(t, reg); len(got) != 0 {
		t.Errorf("a stream that was removed has %v", got)
	}
}
