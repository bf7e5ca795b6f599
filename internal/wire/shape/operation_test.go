package shape

import (
	"errors"
	"testing"
	"time"
)

func TestCallDone(t *testing.T) {
	var c Call
	got := ""
	add := func(s string) func() { return func() { got += s } }
	c.OnDone(add("a"))
	c.OnDone(add("b"))
	c.Done()
	c.Done()
	if got != "ba" {
		t.Errorf("ran %q, want ba", got)
	}
	c.Account = "000000000000"
	c.OnDone(add("c"))
	c.Reset()
	c.Done()
	if got != "ba" || c.Account != "" {
		t.Errorf("after Reset: ran %q, account %q", got, c.Account)
	}
}

func TestCallDonePanics(t *testing.T) {
	var c Call
	ran := false
	c.OnDone(func() { ran = true })
	c.OnDone(func() { panic("page was released twice") })
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was lost")
			}
		}()
		c.Done()
	}()
	if !ran {
		t.Error("a panic kept the other function from running")
	}
}

func TestErrorDefaults(t *testing.T) {
	f := func(e Error, status int, text string) {
		t.Helper()
		if got := e.HTTPStatus(); got != status {
			t.Errorf("%+v: status %d, want %d", e, got, status)
		}
		if got := e.Error(); got != text {
			t.Errorf("%+v: text %q, want %q", e, got, text)
		}
	}
	f(Error{Code: "A", Message: "b"}, 400, "A: b")
	f(Error{Code: "A", Fault: true}, 500, "A")
	f(Error{Code: "A", Status: 413, Fault: true}, 413, "A")
}

func TestTimestampTime(t *testing.T) {
	at := time.Date(2023, 11, 14, 22, 13, 20, 123_999_999, time.UTC)
	if got := TimestampOf(at); got != 1700000000123 || !got.Time().Equal(at.Truncate(time.Millisecond)) {
		t.Errorf("got %d, %v", got, got.Time())
	}
}

func TestSerializationErrorText(t *testing.T) {
	var d Decoder
	d.Reset(JSON, []byte(`{"a":}`))
	d.Skip()
	want := "unparsable document: no value where one is expected at byte 5"
	if err := d.Finish(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	var se *SerializationError
	if !errors.As(d.Err(), &se) || se.Message != "" || se.Offset != 5 {
		t.Errorf("got %#v", se)
	}
}
