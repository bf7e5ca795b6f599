package kinesis_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	. "github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

// operations returns every operation, bound to no handler, by name.
func operations() map[string]shape.Operation {
	byName := make(map[string]shape.Operation)
	for _, op := range []shape.Operation{
		AddTagsToStream(nil),
		CreateChannel(nil),
		CreateStream(nil),
		DecreaseStreamRetentionPeriod(nil),
		DeleteChannel(nil),
		DeleteResourcePolicy(nil),
		DeleteStream(nil),
		DeregisterStreamConsumer(nil),
		DescribeAccountSettings(nil),
		DescribeChannel(nil),
		DescribeLimits(nil),
		DescribeStream(nil),
		DescribeStreamConsumer(nil),
		DescribeStreamSummary(nil),
		DisableEnhancedMonitoring(nil),
		EnableEnhancedMonitoring(nil),
		GetRecords(nil),
		GetResourcePolicy(nil),
		GetShardIterator(nil),
		IncreaseStreamRetentionPeriod(nil),
		ListChannels(nil),
		ListShards(nil),
		ListStreamConsumers(nil),
		ListStreams(nil),
		ListTagsForResource(nil),
		ListTagsForStream(nil),
		MergeShards(nil),
		PutRecord(nil),
		PutRecords(nil),
		PutResourcePolicy(nil),
		RegisterStreamConsumer(nil),
		RemoveTagsFromStream(nil),
		SplitShard(nil),
		StartStreamEncryption(nil),
		StopStreamEncryption(nil),
		SubscribeToShard(nil),
		TagResource(nil),
		UntagResource(nil),
		UpdateAccountSettings(nil),
		UpdateChannel(nil),
		UpdateMaxRecordSize(nil),
		UpdateShardCount(nil),
		UpdateStreamMode(nil),
		UpdateStreamRecordDistributionStrategy(nil),
		UpdateStreamWarmThroughput(nil),
	} {
		byName[op.Name] = op
	}
	return byName
}

// newShapes returns makers of every input and output, by "Operation input" and "Operation output".
func newShapes() map[string]func() shape.Shape {
	makers := make(map[string]func() shape.Shape)
	for name, op := range operations() {
		makers[name+" input"] = op.NewInput
		if op.NewOutput != nil {
			makers[name+" output"] = op.NewOutput
		}
	}
	// The event of the one event stream, which no response has at its root.
	makers["SubscribeToShard event"] = func() shape.Shape { return new(SubscribeToShardEvent) }
	return makers
}

func TestOperations(t *testing.T) {
	ops := operations()
	names := OperationNames()
	if len(names) != 45 || len(ops) != len(names) {
		t.Errorf("got %d names and %d operations, want 45 of each", len(names), len(ops))
	}
	empty := 0
	for _, name := range names {
		op, ok := ops[name]
		if !ok {
			t.Errorf("%s: no binder", name)
			continue
		}
		if op.NewOutput == nil {
			empty++
		}
		if op.Streaming != (name == "SubscribeToShard") {
			t.Errorf("%s: got streaming %v", name, op.Streaming)
		}
	}
	if empty != 19 {
		t.Errorf("got %d operations without output, want 19", empty)
	}
}

// encode writes v to new memory.
func encode(v shape.Shape, f shape.Format) []byte {
	var e shape.Encoder
	e.Reset(f, nil)
	v.Encode(&e)
	return e.Bytes()
}

// decode reads v from a copy of body, which decoding changes.
func decode(v shape.Shape, f shape.Format, body []byte) error {
	var d shape.Decoder
	d.Reset(f, append([]byte{}, body...))
	v.Decode(&d)
	return d.Finish()
}

// violations returns what validation says about v.
func violations(v shape.Shape) string {
	var c shape.Validator
	v.Validate(&c)
	if err := c.Err(); err != nil {
		return err.Error()
	}
	return ""
}

// sameJSON says how two documents differ as JSON values, or "".
func sameJSON(t *testing.T, a, b []byte) string {
	t.Helper()
	var x, y any
	for _, p := range []struct {
		text []byte
		into *any
	}{{a, &x}, {b, &y}} {
		if err := json.Unmarshal(p.text, p.into); err != nil {
			t.Fatalf("%s: %v", p.text, err)
		}
	}
	if reflect.DeepEqual(x, y) {
		return ""
	}
	return fmt.Sprintf("got  %s\nwant %s", a, b)
}

// fill gives every exported field below v a random value; about a quarter of what may be absent is.
func fill(r *rand.Rand, v reflect.Value) {
	absent := r.IntN(4) == 0
	switch v.Kind() {
	case reflect.Struct:
		if set := v.FieldByName("Set"); set.IsValid() { // shape.Opt
			set.SetBool(!absent)
			if !absent {
				fill(r, v.FieldByName("Value"))
			}
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(r, v.Field(i))
			}
		}
	case reflect.Pointer:
		if !absent {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem())
		}
	case reflect.Slice:
		if !absent {
			v.Set(reflect.MakeSlice(v.Type(), r.IntN(4), 8))
			for i := range v.Len() {
				fill(r, v.Index(i))
			}
		}
	case reflect.Map:
		if !absent {
			v.Set(reflect.MakeMap(v.Type()))
			for range r.IntN(4) {
				v.SetMapIndex(reflect.ValueOf(text(r)), reflect.ValueOf(text(r)))
			}
		}
	case reflect.String:
		v.SetString(text(r))
	case reflect.Int32:
		v.SetInt(int64(int32(r.Uint64() >> r.IntN(64))))
	case reflect.Int64:
		v.SetInt(int64(r.Uint64()>>(20+r.IntN(44))) * int64(1-2*r.IntN(2)))
	case reflect.Uint8:
		v.SetUint(uint64(r.IntN(256)))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	default:
		panic("no random value for " + v.Type().String())
	}
}

// text returns a string with characters that need care in some format.
func text(r *rand.Rand) string {
	const alphabet = "ab09-_/\"\\\n\t\x00\x7f<&>é€\u2028😀"
	letters := []rune(alphabet)
	s := make([]rune, r.IntN(40))
	for i := range s {
		s[i] = letters[r.IntN(len(letters))]
	}
	return string(s)
}

// differ returns the path of the first exported field below a and b that differs. An empty slice or
// map equals an absent one: which of the two a required member is read as does not matter.
func differ(a, b reflect.Value, path string) string {
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if f := a.Type().Field(i); f.IsExported() {
				if at := differ(a.Field(i), b.Field(i), path+"."+f.Name); at != "" {
					return at
				}
			}
		}
		return ""
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			if a.IsNil() != b.IsNil() {
				return path
			}
			return ""
		}
		return differ(a.Elem(), b.Elem(), path)
	case reflect.Slice:
		if a.Len() != b.Len() {
			return path
		}
		for i := range a.Len() {
			if at := differ(a.Index(i), b.Index(i), fmt.Sprintf("%s[%d]", path, i)); at != "" {
				return at
			}
		}
		return ""
	case reflect.Map:
		if a.Len() != b.Len() || a.Len() > 0 && !reflect.DeepEqual(a.Interface(), b.Interface()) {
			return path
		}
		return ""
	}
	if !a.Equal(b) {
		return path
	}
	return ""
}
