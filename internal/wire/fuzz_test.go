package wire

import (
	"bytes"
	"net/http"
	"net/url"
	"testing"
)

// FuzzHandler throws requests of every kind at the handler. Whatever comes, there is one answer, it
// has a request id, it is not the server's fault, and no memory stays held.
func FuzzHandler(f *testing.F) {
	f.Add("POST", "Fake_20260101.Echo", typeJSON11, "", []byte(`{"Name":"x","Items":[{"Key":"k","Data":"aGVsbG8="}]}`), true)
	f.Add("POST", "Fake_20260101.Echo", typeCBOR11, "", []byte("\xa1\x64Name\x61x"), true)
	f.Add("POST", "Fake_20260101.Echo", typeCBOR11, "", []byte("\xbf\x64Name\x7f\x61x\xff\x65Items\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), true)
	f.Add("POST", "Fake_20260101.Quiet", typeJSON11, "", []byte(`{"Name":"\ud800"}`), true)
	f.Add("POST", "Fake_20260101.Echo", typeJSON11, "gzip", zip(f, []byte(`{"Name":"x"}`)), true)
	f.Add("POST", "Fake_20260101.Echo", typePlainJSON, "", []byte(`[[[[`), false)
	f.Add("POST", "Fake_20260101.", typeJSON10, "gzip", []byte("\x1f\x8b"), false)
	f.Add("POST", "", typeForm, "", []byte("Action=Echo&Version=2026-01-01&Name=a+b&Items.member.1.Key=k&Items.member.1.Data=YQ%3d%3d"), true)
	f.Add("POST", "", typeForm, "gzip", zip(f, []byte("Action=Quiet&Version=2026-01-01&Name=%")), true)
	f.Add("OPTIONS", "", "", "", []byte(nil), false)
	f.Add("HEAD", ".", ";", "", []byte("{}"), false)

	var l log
	c := fakeConfig()
	c.MaxBody = 1 << 20
	c.Observer = l.observer()
	// Fail and Panic are the operations whose fault it is.
	operations := c.Services[0].Operations[:0]
	for _, o := range c.Services[0].Operations {
		if o.Name != "Fail" && o.Name != "Panic" {
			operations = append(operations, o)
		}
	}
	c.Services[0].Operations = operations
	h := NewHandler(c)
	f.Fuzz(func(t *testing.T, method, target, contentType, encoding string, body []byte, signed bool) {
		r := &http.Request{
			Method: method, URL: &url.URL{Path: "/"}, ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"X-Amz-Target": {target}, "Content-Type": {contentType}, "Content-Encoding": {encoding}},
			Body:   http.NoBody, ContentLength: int64(len(body)),
		}
		if len(body) > 0 {
			r.Body = nopCloser{bytes.NewReader(body)}
		}
		if signed {
			sign(r.Header)
		}
		l.events = l.events[:0]
		w := serveRecorded(h, r)
		if w.status < 200 || w.status >= 500 || len(l.faults) > 0 {
			t.Errorf("status %d, faults %v", w.status, l.faults)
		}
		if len(w.header["x-amzn-RequestId"]) != 1 || len(l.events) != 1 {
			t.Errorf("request ids %v, %d events, want one of each", w.header["x-amzn-RequestId"], len(l.events))
		}
		if got := h.budget.taken(); got != 0 {
			t.Errorf("%d bytes are still held", got)
		}
	})
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }
