package shape

import (
	"fmt"
	"math"
	"testing"
)

func TestEncode(t *testing.T) {
	f := func(write func(e *Encoder), wantJSON, wantCBOR string) {
		t.Helper()
		for format, want := range map[Format]string{JSON: wantJSON, CBOR: wantCBOR} {
			var e Encoder
			e.Reset(format, []byte("kept "))
			write(&e)
			got := string(e.Bytes())
			if format == CBOR {
				got, want = fmt.Sprintf("%x", got), fmt.Sprintf("%x", want)
				want = fmt.Sprintf("%x", "kept ") + want
			} else {
				want = "kept " + want
			}
			if got != want {
				t.Errorf("%v: got %s, want %s", format, got, want)
			}
		}
	}
	str := func(s string) func(e *Encoder) { return func(e *Encoder) { e.String(s) } }
	f(str(""), `""`, "\x60")
	f(str("abc"), `"abc"`, "\x63abc")
	f(str("\"\\\b\f\n\r\t\x00\x1f\x7f"), `"\"\\\b\f\n\r\t\u0000\u001f`+"\x7f"+`"`, "\x6a\"\\\b\f\n\r\t\x00\x1f\x7f")
	f(str("<a>&é😀\u2028"), `"<a>&é😀`+"\u2028"+`"`, "\x6d<a>&é😀\u2028")
	f(str("a\xffb\xc3"), `"a`+"\ufffdb\ufffd"+`"`, "\x68a\ufffdb\ufffd")
	f(str("eight by\"te words"), `"eight by\"te words"`, "\x71eight by\"te words")

	num := func(v int64) func(e *Encoder) { return func(e *Encoder) { e.Int64(v) } }
	f(num(0), "0", "\x00")
	f(num(23), "23", "\x17")
	f(num(24), "24", "\x18\x18")
	f(num(256), "256", "\x19\x01\x00")
	f(num(65536), "65536", "\x1a\x00\x01\x00\x00")
	f(num(-1), "-1", "\x20")
	f(num(-1000), "-1000", "\x39\x03\xe7")
	f(num(math.MaxInt64), "9223372036854775807", "\x1b\x7f\xff\xff\xff\xff\xff\xff\xff")
	f(num(math.MinInt64), "-9223372036854775808", "\x3b\x7f\xff\xff\xff\xff\xff\xff\xff")

	stamp := func(v Timestamp) func(e *Encoder) { return func(e *Encoder) { e.Timestamp(v) } }
	f(stamp(946684800000), "946684800", "\xc1\x1b\x00\x00\x00\xdc\x6a\xcf\xac\x00")
	f(stamp(1700000000123), "1700000000.123", "\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b")
	f(stamp(1700000000100), "1700000000.1", "\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x64")
	f(stamp(1010), "1.01", "\xc1\x19\x03\xf2")
	f(stamp(-500), "-0.5", "\xc1\x39\x01\xf3")

	dbl := func(v float64) func(e *Encoder) { return func(e *Encoder) { e.Float64(v) } }
	f(dbl(1.5), "1.5", "\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00")
	f(dbl(0), "0", "\xfb\x00\x00\x00\x00\x00\x00\x00\x00")
	f(dbl(1e21), "1e+21", "\xfb\x44\x4b\x1a\xe4\xd6\xe2\xef\x50")
	f(dbl(math.Inf(-1)), `"-Infinity"`, "\xfb\xff\xf0\x00\x00\x00\x00\x00\x00")

	f(func(e *Encoder) { e.Blob(nil) }, `""`, "\x40")
	f(func(e *Encoder) { e.Blob([]byte("abcd")) }, `"YWJjZA=="`, "\x44abcd")
	f(func(e *Encoder) { e.Bool(true) }, "true", "\xf5")
	f(func(e *Encoder) { e.Bool(false) }, "false", "\xf4")
	f(func(e *Encoder) { e.Null() }, "null", "\xf6")
}

func TestEncodeContainers(t *testing.T) {
	f := func(format Format, want string) {
		t.Helper()
		var e Encoder
		e.Reset(format, nil)
		e.BeginStruct()
		e.Member("A")
		e.BeginList(2)
		e.Int32(1)
		e.BeginStruct()
		e.EndStruct()
		e.EndList()
		e.Member("B")
		e.BeginMap(2)
		e.MapKey("k\"")
		e.Bool(true)
		e.MapKey("l")
		e.BeginList(0)
		e.EndList()
		e.EndMap()
		e.Member("C")
		e.String("x")
		e.EndStruct()
		if got := string(e.Bytes()); got != want {
			t.Errorf("%v: got %q, want %q", format, got, want)
		}
		if !Wellformed(format, e.Bytes()) {
			t.Errorf("%v: the document is not well-formed", format)
		}
	}
	f(JSON, `{"A":[1,{}],"B":{"k\"":true,"l":[]},"C":"x"}`)
	f(CBOR, "\xbf\x61A\x82\x01\xbf\xff\x61B\xa2\x62k\"\xf5\x61l\x80\x61C\x61x\xff")
}
