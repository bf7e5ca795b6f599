package shape

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// value is a document of a schema that only a test has: what a shape is to generated code.
type value struct {
	is     string // a key of readers, or null
	b      bool
	i      int64
	f      float64
	s      string
	keys   []string
	values []*value
}

// randomValue makes a value of at most the given depth.
func randomValue(r *rand.Rand, depth int) *value {
	kinds := []string{"null", "Boolean", "String", "Integer", "Long", "Double", "Blob", "Timestamp", "List", "Map", "Structure"}
	if depth == 0 {
		kinds = kinds[:8]
	}
	v := &value{is: kinds[r.IntN(len(kinds))]}
	switch v.is {
	case "Boolean":
		v.b = r.IntN(2) == 0
	case "String":
		v.s = randomText(r)
	case "Integer":
		v.i = int64(int32(r.Uint32()) >> r.IntN(31))
	case "Long":
		v.i = int64(r.Uint64()) >> r.IntN(63)
	case "Double":
		v.f = randomFloat(r)
	case "Blob":
		v.s = string(randomBytes(r, r.IntN(300)))
	case "Timestamp":
		v.i = r.Int64N(4e12) - 1e12
	case "List", "Map", "Structure":
		v.fill(r, depth-1)
	}
	return v
}

func (v *value) fill(r *rand.Rand, depth int) {
	for i := range r.IntN(6) {
		v.values = append(v.values, randomValue(r, depth))
		switch v.is {
		case "Map":
			v.keys = append(v.keys, randomText(r))
		case "Structure":
			v.keys = append(v.keys, fmt.Sprintf("Member%d", i))
		}
	}
}

func randomText(r *rand.Rand) string {
	parts := []string{"a", "plain words", "\"", "\\", "\n", "\x00", "é", "€", "😀", "/", "<", "\u2028", "\ufffd"}
	var b strings.Builder
	for range r.IntN(8) {
		b.WriteString(parts[r.IntN(len(parts))])
	}
	return b.String()
}

func randomFloat(r *rand.Rand) float64 {
	if f := math.Float64frombits(r.Uint64()); f == f && r.IntN(2) == 0 {
		return f
	}
	return float64(r.IntN(1000)) / 8
}

func (v *value) encode(e *Encoder) {
	switch v.is {
	case "null":
		e.Null()
	case "Boolean":
		e.Bool(v.b)
	case "String":
		e.String(v.s)
	case "Integer":
		e.Int32(int32(v.i))
	case "Long":
		e.Int64(v.i)
	case "Double":
		e.Float64(v.f)
	case "Blob":
		e.Blob([]byte(v.s))
	case "Timestamp":
		e.Timestamp(Timestamp(v.i))
	default:
		v.encodeContainer(e)
	}
}

func (v *value) encodeContainer(e *Encoder) {
	switch v.is {
	case "List":
		e.BeginList(len(v.values))
		for _, w := range v.values {
			w.encode(e)
		}
		e.EndList()
	case "Map":
		e.BeginMap(len(v.values))
		for i, w := range v.values {
			e.MapKey(v.keys[i])
			w.encode(e)
		}
		e.EndMap()
	case "Structure":
		e.BeginStruct()
		for i, w := range v.values {
			e.Member(v.keys[i])
			w.encode(e)
		}
		e.EndStruct()
	}
}

// decode reads a value of the type of v.
func (v *value) decode(d *Decoder) *value {
	got := &value{is: v.is}
	switch v.is {
	case "null":
		if !d.Null() {
			got.is = "not null"
			d.Skip()
		}
	case "Boolean":
		got.b = d.Bool()
	case "String":
		got.s = d.String()
	case "Integer":
		got.i = int64(d.Int32())
	case "Long":
		got.i = d.Int64()
	case "Double":
		got.f = d.Float64()
	case "Blob":
		got.s = string(d.Blob())
	case "Timestamp":
		got.i = int64(d.Timestamp())
	default:
		v.decodeContainer(d, got)
	}
	return got
}

func (v *value) decodeContainer(d *Decoder, got *value) {
	next := d.NextMember
	switch v.is {
	case "List":
		d.BeginList()
		next = d.NextElement
	case "Map":
		d.BeginMap()
	case "Structure":
		d.BeginStruct()
	}
	for i := 0; next(); i++ {
		if v.is != "List" {
			got.keys = append(got.keys, string(d.Key()))
		}
		if i == len(v.values) {
			d.Skip()
			got.is = "too long"
			return
		}
		got.values = append(got.values, v.values[i].decode(d))
	}
}

// TestFormatsAgree writes random documents in both formats and reads the same values back.
func TestFormatsAgree(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 7))
		want := &value{is: "Structure"}
		want.fill(r, 4)
		for _, f := range []Format{JSON, CBOR} {
			var e Encoder
			e.Reset(f, nil)
			want.encode(&e)
			body := e.Bytes()
			doc := string(body)
			if !Wellformed(f, body) || string(body) != doc {
				t.Fatalf("seed %d, %v: not well-formed, or changed by the check: %q", seed, f, doc)
			}
			var d Decoder
			d.Reset(f, body)
			got := want.decode(&d)
			if err := d.Finish(); err != nil {
				t.Fatalf("seed %d, %v: %v in %q", seed, f, err, doc)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, %v: values differ after %q", seed, f, doc)
			}
		}
	}
}
