package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Stream counts for one stream. Its methods are safe for concurrent use and do not allocate.
type Stream struct {
	incomingBytes, incomingRecords     prometheus.Counter
	putRecord                          call
	putRecords                         call
	total, successful, failed, limited prometheus.Counter
	getRecords                         call
	getRecordsRecords                  prometheus.Counter
	iteratorAge                        prometheus.Observer
	writeExceeded, readExceeded        prometheus.Counter
	// shards is nil while shard-level metrics are off.
	shards atomic.Pointer[Shards]
	// consumers are the registered ones; nobody counts for others, where nobody looks.
	consumers atomic.Pointer[consumers]
	nobody    *Consumer
}

// call is what every hot operation has.
type call struct {
	success, bytes prometheus.Counter
	latency        prometheus.Observer
}

// Put is the outcome of one PutRecord or PutRecords call that reached its stream.
type Put struct {
	// Records is how many records the call carried.
	Records int
	// Successful, Throttled and Failed say what became of them: stored, refused for throughput,
	// failed within Headrace. A record refused with the whole call counts in none.
	Successful, Throttled, Failed int
	// Bytes is the size of the data of the stored records.
	Bytes int
	// Latency is the time from the call's arrival to its answer.
	Latency time.Duration
}

// PutRecord counts one PutRecord call.
func (s *Stream) PutRecord(p Put) {
	s.put(p)
	s.putRecord.done(p.Successful > 0, p.Bytes, p.Latency)
}

// PutRecords counts one PutRecords call. As on AWS it is a success when one record was stored.
func (s *Stream) PutRecords(p Put) {
	s.put(p)
	s.putRecords.done(p.Successful > 0, p.Bytes, p.Latency)
	s.total.Add(float64(p.Records))
	s.successful.Add(float64(p.Successful))
	s.failed.Add(float64(p.Failed))
	s.limited.Add(float64(p.Throttled))
}

func (s *Stream) put(p Put) {
	s.incomingBytes.Add(float64(p.Bytes))
	s.incomingRecords.Add(float64(p.Successful))
	s.writeExceeded.Add(float64(p.Throttled))
}

// Get is the outcome of one GetRecords call that reached its stream.
type Get struct {
	// Success says that the call was answered with records, perhaps none.
	Success bool
	// Throttled says that it was refused for throughput.
	Throttled bool
	// Records and Bytes are what the answer carried.
	Records, Bytes int
	// IteratorAge is how long ago the last record of the answer arrived, or 0 when the reader has
	// caught up with the shard.
	IteratorAge time.Duration
	// Latency is the time from the call's arrival to its answer.
	Latency time.Duration
}

// GetRecords counts one GetRecords call.
func (s *Stream) GetRecords(g Get) {
	s.getRecords.done(g.Success, g.Bytes, g.Latency)
	s.getRecordsRecords.Add(float64(g.Records))
	if g.Success {
		s.iteratorAge.Observe(g.IteratorAge.Seconds())
	}
	if g.Throttled {
		s.readExceeded.Inc()
	}
}

func (c *call) done(success bool, bytes int, latency time.Duration) {
	if success {
		c.success.Inc()
	}
	c.bytes.Add(float64(bytes))
	c.latency.Observe(latency.Seconds())
}

// callVecs are the series of one hot operation, of all streams.
type callVecs struct {
	success, bytes *prometheus.CounterVec
	latency        *prometheus.HistogramVec
}

// streamVecs are the series of all streams.
type streamVecs struct {
	incomingBytes, incomingRecords     *prometheus.CounterVec
	putRecord                          callVecs
	putRecords                         callVecs
	total, successful, failed, limited *prometheus.CounterVec
	getRecords                         callVecs
	getRecordsRecords                  *prometheus.CounterVec
	iteratorAge                        *prometheus.HistogramVec
	writeExceeded, readExceeded        *prometheus.CounterVec
}

// prefix begins the name of each Data Streams metric.
const prefix = "headrace_kinesis_"

func streamLabels() []string { return []string{"account", "region", "stream"} }

func (id StreamID) values() []string { return []string{id.Account, id.Region, id.Name} }

func newStreamVecs() streamVecs {
	return streamVecs{
		incomingBytes:   counter("incoming_bytes_total", "IncomingBytes: bytes of data put by PutRecord and PutRecords."),
		incomingRecords: counter("incoming_records_total", "IncomingRecords: records put by PutRecord and PutRecords."),
		putRecord:       newCallVecs("put_record", "PutRecord", "calls that stored their record", "put"),
		putRecords:      newCallVecs("put_records", "PutRecords", "calls that stored at least one record", "put"),
		total:           counter("put_records_records_total", "PutRecords.TotalRecords: records carried by PutRecords calls."),
		successful:      counter("put_records_successful_records_total", "PutRecords.SuccessfulRecords: records stored by PutRecords calls."),
		failed:          counter("put_records_failed_records_total", "PutRecords.FailedRecords: records of PutRecords calls lost to internal failures."),
		limited:         counter("put_records_throttled_records_total", "PutRecords.ThrottledRecords: records of PutRecords calls refused for throughput."),
		getRecords:      newCallVecs("get_records", "GetRecords", "calls that were answered", "read"),

		getRecordsRecords: counter("get_records_records_total", "GetRecords.Records: records read by GetRecords calls."),
		iteratorAge: histogram("get_records_iterator_age_seconds",
			"GetRecords.IteratorAgeMilliseconds, in seconds: age of the last record of each GetRecords answer, 0 when caught up.", ageBuckets()),
		writeExceeded: counter("write_provisioned_throughput_exceeded_total", "WriteProvisionedThroughputExceeded: records of PutRecord and PutRecords refused for throughput."),
		readExceeded:  counter("read_provisioned_throughput_exceeded_total", "ReadProvisionedThroughputExceeded: GetRecords calls refused for throughput."),
	}
}

func newCallVecs(name, operation, success, verb string) callVecs {
	return callVecs{
		success: counter(name+"_success_total", operation+".Success: "+operation+" "+success+"."),
		bytes:   counter(name+"_bytes_total", operation+".Bytes: bytes of data "+verb+" by "+operation+" calls."),
		latency: histogram(name+"_latency_seconds", operation+".Latency, in seconds: time taken by "+operation+" calls.", latencyBuckets()),
	}
}

func counter(name, help string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: "CloudWatch " + help}, streamLabels())
}

func histogram(name, help string, buckets []float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: "CloudWatch " + help, Buckets: buckets}, streamLabels())
}

// vec is what counters and histograms share here.
type vec interface {
	prometheus.Collector
	DeleteLabelValues(values ...string) bool
}

func (v streamVecs) all() []vec {
	return []vec{
		v.incomingBytes, v.incomingRecords,
		v.putRecord.success, v.putRecord.bytes, v.putRecord.latency,
		v.putRecords.success, v.putRecords.bytes, v.putRecords.latency,
		v.total, v.successful, v.failed, v.limited,
		v.getRecords.success, v.getRecords.bytes, v.getRecords.latency,
		v.getRecordsRecords, v.iteratorAge, v.writeExceeded, v.readExceeded,
	}
}

func (v streamVecs) collectors() []prometheus.Collector {
	var cs []prometheus.Collector
	for _, c := range v.all() {
		cs = append(cs, c)
	}
	return cs
}

func (v streamVecs) remove(id StreamID) {
	for _, c := range v.all() {
		c.DeleteLabelValues(id.values()...)
	}
}

func (v streamVecs) resolve(id StreamID) *Stream {
	l := id.values()
	return &Stream{
		incomingBytes:     v.incomingBytes.WithLabelValues(l...),
		incomingRecords:   v.incomingRecords.WithLabelValues(l...),
		putRecord:         v.putRecord.resolve(l),
		putRecords:        v.putRecords.resolve(l),
		total:             v.total.WithLabelValues(l...),
		successful:        v.successful.WithLabelValues(l...),
		failed:            v.failed.WithLabelValues(l...),
		limited:           v.limited.WithLabelValues(l...),
		getRecords:        v.getRecords.resolve(l),
		getRecordsRecords: v.getRecordsRecords.WithLabelValues(l...),
		iteratorAge:       v.iteratorAge.WithLabelValues(l...),
		writeExceeded:     v.writeExceeded.WithLabelValues(l...),
		readExceeded:      v.readExceeded.WithLabelValues(l...),
	}
}

func (v callVecs) resolve(l []string) call {
	return call{v.success.WithLabelValues(l...), v.bytes.WithLabelValues(l...), v.latency.WithLabelValues(l...)}
}
