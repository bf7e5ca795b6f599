package metrics

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestPort(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := New(reg, Build{})
	if err != nil {
		t.Fatal(err)
	}
	p := m.Port()
	f := func(name string, want float64) {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() != name {
				continue
			}
			sum := 0.0
			for _, m := range family.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
			if sum != want {
				t.Errorf("%s is %v, want %v", name, sum, want)
			}
			return
		}
		if want != 0 {
			t.Errorf("no metric %s", name)
		}
	}
	f("headrace_connections_open", 0)
	p.CountOpen(func() int { return 7 })
	f("headrace_connections_open", 7)
	p.Refused("handshake")
	p.Refused("address")
	f("headrace_connections_refused_total", 2)
	p.Throttled(ByAddress)
	p.Throttled(ByKey)
	p.Throttled(ByKey)
	f("headrace_requests_throttled_total", 3)
	p.AuditWritten(5)
	f("headrace_audit_events_total", 5)
	p.AuditDropped(2)
	f("headrace_audit_dropped_total", 2)
}
