package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/awsapi/sts"
	"github.com/headrace/headrace/internal/wire/shape"
)

// The client of AWS's Security Token Service stands for all services of the query protocol here: what
// it sends must arrive, and what is answered it must understand, for every operation of the model.

// flat collects the values in v by their paths: those of a generated structure, or of the client's.
func flat(path string, v reflect.Value, into map[string]string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			flat(path, v.Elem(), into)
		}
	case reflect.Slice:
		for i := range v.Len() {
			flat(fmt.Sprintf("%s.member.%d", path, i+1), v.Index(i), into)
		}
	case reflect.Struct:
		flatStruct(path, v, into)
	case reflect.Int32:
		into[path] = fmt.Sprint(v.Int())
	case reflect.Int64:
		into[path] = shape.Timestamp(v.Int()).Time().Format(time.RFC3339)
	case reflect.String:
		if v.Len() > 0 { // a required member that is absent is empty
			into[path] = v.String()
		}
	default:
		panic(path + ": a " + v.Kind().String())
	}
}

func flatStruct(path string, v reflect.Value, into map[string]string) {
	if t, ok := v.Interface().(time.Time); ok {
		into[path] = t.Format(time.RFC3339)
		return
	}
	if set := v.FieldByName("Set"); set.IsValid() && set.Kind() == reflect.Bool {
		if set.Bool() {
			flat(path, v.FieldByName("Value"), into)
		}
		return
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.IsExported() && f.Name != "ResultMetadata" {
			flat(strings.TrimPrefix(path+"."+f.Name, "."), v.Field(i), into)
		}
	}
}

// fill gives every member of a structure a value of its own.
func fill(path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(path, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(fmt.Sprintf("%s %d", path, i), v.Index(i))
		}
	case reflect.Struct:
		if set := v.FieldByName("Set"); set.IsValid() && set.Kind() == reflect.Bool {
			set.SetBool(true)
			fill(path, v.FieldByName("Value"))
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(path+" "+v.Type().Field(i).Name, v.Field(i))
			}
		}
	case reflect.Int32:
		v.SetInt(int64(len(path)))
	case reflect.Int64:
		v.SetInt(1700000000000)
	case reflect.String:
		v.SetString("<" + path + "> & more\r\n")
	}
}

// bind makes an operation of the model from its binder, with a handler that does as it is told.
func bind(binder any, handle func(in, out reflect.Value) error) shape.Operation {
	b := reflect.ValueOf(binder)
	handler := reflect.MakeFunc(b.Type().In(0), func(args []reflect.Value) []reflect.Value {
		result := reflect.Zero(b.Type().In(0).Out(0))
		if err := handle(args[2].Elem(), args[3].Elem()); err != nil {
			result = reflect.ValueOf(&err).Elem()
		}
		return []reflect.Value{result}
	})
	return b.Call([]reflect.Value{handler})[0].Interface().(shape.Operation)
}

// binders are those of the whole model, by operation.
var binders = map[string]any{
	"AssumeRole": sts.AssumeRole, "AssumeRoleWithSAML": sts.AssumeRoleWithSAML,
	"AssumeRoleWithWebIdentity": sts.AssumeRoleWithWebIdentity, "AssumeRoot": sts.AssumeRoot,
	"DecodeAuthorizationMessage": sts.DecodeAuthorizationMessage, "GetAccessKeyInfo": sts.GetAccessKeyInfo,
	"GetCallerIdentity": sts.GetCallerIdentity, "GetDelegatedAccessToken": sts.GetDelegatedAccessToken,
	"GetFederationToken": sts.GetFederationToken, "GetSessionToken": sts.GetSessionToken,
	"GetWebIdentityToken": sts.GetWebIdentityToken,
}

// stsService serves every operation with one handler; constraints are not checked.
func stsService(handle func(operation string, in, out reflect.Value) error) Service {
	s := Service{SigningName: sts.SigningName, Version: sts.APIVersion, Namespace: sts.XMLNamespace, Formats: Query, Known: sts.OperationNames()}
	for name, binder := range binders {
		op := bind(binder, func(in, out reflect.Value) error { return handle(name, in, out) })
		newInput := op.NewInput
		op.NewInput = func() shape.Shape { return lax{newInput()} }
		inner := op.Handle
		op.Handle = func(ctx context.Context, call *shape.Call, in, out shape.Shape) error {
			return inner(ctx, call, in.(lax).Shape, out)
		}
		s.Operations = append(s.Operations, op)
	}
	return s
}

// lax is a shape without constraints.
type lax struct{ shape.Shape }

func (lax) Validate(*shape.Validator) {}

func newSTS(t *testing.T, s Service) *sdk.Client {
	t.Helper()
	server := newServer(t, NewHandler(Config{Services: []Service{s}, Authenticate: sigv4.FormOnly{}}))
	return sdk.New(sdk.Options{
		Region: "eu-west-1", BaseEndpoint: &server.URL, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
	})
}

func TestSTSBindersAreComplete(t *testing.T) {
	for _, name := range sts.OperationNames() {
		if binders[name] == nil {
			t.Errorf("%s has no binder in this test", name)
		}
	}
}

// TestSTSRequestSnapshots decodes the requests that the client's module has recorded: every parameter
// must be found again, in its place.
func TestSTSRequestSnapshots(t *testing.T) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/sts").Output()
	if err != nil {
		t.Fatalf("find the recorded requests: %v", err)
	}
	for name, binder := range binders {
		file := filepath.Join(strings.TrimSpace(string(root)), "request_snapshot", name+".request.snap")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, body, ok := bytes.Cut(text, []byte("urlencoded\n\n"))
		if !ok {
			t.Fatalf("%s holds no form", file)
		}
		want := map[string]string{}
		for pair := range strings.SplitSeq(string(body), "&") {
			path, value, _ := strings.Cut(pair, "=")
			if path != "Action" && path != "Version" {
				want[strings.ReplaceAll(path, ".arn", ".Arn")] = value
			}
		}
		op := bind(binder, nil)
		in := op.NewInput()
		var d shape.Decoder
		d.Reset(shape.Query, body)
		in.Decode(&d)
		if err := d.Finish(); err != nil {
			t.Errorf("%s: %v in %s", name, err, body)
		}
		got := map[string]string{}
		flat("", reflect.ValueOf(in), got)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// TestSTSClient calls every operation with every parameter set, and is answered with every member set.
func TestSTSClient(t *testing.T) {
	var sent, answered map[string]string
	c := newSTS(t, stsService(func(name string, in, out reflect.Value) error {
		sent, answered = map[string]string{}, map[string]string{}
		flat("", in, sent)
		fill(name, out)
		flat("", out, answered)
		return nil
	}))
	for name := range binders {
		call := reflect.ValueOf(c).MethodByName(name)
		in := reflect.New(call.Type().In(1).Elem())
		fill(name, in.Elem())
		results := call.Call([]reflect.Value{reflect.ValueOf(t.Context()), in})
		if err := results[1].Interface(); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		asked, understood := map[string]string{}, map[string]string{}
		flat("", in, asked)
		flat("", results[0], understood)
		if !reflect.DeepEqual(sent, asked) {
			t.Errorf("%s: arrived as %q, sent %q", name, sent, asked)
		}
		if !reflect.DeepEqual(understood, answered) {
			t.Errorf("%s: understood as %q, answered %q", name, understood, answered)
		}
	}
}

// TestSTSErrors answers with every error of the model; the client must know it by its type.
func TestSTSErrors(t *testing.T) {
	var answer *shape.Error
	c := newSTS(t, stsService(func(string, reflect.Value, reflect.Value) error { return answer }))
	f := func(e *shape.Error, call func() error, as any) {
		t.Helper()
		answer = e
		err := call()
		var api smithy.APIError
		if !errors.As(err, as) || !errors.As(err, &api) || api.ErrorMessage() != "no <good> 7" {
			t.Errorf("%s: the client understood %v", e.Code, err)
		}
		var response interface{ HTTPStatusCode() int }
		if !errors.As(err, &response) || response.HTTPStatusCode() != e.HTTPStatus() {
			t.Errorf("%s: not status %d: %v", e.Code, e.HTTPStatus(), err)
		}
	}
	web := func() error {
		_, err := c.AssumeRoleWithWebIdentity(t.Context(), &sdk.AssumeRoleWithWebIdentityInput{RoleArn: aws.String("a"), RoleSessionName: aws.String("b"), WebIdentityToken: aws.String("c")})
		return err
	}
	decode := func() error {
		_, err := c.DecodeAuthorizationMessage(t.Context(), &sdk.DecodeAuthorizationMessageInput{EncodedMessage: aws.String("a")})
		return err
	}
	delegated := func() error {
		_, err := c.GetDelegatedAccessToken(t.Context(), &sdk.GetDelegatedAccessTokenInput{TradeInToken: aws.String("a")})
		return err
	}
	issue := func() error {
		_, err := c.GetWebIdentityToken(t.Context(), &sdk.GetWebIdentityTokenInput{Audience: []string{"a"}, SigningAlgorithm: aws.String("RS256")})
		return err
	}
	const text = "no <good> %d"
	f(sts.ExpiredTokenException(text, 7), web, new(*types.ExpiredTokenException))
	f(sts.ExpiredTradeInTokenException(text, 7), delegated, new(*types.ExpiredTradeInTokenException))
	f(sts.IDPCommunicationErrorException(text, 7), web, new(*types.IDPCommunicationErrorException))
	f(sts.IDPRejectedClaimException(text, 7), web, new(*types.IDPRejectedClaimException))
	f(sts.InvalidAuthorizationMessageException(text, 7), decode, new(*types.InvalidAuthorizationMessageException))
	f(sts.InvalidIdentityTokenException(text, 7), web, new(*types.InvalidIdentityTokenException))
	f(sts.JWTPayloadSizeExceededException(text, 7), issue, new(*types.JWTPayloadSizeExceededException))
	f(sts.MalformedPolicyDocumentException(text, 7), web, new(*types.MalformedPolicyDocumentException))
	f(sts.OutboundWebIdentityFederationDisabledException(text, 7), issue, new(*types.OutboundWebIdentityFederationDisabledException))
	f(sts.PackedPolicyTooLargeException(text, 7), web, new(*types.PackedPolicyTooLargeException))
	f(sts.RegionDisabledException(text, 7), web, new(*types.RegionDisabledException))
	f(sts.SessionDurationEscalationException(text, 7), issue, new(*types.SessionDurationEscalationException))
	if n := len(sts.ErrorCodes()); n != 12 || !slices.Contains(sts.ErrorCodes(), "InvalidIdentityToken") {
		t.Errorf("the model has %d errors: %v", n, sts.ErrorCodes())
	}
}

// refusing takes no key.
type refusing struct{}

func (refusing) Begin(*sigv4.Check, *http.Request, sigv4.Rules) error {
	return &sigv4.Refusal{Reason: sigv4.UnknownKey}
}

// TestSTSUnsigned calls what needs no signature: the client sends none.
func TestSTSUnsigned(t *testing.T) {
	s := stsService(func(string, reflect.Value, reflect.Value) error { return nil })
	server := newServer(t, NewHandler(Config{Services: []Service{s}, Authenticate: refusing{}}))
	c := sdk.New(sdk.Options{Region: "eu-west-1", BaseEndpoint: &server.URL, Credentials: aws.AnonymousCredentials{}, RetryMaxAttempts: 1})
	if _, err := c.AssumeRoleWithWebIdentity(t.Context(), &sdk.AssumeRoleWithWebIdentityInput{RoleArn: aws.String("a"), RoleSessionName: aws.String("b"), WebIdentityToken: aws.String("c")}); err != nil {
		t.Errorf("a call that needs no signature: %v", err)
	}
	c = sdk.New(sdk.Options{Region: "eu-west-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("AKID", "s", ""), RetryMaxAttempts: 1})
	_, err := c.GetCallerIdentity(t.Context(), nil)
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "InvalidClientTokenId" {
		t.Errorf("a call that is refused: %v", err)
	}
}
