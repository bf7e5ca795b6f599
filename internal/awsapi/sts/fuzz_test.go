package sts_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/headrace/headrace/internal/awsapi/sts"
	"github.com/headrace/headrace/internal/wire/shape"
)

// newInputs makes the input of every operation that is served or could be.
func newInputs() map[string]func() shape.Shape {
	return map[string]func() shape.Shape{
		"AssumeRole": func() shape.Shape { return new(AssumeRoleRequest) }, "AssumeRoleWithSAML": func() shape.Shape { return new(AssumeRoleWithSAMLRequest) },
		"AssumeRoleWithWebIdentity": func() shape.Shape { return new(AssumeRoleWithWebIdentityRequest) }, "AssumeRoot": func() shape.Shape { return new(AssumeRootRequest) },
		"DecodeAuthorizationMessage": func() shape.Shape { return new(DecodeAuthorizationMessageRequest) }, "GetAccessKeyInfo": func() shape.Shape { return new(GetAccessKeyInfoRequest) },
		"GetCallerIdentity": func() shape.Shape { return new(GetCallerIdentityRequest) }, "GetDelegatedAccessToken": func() shape.Shape { return new(GetDelegatedAccessTokenRequest) },
		"GetFederationToken": func() shape.Shape { return new(GetFederationTokenRequest) }, "GetSessionToken": func() shape.Shape { return new(GetSessionTokenRequest) },
		"GetWebIdentityToken": func() shape.Shape { return new(GetWebIdentityTokenRequest) },
	}
}

// FuzzForm reads arbitrary forms into every input. What is accepted validates without a panic, encodes to
// XML, and a structure that is used again has nothing of the request before.
func FuzzForm(f *testing.F) {
	inputs := newInputs()
	names := OperationNames()
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/sts").Output()
	if err != nil {
		f.Fatalf("find the recorded requests: %v", err)
	}
	for i, name := range names {
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "request_snapshot", name+".request.snap"))
		if err != nil {
			f.Fatal(err)
		}
		_, body, _ := strings.Cut(string(text), "urlencoded\n\n")
		f.Add(uint8(i), []byte(body))
	}
	f.Add(uint8(0), []byte("Tags.member.51.Key=a&Tags.member.1=b&PolicyArns.1.arn=c&DurationSeconds=-1"))
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		name := names[int(which)%len(names)]
		if inputs[name] == nil {
			t.Fatalf("%s has no input in this test", name)
		}
		in := inputs[name]()
		var d shape.Decoder
		d.Reset(shape.Query, slices.Clone(body))
		in.Decode(&d)
		if d.Finish() != nil {
			return
		}
		var v shape.Validator
		in.Validate(&v)
		var e shape.Encoder
		e.Reset(shape.Query, nil)
		e.Root(name, "")
		in.Encode(&e)
		in.Reset()
		d.Reset(shape.Query, nil)
		in.Decode(&d)
		e.Reset(shape.Query, nil)
		e.Root(name, "")
		in.Encode(&e)
		fresh := inputs[name]()
		var f shape.Encoder
		f.Reset(shape.Query, nil)
		f.Root(name, "")
		fresh.Encode(&f)
		if string(e.Bytes()) != string(f.Bytes()) {
			t.Fatalf("%s: a request left %s behind", name, e.Bytes())
		}
	})
}

// TestSensitive holds the words about secrets in a request to not repeating them.
func TestSensitive(t *testing.T) {
	in := new(AssumeRoleWithWebIdentityRequest)
	var d shape.Decoder
	d.Reset(shape.Query, []byte("RoleArn=arn:aws:iam::111122223333:role/r&RoleSessionName=ab&WebIdentityToken=s3c"))
	in.Decode(&d)
	var v shape.Validator
	in.Validate(&v)
	want := "1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member must have length greater than or equal to 4"
	if err := v.Err(); err == nil || err.(*shape.Error).Message != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestUnsigned says which operations need no signature.
func TestUnsigned(t *testing.T) {
	if op := AssumeRoleWithWebIdentity(func(context.Context, *shape.Call, *AssumeRoleWithWebIdentityRequest, *AssumeRoleWithWebIdentityResponse) error {
		return nil
	}); !op.Unsigned {
		t.Error("AssumeRoleWithWebIdentity needs a signature")
	}
	if op := AssumeRole(func(context.Context, *shape.Call, *AssumeRoleRequest, *AssumeRoleResponse) error { return nil }); op.Unsigned {
		t.Error("AssumeRole needs no signature")
	}
}
