package shape

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

var streamName = Pattern{Text: "[a-zA-Z0-9_.-]+", Match: func(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == ""
}}

// TestViolations checks each constraint's text, alone.
func TestViolations(t *testing.T) {
	f := func(check func(v *Validator), want string) {
		t.Helper()
		var v Validator
		check(&v)
		got := ""
		if err := v.Err(); err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Code != "ValidationException" || e.HTTPStatus() != 400 {
				t.Fatalf("got error %#v, want a ValidationException", err)
			}
			got = e.Message
		}
		if want != "" {
			want = "1 validation error detected: Value " + want
		}
		if got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	length := func(s string, min, max int) func(v *Validator) {
		return func(v *Validator) { v.Length("StreamName", s, min, max) }
	}
	const at = "at 'streamName' failed to satisfy constraint: "
	f(func(v *Validator) { v.Missing("StreamName") }, "null "+at+"Member must not be null")
	f(length("abc", 1, 128), "")
	f(length("", 1, 128), "'' "+at+"Member must have length greater than or equal to 1")
	f(length("abc", -1, 2), "'abc' "+at+"Member must have length less than or equal to 2")
	f(length("abc", 4, -1), "'abc' "+at+"Member must have length greater than or equal to 4")
	f(length("ééé", 1, 3), "")
	f(length("éé", 3, 8), "'éé' "+at+"Member must have length greater than or equal to 3")
	f(length("éééé", 1, 3), "'éééé' "+at+"Member must have length less than or equal to 3")
	f(length("", -1, -1), "")
	f(func(v *Validator) { v.Secret("StreamName", "abc", 1, 3) }, "")
	f(func(v *Validator) { v.Secret("StreamName", "abc", 4, 9) }, at+"Member must have length greater than or equal to 4")
	f(func(v *Validator) { v.Bytes("Data", 1048577, 0, 1048576) },
		"'java.nio.HeapByteBuffer[pos=0 lim=1048577 cap=1048577]' at 'data' failed to satisfy constraint: "+
			"Member must have length less than or equal to 1048576")
	f(func(v *Validator) { v.Bytes("Data", 0, 0, 10) }, "")
	f(func(v *Validator) { v.Count("Records", 0, 1, 500, func() string { return "[]" }) },
		"'[]' at 'records' failed to satisfy constraint: Member must have length greater than or equal to 1")
	f(func(v *Validator) {
		v.Count("TagKeys", 2, 1, 1, func() string { return RenderList(2, func(i int) string { return strconv.Itoa(i) }) })
	}, "'[0, 1]' at 'tagKeys' failed to satisfy constraint: Member must have length less than or equal to 1")
	f(func(v *Validator) { v.Range("Limit", 10001, 1, 10000) },
		"'10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000")
	f(func(v *Validator) { v.Range("Limit", -5, 1, NoMax) },
		"'-5' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1")
	f(func(v *Validator) { v.Range("Limit", -5, NoMin, NoMax) }, "")
	f(func(v *Validator) { v.Pattern("StreamName", "a b", streamName) },
		"'a b' "+at+"Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
	f(func(v *Validator) { v.Enum("StreamName", "X", []string{"A", "B"}) },
		"'X' "+at+"Member must satisfy enum value set: [A, B]")
	f(func(v *Validator) { v.Enum("StreamName", "B", []string{"A", "B"}) }, "")
}

func TestPaths(t *testing.T) {
	var v Validator
	v.Enter("Records")
	v.EnterIndex(0)
	v.Missing("PartitionKey")
	v.Leave()
	v.Leave()
	v.Enter("Outputs")
	v.EnterIndex(1)
	v.Enter("KinesisStreamsOutput")
	v.Missing("RoleARN")
	v.Leave()
	v.Leave()
	v.Leave()
	v.Enter("Tags")
	v.EnterKey("Some Key")
	v.Length("", "xy", 0, 1)
	v.Leave()
	v.Leave()
	v.Enter("TagKeys")
	v.EnterIndex(9)
	v.Length("", "", 1, 128)
	v.Leave()
	v.Leave()
	v.Missing("StreamARN")
	want := "ValidationException: 5 validation errors detected: " +
		"Value null at 'records.1.member.partitionKey' failed to satisfy constraint: Member must not be null; " +
		"Value null at 'outputs.2.member.kinesisStreamsOutput.roleARN' failed to satisfy constraint: Member must not be null; " +
		"Value 'xy' at 'tags.Some Key.member' failed to satisfy constraint: Member must have length less than or equal to 1; " +
		"Value '' at 'tagKeys.10.member' failed to satisfy constraint: Member must have length greater than or equal to 1; " +
		"Value null at 'streamARN' failed to satisfy constraint: Member must not be null"
	if got := v.Err().Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	v.Reset()
	if err := v.Err(); err != nil {
		t.Errorf("after Reset: %v", err)
	}
}

func TestElements(t *testing.T) {
	f := func(s Scope, r Rules, bad, want string) {
		t.Helper()
		if !r.Allows("abc") || r.Allows(bad) {
			t.Errorf("Allows: abc %v, %q %v", r.Allows("abc"), bad, r.Allows(bad))
		}
		var v Validator
		v.Elements("Tags", s, &r, func() string {
			return RenderMap(2, func(i int) (string, string) { return []string{"a", "b"}[i], strconv.Itoa(i) })
		})
		want = "ValidationException: 1 validation error detected: Value '{a=0, b=1}' at 'tags' failed to satisfy constraint: " + want
		if got := v.Err().Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	bounds := "[Member must have length less than or equal to 3, Member must have length greater than or equal to 1"
	f(MapKeys, Rules{MinLength: 1, MaxLength: 3}, "", "Map keys must satisfy constraint: "+bounds+"]")
	f(MapValues, Rules{MinLength: 1, MaxLength: 3}, "abcd", "Map value must satisfy constraint: "+bounds+"]")
	f(ListMembers, Rules{MinLength: 1, MaxLength: 3, Pattern: &streamName}, "a1", "Member must satisfy constraint: "+bounds+
		", Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+]")
	f(ListMembers, Rules{MinLength: -1, MaxLength: -1, Enum: []string{"ALL", "abc"}}, "x",
		"Member must satisfy constraint: [Member must satisfy enum value set: [ALL, abc]]")
}

func TestAtMostTenViolations(t *testing.T) {
	var v Validator
	for i := range 12 {
		if v.Full() != (i >= 10) {
			t.Errorf("after %d violations: Full() = %v", i, v.Full())
		}
		v.Missing("M" + strconv.Itoa(i))
	}
	v.Count("L", 5, 0, 1, func() string { t.Error("rendered a list that is not reported"); return "" })
	got := v.Err().Error()
	if !strings.HasPrefix(got, "ValidationException: 10 validation errors detected: ") || strings.Count(got, "Value null") != 10 ||
		!strings.HasSuffix(got, "at 'm9' failed to satisfy constraint: Member must not be null") {
		t.Errorf("got %s", got)
	}
}

// A body of many megabytes must not come back several times over in the message about it.
func TestMessagesAreBounded(t *testing.T) {
	long := strings.Repeat("é", 3<<20)
	f := func(name string, err error) {
		t.Helper()
		text := err.Error()
		if len(text) > 12*maxQuote || !strings.Contains(text, "é...'") && !strings.Contains(text, "É...'") {
			t.Errorf("%s: got a message of %d bytes, want a cut one", name, len(text))
		}
		if !utf8.ValidString(text) {
			t.Errorf("%s: the message is cut within a character", name)
		}
	}
	var v Validator
	for range 12 {
		v.Length("StreamARN", long, 1, 2048)
		v.Pattern("StreamARN", "x"+long, streamName)
		v.Elements("Tags", MapKeys, &Rules{MaxLength: 1}, func() string {
			return RenderMap(5, func(int) (string, string) { return long, long })
		})
		v.Count("TagKeys", 5, 0, 1, func() string { return RenderList(5, func(int) string { return long }) })
	}
	f("constraints", v.Err())
	if v.Reset(); cap(v.text) > maxQuote {
		t.Errorf("%d bytes of text are kept for the next request", cap(v.text))
	}

	var d Decoder
	d.Reset(JSON, []byte(`{"B":"`+long+`"}`))
	for d.BeginStruct(); d.NextMember(); {
		d.Blob()
	}
	f("blob", d.Finish())
	d.Reset(JSON, []byte(`{"B":"`+long+`"}`))
	for d.BeginStruct(); d.NextMember(); {
		d.Bool()
	}
	f("boolean", d.Finish())
}
