package shape_test

import (
	"errors"
	"testing"

	"github.com/headrace/headrace/internal/wire/shape"
)

// TestDecodeAllocations holds decoding to no allocation at all, whatever the number of records.
func TestDecodeAllocations(t *testing.T) {
	for _, f := range []shape.Format{shape.JSON, shape.CBOR} {
		body := encoded(f, benchInput())
		work := make([]byte, len(body))
		var d shape.Decoder
		p := putRecords{records: make([]putRecord, 0, benchRecords)}
		got := testing.AllocsPerRun(20, func() {
			copy(work, body)
			d.Reset(f, work)
			p.decode(&d)
			if d.Finish() != nil {
				t.Fatal(d.Err())
			}
		})
		if got != 0 || len(p.records) != benchRecords {
			t.Errorf("%v: %v allocations for %d records", f, got, len(p.records))
		}
	}
}

func TestEncodeAllocations(t *testing.T) {
	p := benchInput()
	for _, f := range []shape.Format{shape.JSON, shape.CBOR} {
		var e shape.Encoder
		e.Reset(f, nil)
		p.encode(&e)
		out := e.Bytes()
		got := testing.AllocsPerRun(20, func() {
			e.Reset(f, out[:0])
			p.encode(&e)
		})
		if got != 0 {
			t.Errorf("%v: %v allocations", f, got)
		}
	}
}

func TestWellformedAllocations(t *testing.T) {
	docs := map[shape.Format][]string{
		shape.JSON: {`{"a":["\u00e9",1.5e3,{"b":null}]}`, `{"a":tru}`, `[[[`},
		shape.CBOR: {"\xa1\x61a\x9f\x7f\x61b\xff\xff", "\x81\xff", "\x9b\x7f\xff\xff\xff\xff\xff\xff\xff"},
	}
	for f, list := range docs {
		for _, doc := range list {
			body := []byte(doc)
			if got := testing.AllocsPerRun(50, func() { shape.Wellformed(f, body) }); got != 0 {
				t.Errorf("%v %q: %v allocations", f, doc, got)
			}
		}
	}
}

func TestValidatorAllocations(t *testing.T) {
	name := shape.Pattern{Text: "[a-z]+", Match: func(s string) bool { return s != "" }}
	rules := shape.Rules{MinLength: 1, MaxLength: 128, Pattern: &name}
	modes := []string{"PROVISIONED", "ON_DEMAND"}
	keys := []string{"a", "b"}
	var v shape.Validator
	walk := func() {
		v.Reset()
		v.Length("StreamName", "access-log", 1, 128)
		v.Pattern("StreamName", "access-log", name)
		v.Enum("StreamMode", "ON_DEMAND", modes)
		v.Range("Limit", 5, 1, 10000)
		render := func() string { return shape.RenderList(len(keys), func(i int) string { return keys[i] }) }
		v.Count("TagKeys", len(keys), 1, 50, render)
		for _, k := range keys {
			if !rules.Allows(k) {
				v.Elements("TagKeys", shape.ListMembers, &rules, render)
			}
		}
		v.Enter("Records")
		for i := range 500 {
			v.EnterIndex(i)
			v.Bytes("Data", 1024, 0, 10485760)
			v.Leave()
		}
		v.Leave()
		if v.Err() != nil {
			t.Fatal(v.Err())
		}
	}
	if got := testing.AllocsPerRun(20, walk); got != 0 {
		t.Errorf("%v allocations for a valid input", got)
	}
}

// TestDecodedError keeps the promise wire relies on: the error is of one type, found with errors.As.
func TestDecodedError(t *testing.T) {
	var d shape.Decoder
	d.Reset(shape.JSON, []byte(`{"StreamName":5}`))
	var p putRecords
	p.decode(&d)
	var se *shape.SerializationError
	if err := d.Finish(); !errors.As(err, &se) || se.Unparsable() {
		t.Errorf("got %v, want a type error", err)
	}
}
