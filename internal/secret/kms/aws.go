package kms

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
	"github.com/tink-crypto/tink-go-awskms/v3/integration/awskms"
)

const awsPrefix = "aws-kms://"

// arnRegion returns the region of the ARN of a key or an alias, "" for what is neither.
func arnRegion(arn string) string {
	parts := strings.Split(arn, ":")
	if len(parts) != 6 || parts[0] != "arn" || !strings.HasPrefix(parts[1], "aws") || parts[2] != "kms" || len(parts[4]) != 12 {
		return ""
	}
	kind, name, _ := strings.Cut(parts[5], "/")
	if kind != "key" && kind != "alias" || name == "" || strings.ContainsFunc(parts[3], notInRegion) {
		return ""
	}
	return parts[3]
}

// notInRegion refuses what a host's name cannot have: the region becomes part of one.
func notInRegion(c rune) bool { return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') }

// openAWS returns the key of AWS's service, or of the one at AWS_ENDPOINT_URL_KMS. AWS_ENDPOINT_URL is not
// asked: where Headrace is used it is Headrace's own address.
func openAWS(ctx context.Context, uri string) (service, error) {
	arn := strings.TrimPrefix(uri, awsPrefix)
	once := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.DisableKeepAlives = true })
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(arnRegion(arn)), config.WithHTTPClient(once))
	if err != nil {
		return service{}, fmt.Errorf("%w: %w", ErrDenied, err)
	}
	cfg.BaseEndpoint = nil
	client := kms.NewFromConfig(cfg)
	if err := confidential(aws.ToString(client.Options().BaseEndpoint)); err != nil {
		return service{}, fmt.Errorf("AWS_ENDPOINT_URL_KMS: %w", err)
	}
	key, err := awskms.NewAEADWithContext(ctx, arn, awskms.WithKMS(client))
	if err != nil {
		return service{}, fmt.Errorf("%w: %w", ErrURI, err)
	}
	return service{key, awsKind}, nil
}

// awsKind says what an error of AWS's service means.
func awsKind(err error) error {
	api, answered := errors.AsType[smithy.APIError](err)
	if !answered {
		if noCredentials(err) {
			return ErrDenied
		}
		return ErrUnreachable
	}
	switch api.ErrorCode() {
	case "IncorrectKeyException", "InvalidCiphertextException", "InvalidKeyUsageException", "InvalidArnException",
		"NotFoundException", "DisabledException", "KMSInvalidStateException", "ValidationException":
		return ErrKey
	}
	if api.ErrorFault() == smithy.FaultServer || strings.Contains(api.ErrorCode(), "Throttl") || api.ErrorCode() == "KeyUnavailableException" || api.ErrorCode() == "DependencyTimeoutException" {
		return ErrUnreachable
	}
	return ErrDenied // signatures, tokens, permissions: there are many, and all mean that
}

// noCredentials says whether the SDK found none to sign with.
func noCredentials(err error) bool {
	signing, ok := errors.AsType[*smithy.OperationError](err)
	return ok && strings.Contains(signing.Error(), "get identity: ")
}
