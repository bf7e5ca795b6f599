package shape

import (
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
)

// decodeMember reads the member "v" of the document with read and returns the error of Finish.
func decodeMember(f Format, body string, read func(d *Decoder)) error {
	var d Decoder
	d.Reset(f, []byte(body))
	for d.BeginStruct(); d.NextMember(); {
		if string(d.Key()) == "v" {
			read(&d)
		} else {
			d.Skip()
		}
	}
	return d.Finish()
}

// message returns the text for the client, or "unparsable".
func message(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var se *SerializationError
	if !errors.As(err, &se) {
		t.Fatalf("error is a %T, want *SerializationError", err)
	}
	if se.Unparsable() {
		return "unparsable"
	}
	return se.Message
}

// readers are the value methods by the model's word for the type.
var readers = map[string]func(d *Decoder){
	"Boolean":   func(d *Decoder) { d.Bool() },
	"String":    func(d *Decoder) { _ = d.String() },
	"Integer":   func(d *Decoder) { d.Int32() },
	"Long":      func(d *Decoder) { d.Int64() },
	"Double":    func(d *Decoder) { d.Float64() },
	"Blob":      func(d *Decoder) { d.Blob() },
	"Timestamp": func(d *Decoder) { d.Timestamp() },
	"List": func(d *Decoder) {
		for d.BeginList(); d.NextElement(); {
			d.Skip()
		}
	},
	"Map": func(d *Decoder) {
		for d.BeginMap(); d.NextEntry(); {
			d.Skip()
		}
	},
	"Structure": func(d *Decoder) {
		for d.BeginStruct(); d.NextMember(); {
			d.Skip()
		}
	},
}

func TestTypeErrors(t *testing.T) {
	// CBOR spells the same values in hexadecimal escapes; "" where it has none.
	cborOf := map[string]string{
		`"23"`: "\x6223", "true": "\xf5", "23": "\x17", "-2147483648": "\x3a\x7f\xff\xff\xff",
		"34.56": "\xfb\x40\x41\x47\xae\x14\x7a\xe1\x48", "[]": "\x80", "{}": "\xa0", `["a"]`: "\x81\x61a",
	}
	f := func(as, value, want string) {
		t.Helper()
		if got := message(t, decodeMember(JSON, `{"v":`+value+`}`, readers[as])); got != want {
			t.Errorf("JSON %s as %s: got %q, want %q", value, as, got, want)
		}
		c, ok := cborOf[value]
		if !ok {
			return
		}
		if got := message(t, decodeMember(CBOR, "\xa1\x61v"+c, readers[as])); got != want {
			t.Errorf("CBOR %s as %s: got %q, want %q", value, as, got, want)
		}
	}
	const (
		list      = "Start of list found where not expected"
		structure = "Start of structure or map found where not expected."
		bigNumber = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to "
	)
	f("Boolean", `"23"`, "'23' can not be converted to an Boolean")
	f("Boolean", `"hello"`, "'HELLO' can not be converted to an Boolean")
	f("Boolean", "23", bigNumber+"an Boolean")
	f("Boolean", "-2147483648", bigNumber+"an Boolean")
	f("Boolean", "34.56", "")
	f("Boolean", "123456789012345678901234567890", bigNumber+"an Boolean")
	for _, s := range []string{`"true"`, `"FALSE"`, `"1"`, `"0"`, `"no"`, `"Yes"`} {
		f("Boolean", s, "")
	}
	f("String", "true", "class java.lang.Boolean can not be converted to an String")
	for _, n := range []string{"23", "-2147483648", "2147483648", "34.56"} {
		f("String", n, bigNumber+"an String")
		f("Blob", n, bigNumber+"a Blob")
		f("List", n, "Expected list or null")
		f("Map", n, "Expected map or null")
		f("Structure", n, "Expected null")
	}
	f("Integer", `"23"`, "class java.lang.String can not be converted to an Integer")
	f("Integer", "true", "class java.lang.Boolean can not be converted to an Integer")
	f("Long", `"23"`, "class java.lang.String can not be converted to an Long")
	f("Long", "true", "class java.lang.Boolean can not be converted to an Long")
	f("Double", `"23"`, "class java.lang.String can not be converted to an Double")
	f("Double", "true", "class java.lang.Boolean can not be converted to an Double")
	f("Blob", "true", "class java.lang.Boolean can not be converted to a Blob")
	f("Timestamp", `"23"`, "class java.lang.String can not be converted to milliseconds since epoch")
	f("Timestamp", "true", "class java.lang.Boolean can not be converted to milliseconds since epoch")
	for _, s := range []string{`"23"`, "true"} {
		f("List", s, "Expected list or null")
		f("Map", s, "Expected map or null")
		f("Structure", s, "Expected null")
	}
	for as := range readers {
		f(as, "null", "")
		if as != "List" {
			f(as, "[]", list)
			f(as, `["a"]`, list)
		}
		if as != "Map" && as != "Structure" {
			f(as, "{}", structure)
		}
	}
}

func TestBlobErrors(t *testing.T) {
	f := func(value, want string) {
		t.Helper()
		if want != "" && want != "unparsable" {
			want = "'" + value + "' can not be converted to a Blob: " + want
		}
		if got := message(t, decodeMember(JSON, `{"v":"`+value+`"}`, readers["Blob"])); got != want {
			t.Errorf("blob %q: got %q, want %q", value, got, want)
		}
	}
	const last = "Invalid last non-pad Base64 character dectected"
	f("", "")
	f("YQ==", "")
	f("YWI=", "")
	f("YWJj", "")
	f("+/+/", "")
	f("a", "Base64 encoded length is expected a multiple of 4 bytes but found: 1")
	f("23456", "Base64 encoded length is expected a multiple of 4 bytes but found: 5")
	f("=+/=", "Invalid Base64 character: '='")
	f("+/+=", last)
	f("YR==", last)
	f("A===", last)
	f("====", last)
	f("YQ==YQ==", "Invalid Base64 character: '='")
	f("YW-j", "Invalid Base64 character: '-'")
	f("YWé=", "Invalid Base64 character: 'é'")
	f("YWJé", "Invalid Base64 character: 'é'")
	f("é", "Base64 encoded length is expected a multiple of 4 bytes but found: 1")
	f("YWJjYWJj\nYWJ", "unparsable")
	f("YWJj\xff\xff\xff\xff", "unparsable")
	long := strings.Repeat("YWJj", 3000)
	f(long+"Y*Jj"+long, "Invalid Base64 character: '*'")
	f(long+"YQ=="+long, "Invalid Base64 character: '='")
	if got := message(t, decodeMember(JSON, `{"v":"YWJj\nWJjY\nYW"}`, readers["Blob"])); !strings.HasSuffix(got, "Invalid Base64 character: '\n'") {
		t.Errorf("escaped line break: got %q", got)
	}
}

func TestUnparsableWins(t *testing.T) {
	f := func(format Format, body, want string) {
		t.Helper()
		if got := message(t, decodeMember(format, body, readers["Integer"])); got != want {
			t.Errorf("%v %q: got %q, want %q", format, body, got, want)
		}
	}
	const typeError = "class java.lang.String can not be converted to an Integer"
	f(JSON, `{"v":"x","w":1}`, typeError)
	f(JSON, `{"v":"x","v":true}`, typeError)
	f(JSON, `{"v":"x","w":}`, "unparsable")
	f(JSON, `{"v":"x"}}`, "unparsable")
	f(JSON, `{"v":"x"`, "unparsable")
	f(JSON, `{"v":[1,{"a":]}`, "unparsable")
	f(JSON, `{"v":"x","w":"\q"}`, "unparsable")
	f(JSON, "{\"v\":1} \n\t\r", "")
	f(CBOR, "\xa1\x61v\x61x", typeError)
	f(CBOR, "\xa2\x61v\x61x\x61w", "unparsable")
	f(CBOR, "\xa1\x61v\x61x\x00", "unparsable")
}

func TestRoot(t *testing.T) {
	f := func(format Format, body string, want bool) {
		t.Helper()
		if got := Wellformed(format, []byte(body)); got != want {
			t.Errorf("Wellformed(%v, %q) = %v, want %v", format, body, got, want)
		}
		err := decodeMember(format, body, func(d *Decoder) { d.Skip() })
		if want != (message(t, err) != "unparsable") {
			t.Errorf("decode %v %q: %v, want well-formed %v", format, body, err, want)
		}
	}
	for body, want := range map[string]bool{
		"": false, " ": false, "null": false, "1": false, `"a"`: false, "true": false, "{}": true, "[]": true,
		" {} ": true, "{} x": false, "{,}": false, `{"a":1,}`: false, "[1,]": false, "[,1]": false, "[1 2]": false,
		`{"a" 1}`: false, `{a:1}`: false, "[01]": false, "[1.]": false, "[.5]": false, "[-]": false, "[1e]": false,
		"[1e+]": false, "[+1]": false, "[tru]": false, "[nulll]": false, "[\"\x1f\"]": false, "[\"\x7f\"]": true,
		"[\"a": false, `["\u12g4"]`: false, `["\u12"]`: false, `["\x"]`: false, `["\`: false, "[\"\xc3\"]": false,
		"\xef\xbb\xbf{}": false, "{}\x00": false, "{]": false, "[}": false, `{"\q":1}`: false, "[\"\xed\xa0\x80\"]": false,
	} {
		f(JSON, body, want)
	}
	for body, want := range map[string]bool{
		"": false, "\xf6": false, "\x00": false, "\xa0": true, "\x80": true, "\xbf\xff": true, "\x9f\xff": true,
		"\xbf": false, "\x9f": false, "\xff": false, "\xa0\x00": false, "\xc1\xa0": true, "\xdf\xa0": false, "\xc1": false,
		"\xa1\x01\x01": false, "\xbf\x61a\xff": false, "\x81\xe0": false, "\x81\xf8\xff": false, "\x81\x1c": false,
		"\x81\x1f": false, "\x81\x61\xff": false, "\x81\x7f\x61a\x41a\xff": false, "\x81\x7f\x7f\xff\xff": false,
		"\x81\x7f\x61a\x61b\xff": true, "\x81\x7f\x61a": false, "\x81\x19\x01": false, "\x82\x00": false, "\x81\xff": false,
		"\x81\x5c": false, "\x81\x5f\x5c": false, "\x81\xfb\x00": false, "\xd8\x1e\x80": true, "\x9b\xff\xff\xff\xff\xff\xff\xff\xff": false,
		"\xbb\x80\x00\x00\x00\x00\x00\x00\x00": false, "\x81\x5b\xff\xff\xff\xff\xff\xff\xff\xff": false,
	} {
		f(CBOR, body, want)
	}
}

func TestDepthLimit(t *testing.T) {
	nested := map[Format]func(n int) string{
		JSON: func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) },
		CBOR: func(n int) string { return strings.Repeat("\x81", n-1) + "\x80" },
	}
	var walk func(d *Decoder)
	walk = func(d *Decoder) {
		for d.BeginList(); d.NextElement(); {
			walk(d)
		}
	}
	for format, doc := range nested {
		for n, want := range map[int]bool{1: true, maxDepth: true, maxDepth + 1: false, 100_000: false} {
			if got := Wellformed(format, []byte(doc(n))); got != want {
				t.Errorf("%v: Wellformed with depth %d = %v, want %v", format, n, got, want)
			}
			var d Decoder
			d.Reset(format, []byte(doc(n)))
			walk(&d)
			if got := d.Finish() == nil; got != want {
				t.Errorf("%v: decoding depth %d = %v, want %v", format, n, got, want)
			}
		}
	}
	// A null or a value of another type is not a level.
	var d Decoder
	d.Reset(JSON, []byte(strings.Repeat("[", maxDepth)+"null"+strings.Repeat("]", maxDepth)))
	walk(&d)
	if err := d.Finish(); err != nil {
		t.Errorf("null at the deepest level: %v", err)
	}
}

func TestStrings(t *testing.T) {
	f := func(format Format, value, want string) {
		t.Helper()
		head := map[Format]string{JSON: `{"v":`, CBOR: "\xbf\x61v"}[format]
		tail := map[Format]string{JSON: `}`, CBOR: "\xff"}[format]
		var got string
		err := decodeMember(format, head+value+tail, func(d *Decoder) { got = d.String() })
		if err != nil || got != want {
			t.Errorf("%v %q: got %q, %v, want %q", format, value, got, err, want)
		}
	}
	f(JSON, `""`, "")
	f(JSON, `"abc"`, "abc")
	f(JSON, `"\"\\\/\b\f\n\r\t"`, "\"\\/\b\f\n\r\t")
	f(JSON, `"\u0041\u00e9\u20AC\ud83d\ude00z"`, "Aé€😀z")
	f(JSON, `"\ud83d"`, "\ufffd")
	f(JSON, `"\ud83dx\ude00"`, "\ufffdx\ufffd")
	f(JSON, `"\ud83d\u0041"`, "\ufffdA")
	f(JSON, `"\ud83d\n"`, "\ufffd\n")
	f(JSON, `"\ud83d\ud83d\ude00"`, "\ufffd😀")
	f(JSON, `"plain text before\tand after, long enough for two words é"`, "plain text before\tand after, long enough for two words é")
	f(JSON, "\"\x7f\u2028<>&\"", "\x7f\u2028<>&")
	f(JSON, `"\u0000"`, "\x00")
	f(CBOR, "\x60", "")
	f(CBOR, "\x63abc", "abc")
	f(CBOR, "\x7f\xff", "")
	f(CBOR, "\x7f\x62ab\x60\x61c\x78\x02de\xff", "abcde")
	f(CBOR, "\xc6\x61a", "a")
}

func TestKeysAndDuplicates(t *testing.T) {
	var got int32
	err := decodeMember(JSON, `{"\u0076":1, "w":[{"x":null}], "v":2}`, func(d *Decoder) { got = d.Int32() })
	if err != nil || got != 2 {
		t.Errorf("got %d, %v, want 2", got, err)
	}
	err = decodeMember(CBOR, "\xa2\x7f\x61v\xff\x01\x61v\x02", func(d *Decoder) { got = d.Int32() })
	if err != nil || got != 2 {
		t.Errorf("CBOR: got %d, %v, want 2", got, err)
	}
}

func TestIntegers(t *testing.T) {
	f := func(format Format, value string, want32 int32, want64 int64) {
		t.Helper()
		head := map[Format]string{JSON: `{"v":`, CBOR: "\xbf\x61v"}[format]
		tail := map[Format]string{JSON: `}`, CBOR: "\xff"}[format]
		var got32 int32
		var got64 int64
		err := errors.Join(decodeMember(format, head+value+tail, func(d *Decoder) { got32 = d.Int32() }),
			decodeMember(format, head+value+tail, func(d *Decoder) { got64 = d.Int64() }))
		if err != nil || got32 != want32 || got64 != want64 {
			t.Errorf("%v %q: got %d and %d, %v, want %d and %d", format, value, got32, got64, err, want32, want64)
		}
	}
	f(JSON, "0", 0, 0)
	f(JSON, "-0", 0, 0)
	f(JSON, "34.56", 34, 34)
	f(JSON, "-34.56", -35, -35)
	f(JSON, "1e3", 1000, 1000)
	f(JSON, "1.5E+1", 15, 15)
	f(JSON, "2147483648", math.MaxInt32, 2147483648)
	f(JSON, "-2147483649", math.MinInt32, -2147483649)
	f(JSON, "9223372036854775807", math.MaxInt32, math.MaxInt64)
	f(JSON, "9223372036854775808", math.MaxInt32, math.MaxInt64)
	f(JSON, "-9223372036854775809", math.MinInt32, math.MinInt64)
	f(JSON, "1234567890123456789", math.MaxInt32, 1234567890123456789)
	f(JSON, "1e400", math.MaxInt32, math.MaxInt64)
	f(CBOR, "\x17", 23, 23)
	f(CBOR, "\x18\xff", 255, 255)
	f(CBOR, "\x20", -1, -1)
	f(CBOR, "\x39\x03\xe7", -1000, -1000)
	f(CBOR, "\x1b\xff\xff\xff\xff\xff\xff\xff\xff", math.MaxInt32, math.MaxInt64)
	f(CBOR, "\x3b\xff\xff\xff\xff\xff\xff\xff\xff", math.MinInt32, math.MinInt64)
	f(CBOR, "\x3b\x7f\xff\xff\xff\xff\xff\xff\xff", math.MinInt32, math.MinInt64)
	f(CBOR, "\xf9\x3e\x00", 1, 1)           // 1.5
	f(CBOR, "\xfa\xbf\xc0\x00\x00", -2, -2) // -1.5
	f(CBOR, "\xf9\x7e\x00", 0, 0)           // NaN
	f(CBOR, "\xf9\xfc\x00", math.MinInt32, math.MinInt64)
}

func TestFloats(t *testing.T) {
	f := func(format Format, value string, want float64) {
		t.Helper()
		head := map[Format]string{JSON: `{"v":`, CBOR: "\xbf\x61v"}[format]
		tail := map[Format]string{JSON: `}`, CBOR: "\xff"}[format]
		var got float64
		err := decodeMember(format, head+value+tail, func(d *Decoder) { got = d.Float64() })
		if err != nil || math.Float64bits(got) != math.Float64bits(want) && !(got != got && want != want) {
			t.Errorf("%v %q: got %v, %v, want %v", format, value, got, err, want)
		}
	}
	f(JSON, "1.5", 1.5)
	f(JSON, "-2", -2)
	f(JSON, "1e-7", 1e-7)
	f(JSON, "1e999", math.MaxFloat64)
	f(JSON, "-1e999", -math.MaxFloat64)
	f(JSON, "100000000000000000000", 1e20)
	f(JSON, `"NaN"`, math.NaN())
	f(JSON, `"-Infinity"`, math.Inf(-1))
	f(CBOR, "\xf9\x3c\x00", 1)
	f(CBOR, "\xf9\x00\x01", math.Ldexp(1, -24))
	f(CBOR, "\xf9\x7b\xff", 65504)
	f(CBOR, "\xf9\x80\x00", math.Copysign(0, -1))
	f(CBOR, "\xf9\xfc\x00", math.Inf(-1))
	f(CBOR, "\xfa\x3f\xc0\x00\x00", 1.5)
	f(CBOR, "\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00", 1.5)
	f(CBOR, "\x1b\xff\xff\xff\xff\xff\xff\xff\xff", 1<<64)
}

func TestTimestamps(t *testing.T) {
	f := func(format Format, value string, want Timestamp) {
		t.Helper()
		head := map[Format]string{JSON: `{"v":`, CBOR: "\xbf\x61v"}[format]
		tail := map[Format]string{JSON: `}`, CBOR: "\xff"}[format]
		var got Timestamp
		err := decodeMember(format, head+value+tail, func(d *Decoder) { got = d.Timestamp() })
		if err != nil || got != want {
			t.Errorf("%v %q: got %v, %v, want %v", format, value, got, err, want)
		}
	}
	f(JSON, "946684800", 946684800000)
	f(JSON, "1700000000.123", 1700000000123)
	f(JSON, "1.700000000123E9", 1700000000123)
	f(JSON, "1700000000.1229999", 1700000000123)
	f(JSON, "-0.5", -500)
	f(JSON, "1e300", math.MaxInt64)
	f(JSON, "9223372036854775807", math.MaxInt64)
	f(JSON, "-9223372036854775807", math.MinInt64)
	f(CBOR, "\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b", 1700000000123)
	f(CBOR, "\xc1\xfb\x42\x78\xbc\xfe\x56\x87\xb0\x00", 1700000000123)
	f(CBOR, "\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b", 1700000000123)
	f(CBOR, "\xc1\x20", -1)
}

func TestBlobs(t *testing.T) {
	f := func(format Format, value, want string) {
		t.Helper()
		head := map[Format]string{JSON: `{"v":`, CBOR: "\xbf\x61v"}[format]
		tail := map[Format]string{JSON: `}`, CBOR: "\xff"}[format]
		var got []byte
		err := decodeMember(format, head+value+tail, func(d *Decoder) { got = d.Blob() })
		if err != nil || string(got) != want || got == nil {
			t.Errorf("%v %q: got %q (nil %v), %v, want %q", format, value, got, got == nil, err, want)
		}
		if len(got) != cap(got) {
			t.Errorf("%v %q: an append to the blob would write into the body", format, value)
		}
	}
	f(JSON, `""`, "")
	f(JSON, `"YWJj"`, "abc")
	f(JSON, `"\u0059WJj"`, "abc")
	f(JSON, `"\/\/\/\/"`, "\xff\xff\xff")
	f(CBOR, "\x40", "")
	f(CBOR, "\x43abc", "abc")
	f(CBOR, "\x5f\xff", "")
	f(CBOR, "\x5f\x41\xff\x42\x00b\xff", "\xff\x00b")
	f(CBOR, "\x64YWJj", "abc")
}

func TestOptional(t *testing.T) {
	type options struct {
		name  Opt[string]
		limit Opt[int32]
		size  Opt[int64]
		on    Opt[bool]
		ratio Opt[float64]
		at    Opt[Timestamp]
	}
	f := func(body string, want options) {
		t.Helper()
		var d Decoder
		var got options
		d.Reset(JSON, []byte(body))
		for d.BeginList(); d.NextElement(); {
			got.name = d.OptString()
			d.NextElement()
			got.limit = d.OptInt32()
			d.NextElement()
			got.size = d.OptInt64()
			d.NextElement()
			got.on = d.OptBool()
			d.NextElement()
			got.ratio = d.OptFloat64()
			d.NextElement()
			got.at = d.OptTimestamp()
		}
		if err := d.Finish(); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", body, got, err, want)
		}
	}
	f("[null,null,null,null,null,null]", options{})
	f(`["",0,0,false,0,0]`, options{Some(""), Some[int32](0), Some[int64](0), Some(false), Some(0.0), Some[Timestamp](0)})
	f(`["a",1,2,true,0.5,3]`, options{Some("a"), Some[int32](1), Some[int64](2), Some(true), Some(0.5), Some[Timestamp](3000)})
	if got := (Opt[int32]{}).Or(7); got != 7 {
		t.Errorf("Or of an absent value: got %d, want 7", got)
	}
	if got := Some[int32](0).Or(7); got != 0 {
		t.Errorf("Or of a present zero: got %d, want 0", got)
	}
}

// TestDeclaredLengths decodes documents that declare far more than they hold.
func TestDeclaredLengths(t *testing.T) {
	docs := []string{
		"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", "\xbb\x7f\xff\xff\xff\xff\xff\xff\xff", "\xa1\x61v\x9a\xff\xff\xff\xff",
		"\xa1\x61v\x5b\x7f\xff\xff\xff\xff\xff\xff\xff", "\xa1\x61v\x7a\xff\xff\xff\xff", "\xa1\x61v\x5f\x5a\x7f\xff\xff\xff",
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, doc := range docs {
		for as, read := range readers {
			if got := message(t, decodeMember(CBOR, doc, read)); got != "unparsable" {
				t.Errorf("%x as %s: got %q, want unparsable", doc, as, got)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("allocated %d bytes for tiny documents", got)
	}
}
