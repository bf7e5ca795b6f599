package shape

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// anyValue reads whatever comes next: nil, bool, float64, string, []byte, []any or map[string]any.
func anyValue(d *Decoder) any {
	switch d.peek() {
	case kindNull:
		d.Null()
	case kindBool:
		return d.Bool()
	case kindNumber:
		return d.Float64()
	case kindString:
		return strings.Clone(d.String())
	case kindBytes:
		return bytes.Clone(d.Blob())
	case kindList:
		list := []any{}
		for d.BeginList(); d.NextElement(); {
			list = append(list, anyValue(d))
		}
		return list
	case kindMap:
		m := map[string]any{}
		for d.BeginMap(); d.NextEntry(); {
			k := string(d.Key())
			m[k] = anyValue(d)
		}
		return m
	}
	return nil
}

// decodeBoth decodes body, which it leaves unchanged, and checks that Wellformed agrees.
func decodeBoth(t *testing.T, f Format, body []byte) (v any, ok bool) {
	t.Helper()
	work := bytes.Clone(body)
	formed := Wellformed(f, work)
	if !bytes.Equal(work, body) {
		t.Fatalf("Wellformed changed %q into %q", body, work)
	}
	var d Decoder
	d.Reset(f, work)
	if k := d.peek(); k != kindList && k != kindMap {
		d.fail("root")
	}
	v = anyValue(&d)
	ok = d.Finish() == nil
	if ok != formed {
		t.Fatalf("decoding %q: %v, but Wellformed: %v", body, d.Err(), formed)
	}
	return v, ok
}

// typedReads reads body as every type in turn: no panic, and an end.
func typedReads(f Format, body []byte) {
	work := make([]byte, len(body))
	for _, read := range readers {
		var d Decoder
		copy(work, body)
		d.Reset(f, work)
		for d.BeginStruct(); d.NextMember(); {
			read(&d)
		}
		d.Finish()
		copy(work, body)
		d.Reset(f, work)
		for d.BeginList(); d.NextElement(); {
			read(&d)
		}
		d.Finish()
	}
}

// FuzzJSON compares with encoding/json, which differs in accepting what is not UTF-8, scalars at the
// root and any depth below 10,000.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		"", "{}", "[]", "null", `{"a":1}`, `{"a":[true,false,null,-1.5e3,"x"]}`, `{"a":"\u00e9\ud83d\ude00\ud83d\n"}`,
		`{"a":1,"a":2}`, `{"Records":[{"Data":"YWJj","PartitionKey":"k"}]}`, "[1,]", "[\"\xff\"]", "[1e999]", "{} x",
		`{"v":"YWJj+/=="}`, `["\u0000\/"]`, "[[[[[[[[]]]]]]]]", "[123456789012345678901234567890]", "[-0,0.0,-0.1e-2]",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := decodeBoth(t, JSON, body)
		want, wantOK := jsonReference(t, body)
		if ok != wantOK {
			t.Fatalf("%q: accepted %v, want %v", body, ok, wantOK)
		}
		if ok && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %#v, want %#v", body, got, want)
		}
		if ok {
			reencode(t, got)
		}
		typedReads(JSON, body)
	})
}

func jsonReference(t *testing.T, body []byte) (any, bool) {
	if !json.Valid(body) || !utf8.Valid(body) {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("encoding/json: valid, but: %v", err)
	}
	switch v.(type) {
	case []any, map[string]any:
	default:
		return nil, false
	}
	// The value does not show the depth of what a repeated key replaced; the text does.
	return jsonNumbers(v), jsonDepth(body) <= maxDepth
}

func jsonDepth(body []byte) int {
	depth, deepest := 0, 0
	dec := json.NewDecoder(bytes.NewReader(body))
	for {
		tok, err := dec.Token()
		if err != nil {
			return deepest
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// jsonNumbers turns the numbers of v into what Float64 returns.
func jsonNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		n, _ := strconv.ParseFloat(string(v), 64)
		if n == 0 && !strings.ContainsAny(string(v), ".eE") {
			n = 0 // an integer has no negative zero
		}
		return max(-math.MaxFloat64, min(math.MaxFloat64, n))
	case []any:
		for i := range v {
			v[i] = jsonNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = jsonNumbers(v[k])
		}
	}
	return v
}

// reencode writes a decoded value in both formats and reads it back.
func reencode(t *testing.T, want any) {
	t.Helper()
	for _, f := range []Format{JSON, CBOR} {
		var e Encoder
		e.Reset(f, nil)
		encodeAny(&e, want)
		got, ok := decodeBoth(t, f, e.Bytes())
		if !ok || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v: wrote %q for %#v, read %#v, %v", f, e.Bytes(), want, got, ok)
		}
	}
}

func encodeAny(e *Encoder, v any) {
	switch v := v.(type) {
	case nil:
		e.Null()
	case bool:
		e.Bool(v)
	case float64:
		e.Float64(v)
	case string:
		e.String(v)
	case []byte:
		e.Blob(v)
	case []any:
		e.BeginList(len(v))
		for _, w := range v {
			encodeAny(e, w)
		}
		e.EndList()
	case map[string]any:
		e.BeginMap(len(v))
		for k, w := range v {
			e.MapKey(k)
			encodeAny(e, w)
		}
		e.EndMap()
	}
}

// FuzzCBOR compares with another decoder, which accepts more: any key, any simple value and any
// depth; and takes some tags for more than their content.
func FuzzCBOR(f *testing.F) {
	for _, s := range []string{
		"", "\xa0", "\xbf\xff", "\x80", "\x9f\xff", "\xa1\x61a\x01", "\xbf\x61a\x7f\x61b\x61c\xff\xff", "\x81\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b",
		"\x84\xf4\xf5\xf6\xf7", "\x83\xf9\x3c\x00\xfa\x3f\xc0\x00\x00\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00", "\x82\x20\x3b\xff\xff\xff\xff\xff\xff\xff\xff",
		"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", "\x81\x5f\x42ab\x40\xff", "\x81\x61\xff", "\xa1\x01\x02", "\x81\xf8\x20", "\x81\x81\x81\x81",
		"\xa1\x67Records\x81\xa2\x64Data\x43abc\x6cPartitionKey\x61k",
	} {
		f.Add([]byte(s))
	}
	lax, err := cbor.DecOptions{
		MaxNestedLevels: 65535, MaxArrayElements: math.MaxInt32, MaxMapPairs: math.MaxInt32,
		DupMapKey: cbor.DupMapKeyEnforcedAPF,
	}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := decodeBoth(t, CBOR, body)
		typedReads(CBOR, body)
		if ok {
			if err := lax.Wellformed(body); err != nil {
				t.Fatalf("%x: accepted, but: %v", body, err)
			}
		}
		var want any
		if lax.Unmarshal(body, &want) != nil {
			return
		}
		n := survey{}
		want = n.convert(want, 0)
		if n.tagged || !n.root {
			return
		}
		if wantOK := !n.strange && n.deepest <= maxDepth; ok != wantOK {
			t.Fatalf("%x: accepted %v, want %v", body, ok, wantOK)
		}
		if ok && !reflect.DeepEqual(got, want) {
			t.Fatalf("%x: got %#v, want %#v", body, got, want)
		}
	})
}

// survey notes what makes a document incomparable while convert turns it into anyValue's types.
type survey struct {
	root    bool // the root is a container
	tagged  bool
	strange bool // a key that is not text, a simple value without meaning
	deepest int
}

func (n *survey) enter(depth int) {
	n.root = n.root || depth == 0
	n.deepest = max(n.deepest, depth+1)
}

func (n *survey) convert(v any, depth int) any {
	switch v := v.(type) {
	case uint64:
		return float64(v)
	case int64:
		return float64(v)
	case float64:
		n.tagged = n.tagged || v != v // NaN equals nothing
	case cbor.SimpleValue:
		n.strange = true
	case cbor.Tag, time.Time, big.Int, *big.Int, cbor.ByteString:
		n.tagged = true
	case []any:
		n.enter(depth)
		for i := range v {
			v[i] = n.convert(v[i], depth+1)
		}
	case map[any]any:
		n.enter(depth)
		m := map[string]any{}
		for k, w := range v {
			n.convert(k, depth+1) // a key may be tagged
			name, isText := k.(string)
			n.strange = n.strange || !isText
			m[name] = n.convert(w, depth+1)
		}
		return m
	}
	return v
}
