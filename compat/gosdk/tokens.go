package gosdk

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
)

const (
	tokenAccount = "111122223333"
	tokenRole    = "arn:aws:iam::" + tokenAccount + ":role/deployer"
)

// Tokens checks roles and sessions as the SDK's own providers of credentials use them. streams is a
// client of Kinesis for the same server, of which the session gets a copy.
func Tokens(ctx context.Context, client *sts.Client, streams *kinesis.Client) (report string, err error) {
	who, err := client.GetCallerIdentity(ctx, nil)
	if err != nil {
		return "", err
	}
	if *who.Arn != "arn:aws:iam::000000000000:root" {
		return "", fmt.Errorf("the caller is %s", *who.Arn)
	}
	anonymous := sts.New(client.Options(), func(o *sts.Options) { o.Credentials = aws.AnonymousCredentials{} })
	for _, provider := range []aws.CredentialsProvider{
		stscreds.NewAssumeRoleProvider(client, tokenRole),
		stscreds.NewWebIdentityRoleProvider(anonymous, tokenRole, podToken{}),
	} {
		session := kinesis.New(streams.Options(), func(o *kinesis.Options) { o.Credentials = aws.NewCredentialsCache(provider) })
		if err := ownAccount(ctx, session); err != nil {
			return "", fmt.Errorf("%T: %w", provider, err)
		}
	}
	_, err = client.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String(tokenRole), RoleSessionName: aws.String("go"), Policy: aws.String("{")})
	var malformed *types.MalformedPolicyDocumentException
	if !errors.As(err, &malformed) {
		return "", fmt.Errorf("a session policy that is none: %v", err)
	}
	return "ok: who calls, sessions of roles and of a web identity, error types", nil
}

// ownAccount checks that a client's streams are in the role's account.
func ownAccount(ctx context.Context, client *kinesis.Client) error {
	name := aws.String("whose")
	if _, err := client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: name, ShardCount: aws.Int32(1)}); err != nil {
		return err
	}
	summary, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: name})
	if err != nil {
		return err
	}
	if arn := *summary.StreamDescriptionSummary.StreamARN; !strings.Contains(arn, ":"+tokenAccount+":") {
		return fmt.Errorf("the stream is %s", arn)
	}
	_, err = client.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: name})
	return err
}

// podToken is a token as a cluster gives its pods, signed by nobody.
type podToken struct{}

// GetIdentityToken implements stscreds.IdentityTokenRetriever.
func (podToken) GetIdentityToken() ([]byte, error) {
	var parts []string
	for _, v := range []any{
		map[string]string{"alg": "RS256", "kid": "k"},
		map[string]any{"iss": "https://cluster.example", "sub": "system:serviceaccount:app:web", "aud": "sts.amazonaws.com", "exp": 4102444800},
		"signature",
	} {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	return []byte(strings.Join(parts, ".")), nil
}
