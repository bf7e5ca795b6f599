package shape

import (
	"bytes"
	"encoding/base64"
	encodingxml "encoding/xml"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// form returns v as parameters below a path. It knows nothing of the decoder.
func (v *value) form(path string) []string {
	at := func(text string) []string { return []string{path + "=" + url.QueryEscape(text)} }
	switch v.is {
	case "Boolean":
		return at(strconv.FormatBool(v.b))
	case "String":
		return at(v.s)
	case "Integer", "Long":
		return at(strconv.FormatInt(v.i, 10))
	case "Double":
		return at(strings.NewReplacer("+Inf", "Infinity", "-Inf", "-Infinity").Replace(strconv.FormatFloat(v.f, 'g', -1, 64)))
	case "Blob":
		return at(base64.StdEncoding.EncodeToString([]byte(v.s)))
	case "Timestamp":
		return at(time.UnixMilli(v.i).UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	var all []string
	for i, w := range v.values {
		switch v.is {
		case "List":
			all = append(all, w.form(fmt.Sprintf("%s.member.%d", path, i+1))...)
		case "Map":
			entry := fmt.Sprintf("%s.entry.%d.", path, i+1)
			all = append(all, entry+"key="+url.QueryEscape(v.keys[i]))
			all = append(all, w.form(entry+"value")...)
		default:
			all = append(all, w.form(strings.TrimPrefix(path+"."+v.keys[i], "."))...)
		}
	}
	if len(all) == 0 && path != "" {
		return at("")
	}
	return all
}

// withoutNull replaces what a form cannot say.
func (v *value) withoutNull() {
	if v.is == "null" {
		v.is, v.s = "String", "was null"
	}
	for _, w := range v.values {
		w.withoutNull()
	}
}

// sorted puts the members of structures in the order in which a form is read.
func (v *value) sorted() {
	for _, w := range v.values {
		w.sorted()
	}
	if v.is == "Structure" && !slices.IsSorted(v.keys) {
		panic("a structure of more than ten members")
	}
}

// TestQueryAgrees writes random documents as forms, in any order, and reads the same values back.
func TestQueryAgrees(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 7))
		want := &value{is: "Structure"}
		want.fill(r, 4)
		want.withoutNull()
		want.sorted()
		parameters := want.form("")
		rand.Shuffle(len(parameters), func(i, j int) { parameters[i], parameters[j] = parameters[j], parameters[i] })
		doc := strings.Join(parameters, "&")
		if !Wellformed(Query, []byte(doc)) {
			t.Fatalf("seed %d: not well-formed: %q", seed, doc)
		}
		var d Decoder
		d.Reset(Query, []byte(doc))
		got := want.decode(&d)
		if err := d.Finish(); err != nil {
			t.Fatalf("seed %d: %v in %q", seed, err, doc)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: values differ after %q", seed, doc)
		}
	}
}

func TestQueryTypes(t *testing.T) {
	f := func(as, body, want string) {
		t.Helper()
		err := decodeMember(Query, body, readers[as])
		got := message(t, err)
		if se, ok := err.(*SerializationError); ok && se.Mistyped && got == "" {
			got = "no words"
		}
		if got != want {
			t.Errorf("%s as %s: got %q, want %q", body, as, got, want)
		}
	}
	for _, s := range []string{"v=true", "v=1", "v=0", "v=false"} {
		f("Boolean", s, "")
	}
	f("Boolean", "v=TRUE", "boolean must follow xsd1.1 definition")
	f("Boolean", "v=", "missing value for boolean type")
	for _, s := range []string{"v=900", "v=%2B900", "v=0900", "v=-2147483648", "v=2147483647"} {
		f("Integer", s, "")
	}
	for _, s := range []string{"v=abc", "v=900.0", "v=2147483648", "v=-2147483649", "v=+9", "v=1e3"} {
		f("Integer", s, "no words")
	}
	f("Integer", "v=", "missing value for decimal type")
	f("Long", "v=2147483648", "")
	f("Long", "v=9223372036854775808", "no words")
	f("Double", "v=-1.5e3", "")
	f("Double", "v=0x1p-2", "no words")
	f("Double", "v=1_0", "no words")
	f("Timestamp", "v=2018-10-09T16:59:00.179959787Z", "")
	f("Timestamp", "v=2018-10-09T16%3A59%3A00%2B02:00", "")
	f("Timestamp", "v=1539104340", "timestamp must follow ISO8601")
	f("Blob", "v=YWJj", "")
	f("Blob", "v=YWJ", "'YWJ' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: 3")
	for _, as := range []string{"String", "Boolean", "Integer", "Double", "Timestamp", "Blob"} {
		f(as, "v.a=1", "Start of structure or map found where not expected.")
	}
	f("List", "v=", "")
	f("List", "v=a", "Top level element may not be treated as a list")
	f("List", "v.member.1=a&v.member.7=b", "")
	f("List", "v.1=a", "Unexpected list element termination")
	f("List", "v.member.a=b", "Unexpected list element termination")
	f("List", "v.member=b", "")
	f("List", "v.member.1=a&v.other=b", "Unexpected list element termination")
	f("Map", "v.entry.1.key=a&v.entry.1.value=b", "")
	f("Map", "v.entry.1.key=a", "Unexpected list element termination")
	f("Map", "v.entry.1.value=a", "Unexpected list element termination")
	f("Map", "v.entry.1.key.x=a&v.entry.1.value=b", "Unexpected list element termination")
	f("Map", "v=a", "Unexpected complex element termination")
	f("Structure", "v=a", "Unexpected complex element termination")
	f("Structure", "v=", "")
	f("Structure", "v.=a&v..=b&.v=c&=d", "")
	for _, s := range []string{"v=%", "v=%4", "v=%zz", "v=%ff", "%e9=1", "v=\xff", "v=%c3%28", "v=%c3", "v=%c3x"} {
		f("String", s, "unparsable")
		if Wellformed(Query, []byte(s)) {
			t.Errorf("%q is well-formed", s)
		}
	}
	for _, s := range []string{"", "&&", "v", "v=%c3%a9", "v=\xc3%a9", "v==", "v=a+b%20c"} {
		f("String", s, "")
		if !Wellformed(Query, []byte(s)) {
			t.Errorf("%q is not well-formed", s)
		}
	}
}

// TestQueryOrder reads elements by number, and of what occurs twice the first.
func TestQueryOrder(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		var got []string
		err := decodeMember(Query, body, func(d *Decoder) {
			for d.BeginList(); d.NextElement(); {
				got = append(got, d.String())
			}
		})
		if text := strings.Join(got, " "); err != nil || text != want {
			t.Errorf("%s: got %q, %v; want %q", body, text, err, want)
		}
	}
	f("v.member.10=j&v.member.2=b&v.member.1=a", "a b j")
	f("v.member.2=b&v.member.1=a&v.member.2=x&v.member.1=y", "a b")
	f("v.member.02=b&v.member.1=a&v.member.2=x", "a b x")
	f("v-x=1&v.member.1=a&v1=2&v.member.2=b&w=3&v.member.3=c%26d+e", "a b c&d e")
	f("v.member.18446744073709551617=b&v.member.18446744073709551616=a", "a b")
	f("v.member.1=", "")
}

// TestQueryLayout reads lists and maps that are spelled otherwise, and writes them so.
func TestQueryLayout(t *testing.T) {
	list := Layout{Flat: true}
	named := Layout{Element: "Item"}
	flat := Layout{Flat: true, Key: "Name", Value: "Value"}
	var d Decoder
	d.Reset(Query, []byte("Tag.1=a&Tag.2=b&Attr.1.Name=k&Attr.1.Value=x&Attr.2.Name=l&Attr.2.Value.member.1=y&Named.Item.1=n"))
	var got []string
	for d.BeginStruct(); d.NextMember(); {
		switch string(d.Key()) {
		case "Tag":
			for d.BeginListIn(list); d.NextElement(); {
				got = append(got, d.String())
			}
		case "Named":
			for d.BeginListIn(named); d.NextElement(); {
				got = append(got, d.String())
			}
		case "Attr":
			for d.BeginMapIn(flat); d.NextEntry(); {
				k := string(d.Key())
				if k == "k" {
					got = append(got, k, d.String())
					continue
				}
				for d.BeginList(); d.NextElement(); {
					got = append(got, k, d.String())
				}
			}
		}
	}
	if err := d.Finish(); err != nil || strings.Join(got, " ") != "k x l y n a b" {
		t.Errorf("got %q, %v", got, err)
	}

	var e Encoder
	e.Reset(Query, nil)
	e.Root("R", "urn:x")
	e.BeginStruct()
	e.Member("Tag")
	e.BeginListIn(list, 2)
	e.String("a")
	e.BeginStruct()
	e.EndStruct()
	e.EndList()
	e.Member("Attr")
	e.BeginMapIn(flat, 2)
	e.MapKey("k")
	e.String("x")
	e.MapKey("l")
	e.BeginListIn(named, 1)
	e.Int32(1)
	e.EndList()
	e.EndMap()
	e.Member("None")
	e.BeginListIn(list, 0)
	e.EndList()
	e.Member("Empty")
	e.BeginList(0)
	e.EndList()
	e.EndStruct()
	want := `<R xmlns="urn:x">
  <Tag>a</Tag>
  <Tag/>
  <Attr>
    <Name>k</Name>
    <Value>x</Value>
  </Attr>
  <Attr>
    <Name>l</Name>
    <Value>
      <Item>1</Item>
    </Value>
  </Attr>
  <Empty/>
</R>
`
	if got := string(e.Bytes()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestQueryLimits(t *testing.T) {
	f := func(body string, ok bool) {
		t.Helper()
		var d Decoder
		d.Reset(Query, []byte(body))
		if got := d.Err() == nil; got != ok {
			t.Errorf("%d bytes: accepted %v, want %v", len(body), got, ok)
		}
		if got := Wellformed(Query, []byte(body)); got != ok {
			t.Errorf("%d bytes: well-formed %v, want %v", len(body), got, ok)
		}
	}
	f(strings.Repeat("a&", maxParams), true)
	f(strings.Repeat("a&", maxParams+1), false)

	var d Decoder
	d.Reset(Query, []byte(strings.Repeat("a&", keptParams+100)))
	d.Reset(JSON, nil)
	if cap(d.form.params) > keptParams {
		t.Errorf("memory for %d parameters is kept", cap(d.form.params))
	}
	d.Reset(Query, []byte("a.b=c"))
	d.Reset(JSON, nil)
	if p := d.form.params[:1][0]; p.name != nil || p.value != nil {
		t.Error("a decoder that was reset still refers to the body")
	}

	d.Reset(Query, []byte(strings.Repeat("a.", maxDepth)+"a=x"))
	for range maxDepth {
		d.BeginStruct()
		if !d.NextMember() {
			t.Fatal("a depth that is allowed cannot be read")
		}
	}
	d.BeginStruct()
	if d.NextMember() || d.Err() == nil {
		t.Error("nested deeper than the limit")
	}
}

func TestFormValue(t *testing.T) {
	f := func(body, want string, wantOK bool) {
		t.Helper()
		b := []byte(body)
		got, ok := FormValue(b, "Action")
		if got != want || ok != wantOK || string(b) != body {
			t.Errorf("%s: got %q, %v, want %q, %v", body, got, ok, want, wantOK)
		}
	}
	f("Action=Get%20It&Action=x", "Get It", true)
	f("A=1&Action=", "", true)
	f("Action", "", true)
	f("XAction=1&Action.x=2", "", false)
	f("Action=%", "", false)
	f("", "", false)
}

// node is XML as anybody's parser sees it: an element is its children, or its text.
type node struct {
	name     string
	text     string
	children []node
}

func parseXML(d *encodingxml.Decoder, start encodingxml.StartElement) (n node, err error) {
	n.name = start.Name.Local
	var text strings.Builder
	for {
		tok, err := d.Token()
		if err != nil {
			return n, err
		}
		switch tok := tok.(type) {
		case encodingxml.CharData:
			text.Write(tok)
		case encodingxml.StartElement:
			child, err := parseXML(d, tok)
			if err != nil {
				return n, err
			}
			n.children = append(n.children, child)
		case encodingxml.EndElement:
			if n.children == nil {
				n.text = text.String()
			}
			return n, nil
		}
	}
}

// node returns what the XML of v must be.
func (v *value) node(name string) node {
	n := node{name: name}
	switch v.is {
	case "Structure":
		for i, w := range v.values {
			n.children = append(n.children, w.node(v.keys[i]))
		}
	case "List":
		for _, w := range v.values {
			n.children = append(n.children, w.node("member"))
		}
	case "Map":
		for i, w := range v.values {
			key := &value{is: "String", s: v.keys[i]}
			n.children = append(n.children, node{name: "entry", children: []node{key.node("key"), w.node("value")}})
		}
	case "String":
		n.text = strings.ReplaceAll(v.s, "\x00", "\ufffd")
	default:
		_, text, _ := strings.Cut(v.form("")[0], "=")
		n.text, _ = url.QueryUnescape(text)
		if v.is == "Timestamp" {
			n.text = strings.Replace(strings.TrimRight(strings.TrimSuffix(n.text, "Z"), "0")+"Z", ".Z", "Z", 1)
		}
	}
	return n
}

// TestXML writes random documents as XML, and another parser reads the same values.
func TestXML(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 8))
		v := &value{is: "Structure"}
		v.fill(r, 4)
		v.withoutNull()
		var e Encoder
		e.Reset(Query, nil)
		e.Root("Response", "urn:ns")
		v.encode(&e)
		d := encodingxml.NewDecoder(bytes.NewReader(e.Bytes()))
		tok, err := d.Token()
		start, ok := tok.(encodingxml.StartElement)
		if err != nil || !ok || start.Name.Space != "urn:ns" {
			t.Fatalf("seed %d: begins with %v, %v:\n%s", seed, tok, err, e.Bytes())
		}
		got, err := parseXML(d, start)
		if _, end := d.Token(); err != nil || len(v.values) > 0 && end != nil && end != io.EOF {
			t.Fatalf("seed %d: %v, then %v:\n%s", seed, err, end, e.Bytes())
		}
		if want := v.node("Response"); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: got %v, want %v:\n%s", seed, got, want, e.Bytes())
		}
	}
}

func TestXMLText(t *testing.T) {
	var e Encoder
	e.Reset(Query, []byte("kept "))
	e.Root("A", "")
	e.String("<a b=\"c\">&'\r\n\t\x01\xff\ufffe é😀")
	want := "kept <A>&lt;a b=&quot;c&quot;&gt;&amp;'&#xD;\n\t\ufffd\ufffd\ufffd é😀</A>\n"
	if got := string(e.Bytes()); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	e.Reset(Query, nil)
	e.Root("A", "")
	e.Null()
	if got := string(e.Bytes()); got != "<A></A>\n" {
		t.Errorf("null is %q", got)
	}
}

// TestQueryAllocations holds reading and writing to no allocation once a decoder has its memory.
func TestQueryAllocations(t *testing.T) {
	doc := "b.member.2.k=v&b.member.1.k=w&a=x%20y&n=1"
	work := make([]byte, len(doc))
	var d Decoder
	got := testing.AllocsPerRun(50, func() {
		copy(work, doc)
		d.Reset(Query, work)
		for d.BeginStruct(); d.NextMember(); {
			switch string(d.Key()) {
			case "a":
				_ = d.String()
			case "n":
				d.Int32()
			case "b":
				for d.BeginList(); d.NextElement(); {
					readers["Structure"](&d)
				}
			}
		}
		if d.Finish() != nil {
			t.Fatal(d.Err())
		}
	})
	if got != 0 {
		t.Errorf("reading: %v allocations", got)
	}
	var e Encoder
	var out []byte
	got = testing.AllocsPerRun(50, func() {
		e.Reset(Query, out[:0])
		e.Root("R", "urn:x")
		e.BeginStruct()
		e.Member("L")
		e.BeginList(1)
		e.Timestamp(1700000000123)
		e.EndList()
		e.EndStruct()
		out = e.Bytes()
	})
	if got != 0 {
		t.Errorf("writing: %v allocations", got)
	}
}

// FuzzQuery walks any form: what is well-formed can be read, every text that no other hides is found
// once with its first value, and reading it as every type comes to an end.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		"", "Action=AssumeRole&Version=2011-06-15", "a.member.1.k=v&a.member.2.k=w", "a=1&a=2&a.b=3", "a..b=1&.=2&==&&",
		"v.entry.1.key=a&v.entry.1.value=b", "a%2Eb=%c3%a9+x", "2.1=a&1x.1=b&10.1=c&02=d", "%", "a.b.c.d.e.f.g.h=1&a.b-c=2",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		work := bytes.Clone(body)
		formed := Wellformed(Query, work)
		if !bytes.Equal(work, body) {
			t.Fatalf("Wellformed changed %q into %q", body, work)
		}
		var d Decoder
		d.Reset(Query, work)
		if got := d.Err() == nil; got != formed {
			t.Fatalf("%q: accepted %v, well-formed %v", body, got, formed)
		}
		typedReads(Query, body)
		want, ok := formReference(string(body))
		if ok != formed {
			t.Fatalf("%q: accepted %v, want %v", body, formed, ok)
		}
		if !ok {
			return
		}
		got := map[string]string{}
		leaves(t, &d, "", got)
		if d.Err() == nil && !maps.Equal(got, want) {
			t.Fatalf("%q: got %q, want %q", body, got, want)
		}
	})
}

// leaves reads everything as structures and texts.
func leaves(t *testing.T, d *Decoder, path string, into map[string]string) {
	for d.BeginStruct(); d.NextMember(); {
		name := path + string(d.Key())
		if d.peek() == kindString {
			if _, twice := into[name]; twice {
				t.Fatalf("%q was found twice", name)
			}
			into[name] = strings.Clone(d.String())
			continue
		}
		leaves(t, d, name+".", into)
	}
}

// formReference reads a form the slow way.
func formReference(body string) (map[string]string, bool) {
	all := map[string]string{}
	for pair := range strings.SplitSeq(body, "&") {
		if pair == "" {
			continue
		}
		name, text, _ := strings.Cut(pair, "=")
		name, err1 := url.QueryUnescape(name)
		text, err2 := url.QueryUnescape(text)
		if err1 != nil || err2 != nil || !utf8.ValidString(name) || !utf8.ValidString(text) {
			return nil, false
		}
		if _, twice := all[name]; !twice {
			all[name] = text
		}
	}
	shown := map[string]string{}
	for name, text := range all {
		hidden := false
		for i := range name {
			if _, above := all[name[:i]]; name[i] == '.' && above {
				hidden = true
			}
		}
		if !hidden {
			shown[name] = text
		}
	}
	return shown, true
}
